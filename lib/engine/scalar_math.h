/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <cstdint>
#include <cstring>

namespace gr::diffusion::engine {

/* log and exp without branches or calls, so that loops over them vectorise. Relative error about 1e-7
 * (minimax polynomials on one octave). */

//! Natural logarithm of a positive normal number.
inline float log_positive(float x)
{
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    // mantissa into [sqrt(1/2), sqrt(2))
    const uint32_t shifted = bits - 0x3f3504f3u;
    const int32_t exponent = int32_t(shifted) >> 23;
    const uint32_t mantissa = (shifted & 0x007fffffu) + 0x3f3504f3u;
    float m;
    std::memcpy(&m, &mantissa, 4);
    // log(1 + t) = 2 atanh(s), s = t / (2 + t), |s| < 0.172
    const float t = m - 1.0f;
    const float s = t / (2.0f + t);
    const float w = s * s;
    const float tail = w * (0.666666667f + w * (0.4f + w * (0.285714286f + w * 0.2222222f)));
    return float(exponent) * 0.693147181f + (2.0f * s + s * tail);
}

//! exp(x) for -80 < x < 80.
inline float exp_bounded(float x)
{
    const float scaled = x * 1.44269504f;
    const float rounded = (scaled + 12582912.0f) - 12582912.0f; // to the nearest whole number
    const float r = (x - rounded * 0.693359375f) + rounded * 2.12194440e-4f;
    const float p =
        1.0f +
        r * (1.0f + r * (0.5f + r * (0.166666667f + r * (0.0416666667f +
                                                         r * (0.00833333333f +
                                                              r * (0.00138888889f + r * 0.000198412698f))))));
    const uint32_t bits = uint32_t(int32_t(rounded) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, 4);
    return p * power;
}

} // namespace gr::diffusion::engine
