/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

//! E[x | y] of a square constellation in Gaussian noise, rail by rail; \p levels of a rail, evenly spaced.
inline float soft_level(float y, float noise_var, int levels, float spacing)
{
    float sum = 0, mean = 0;
    const float scale = 1 / std::max(noise_var, 1e-9f), first = -0.5f * spacing * float(levels - 1);
    const float at = std::clamp(std::round((y - first) / spacing), 0.0f, float(levels - 1));
    const float least = y - (first + spacing * at);
    for (int l = std::max(0, int(at) - 2); l < std::min(levels, int(at) + 3); l++) {
        const float x = first + spacing * float(l);
        const float p = std::exp(scale * (least * least - (y - x) * (y - x)));
        sum += p;
        mean += p * x;
    }
    return mean / sum;
}

} // namespace gr::diffusion::dsp
