/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/delay_guide.h"
#include "engine/toeplitz.h"
#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <algorithm>
#include <cmath>

using namespace gr::diffusion::engine;

namespace {

//! First column of the covariance of three paths and noise.
void covariance(size_t n, double noise, std::vector<double>& re, std::vector<double>& im)
{
    re.assign(n, 0);
    im.assign(n, 0);
    for (auto [power, delay] : { std::pair{ 0.6, 0.013 }, { 0.3, 0.171 }, { 0.1, 0.402 } })
        for (size_t i = 0; i < n; i++) {
            re[i] += power * std::cos(2 * M_PI * delay * double(i));
            im[i] -= power * std::sin(2 * M_PI * delay * double(i));
        }
    re[0] += noise;
}

} // namespace

BOOST_DATA_TEST_CASE(inverse_with_gaps,
                     boost::unit_test::data::make(std::vector<size_t>{ 2, 9, 53, 64 }) *
                         boost::unit_test::data::make(std::vector<double>{ 1.0, 1e-2, 1e-5 }),
                     n, noise)
{
    for (const auto& gaps : { std::vector<size_t>{}, { n / 2 }, { size_t(0), n - 1 } }) {
        if (gaps.size() >= n)
            continue;
        std::vector<double> t_re, t_im;
        covariance(n, noise, t_re, t_im);
        std::vector<size_t> kept;
        for (size_t i = 0; i < n; i++)
            if (std::find(gaps.begin(), gaps.end(), i) == gaps.end())
                kept.push_back(i);
        const size_t m = kept.size();
        std::vector<double> s_re(m * m), s_im(m * m), re(m * m), im(m * m);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < m; j++) {
                const long lag = long(kept[i]) - long(kept[j]);
                s_re[i * m + j] = t_re[size_t(std::labs(lag))];
                s_im[i * m + j] = lag < 0 ? -t_im[size_t(-lag)] : t_im[size_t(lag)];
            }
        toeplitz_inverse inverse;
        inverse.resize(n, gaps);
        BOOST_TEST_REQUIRE(inverse.run(t_re.data(), t_im.data(), re.data(), im.data()));
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < i; j++) {
                re[i * m + j] = re[j * m + i];
                im[i * m + j] = -im[j * m + i];
            }
        double worst = 0;
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < m; j++) {
                double sum_re = i == j ? -1 : 0, sum_im = 0;
                for (size_t k = 0; k < m; k++) {
                    sum_re += s_re[i * m + k] * re[k * m + j] - s_im[i * m + k] * im[k * m + j];
                    sum_im += s_re[i * m + k] * im[k * m + j] + s_im[i * m + k] * re[k * m + j];
                }
                worst = std::max(worst, std::hypot(sum_re, sum_im));
            }
        // The residual's bound is condition number times rounding, condition number n / noise at most.
        BOOST_TEST(worst < 1e-13 * double(n) * double(n) / noise);
    }
}

BOOST_AUTO_TEST_CASE(not_positive_definite)
{
    toeplitz_inverse inverse;
    inverse.resize(3, {});
    std::vector<double> re(9), im(9);
    const double t_re[] = { 1, 2, 3 }, zero[] = { 0, 0, 0 }, none[] = { NAN, 0, 0 };
    BOOST_TEST(!inverse.run(t_re, zero, re.data(), im.data()));
    BOOST_TEST(!inverse.run(none, zero, re.data(), im.data()));
}

BOOST_AUTO_TEST_CASE(guide_gives_the_same_either_way)
{
    // Pilots in another order take the general inverse, and everything else is the same.
    const size_t carriers = 64, taps = 128;
    std::vector<int> pilots, shuffled;
    for (int k = 6; k < 59; k++)
        if (k != 32)
            pilots.push_back(k);
    for (size_t i = 0; i < pilots.size(); i++)
        shuffled.push_back(pilots[(i * 7) % pilots.size()]);
    std::vector<float> gamma(taps), mu(2 * taps, 0.01f);
    for (size_t l = 0; l < taps; l++)
        gamma[l] = std::exp(-0.1f * float(l)) * 0.1f + 1e-6f;
    auto observed = [](int k) { return std::polar(1.0, 0.3 * k) + 0.5 * std::polar(1.0, -0.05 * k * k); };
    std::vector<std::complex<double>> y, y_shuffled;
    for (int k : pilots)
        y.push_back(observed(k));
    for (int k : shuffled)
        y_shuffled.push_back(observed(k));
    delay_guide a(carriers, taps), b(carriers, taps);
    a.set_pilots(pilots);
    b.set_pilots(shuffled);
    for (double noise : { 1.0, 1e-3, 1e-5 }) {
        a.run(y.data(), mu.data(), gamma.data(), noise);
        b.run(y_shuffled.data(), mu.data(), gamma.data(), noise);
        std::vector<std::complex<float>> ha(carriers), hb(carriers);
        std::vector<float> va(carriers), vb(carriers);
        a.response(ha.data());
        b.response(hb.data());
        a.variance(va.data());
        b.variance(vb.data());
        for (size_t k = 0; k < carriers; k++) {
            BOOST_TEST(std::abs(ha[k] - hb[k]) < 1e-4f);
            BOOST_TEST(std::abs(va[k] - vb[k]) < 1e-4f * vb[k] + 1e-9f);
        }
        for (size_t l = 0; l < taps; l++)
            BOOST_TEST(std::abs(a.q()[l] - b.q()[l]) < 1e-4f * std::abs(b.q()[l]) + 1e-6f);
    }
}
