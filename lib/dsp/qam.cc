/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "qam.h"
#include "engine/scalar_math.h"
#include "engine/vectorise.h"
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
    d_log_prior.assign(size_t(levels), 0);
    d_entropy = bits;
    d_points.resize(size_t(1) << bits);
    for (size_t i = 0; i < d_points.size(); i++)
        d_points[i] = bits == 1 ? std::complex<float>(d_levels[i], 0)
                      : bits == 2
                          ? std::complex<float>(d_levels[i & 1], d_levels[i >> 1])
                          : std::complex<float>(d_levels[i >> rail_bits()], d_levels[i & (levels - 1)]);
}

qam::qam(int bits, const std::vector<double>& amplitudes) : qam(bits)
{
    const size_t half = d_levels.size() / 2;
    if (bits < 4 || amplitudes.size() != half)
        throw std::invalid_argument("qam: " + std::to_string(amplitudes.size()) + " amplitudes for " +
                                    std::to_string(bits) + " bits per symbol; use " + std::to_string(half) +
                                    ", with 4, 6 or 8 bits");
    double sum = 0, power = 0;
    for (size_t a = 0; a < half; a++) {
        if (!(amplitudes[a] >= 0) || !std::isfinite(amplitudes[a]))
            throw std::invalid_argument("qam: an amplitude has probability " + std::to_string(amplitudes[a]) +
                                        "; use finite ones, not negative");
        sum += amplitudes[a];
        const double level = d_levels[d_ascending[half + a]];
        power += 2 * amplitudes[a] * level * level;
    }
    if (!(sum > 0))
        throw std::invalid_argument("qam: all amplitudes have probability 0");
    const float scale = float(std::sqrt(sum / power));
    d_entropy = 0;
    for (size_t a = 0; a < half; a++) {
        const double p = amplitudes[a] / sum / 2; // of either sign
        if (p > 0)
            d_entropy -= 4 * p * std::log2(p);
        for (size_t n : { half + a, half - 1 - a })
            d_log_prior[d_ascending[n]] = p > 0 ? float(std::max(std::log(p), -60.0)) : -60.0f;
    }
    for (auto& level : d_levels)
        level *= scale;
    for (auto& point : d_points)
        point *= scale;
    d_lowest *= scale;
    d_spacing *= scale;
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

namespace {

constexpr size_t chunk = 64; // rails that are worked on together

//! Exact LLRs of one bit of n <= chunk rails. Which levels have it set: the bits of \p set.
DIFFUSION_VECTORISE void soft_bit(const float* __restrict metric, size_t levels, unsigned set, size_t n,
                                  float* __restrict llr)
{
    // Each side is taken relative to its own best level, so that far points do not underflow to 0/0.
    float top[2][chunk], sum[2][chunk];
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < n; i++) {
            top[side][i] = -INFINITY;
            sum[side][i] = 0;
        }
    for (size_t l = 0; l < levels; l++) {
        float* const best = top[set >> l & 1];
        for (size_t i = 0; i < n; i++)
            best[i] = metric[l * chunk + i] > best[i] ? metric[l * chunk + i] : best[i];
    }
    for (size_t l = 0; l < levels; l++) {
        const float* const best = top[set >> l & 1];
        float* const total = sum[set >> l & 1];
        for (size_t i = 0; i < n; i++) {
            const float x = metric[l * chunk + i] - best[i];
            total[i] += engine::exp_bounded(x > -60 ? x : -60); // e^-60 is nothing beside the best level's 1
        }
    }
    for (size_t i = 0; i < n; i++)
        llr[i] = top[1][i] - top[0][i] + engine::log_positive(sum[1][i] / sum[0][i]);
}

DIFFUSION_VECTORISE void level_metrics(const float* __restrict y, const float* __restrict noise_var,
                                       float level, float log_prior, size_t n, float* __restrict metric)
{
    for (size_t i = 0; i < n; i++) {
        const float d = y[i] - level;
        metric[i] = log_prior - d * d / noise_var[i];
    }
}

} // namespace

//! LLRs of n <= chunk rails, bit by bit: llr[b * chunk + i].
void qam::soft_rails(const float* y, const float* noise_var, float* llr, size_t n) const
{
    const size_t levels = d_levels.size();
    float metric[16 * chunk];
    for (size_t l = 0; l < levels; l++)
        level_metrics(y, noise_var, d_levels[l], d_log_prior[l], n, metric + l * chunk);
    if (levels == 2) { // a sum of one term needs no exponential
        for (size_t i = 0; i < n; i++)
            llr[i] = metric[chunk + i] - metric[i];
        return;
    }
    const int bits = rail_bits();
    for (int b = 0; b < bits; b++) {
        unsigned set = 0;
        for (size_t l = 0; l < levels; l++)
            set |= unsigned(l >> (bits - 1 - b) & 1) << l;
        soft_bit(metric, levels, set, n, llr + size_t(b) * chunk);
    }
}

void qam::soft(const std::complex<float>* y, const float* noise_var, float* llr, size_t n) const
{
    const size_t bits = size_t(d_bits), per_rail = size_t(rail_bits());
    float rail[chunk], noise[chunk], out[8 * chunk];
    for (size_t from = 0; from < n; from += chunk) {
        const size_t count = std::min(chunk, n - from);
        bool known[chunk];
        for (size_t i = 0; i < count; i++) {
            const float v = noise_var[from + i];
            known[i] = std::isfinite(y[from + i].real()) && std::isfinite(y[from + i].imag()) && v > 0 &&
                       std::isfinite(v);
            noise[i] = known[i] ? v : 1;
        }
        for (int imaginary = 0; imaginary < (d_bits == 1 ? 1 : 2); imaginary++) {
            for (size_t i = 0; i < count; i++)
                rail[i] = known[i] ? (imaginary ? y[from + i].imag() : y[from + i].real()) : 0;
            soft_rails(rail, noise, out, count);
            // QPSK has Q first.
            const size_t first = d_bits == 2 ? size_t(1 - imaginary) : imaginary ? per_rail : 0;
            for (size_t b = 0; b < per_rail; b++)
                for (size_t i = 0; i < count; i++) // an erasure knows nothing
                    llr[(from + i) * bits + first + b] = known[i] ? out[b * chunk + i] : 0;
        }
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

const qam& qam_of(int bits)
{
    static const qam bpsk(1), qpsk(2), qam16(4), qam64(6), qam256(8);
    switch (bits) {
    case 1: return bpsk;
    case 2: return qpsk;
    case 4: return qam16;
    case 6: return qam64;
    case 8: return qam256;
    }
    throw std::invalid_argument("modulation: " + std::to_string(bits) +
                                " bits per symbol; use 1, 2, 4, 6 or 8");
}

} // namespace gr::diffusion::dsp
