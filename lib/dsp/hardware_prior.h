/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <array>
#include <complex>
#include <memory>
#include <vector>

namespace gr::diffusion::dsp {

/*! What radios do to a constellation, as Gaussian priors.
 *
 * A centroid is mu(x) = x + sum_k w_k f_k(x), f_k polynomials in x and x* that follow IQ imbalance, DC and an
 * amplifier's compression and rotation. w is Gaussian with the mean and the covariance that random radios
 * have (drawn from dsp::impairments, the power renormalised). As radios differ in kind there are several such
 * priors; the data's marginal likelihood chooses. */
class hardware_prior
{
public:
    static constexpr size_t n_terms = 15, n = 2 * n_terms; //!< complex terms; real parameters

    struct component {
        std::array<double, n> mean{};
        double precision[n][n] = {};
        double log_det = 0; //!< of the covariance
    };

    //! Of a constellation; made once and kept.
    static std::shared_ptr<const hardware_prior> of(const std::vector<std::complex<float>>& points);

    const std::vector<component>& components() const { return d_components; }
    //! (2 M) rows: what each parameter adds to the real, then the imaginary part of a symbol's centroid.
    const std::vector<std::array<double, n>>& rows() const { return d_rows; }

private:
    explicit hardware_prior(const std::vector<std::complex<float>>& points);
    void add(const std::array<double, n>& mean, const std::vector<std::array<double, n>>& draws,
             double scale);

    std::vector<component> d_components;
    std::vector<std::array<double, n>> d_rows;
};

} // namespace gr::diffusion::dsp
