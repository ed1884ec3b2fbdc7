/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "adc_grid.h"
#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

/*! The law of a memoryless link before its converter: r = mu_i exp(j theta) + n, theta ~ N(0, phase_var),
 * n circular Gaussian; what is seen is the cell of a mid-rise quantizer that r falls into.
 *
 * fit() estimates it from the cells themselves (the likelihood is integrated over them), so few bits bias
 * neither centroids nor variances. Centroids: hardware_prior, plus a deviation of each symbol's own. Method:
 * Fisher scoring (Rao 1948) on the centroids, a direct search on the two variances, marginal likelihood
 * (Laplace's approximation) for what kind of hardware it is. */
struct DIFFUSION_API link_law {
    struct symbol {
        std::complex<double> mean;
        double uncertainty = 0; //!< variance of either rail of the mean, known symbols being few
    };

    std::vector<symbol> symbols;
    double additive = 0;      //!< E|n|^2
    double phase_var = 0;     //!< rad^2
    double step = 0;          //!< of the converter
    size_t half = 0;          //!< its levels a rail are 2 half; the outermost cells are open
    double fit_noise_var = 0; //!< that fit() was told

    bool valid() const { return !symbols.empty(); }

    /*! \param points constellation \param index symbols sent \param y received, on the grid \param n of them
     *  \param noise_var E|n|^2 as far as known: a prior \param grid step > 0 */
    static link_law fit(const std::vector<std::complex<float>>& points, const int* index,
                        const std::complex<float>* y, size_t n, double noise_var, const adc_grid& grid);

    /*! The law of fit(), and its known symbols, by what more is received, the symbols of which are not known:
     *  expectation maximisation (Dempster et al. 1977), each cell's symbols weighted by their posteriors, or
     *  a marginal_fit, whichever is worth more.
     *  \param index, known_y, known what fit() got
     *  \param y, n further samples on the same grid
     *  \param noise_var of y, a narrow prior; <= 0: not known, then it is estimated
     *  \return the new law, its fit_noise_var being the noise of y; this one if the cells do not tell symbols
     *  apart */
    link_law refined(const std::vector<std::complex<float>>& points, const int* index,
                     const std::complex<float>* known_y, size_t known, const std::complex<float>* y, size_t n,
                     double noise_var) const;

    /*! Symbols where they were sent, in additive noise only, behind the converter that samples (not known
     *  which) lie on: for a radio nobody has fitted.
     *  \param noise_var E|n|^2; \param told if not, what the samples say of it, noise_var being a first
     *         guess */
    static link_law ideal(const std::vector<std::complex<float>>& points, const std::complex<float>* y,
                          size_t n, double noise_var, bool told, const adc_grid& grid);

    /*! The law of ideal(), by what the same samples tell of the radio: a marginal_fit, if it is worth its
     * parameters. */
    link_law blind(const std::vector<std::complex<float>>& points, const std::complex<float>* y, size_t n,
                   double noise_var) const;

    //! E|n|^2 at another noise variance than fit()'s: the difference is the additive noise's.
    double additive_at(double noise_var) const;

    static constexpr size_t max_nodes = 31;
    struct node {
        double cosine, sine, weight;
    };
    //! Quadrature of the phase noise, fine enough for that additive noise and step.
    std::vector<node> phase_nodes(double additive_noise) const;
};

} // namespace gr::diffusion::dsp
