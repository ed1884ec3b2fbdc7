/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "qam.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

qam::qam(int bits) : d_bits(bits)
{
    if (bits != 1 && bits != 2 && bits != 4 && bits != 6 && bits != 8)
        throw std::invalid_argument("qam: " + std::to_string(bits) +
                                    " bits per symbol; use 1, 2, 4, 6 or 8");
    const int levels = 1 << rail_bits();
    // Mean power of levels -(L-1), -(L-3), ..., L-1 is (L^2-1)/3 a rail.
    const int rails = bits == 1 ? 1 : 2;
    const double scale = 1 / std::sqrt(rails * (levels * levels - 1) / 3.0);
    d_levels.resize(levels);
    d_ascending.resize(levels);
    for (int n = 0; n < levels; n++) {
        const int label = n ^ (n >> 1);
        d_ascending[n] = label;
        d_levels[label] = float((2 * n + 1 - levels) * scale);
    }
    d_lowest = d_levels[0];
    d_spacing = float(2 * scale);
    d_points.resize(size_t(1) << bits);
    for (size_t i = 0; i < d_points.size(); i++)
        d_points[i] = bits == 1   ? std::complex<float>(d_levels[i], 0)
                      : bits == 2 ? std::complex<float>(d_levels[i & 1], d_levels[i >> 1])
                                  : std::complex<float>(d_levels[i >> rail_bits()], d_levels[i & (levels - 1)]);
}

void qam::map(const uint8_t* bits, std::complex<float>* symbols, size_t n) const
{
    for (size_t i = 0; i < n; i++) {
        unsigned label = 0;
        for (int b = 0; b < d_bits; b++)
            label = 2 * label + (*bits++ & 1);
        symbols[i] = d_points[label];
    }
}

inline int qam::nearest_level(float y) const
{
    // Clamped before the cast: the float may be beyond any int.
    const float top = float(d_levels.size() - 1);
    const float n = std::floor((y - d_lowest) / d_spacing + 0.5f);
    return d_ascending[int(n > 0 ? std::min(n, top) : 0.0f)];
}

void qam::decide(const std::complex<float>* y, uint8_t* labels, size_t n) const
{
    for (size_t i = 0; i < n; i++) {
        const int re = nearest_level(y[i].real()), im = nearest_level(y[i].imag());
        labels[i] = uint8_t(d_bits == 1 ? re : d_bits == 2 ? im << 1 | re : re << rail_bits() | im);
    }
}

inline void qam::soft_rail(float y, float noise_var, float* llr) const
{
    const size_t levels = d_levels.size();
    if (levels == 2) { // a sum of one term needs no exponential
        const float zero = y - d_levels[0], one = y - d_levels[1];
        *llr = -one * one / noise_var + zero * zero / noise_var;
        return;
    }
    float metric[16];
    float best = -INFINITY;
    for (size_t l = 0; l < levels; l++) {
        const float d = y - d_levels[l];
        metric[l] = -d * d / noise_var;
        best = std::max(best, metric[l]);
    }
    for (size_t l = 0; l < levels; l++)
        metric[l] -= best;
    const int bits = rail_bits();
    for (int b = 0; b < bits; b++) {
        // Each side is taken relative to its own best level, so that far points do not underflow to 0/0.
        float top[2] = { -INFINITY, -INFINITY }, sum[2] = { 0, 0 };
        for (size_t l = 0; l < levels; l++) {
            const int bit = (l >> (bits - 1 - b)) & 1;
            top[bit] = std::max(top[bit], metric[l]);
        }
        for (size_t l = 0; l < levels; l++) {
            const int bit = (l >> (bits - 1 - b)) & 1;
            sum[bit] += std::exp(metric[l] - top[bit]);
        }
        llr[b] = top[1] - top[0] + std::log(sum[1] / sum[0]);
    }
}

void qam::soft(const std::complex<float>* y, const float* noise_var, float* llr, size_t n) const
{
    for (size_t i = 0; i < n; i++, llr += d_bits) {
        if (!std::isfinite(y[i].real()) || !std::isfinite(y[i].imag()) || !(noise_var[i] > 0) ||
            !std::isfinite(noise_var[i])) {
            std::fill_n(llr, d_bits, 0.0f); // an erasure: knows nothing
            continue;
        }
        const int re = d_bits == 2 ? 1 : 0, im = d_bits == 2 ? 0 : rail_bits();
        soft_rail(y[i].real(), noise_var[i], llr + re);
        if (d_bits > 1)
            soft_rail(y[i].imag(), noise_var[i], llr + im);
    }
}

void qam::hard(const std::complex<float>* y, const float* noise_var, float* llr, size_t n) const
{
    double mean = 0;
    size_t usable = 0;
    for (size_t i = 0; i < n; i++)
        if (std::isfinite(noise_var[i])) {
            mean += noise_var[i];
            usable++;
        }
    mean = usable ? std::max(mean / usable, 1e-6) : 1;
    const double levels = double(d_levels.size());
    const double q = 0.5 * std::erfc(0.5 * d_spacing / std::sqrt(mean / 2) / std::sqrt(2.0));
    const double ber = std::clamp(2 * (1 - 1 / levels) * q / rail_bits(), 1e-6, 0.4999);
    const float sure = float(std::log((1 - ber) / ber));
    for (size_t i = 0; i < n; i++) {
        uint8_t label;
        decide(y + i, &label, 1);
        for (int b = 0; b < d_bits; b++)
            *llr++ = (label >> (d_bits - 1 - b)) & 1 ? sure : -sure;
    }
}

} // namespace gr::diffusion::dsp
