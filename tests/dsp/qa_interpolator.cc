/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dsp/interpolator.h"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <complex>
#include <vector>

using gr::diffusion::dsp::interpolator;
using cfloat = std::complex<float>;

namespace {

constexpr double pi = 3.14159265358979323846;

//! Error power over signal power, dB, of a tone of `cycles` per input sample taken at every `step`.
double tone_error_db(double step, double cycles, double start)
{
    const interpolator resample(step);
    const size_t n = 500, margin = resample.half() + 2;
    std::vector<cfloat> x(size_t(n * step) + 2 * margin + 2), y(n);
    for (size_t k = 0; k < x.size(); k++)
        x[k] = cfloat(std::polar(1.0, 2 * pi * cycles * (double(k) - double(margin))));
    resample.process(x.data() + margin, start, y.data(), n);
    double error = 0;
    for (size_t i = 0; i < n; i++)
        error += std::norm(std::complex<double>(y[i]) -
                           std::polar(1.0, 2 * pi * cycles * (start + double(i) * step)));
    return 10 * std::log10(error / double(n));
}

} // namespace

BOOST_AUTO_TEST_CASE(tones_in_the_lower_80_percent_keep_60_db)
{
    for (double step : { 1.00002, 0.99998, 0.4, 0.77, 1.3, 2.5, 7.9 })
        for (double part : { 0.0, 0.1, 0.5, 0.8 })
            for (double start : { 0.0, 0.37, 0.999 })
                BOOST_CHECK_LT(tone_error_db(step, 0.5 * part / std::max(1.0, step), start), -60);
}

BOOST_AUTO_TEST_CASE(tones_beyond_the_lower_rates_band_do_not_alias)
{
    for (double step : { 2.0, 4.0, 8.0 }) {
        const interpolator resample(step);
        const size_t n = 300, margin = resample.half() + 2;
        std::vector<cfloat> x(size_t(n * step) + 2 * margin + 2), y(n);
        for (size_t k = 0; k < x.size(); k++)
            x[k] = cfloat(std::polar(1.0, 2 * pi * 0.5 * 1.25 / step * double(k)));
        resample.process(x.data() + margin, 0.25, y.data(), n);
        double power = 0;
        for (auto v : y)
            power += std::norm(v) / double(n);
        BOOST_CHECK_LT(10 * std::log10(power), -55);
    }
}

BOOST_AUTO_TEST_CASE(ratios_beyond_its_range_are_named)
{
    for (double step : { 0.0, -1.0, 65.0, std::nan("") })
        BOOST_CHECK_EXCEPTION(interpolator{ step }, std::invalid_argument, [](const auto& e) {
            return std::string(e.what()).find("step is") != std::string::npos;
        });
}
