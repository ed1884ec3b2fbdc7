/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/delay_guide.h"
#include <boost/test/unit_test.hpp>
#include <boost/test/data/test_case.hpp>
#include <cmath>
#include <random>

using namespace gr::diffusion::engine;
using cdouble = std::complex<double>;

namespace {

std::mt19937 source(1);
double uniform()
{
    return double(source()) / 4294967296.0;
}
cdouble normal()
{
    return std::polar(std::sqrt(-std::log(1 - uniform())), 2 * M_PI * uniform());
}

//! exp(-2 pi j (k - carriers/2) l / taps)
cdouble atom(size_t k, size_t l, size_t carriers, size_t taps)
{
    return std::polar(1.0, -2 * M_PI * (double(k) - double(carriers / 2)) * double(l) / double(taps));
}

} // namespace

BOOST_DATA_TEST_CASE(fft_is_the_sum,
                     (boost::unit_test::data::make(std::vector<size_t>{ 2, 4, 8, 128, 2048 })), n)
{
    small_fft fft(n);
    std::vector<double> re(n), im(n);
    for (size_t l = 0; l < n; l++)
        re[l] = normal().real(), im[l] = normal().imag();
    std::vector<double> xr = re, xi = im;
    fft.forward(xr.data(), xi.data());
    for (size_t k : { size_t(0), size_t(1), n / 2, n - 1 }) {
        cdouble sum = 0;
        for (size_t l = 0; l < n; l++)
            sum += cdouble(re[l], im[l]) * std::polar(1.0, -2 * M_PI * double(k * l % n) / double(n));
        BOOST_TEST(std::abs(sum - cdouble(xr[k], xi[k])) < 1e-12 * double(n));
    }
    fft.backward(xr.data(), xi.data());
    for (size_t l = 0; l < n; l++)
        BOOST_TEST(std::hypot(xr[l] / double(n) - re[l], xi[l] / double(n) - im[l]) < 1e-13);
}

BOOST_AUTO_TEST_CASE(fft_refuses_other_lengths)
{
    for (size_t n : { 0, 1, 3, 96 })
        BOOST_CHECK_THROW(small_fft fft(n), std::invalid_argument);
}

BOOST_DATA_TEST_CASE(inverse_of_an_ill_conditioned_matrix,
                     (boost::unit_test::data::make(std::vector<size_t>{ 1, 2, 7, 16, 64 })), n)
{
    // Three paths and a little noise: condition number about n / noise.
    const double noise = 1e-6;
    std::vector<double> re(n * n), im(n * n), scratch(2 * n * n);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            cdouble s = i == j ? noise : 0;
            for (double w : { 0.3, 0.31, 2.0 })
                s += std::polar(1 / 3.0, w * (double(i) - double(j)));
            re[i * n + j] = s.real();
            im[i * n + j] = s.imag();
        }
    const auto a_re = re, a_im = im;
    BOOST_TEST(invert_hermitian(re.data(), im.data(), n, scratch.data()));
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            cdouble s = i == j ? -1 : 0;
            for (size_t k = 0; k < n; k++)
                s += cdouble(a_re[i * n + k], a_im[i * n + k]) * cdouble(re[k * n + j], im[k * n + j]);
            worst = std::max(worst, std::abs(s));
        }
    BOOST_TEST(worst < 1e-15 * double(n * n) / noise);
}

BOOST_AUTO_TEST_CASE(indefinite_matrices_are_noticed)
{
    std::vector<double> re{ 1, 2, 2, 1 }, im(4, 0), scratch(8);
    BOOST_TEST(!invert_hermitian(re.data(), im.data(), 2, scratch.data()));
    re = { std::nan(""), 0, 0, 1 };
    BOOST_TEST(!invert_hermitian(re.data(), im.data(), 2, scratch.data()));
}

// m, z, q and the variance against the formulas in the header, written out for one pilot set.
BOOST_DATA_TEST_CASE(guide_is_the_gaussian_posterior,
                     (boost::unit_test::data::make(std::vector<bool>{ false, true })), with_mean)
{
    const size_t carriers = 24, taps = 64, count = 5;
    const std::vector<int> pilots{ 3, 0, 11, 12, 23 };
    const double noise = 0.02;
    delay_guide guide(carriers, taps);
    guide.set_pilots(pilots);
    std::vector<float> gamma(taps), mu(2 * taps);
    std::vector<cdouble> y(count);
    for (size_t l = 0; l < taps; l++) {
        gamma[l] = float(std::exp(-double(l) / 5) * uniform()) + 1e-6f;
        mu[l] = float(0.3 * normal().real());
        mu[taps + l] = float(0.3 * normal().imag());
    }
    for (auto& v : y)
        v = normal();
    guide.run(y.data(), with_mean ? mu.data() : nullptr, gamma.data(), noise);

    std::vector<double> re(count * count), im(count * count), scratch(2 * count * count);
    std::vector<cdouble> residual = y;
    for (size_t i = 0; i < count; i++) {
        for (size_t l = 0; l < taps && with_mean; l++)
            residual[i] -= atom(pilots[i], l, carriers, taps) * cdouble(mu[l], mu[taps + l]);
        for (size_t j = 0; j < count; j++) {
            cdouble s = i == j ? noise : 0;
            for (size_t l = 0; l < taps; l++)
                s += double(gamma[l]) * atom(pilots[i], l, carriers, taps) *
                     std::conj(atom(pilots[j], l, carriers, taps));
            re[i * count + j] = s.real();
            im[i * count + j] = s.imag();
        }
    }
    BOOST_TEST(invert_hermitian(re.data(), im.data(), count, scratch.data()));
    std::vector<cdouble> m(taps);
    for (size_t l = 0; l < taps; l++) {
        cdouble z = 0, q = 0;
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count; j++) {
                const cdouble term = std::conj(atom(pilots[i], l, carriers, taps)) *
                                     cdouble(re[i * count + j], im[i * count + j]);
                z += term * residual[j];
                q += term * atom(pilots[j], l, carriers, taps);
            }
        m[l] = (with_mean ? cdouble(mu[l], mu[taps + l]) : 0) + double(gamma[l]) * z;
        BOOST_TEST(std::abs(cdouble(guide.z()[l], guide.z()[taps + l]) - z) < 1e-5 * (1 + std::abs(z)));
        BOOST_TEST(std::abs(guide.q()[l] - q.real()) < 1e-5 * q.real());
        BOOST_TEST(std::abs(cdouble(guide.m()[l], guide.m()[taps + l]) - m[l]) < 1e-6);
    }
    std::vector<std::complex<float>> h(carriers);
    std::vector<float> variance(carriers);
    guide.response(h.data());
    guide.variance(variance.data());
    for (size_t k = 0; k < carriers; k++) {
        cdouble expected = 0, reduction = 0;
        double total = 0;
        std::vector<cdouble> c(count);
        for (size_t l = 0; l < taps; l++) {
            expected += atom(k, l, carriers, taps) * m[l];
            total += gamma[l];
            for (size_t i = 0; i < count; i++)
                c[i] += double(gamma[l]) * atom(pilots[i], l, carriers, taps) *
                        std::conj(atom(k, l, carriers, taps));
        }
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count; j++)
                reduction += std::conj(c[i]) * cdouble(re[i * count + j], im[i * count + j]) * c[j];
        BOOST_TEST(std::abs(cdouble(h[k]) - expected) < 1e-5);
        BOOST_TEST(std::abs(variance[k] - (total - reduction.real())) < 1e-5 * total);
    }
}

BOOST_AUTO_TEST_CASE(bad_pilots_are_named)
{
    delay_guide guide(64, 128);
    for (const auto& pilots : { std::vector<int>{}, { 64 }, { -1 }, { 3, 5, 3 } })
        BOOST_CHECK_THROW(guide.set_pilots(pilots), std::invalid_argument);
}
