/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <array>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

/*! Whether another square constellation, or another gain, explains symbols better than the receiver's own constellation.
 *
 * Both rails of blocks of symbols are counted in one histogram. Each candidate (BPSK, QPSK, 16-, 64-, 256-QAM, noise alone) is a
 * mixture of Gaussians at a rail's levels, with a gain and a variance found by expectation maximisation. What is compared is the
 * log-likelihood, in nats: of the best candidate against the own constellation at gain 1 with the variance that suits it best.
 * A sequential test: while neither is likely enough the histogram grows (to 32 blocks, then it is halved); once the own one is
 * clearly ahead it starts afresh, so that a change is seen within a block or two. A candidate counts only if it also fits:
 * hardware that the law does not know, or noise that is no Gaussian's, makes every candidate bad.
 *
 * Wald, Sequential tests of statistical hypotheses, Ann. Math. Stat. 16 (1945); Page, Continuous inspection schemes,
 * Biometrika 41 (1954). */
class DIFFUSION_API rival_test
{
public:
    static constexpr double max_power = 2.5; //!< beyond it symbols are too noisy to tell anything

    //! What the symbols seen so far say.
    struct verdict {
        double lead = 0;    //!< log-likelihood of the best other explanation over the own one, nats; 0: cannot be said
        double gain_db = 0; //!< of that explanation
        int points = 0;     //!< of that explanation; the own number: another gain; 1: noise alone
        bool certain = false;
    };

    rival_test();
    //! Whether these points are one of the candidates; else feed() says nothing.
    bool prepare(const std::vector<std::complex<float>>& points);
    void reset();
    //! n symbols, at least 64.
    verdict feed(const std::complex<float>* y, size_t n);

private:
    static constexpr size_t bins = 96;
    static constexpr double reach = 3.6; // of a rail

    struct candidate {
        int points = 0;
        std::vector<double> level, weight; // of a rail, both signs
    };
    struct fitted {
        double gain, variance, likelihood;
    };
    using histogram = std::array<double, bins>;
    double likelihood(const candidate& c, double gain, double variance) const;
    fitted fit(const candidate& c, bool free_gain) const;
    bool own_again(const histogram& newest, double square, const candidate& rival);
    double misfit(double likelihood) const;

    std::vector<candidate> d_candidates;
    int d_own = -1;
    histogram d_count{};
    double d_total = 0, d_square = 0, d_blocks = 0;
};

} // namespace gr::diffusion::dsp
