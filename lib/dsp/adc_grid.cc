/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "adc_grid.h"
#include <algorithm>
#include <cmath>
#include <vector>

namespace gr::diffusion::dsp {

namespace {
constexpr size_t min_samples = 16;
constexpr double max_levels = 512;
constexpr double tolerance = 2e-3; // of a step; floats of full scale 512 steps are a hundred times finer
} // namespace

adc_grid adc_grid::detect(const std::complex<float>* y, size_t n)
{
    if (n < min_samples)
        return {};
    std::vector<double> level(2 * n);
    for (size_t i = 0; i < n; i++) {
        level[2 * i] = std::abs(double(y[i].real()));
        level[2 * i + 1] = std::abs(double(y[i].imag()));
    }
    std::sort(level.begin(), level.end());
    const double top = level.back();
    if (!(top > 0) || !std::isfinite(top))
        return {};
    // The smallest distance of two different levels; 2 |x| of the smallest counts, being its mirror's
    // distance.
    double step = 2 * level.front();
    for (size_t i = 1; i < level.size(); i++) {
        const double gap = level[i] - level[i - 1];
        if (gap > 1e-5 * top)
            step = std::min(step, gap);
    }
    if (!(step > 2 * top / max_levels))
        return {};
    // Refine by the topmost level, then every level must lie on the grid.
    step = top / (std::floor(top / step) + 0.5);
    size_t distinct = 0;
    double last = -1;
    for (double v : level) {
        const double k = v / step - 0.5;
        if (std::abs(k - std::round(k)) > tolerance)
            return {};
        distinct += v - last > 0.5 * step;
        last = v;
    }
    // Random values would share no levels; ask for every level to be seen four times on average.
    if (4 * distinct > level.size())
        return {};
    return { step, top };
}

} // namespace gr::diffusion::dsp
