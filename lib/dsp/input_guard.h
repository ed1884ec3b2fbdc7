/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "cell_test.h"
#include "rival_test.h"
#include "symbol_law.h"
#include <array>
#include <chrono>
#include <complex>
#include <string>
#include <utility>
#include <vector>

namespace gr::diffusion::dsp {

//! What a block of symbols looks like to a law, and what is wrong with it.
struct DIFFUSION_API input_report {
    std::string reason;    //!< "" if nothing is wrong, else one of "dead", "level", "noise", "shape", "unused points",
                           //!< "constellation", "range"
    double power = 0;      //!< E|y|^2 over the law's
    double noise = 0;      //!< variance about the law's centroids over the law's
    double shape = 0;      //!< chi-square distance per symbol: of the errors from a Gaussian's; on a coarse converter's
                           //!< grid of the levels from a fitted law's, 0 if the fit has none
    double pooled = 0;     //!< shape of the newest blocks together, if outliers are missing; else 0
    double lead = 0;       //!< log-likelihood of another constellation or gain over the law's, nats, pooled; unfitted laws
    double rival_gain_db = 0; //!< its gain
    int rival = 0;            //!< its points; the law's own number: another gain; 1: noise
    double unused = 0;     //!< sum (M p_i - 1)^2 / M over the points' shares p_i: 0 all alike, M - 1 only one
};

/*! Tells input that a receiver was not made for, from blocks of it taken now and then.
 *
 * A law says what symbols look like: a mixture of one Gaussian a point. Expectation maximisation finds the one
 * factor of all variances that explains the block best; what is then compared are the power, that factor, the
 * distribution of the errors (Mahalanobis distances squared over 2 have an exponential law; eight cells of equal
 * chance), and the share of each point. Another constellation leaves errors that are no Gaussian's, or points
 * nobody sends; a level that is off does both. Samples on the coarse grid of a converter have errors that are no
 * Gaussian's: they are judged by power, with more patience, and, if the law was fitted behind that converter, by how
 * often each of its levels occurs. Errors are also counted over the newest 16 blocks or so, where less is enough to be
 * bad, if they have too few outliers: so errors are when points are missing from the law, not when the noise is not
 * Gaussian, which a receiver had better bear. Without a fit the other square constellations and other gains are tried
 * too (rival_test): a likelihood ratio tells denser ones that no distribution of errors does.
 *
 * Three bad blocks in a row raise the alarm, eight good ones end it. The first blocks follow closely, later ones
 * such that testing takes about 2% of the time; a suspicion is looked into at once. Between tests the power and the
 * kurtosis of all symbols are followed, block by block: a jump of either has the next block tested. Memory is taken
 * in the constructor and in set_law(). Thresholds: docs/guide.md. */
class DIFFUSION_API input_guard
{
public:
    static constexpr size_t block = 512, least = 128; //!< symbols of a test
    static constexpr int to_alarm = 3, to_clear = 8;

    /*! \param snr_db range that the model was trained on; only its ends' crossing is reported as "range" */
    input_guard(const symbol_law& law, std::pair<double, double> snr_db);
    void set_law(const symbol_law& law);
    //! E|n|^2 of what follows. \p said: somebody said so; an own estimate cannot be wrong about the variance.
    void set_noise_var(double noise_var, bool said);
    //! Whether the errors should be a Gaussian's: not with a fitted noise law.
    void set_gaussian(bool gaussian) { d_gaussian = gaussian; }
    //! Forgets the past, alarm included.
    void reset();

    //! n symbols. Returns whether alarm() changed.
    bool feed(const std::complex<float>* y, size_t n);
    bool alarm() const { return d_alarm; }
    //! The newest block; while there is an alarm, reason is what raised it.
    const input_report& report() const { return d_report; }
    uint64_t alarms() const { return d_alarms; }
    uint64_t tests() const { return d_tests; }
    //! Whether tests spare time once the first are good; else one in 4096 symbols, whatever it costs.
    void set_sparing(bool sparing) { d_sparing = sparing; }

    //! One block judged by itself, \p n up to `block` symbols.
    input_report test(const std::complex<float>* y, size_t n);

private:
    //! A mean and a variance that follow a series slowly.
    struct moving_moment {
        double mean = 0, variance = 0;
        size_t seen = 0;
        bool jump(double value);
    };
    struct point {
        float re, im, a, b, c, half_log_det; // inverse covariance [a b; b c]
    };

    void prepare();
    double refine(size_t n, double scale);
    double pooled_limit() const;
    std::string judge(const input_report& r, size_t n, size_t levels) const;
    bool conclude();
    bool jumped(const std::complex<float>* y, size_t n);

    symbol_law d_law;
    std::pair<double, double> d_range;
    double d_noise_var = 0.1, d_prepared = -1, d_power = 1, d_snr = 10, d_scale = 1;
    bool d_said = true, d_alarm = false, d_gaussian = true, d_sparing = true;
    std::array<double, 8> d_pooled{};  // share of the errors in each cell, newest blocks
    size_t d_pool = 0;                 // blocks in it
    moving_moment d_level, d_kurtosis; // of the blocks between tests
    double d_square = 0, d_fourth = 0; // sums over the one under way
    size_t d_summed = 0;
    cell_test d_cells;
    rival_test d_rivals;
    bool d_has_rivals = false;
    std::vector<point> d_points;
    std::vector<float> d_distance, d_weight; // block x points
    std::vector<double> d_share;
    std::vector<std::complex<float>> d_block;
    size_t d_skip = 0, d_lost = 0;
    int d_bad = 0, d_good = 0;
    uint64_t d_tests = 0, d_alarms = 0;
    std::chrono::steady_clock::time_point d_next{};
    input_report d_report;
};

} // namespace gr::diffusion::dsp
