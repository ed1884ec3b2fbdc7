/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "link_law.h"
#include <gnuradio/diffusion/api.h>
#include <array>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

//! What a receiver sees when one symbol is sent, to second order.
struct DIFFUSION_API symbol_gaussian {
    double re = 0, im = 0;                         //!< centroid
    double var_re = 0, var_im = 0, covariance = 0; //!< of the two rails
};

/*! The law p(y | x) of a memoryless link, a Gaussian per symbol, learned from known symbols.
 *
 * Unfitted: the ideal constellation in circular noise. fit() takes what known symbols tell, no more:
 *
 * - Centroids: a polynomial mu(x) in x and x* (widely linear + quadratic + cubic + x|x|^4), Gaussian prior
 *   around mu(x) = x on its coefficients, plus a deviation of each symbol's own whose prior variance is
 *   chosen by marginal likelihood. So few symbols give a shrunken widely-linear fit, many the class means.
 * - Covariances: v0/2 I + v1/2 |mu|^2 I + v2 t t' with t the tangent i mu (additive, multiplicative, phase
 *   noise), blended with each symbol's own scatter by an inverse-Wishart prior whose weight is chosen by
 *   marginal likelihood; the uncertainty of the centroid is added.
 * - The grid of an ADC, if the samples lie on one; then also link(), the law before the converter, whose
 *   integral over a cell is what a sample is worth. The Gaussians here are of the samples as they are seen.
 *
 * At another noise level than the fit's the difference is added to both rails.
 */
class DIFFUSION_API symbol_law
{
public:
    static constexpr size_t n_terms = 11;    //!< of the polynomial
    static constexpr size_t n_context = 18;  //!< of context()
    static constexpr size_t max_points = 4096;

    //! The ideal constellation. \throws std::invalid_argument unless 2 to 4096 finite points
    explicit symbol_law(std::vector<std::complex<float>> points);

    /*! \param points constellation, unit power
     *  \param index of the symbol sent, n values below points.size()
     *  \param y received, finite
     *  \param n at least 8
     *  \param noise_var E|n|^2 of the link when it was received, distortion included as far as known
     *  \throws std::invalid_argument naming value and remedy */
    static symbol_law fit(std::vector<std::complex<float>> points, const int* index,
                          const std::complex<float>* y, size_t n, double noise_var);

    /*! The linear receiver as a law: y = a x + n with the gain and the noise variance of the known
     * symbols. */
    static symbol_law fit_linear(std::vector<std::complex<float>> points, const int* index,
                                 const std::complex<float>* y, size_t n, double noise_var);

    /*! Nothing fitted: the ideal constellation behind the converter of 1 to 6 bits whose grid the samples
     *  show; link() is not valid() if they show none. \param noise_var E|n|^2; <= 0: not known, then `guess`
     *  is where the search begins
     *  \param blind let the samples tell of the radio too, see link_law::blind() */
    static symbol_law behind_converter(std::vector<std::complex<float>> points, const std::complex<float>* y,
                                       size_t n, double noise_var, double guess, bool blind);

    //! A copy with link().refined(); link() must be valid(). The Gaussians stay.
    symbol_law refined(const int* index, const std::complex<float>* known_y, size_t known,
                       const std::complex<float>* y, size_t n, double noise_var) const;

    //! One Gaussian a symbol at that noise variance (> 0).
    std::vector<symbol_gaussian> at(double noise_var) const;

    /*! Log-likelihoods as a quadratic form: log p(y|i) = q2[i] . [Re, Im, Re^2, Im^2, Re Im] + q1[i] +
     * constant.
     *  \param q2 5 values a point \param q1 one a point */
    void coefficients(double noise_var, double* q2, double* q1) const;

    /*! What a network is told about the hardware: [SNR in dB after all noise and distortion, log10(1 + known
     * symbols), grid?, ADC step, log(step / noise rms of a rail), top level, multiplicative and phase-noise
     * share of the noise, then real and imaginary parts of the departures of x, x*, 1, x|x|^2, x|x|^4].
     * All but the first are 0 for an unfitted law. */
    std::array<float, n_context> context(double noise_var) const;

    bool fitted() const { return d_known > 0; }
    size_t known_symbols() const { return d_known; }
    //! The noise variance of the fit, 0 for an unfitted law.
    double fit_noise_var() const { return d_noise_var; }
    const adc_grid& grid() const { return d_grid; }
    //! Before the converter; not valid() if there is none, or it was not fitted.
    const link_law& link() const { return d_link; }
    const std::vector<std::complex<float>>& points() const { return d_points; }
    //! Coefficients of x, x*, 1, x|x|^2, x|x|^4, x*|x|^2, x^2, |x|^2, x*^2, x^3, x*^3.
    const std::array<std::complex<double>, n_terms>& polynomial() const { return d_polynomial; }
    //! v0, v1, v2: variance of additive noise (E|n|^2), of multiplicative noise, of the phase (rad^2).
    const std::array<double, 3>& noise_model() const { return d_noise; }

    //! All of it as numbers, for messages and files; from_state() refuses what is malformed.
    std::vector<double> state() const;
    static symbol_law from_state(std::vector<std::complex<float>> points, const std::vector<double>& state);

private:
    struct statistics;
    void fit_centroids(const statistics& s, const std::vector<double>& variance,
                       std::vector<double>& uncertainty);
    void fit_noise(const statistics& s, const int* index, const std::complex<float>* y, size_t n);
    void take_gaussians(const int* index, const std::complex<float>* y, size_t n);
    symbol_gaussian model_covariance(size_t i) const;
    void fit_covariances(const int* index, const std::complex<float>* y, size_t n,
                         const std::vector<double>& uncertainty);

    std::vector<std::complex<float>> d_points;
    std::vector<symbol_gaussian> d_law; // at the fit's noise variance; unfitted: without noise
    std::array<std::complex<double>, n_terms> d_polynomial{};
    std::array<double, 3> d_noise{};
    adc_grid d_grid;
    link_law d_link;
    double d_noise_var = 0;
    size_t d_known = 0;
};

} // namespace gr::diffusion::dsp
