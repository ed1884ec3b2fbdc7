/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "hardware_prior.h"
#include "positive_definite.h"
#include "radio_curve.h"

namespace gr::diffusion::dsp {

//! Gaussian approximation of the likelihood of the centroids' rails (2 M): value and precision.
struct pseudo_observations {
    std::vector<double> value, precision;
};

/*! Centroids from pseudo-observations z = mu + d + noise: mu of one kind of hardware, d ~ N(0, own) of each
 * symbol's own.
 *
 * Kinds: the Gaussian priors of hardware_prior, and radio_curve's parameters, linearised where the data put
 * them (Gauss-Newton), with a gain that is nearly known or free. Kind and own are chosen by marginal
 * likelihood. */
class centroid_fit
{
public:
    centroid_fit(const std::vector<std::complex<float>>& points, size_t known);

    //! Kind of hardware and own deviation.
    void choose(const pseudo_observations& z);
    //! Rails of the centroids, and the variance they are known to.
    void apply(const pseudo_observations& z, std::vector<double>& mean, std::vector<double>& uncertainty);
    //! Effective number of parameters that the data have fixed.
    double used() const { return d_used; }
    //! Kind in use: below hardware_prior's count one of its components, else a radio_curve.
    size_t kind() const { return d_kind; }

private:
    static constexpr size_t P = hardware_prior::n;
    using vector = std::array<double, P>;

    struct curve { // a radio_curve and where it is linearised
        radio_curve::parameters spread, now;
    };

    void linearise(const curve& c);
    double solve(const pseudo_observations& z, size_t kind, double own);

    std::shared_ptr<const hardware_prior> d_prior;
    radio_curve d_radio;
    std::vector<curve> d_curves;
    bool d_many;
    size_t d_kind = 0;
    double d_own, d_used = 0;
    // of the last solve()
    std::vector<double> d_base;
    std::vector<vector> d_rows;
    positive_definite<double, P> d_posterior;
    vector d_w{};
    std::vector<double> d_ideal;
};

} // namespace gr::diffusion::dsp
