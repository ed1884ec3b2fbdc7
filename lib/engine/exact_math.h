/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <cmath>
#include <limits>

/*! exp and log that give the same bits on every machine.
 *
 * Transmitter and receiver of a shaped link each derive the composition from the SNR; one unit in the
 * last place between two C libraries, or a multiply-add that one compiler fuses and another does not,
 * could move a symbol from one class to another and nothing would decode. So: only operations IEEE 754
 * defines to the last bit, every multiply-add written as std::fma, error about 1 ulp (tested).
 */
namespace gr::diffusion::engine::exact {

//! Polynomial sum c[i] x^i by Horner's rule, fused.
template <int n>
inline double polynomial(const double (&c)[n], double x)
{
    double sum = c[n - 1];
    for (int i = n - 2; i >= 0; i--)
        sum = std::fma(sum, x, c[i]);
    return sum;
}

constexpr double ln2_high = 0x1.62e42fefa38p-1; // few enough bits that k ln2_high is exact
constexpr double ln2_low = 0x1.ef35793c7673p-45;

inline double exp(double x)
{
    if (std::isnan(x))
        return x;
    if (x > 709)
        return std::numeric_limits<double>::infinity();
    if (x < -700)
        return 0;
    const double k = std::floor(std::fma(x, 0x1.71547652b82fep0, 0.5));
    const double t = std::fma(-k, ln2_low, std::fma(-k, ln2_high, x)); // |t| <= ln(2)/2
    static const double c[] = { 1.,           1.,          1. / 2,        1. / 6,         1. / 24,
                                1. / 120,     1. / 720,    1. / 5040,     1. / 40320,     1. / 362880,
                                1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800. };
    return std::ldexp(polynomial(c, t), int(k));
}

//! Natural logarithm; -infinity at 0, NaN below.
inline double log(double x)
{
    if (!(x > 0))
        return x == 0 ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
    if (std::isinf(x))
        return x;
    int k;
    double m = std::frexp(x, &k);
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        k--;
    }
    const double s = (m - 1) / (m + 1), z = s * s; // |s| < 0.172; log m = 2 atanh s
    static const double c[] = { 2.,      2. / 3,  2. / 5,  2. / 7,  2. / 9, 2. / 11,
                                2. / 13, 2. / 15, 2. / 17, 2. / 19, 2. / 21 };
    const double tail = std::fma(double(k), ln2_low, s * polynomial(c, z));
    return std::fma(double(k), ln2_high, tail);
}

inline double log2(double x)
{
    return log(x) * 0x1.71547652b82fep0;
}

} // namespace gr::diffusion::engine::exact
