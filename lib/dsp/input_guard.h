/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "symbol_law.h"
#include <chrono>
#include <complex>
#include <string>
#include <utility>
#include <vector>

namespace gr::diffusion::dsp {

//! What a block of symbols looks like to a law, and what is wrong with it.
struct DIFFUSION_API input_report {
    std::string reason;    //!< "" if nothing is wrong, else one of "dead", "level", "noise", "shape", "unused points", "range"
    double power = 0;      //!< E|y|^2 over the law's
    double noise = 0;      //!< variance about the law's centroids over the law's
    double shape = 0;      //!< chi-square distance of the errors from a Gaussian's, per symbol; 0 on a converter's grid
    double unused = 0;     //!< sum (M p_i - 1)^2 / M over the points' shares p_i: 0 all alike, M - 1 only one
};

/*! Tells input that a receiver was not made for, from blocks of it taken now and then.
 *
 * A law says what symbols look like: a mixture of one Gaussian a point. Expectation maximisation finds the one
 * factor of all variances that explains the block best; what is then compared are the power, that factor, the
 * distribution of the errors (Mahalanobis distances squared over 2 have an exponential law; eight cells of equal
 * chance), and the share of each point. Another constellation leaves errors that are no Gaussian's, or points
 * nobody sends; a level that is off does both. Samples on the coarse grid of a converter are judged by power and
 * noise alone, and with more patience: their errors are no Gaussian's to begin with.
 *
 * Three bad blocks in a row raise the alarm, eight good ones end it. The first blocks follow closely, later ones
 * such that testing takes about 1% of the time; a suspicion is looked into at once. Memory is taken in the
 * constructor and in set_law(). Thresholds: docs/guide.md. */
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

    //! One block judged by itself, \p n up to `block` symbols.
    input_report test(const std::complex<float>* y, size_t n);

private:
    struct point {
        float re, im, a, b, c, half_log_det; // inverse covariance [a b; b c]
    };

    void prepare();
    double refine(size_t n, double scale);
    std::string judge(const input_report& r, size_t n, bool grid) const;
    bool conclude();

    symbol_law d_law;
    std::pair<double, double> d_range;
    double d_noise_var = 0.1, d_prepared = -1, d_power = 1, d_snr = 10, d_scale = 1;
    bool d_said = true, d_alarm = false, d_gaussian = true;
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
