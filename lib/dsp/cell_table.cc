/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cell_table.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {
constexpr float largest_llr = 87;
constexpr float off_grid = 0.02f;    // of a step
constexpr double hopeless = 1e-280;  // no symbol's probability above it: outside the law
constexpr uint32_t failed = 0x80000000;
} // namespace

cell_table::cell_table(std::vector<std::complex<float>> points)
    : d_points(std::move(points)), d_p(d_points.size())
{
    while (size_t(1) << d_bits < d_points.size())
        d_bits++;
    d_width = 2 + d_bits;
}

void cell_table::prepare(const link_law& law, double noise_var, const std::vector<double>& log_pmf)
{
    if (!takes(law) || law.symbols.size() != d_points.size())
        throw std::invalid_argument("cell table: the law has no converter it can tabulate");
    const double additive = law.additive_at(noise_var);
    const auto nodes = law.phase_nodes(additive);
    const size_t m = d_points.size(), levels = 2 * law.half;
    const int half = int(law.half);
    d_nodes = nodes.size();
    d_levels = levels;
    d_step = law.step;
    d_per_step = float(1 / law.step);
    for (auto& rail : d_rail)
        rail.resize(d_nodes * levels * m);
    for (size_t t = 0; t < d_nodes; t++)
        for (size_t i = 0; i < m; i++) {
            const auto& s = law.symbols[i];
            const double weight = nodes[t].weight * (log_pmf.empty() ? 1 : std::exp(log_pmf[i]) * double(m));
            // 1 / (sqrt 2 deviation), as erfc has it
            const double scale = 1 / std::sqrt(additive + 2 * s.uncertainty);
            const double mean[2] = { s.mean.real() * nodes[t].cosine - s.mean.imag() * nodes[t].sine,
                                     s.mean.real() * nodes[t].sine + s.mean.imag() * nodes[t].cosine };
            for (int r = 0; r < 2; r++) {
                // Probabilities from the tail they lie in, so that small ones keep their digits.
                double low_below = 0, low_above = 2;
                for (int k = -half; k < half; k++) {
                    const double edge = ((k + 1) * law.step - mean[r]) * scale;
                    const bool last = k == half - 1;
                    const double below = last ? 2 : std::erfc(-edge), above = last ? 0 : std::erfc(edge);
                    const double p = 0.5 * (edge < 0 ? below - low_below : low_above - above);
                    d_rail[r][(t * levels + size_t(k + half)) * m + i] = r == 0 ? weight * p : p;
                    low_below = below;
                    low_above = above;
                }
            }
        }
    d_values.resize(levels * levels * d_width);
    if (d_made.size() != levels * levels)
        d_made.assign(levels * levels, 0);
    d_epoch = (d_epoch + 1) & ~failed;
    if (d_epoch == 0) { // after 2^31 of them
        std::fill(d_made.begin(), d_made.end(), 0u);
        d_epoch = 1;
    }
}

bool cell_table::find(std::complex<float> y, int& re, int& im) const
{
    const float a = y.real() * d_per_step, b = y.imag() * d_per_step;
    const float fa = std::floor(a), fb = std::floor(b);
    // Written so that NaN and what is too large for an int fail.
    if (!(std::abs(a - fa - 0.5f) < off_grid && std::abs(b - fb - 0.5f) < off_grid && std::abs(a) < 1e6f &&
          std::abs(b) < 1e6f))
        return false;
    const int half = int(d_levels / 2);
    re = std::clamp(int(fa), -half, half - 1) + half;
    im = std::clamp(int(fb), -half, half - 1) + half;
    return true;
}

void cell_table::likelihood(int re, int im)
{
    const size_t m = d_points.size();
    std::fill(d_p.begin(), d_p.end(), 0.0);
    for (size_t t = 0; t < d_nodes; t++) {
        const double* a = &d_rail[0][(t * d_levels + size_t(re)) * m];
        const double* b = &d_rail[1][(t * d_levels + size_t(im)) * m];
        for (size_t i = 0; i < m; i++)
            d_p[i] += a[i] * b[i];
    }
}

void cell_table::make(size_t cell, int re, int im)
{
    likelihood(re, im);
    double sum = 0, x = 0, y = 0, top = 0;
    double one[16] = {}, zero[16] = {};
    for (double p : d_p)
        top = std::max(top, p);
    if (!(top > hopeless)) {
        d_made[cell] = d_epoch | failed;
        return;
    }
    for (size_t i = 0; i < d_points.size(); i++) {
        const double p = d_p[i] / top;
        sum += p;
        x += p * d_points[i].real();
        y += p * d_points[i].imag();
        for (size_t b = 0; b < d_bits; b++)
            ((i >> (d_bits - 1 - b)) & 1 ? one : zero)[b] += p;
    }
    float* v = &d_values[cell * d_width];
    v[0] = float(x / sum);
    v[1] = float(y / sum);
    for (size_t b = 0; b < d_bits; b++)
        v[2 + b] = std::clamp(float(std::log(std::max(one[b], 1e-300)) - std::log(std::max(zero[b], 1e-300))),
                              -largest_llr, largest_llr);
    d_made[cell] = d_epoch;
}

bool cell_table::look_up(std::complex<float> y, std::complex<float>* x_hat, float* llr)
{
    int re, im;
    if (!find(y, re, im))
        return false;
    const size_t cell = size_t(re) * d_levels + size_t(im);
    if ((d_made[cell] & ~failed) != d_epoch)
        make(cell, re, im);
    if (d_made[cell] & failed)
        return false;
    const float* v = &d_values[cell * d_width];
    if (x_hat)
        *x_hat = { v[0], v[1] };
    if (llr)
        std::copy(v + 2, v + d_width, llr);
    return true;
}

void cell_table::log_likelihood(std::complex<float> y, double* out)
{
    int re, im;
    if (!find(y, re, im))
        throw std::invalid_argument("cell table: an observation lies off the converter's grid");
    likelihood(re, im);
    for (size_t i = 0; i < d_p.size(); i++)
        out[i] = std::log(d_p[i]);
}

} // namespace gr::diffusion::dsp
