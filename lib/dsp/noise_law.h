/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <array>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

//! One Gaussian of a mixture in the plane; of a mixture of one rail, re and var_re alone count.
struct DIFFUSION_API noise_component {
    double weight = 1, re = 0, im = 0, var_re = 1, var_im = 1, covariance = 0;
};

/*! The law of additive noise, whatever it is, as a Gaussian mixture: what noise-only samples taught
 * (python/diffusion/noise.py fits it).
 *
 * A mixture, because adding Gaussian noise to it gives a mixture again: density and score of the law at
 * *every* level of the forward diffusion n_t = n + w, E|w|^2 = level, are closed forms, and none has to be
 * integrated: the score at level 0 is the gradient of the log-density that soft bits need, and the score at
 * level v is what a denoiser of n uses (Tweedie: E[n | n_t] = n_t + v/2 score).
 *
 * - rails: the two rails are independent, each a one-dimensional mixture (Laplacian and the like);
 * - plane: a mixture in the plane (impulses that hit both rails, a constant-envelope carrier, other QAM).
 *
 * prepare() tabulates the log-density; relative() looks it up and allocates nothing. */
class DIFFUSION_API noise_law
{
public:
    enum class form { rails, plane };
    static constexpr size_t max_components = 256;

    //! Circular Gaussian noise of unit power.
    noise_law();
    /*! Independent rails. \throws std::invalid_argument unless 1 to 256 components each, weights >= 0 that
     * sum to 1, variances > 0, all finite */
    static noise_law rails(std::vector<noise_component> re, std::vector<noise_component> im);
    //! A mixture in the plane, of positive definite covariances.
    static noise_law plane(std::vector<noise_component> components);

    form shape() const { return d_form; }
    //! Of the plane, or of rail Re
    const std::vector<noise_component>& components() const { return d_first; }
    const std::vector<noise_component>& components_im() const { return d_second; }
    //! E|n - E n|^2 of the mixture.
    double variance() const;
    //! The law of n + w, w circular Gaussian, E|w|^2 = level >= 0.
    noise_law diffused(double level) const;

    //! Natural log of the density at n.
    double log_density(std::complex<double> n) const;
    //! Its gradient, d/dRe + j d/dIm.
    std::complex<double> score(std::complex<double> n) const;

    //! Makes the tables of relative(); milliseconds to tens of them.
    void prepare();
    bool prepared() const { return !d_table.empty(); }
    //! log_density up to a constant, from the tables; constant far outside of what the law knows.
    float relative(float re, float im) const;

    //! As numbers, for messages and files; from_state() refuses what is malformed.
    std::vector<double> state() const;
    static noise_law from_state(const std::vector<double>& state);

private:
    static double density_and_score(const std::vector<noise_component>& mixture, bool plane,
                                    std::complex<double> n, std::complex<double>* score);

    form d_form = form::plane;
    std::vector<noise_component> d_first, d_second;
    std::vector<float> d_table; //!< rails: Re then Im; plane: row (Im) by column (Re)
    std::array<float, 2> d_unit{ 1, 1 };   //!< asinh(n / unit) is what the tables' steps are equal in
    float d_reach = 1;                     //!< largest asinh
};

} // namespace gr::diffusion::dsp
