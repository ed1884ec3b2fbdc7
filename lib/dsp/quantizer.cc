/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "quantizer.h"
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

quantizer::quantizer(int bits, double full_scale, bool dither, uint64_t seed)
    : d_bits(bits), d_full_scale(full_scale), d_dither(dither), d_random(seed)
{
    set_bits(bits);
    set_full_scale(full_scale);
}

void quantizer::set_bits(int bits)
{
    if (bits < min_bits || bits > max_bits)
        throw std::invalid_argument("quantizer: bits is " + std::to_string(bits) +
                                    ", use 1 to 16 (per rail)");
    d_bits = bits;
    update();
}

void quantizer::set_full_scale(double full_scale)
{
    if (!(full_scale > 0) || !std::isfinite(full_scale))
        throw std::invalid_argument("quantizer: full_scale is " + std::to_string(full_scale) +
                                    ", use a positive amplitude (of one rail)");
    d_full_scale = full_scale;
    update();
}

void quantizer::update()
{
    const double levels = std::ldexp(1.0, d_bits);
    d_step = float(2 * d_full_scale / levels);
    d_inverse_step = float(levels / (2 * d_full_scale));
    d_limit = float(d_full_scale);
    d_top = float(levels / 2 - 0.5);
}

inline float quantizer::rail(float x)
{
    // Written so that NaN fails the comparison and is counted.
    d_clipped += !(std::abs(x) <= d_limit);
    if (std::isnan(x))
        x = 0;
    float level = x * d_inverse_step;
    if (d_dither)
        level += float(d_random.uniform()) - 0.5f;
    level = std::floor(level) + 0.5f;
    return std::fmin(std::fmax(level, -d_top), d_top) * d_step;
}

void quantizer::process(const std::complex<float>* in, std::complex<float>* out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = { rail(in[i].real()), rail(in[i].imag()) };
}

} // namespace gr::diffusion::dsp
