/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

/*! Estimates the channel on all carriers of an OFDM symbol from its pilots.
 *
 * One interface for the classical methods and the network, so that a receiver can change between them
 * while it runs:
 *
 * - ls: least squares at the pilots, linear interpolation between them, the outermost held;
 * - lmmse: linear MMSE for a given mean delay profile, the symbol's own power (robust: without a
 *   profile, uniform over a quarter of the symbol; Li, Cimini and Sollenberger, 1998);
 * - nomp: Newtonized orthogonal matching pursuit, off-grid delays (Mamandipoor et al., 2016);
 * - sbl: sparse Bayesian learning by EM on a half-sample delay grid (Tipping, 2001), from the profile on;
 * - diffusion: a shipped or trained model.
 *
 * An object serves one thread. Memory is taken in set_pilots() and set_profile(), not in estimate().
 */
class DIFFUSION_API pilot_estimator
{
public:
    explicit pilot_estimator(size_t carriers);
    virtual ~pilot_estimator();

    size_t carriers() const { return d_carriers; }
    const std::vector<int>& pilots() const { return d_pilots; }

    //! \param pilots indices of carriers, distinct. \throws std::invalid_argument naming the index
    virtual void set_pilots(const std::vector<int>& pilots);

    //! Points of the delay grid: the power of two from 2 carriers on.
    size_t grid() const;

    /*! Mean power at the delays 0, 1, ... times carriers / grid() samples (half samples, where carriers
     * is a power of two): grid() values >= 0, any scale. Methods that need none ignore it.
     * \throws std::invalid_argument */
    virtual void set_profile(const std::vector<float>& profile);

    //! Steps of a method that has them (diffusion: the model's, or fewer), else 1.
    virtual size_t steps() const { return 1; }
    virtual size_t trained_steps() const { return 1; }
    virtual void set_steps(size_t) {}

    /*! \param y frames x pilots: received / known pilot
     *  \param noise_var E|n|^2 of y, >= 0
     *  \param h frames x carriers
     *  \param err_var what the method believes E|h - truth|^2 to be, frames x carriers; may be null
     *
     * A frame with a NaN or Inf gives h = 0 and err_var = infinity. */
    void estimate(const std::complex<float>* y, size_t frames, float noise_var, std::complex<float>* h,
                  float* err_var);

    /*! The channel of the last frame once more, from a better observation of it (more symbols known, less
     * noise). diffusion keeps the belief that its steps came to, at a tenth of the cost; the others start
     * anew. */
    void refine(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var);

protected:
    virtual void one(const std::complex<float>* y, float noise_var, std::complex<float>* h,
                     float* err_var) = 0;
    virtual void again(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var)
    {
        one(y, noise_var, h, err_var);
    }

private:
    bool usable(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var) const;

    size_t d_carriers;
    std::vector<int> d_pilots;
};

//! ls, lmmse, nomp, sbl, diffusion
DIFFUSION_API const std::vector<std::string>& pilot_estimator_methods();

/*! \param method one of pilot_estimator_methods()
 *  \param carriers 2 to 4096
 *  \param model for "diffusion" name or path of the model; its carriers must be these
 *  \throws std::invalid_argument naming the value */
DIFFUSION_API std::unique_ptr<pilot_estimator>
make_pilot_estimator(const std::string& method, size_t carriers, const std::string& model = "");

} // namespace gr::diffusion::dsp
