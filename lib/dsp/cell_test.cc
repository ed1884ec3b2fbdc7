/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cell_test.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {

constexpr size_t max_bins = 16;

double gaussian_below(double x) { return 0.5 * std::erfc(-x * M_SQRT1_2); }

} // namespace

void cell_test::prepare(const link_law& law, double noise_var)
{
    d_step = law.valid() ? law.step : 0;
    d_half = law.half;
    if (d_step <= 0 || d_half == 0)
        return;
    const double additive = law.additive_at(noise_var) / 2;
    for (int k = 0; k < 2; k++) {
        rail& r = d_rails[size_t(k)];
        r.bin.clear();
        r.expected.assign(1, 0.0);
        double before = 0;
        for (size_t level = 0; level < 2 * d_half; level++) {
            // What lies below this level's upper edge; the outermost cells are open.
            double below = 0;
            const double edge = (double(level + 1) - double(d_half)) * d_step;
            for (const auto& s : law.symbols) {
                const double mean = k ? s.mean.imag() : s.mean.real(),
                             other = k ? s.mean.real() : s.mean.imag();
                const double variance = additive + s.uncertainty + law.phase_var * other * other;
                below += gaussian_below((edge - mean) / std::sqrt(std::max(variance, 1e-12)));
            }
            below = level + 1 == 2 * d_half ? 1 : below / double(law.symbols.size());
            if (r.expected.back() >= 1.0 / max_bins && 1 - before >= 1.0 / max_bins)
                r.expected.push_back(0);
            r.expected.back() += below - before;
            r.bin.push_back((unsigned char)(r.expected.size() - 1));
            before = below;
        }
    }
}

double cell_test::distance(const rail& r, const float* values, size_t n) const
{
    std::array<size_t, max_bins + 1> seen{};
    for (size_t i = 0; i < n; i++) {
        const double level = std::floor(double(values[2 * i]) / d_step) + double(d_half);
        seen[r.bin[size_t(std::clamp(level, 0.0, double(2 * d_half - 1)))]]++;
    }
    double sum = 0;
    for (size_t b = 0; b < r.expected.size(); b++)
        sum += std::pow(double(seen[b]) / double(n) - r.expected[b], 2) / std::max(r.expected[b], 1e-3);
    return sum;
}

double cell_test::distance(const std::complex<float>* y, size_t n) const
{
    if (d_step <= 0 || n == 0)
        return 0;
    const float* const values = reinterpret_cast<const float*>(y);
    return (distance(d_rails[0], values, n) + distance(d_rails[1], values + 1, n)) / 2;
}

} // namespace gr::diffusion::dsp
