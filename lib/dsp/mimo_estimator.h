/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "engine/beam_guide.h"
#include <memory>
#include <string>

namespace gr::diffusion::dsp {

/*! Estimates a MIMO channel from its pilots, y = H P + n: one interface for the classical methods and the
 * network.
 *
 * - ls: least squares; with fewer pilots than transmit antennas the solution of least norm;
 * - nomp: Newtonized orthogonal matching pursuit, plane waves off the grid (beam_nomp.h);
 * - sbl: sparse Bayesian learning by EM over the beams of both arrays (Tipping, 2001), from equal powers on;
 * - diffusion: a shipped or trained model;
 * - auto: the model and nomp, weighed by what pilots they have not seen say (mimo_stack.h).
 *
 * An object serves one thread. Memory is taken in the constructor and in set_pilots() only.
 */
class DIFFUSION_API mimo_estimator
{
public:
    mimo_estimator(engine::array_shape rx, engine::array_shape tx);
    virtual ~mimo_estimator();

    size_t receivers() const { return d_nr; }
    size_t transmitters() const { return d_nt; }
    //! Pilots of each observation, Np; 0 before set_pilots().
    size_t count() const { return d_count; }
    //! Row-major transmitters x Np, as given.
    const std::vector<std::complex<float>>& pilots() const { return d_pilots; }

    //! \param pilots row-major transmitters x Np, any scale. \throws std::invalid_argument saying what is
    //!        wrong
    void set_pilots(const std::vector<std::complex<float>>& pilots);

    /*! \param y frames x receivers x Np
     *  \param noise_var E|n|^2 of y, >= 0
     *  \param h frames x receivers x transmitters
     *  \param err_var what the method believes E|h - truth|^2 to be, the mean over the antenna pairs: one for
     *  each frame
     *  \returns frames with a value that is not finite: their h is 0 and their err_var Inf */
    size_t estimate(const std::complex<float>* y, size_t frames, float noise_var, std::complex<float>* h,
                    float* err_var);

protected:
    virtual void prepare(const std::vector<std::complex<float>>& pilots) = 0;
    virtual float one(const std::complex<float>* y, float noise_var, std::complex<float>* h) = 0;

private:
    size_t d_nr, d_nt, d_count = 0;
    std::vector<std::complex<float>> d_pilots;
};

//! ls, nomp, sbl, diffusion, auto
DIFFUSION_API const std::vector<std::string>& mimo_estimator_methods();

/*! \param method one of mimo_estimator_methods()
 *  \param model name or path of a model, which says what the arrays are (and is run by "diffusion" and
 *         "auto")
 *  \throws std::exception naming the value */
DIFFUSION_API std::unique_ptr<mimo_estimator> make_mimo_estimator(const std::string& method,
                                                                  const std::string& model);

} // namespace gr::diffusion::dsp
