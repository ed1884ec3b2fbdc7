/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "interpolator.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

namespace {

constexpr double pi = 3.14159265358979323846;

//! Modified Bessel function of order 0, by its series (std::cyl_bessel_i is not in every libc++).
double bessel_i0(double x)
{
    double sum = 1, term = 1;
    for (int k = 1; k < 60; k++) {
        term *= (x / 2 / k) * (x / 2 / k);
        sum += term;
    }
    return sum;
}

} // namespace

interpolator::interpolator(double step) : d_step(step)
{
    if (!(step >= 1.0 / 64 && step <= 64))
        throw std::invalid_argument("interpolator: step is " + std::to_string(step) +
                                    ", use a ratio of rates of 1/64 to 64");
    const double cutoff = std::min(1.0, 1 / step), beta = 7;
    d_half = size_t(std::ceil(16 / cutoff));
    const size_t length = 2 * d_half;
    d_taps.resize((phases + 1) * length);
    for (int p = 0; p <= phases; p++) {
        double sum = 0;
        for (size_t k = 0; k < length; k++) {
            // distance from the position
            const double t = double(k) - double(d_half) + 1 - double(p) / phases;
            const double u = t / double(d_half);
            const double window = std::abs(u) < 1 ? bessel_i0(beta * std::sqrt(1 - u * u)) / bessel_i0(beta)
                                                  : 0;
            const double sinc = t == 0 ? 1 : std::sin(pi * cutoff * t) / (pi * cutoff * t);
            d_taps[p * length + k] = float(cutoff * sinc * window);
            sum += cutoff * sinc * window;
        }
        for (size_t k = 0; k < length; k++)
            d_taps[p * length + k] = float(d_taps[p * length + k] / sum); // gain 1 at DC
    }
}

void interpolator::process(const std::complex<float>* x, double position, std::complex<float>* out,
                           size_t n) const
{
    const size_t length = 2 * d_half;
    for (size_t i = 0; i < n; i++) {
        const double at = position + double(i) * d_step;
        const double whole = std::floor(at);
        const double phase = (at - whole) * phases;
        const int row = std::min(int(phase), phases - 1);
        const float w = float(phase - row);
        const float* a = d_taps.data() + size_t(row) * length;
        const float* b = a + length;
        const auto* from = x + std::ptrdiff_t(whole) - std::ptrdiff_t(d_half) + 1;
        float re = 0, im = 0;
        for (size_t k = 0; k < length; k++) {
            const float h = a[k] + w * (b[k] - a[k]);
            re += h * from[k].real();
            im += h * from[k].imag();
        }
        out[i] = { re, im };
    }
}

} // namespace gr::diffusion::dsp
