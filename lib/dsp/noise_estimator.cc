/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "noise_estimator.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {
constexpr size_t first_look = 32;      // symbols that make a first, rough estimate
constexpr size_t settled = 4;          // estimates in a row before the stride lengthens
constexpr double smoothing = 0.3;
constexpr int first_iterations = 40, iterations = 8;
} // namespace

noise_estimator::noise_estimator(const symbol_law& law, const symbol_prior& prior)
{
    d_block.reserve(block);
    set_law(law, prior);
}

void noise_estimator::set_law(const symbol_law& law, const symbol_prior& prior)
{
    d_centroids.clear();
    const double points = double(law.points().size());
    d_weights.assign(law.points().size(), 1);
    for (size_t i = 0; i < prior.log_pmf.size() && i < d_weights.size(); i++)
        d_weights[i] = float(points * std::exp(prior.log_pmf[i]));
    const double power = prior.amplitude * prior.amplitude;
    double total = 0;
    const double reference = law.fitted() ? law.fit_noise_var() : 1;
    for (const auto& g : law.at(reference)) {
        total += (g.var_re + g.var_im) / points * double(d_weights[d_centroids.size()]);
        d_centroids.emplace_back(float(g.re * prior.amplitude), float(g.im * prior.amplitude));
    }
    d_offset = (reference - total) * power;
    reset();
}

void noise_estimator::reset()
{
    d_block.clear();
    d_skip = d_blocks = 0;
    d_mixture = 0;
}

bool noise_estimator::feed(const std::complex<float>* y, size_t n)
{
    bool fresh = false;
    for (size_t i = 0; i < n;) {
        if (d_skip > 0) {
            const size_t jump = std::min(d_skip, n - i);
            d_skip -= jump;
            i += jump;
            continue;
        }
        const bool sound = std::abs(y[i].real()) < 1e4f && std::abs(y[i].imag()) < 1e4f; // false for NaN
        if (sound)
            d_block.push_back(y[i]);
        i++;
        if (d_block.size() == block || (d_blocks == 0 && i == n && d_block.size() >= first_look)) {
            update();
            fresh = true;
        }
    }
    return fresh;
}

void noise_estimator::update()
{
    const bool first = d_blocks == 0;
    double variance = d_mixture;
    if (first || d_mixture <= 0) { // start from above: from below it may stay with the nearest points
        variance = 0;
        for (const auto& v : d_block)
            variance += std::norm(v) / double(d_block.size());
        variance = std::max(variance, smallest);
    }
    for (int k = 0; k < (first ? first_iterations : iterations); k++) {
        const float scale = float(-1 / variance);
        double sum = 0;
        for (const auto& v : d_block) {
            float nearest = 1e30f;
            for (const auto& c : d_centroids)
                nearest = std::min(nearest, std::norm(v - c));
            float weight = 1e-30f, error = 0;
            for (size_t i = 0; i < d_centroids.size(); i++) {
                const float d = std::norm(v - d_centroids[i]);
                const float w = d_weights[i] * std::exp((d - nearest) * scale);
                weight += w;
                error += w * d;
            }
            sum += error / weight;
        }
        const double next = std::clamp(sum / double(d_block.size()), smallest, largest);
        const bool done = std::abs(next - variance) < 0.005 * variance;
        variance = next;
        if (done)
            break;
    }
    // A partial first block gives an estimate, but the next one starts afresh.
    const bool whole = d_block.size() == block;
    d_mixture = first || d_blocks < 2 ? variance : std::exp((1 - smoothing) * std::log(d_mixture) +
                                                            smoothing * std::log(variance));
    // A jump of more than 3 dB is a new link, not an error of the estimate.
    if (std::abs(std::log(variance / d_mixture)) > 0.7)
        d_mixture = variance;
    d_estimate = std::clamp(d_mixture + d_offset, smallest, largest);
    if (whole) {
        d_blocks++;
        d_block.clear();
        d_skip = d_blocks > settled ? stride - block : 0;
    }
}

} // namespace gr::diffusion::dsp
