/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "few_bit_pilots.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {
constexpr size_t most_levels = 32;
}

few_bit_pilots::few_bit_pilots(const std::complex<float>* y, size_t n)
{
    const adc_grid grid = adc_grid::detect(y, n);
    if (!(grid.step > 0))
        return;
    size_t levels = 2;
    while (levels < 2 * std::lround(grid.top / grid.step + 0.5))
        levels *= 2; // converters have a power of two, seen or not
    if (levels > most_levels)
        return;
    d_levels = levels;
    d_step = grid.step;
}

double few_bit_pilots::mean_square(double step, size_t levels)
{
    // Q^2 grows by ((k + 1/2)^2 - (k - 1/2)^2) step^2 = 2 k step^2 at |s| = k step
    double sum = 0.25;
    for (size_t k = 1; k < levels / 2; k++)
        sum += 2 * double(k) * std::erfc(double(k) * step / std::sqrt(2));
    return sum * step * step;
}

double few_bit_pilots::gain(double step, size_t levels)
{
    // E[Q(s) s] = E[Q'(s)] (Stein): a jump of one step at 0, +-step, ...
    double sum = 1;
    for (size_t k = 1; k < levels / 2; k++)
        sum += 2 * std::exp(-0.5 * double(k) * double(k) * step * step);
    return sum * step / std::sqrt(2 * M_PI);
}

float few_bit_pilots::apply(std::complex<float>* y, size_t n, float noise_var, float power) const
{
    if (d_levels == 0 || n == 0)
        return noise_var;
    double seen = 0;
    for (size_t i = 0; i < n; i++)
        seen += std::norm(std::complex<double>(y[i])) / double(2 * n);
    double step; // in standard deviations of a rail
    if (d_levels == 2) {
        step = d_step / std::sqrt(0.5 * (double(power) + noise_var));
    } else {
        // mean_square / step^2 falls as the step grows: bisection between a sign and hardly any clipping
        // A flat channel fills one level only and says little: no converter is set to clip at less than one
        // deviation.
        double low = 2 / double(d_levels), high = 8;
        for (int i = 0; i < 50; i++) {
            step = std::sqrt(low * high);
            (mean_square(step, d_levels) / (step * step) > seen / (d_step * d_step) ? low : high) = step;
        }
    }
    const double g = gain(step, d_levels);
    // 1 unit of the normalised rail is d_step / step: but one bit has no scale, there the caller's power
    // gives it
    const double distortion = mean_square(step, d_levels) / (g * g) - 1;
    const double rail = d_step / step;
    for (size_t i = 0; i < n; i++)
        y[i] *= float(1 / g);
    return float(noise_var + 2 * rail * rail * std::max(distortion, 0.0));
}

} // namespace gr::diffusion::dsp
