/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "link_law.h"
#include "radio_curve.h"

namespace gr::diffusion::dsp {

/*! A radio's parameters from all that was received: the marginal likelihood of the cells, summed over the
 * symbols where nobody knows them.
 *
 * Expectation maximisation crawls where cells hardly tell symbols apart, and lets centroids wander one by
 * one. Here the cells' counts are one multinomial of 11 numbers (radio_curve's and two noises), climbed by
 * Gauss-Newton steps held back where they fail (Levenberg 1944). Kinds of radio, with an amplifier and
 * without, are averaged by their evidence, and so is what stays uncertain in each (MacKay 1992): by Laplace's
 * approximation, or, where a converter of 1 or 2 bits leaves much open, by importance sampling around it. */
class marginal_fit
{
public:
    //! \param index, known_y, known symbols that are known \param y, n others, all on the same grid
    marginal_fit(const std::vector<std::complex<float>>& points, const int* index,
                 const std::complex<float>* known_y, size_t known, const std::complex<float>* y, size_t n,
                 double step, size_t half);

    //! What is believed of the additive noise before: its middle, and the spread of its logarithm.
    struct noise_belief {
        double additive, spread;
    };

    /*! Means, their uncertainties and both noises of `law` replaced by the posterior mean.
     *  \return its log likelihood less what its parameters are worth (Akaike 1974) */
    double fit(const noise_belief& noise, link_law& law) const;

    //! log p of all cells seen, given the centroids' rails (2 M).
    double log_likelihood(const std::vector<double>& rails, double additive, double phase_std) const;

private:
    static constexpr size_t P = radio_curve::n + 2; // log additive, phase_std
    using vector = std::array<double, P>;

    struct belief { // independent; heavy-tailed where marked
        vector mean, spread;
        std::array<bool, P> heavy;
    };
    struct kind {
        belief radio;
        double log_prior;
    };
    struct outcome { // one point of the posterior, or what lies around it
        vector at;
        std::vector<link_law::symbol> symbols;
        double used; // parameters that the data have fixed
        double log_weight;
    };
    struct cell {
        int symbol, re, im; // symbol: -1 if not known
        double times;
    };

    void evaluate(const std::vector<double>& rails, double additive, double phase_std, int side, bool all,
                  std::vector<double>& log_p) const;
    static int side_of(const std::vector<double>& rails, double additive, double phase_std, double step);
    std::vector<double> rails_of(const vector& v) const;
    //! Climbs from `at`; with outcomes, adds what lies at the top, or draws from it.
    vector search(vector at, const kind& before, bool all, std::vector<outcome>* outcomes) const;
    std::vector<kind> kinds(const noise_belief& noise) const;

    radio_curve d_radio;
    size_t d_points;
    std::vector<cell> d_known, d_unknown; // known ones by symbol
    double d_step;
    int d_half;
};

} // namespace gr::diffusion::dsp
