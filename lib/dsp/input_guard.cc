/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "input_guard.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {

constexpr size_t cells = 8;
constexpr size_t stride = 4096;        // symbols from block to block while nothing is suspicious
constexpr uint64_t close_tests = 8;    // so many before time is spared
constexpr double time_share = 50;      // the pause after a test, in units of its duration
constexpr size_t settled = 16;         // blocks whose moments make a reference
constexpr double jump_deviations = 5;  // from it that are a jump
constexpr double follow = 1.0 / 64;    // how fast the reference moves

// Bounds beyond which a block is bad. Those of level, noise and shape lie well outside what random hardware does to a
// fitted law (evaluate guard measures it); an unfitted law must also bear the hardware it does not know.
constexpr double least_power = 1e-4;
constexpr double power_low = 0.7, power_high = 1.4, grid_power_low = 0.25, grid_power_high = 4;
constexpr double noise_fitted = 4, noise_unfitted = 12;
constexpr double shape_limit = 0.16, shape_per_symbol = 20; // Laplacian noise makes 0.15
constexpr double cells_limit = 0.1; // a fit from 100 known symbols makes up to 0.07, 3 dB of gain 0.15 and more
constexpr size_t least_pool = 4, most_pool = 16;
constexpr double pooled_fitted = 0.02, pooled_unfitted = 0.03, pooled_per_known = 3, pooled_per_block = 0.04;
constexpr double unused_limit = 2, unused_per_symbol = 1.5;
constexpr double range_margin_db = 1;

//! Distinct magnitudes among the first rails if they are few, as of a converter of at most about 6 bits; else 0.
size_t levels_of(const std::complex<float>* y, size_t n)
{
    float seen[64];
    size_t distinct = 0;
    const size_t rails = std::min<size_t>(2 * n, 160);
    for (size_t i = 0; i < rails; i++) {
        const float v = std::abs(i % 2 ? y[i / 2].imag() : y[i / 2].real());
        bool found = false;
        for (size_t k = 0; k < distinct && !found; k++)
            found = std::abs(seen[k] - v) < 1e-5f * (v + seen[k]);
        if (found)
            continue;
        if (distinct == 48)
            return 0;
        seen[distinct++] = v;
    }
    return distinct;
}

} // namespace

input_guard::input_guard(const symbol_law& law, std::pair<double, double> snr_db) : d_law(law), d_range(snr_db)
{
    d_block.reserve(block);
    set_law(law);
}

void input_guard::set_law(const symbol_law& law)
{
    d_law = law;
    const size_t m = law.points().size();
    d_points.resize(m);
    d_distance.resize(block * m);
    d_weight.resize(m);
    d_share.resize(m);
    d_prepared = -1;
    d_has_rivals = d_rivals.prepare(law.points()) && !law.fitted();
    reset();
}

void input_guard::reset()
{
    d_block.clear();
    d_skip = d_lost = 0;
    d_bad = d_good = 0;
    d_tests = 0;
    d_pool = 0;
    d_rivals.reset();
    d_level = d_kurtosis = {};
    d_square = d_fourth = 0;
    d_summed = 0;
    d_scale = 1;
    d_alarm = false;
    d_report = {};
}

void input_guard::set_noise_var(double noise_var, bool said)
{
    d_said = said;
    if (noise_var == d_noise_var)
        return;
    // A block across two noise levels fits neither.
    const double ratio = noise_var / d_noise_var;
    if (ratio > 1.25 || ratio < 0.8)
        d_rivals.reset();
    if ((ratio > 1.25 || ratio < 0.8) && d_block.size() < least)
        d_block.clear();
    else if (ratio > 1.25 || ratio < 0.8) {
        d_report = test(d_block.data(), d_block.size());
        conclude();
        d_block.clear();
    }
    d_noise_var = noise_var;
}

void input_guard::prepare()
{
    if (d_prepared == d_noise_var)
        return;
    d_prepared = d_noise_var;
    const auto law = d_law.at(d_noise_var);
    double variance = 0, signal = 0;
    for (size_t i = 0; i < law.size(); i++) {
        const auto& g = law[i];
        const double det = g.var_re * g.var_im - g.covariance * g.covariance;
        d_points[i] = { float(g.re),
                        float(g.im),
                        float(g.var_im / det),
                        float(-g.covariance / det),
                        float(g.var_re / det),
                        float(std::log(det) / 2) };
        variance += (g.var_re + g.var_im) / double(law.size());
        signal += (g.re * g.re + g.im * g.im) / double(law.size());
    }
    d_power = variance + signal;
    d_cells.prepare(d_law.link(), d_noise_var);
    // Not of the law's own power and variance: a converter bends both.
    d_snr = -10 * std::log10(d_noise_var);
}

//! One round of expectation maximisation; returns the new factor of the variances, and the shares in d_share.
double input_guard::refine(size_t n, double scale)
{
    const size_t m = d_points.size();
    const float inverse = float(-0.5 / scale);
    std::fill(d_share.begin(), d_share.end(), 0.0);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const float* distance = &d_distance[i * m];
        float top = -1e30f, total = 0, error = 0;
        for (size_t k = 0; k < m; k++)
            top = std::max(top, d_weight[k] = distance[k] * inverse - d_points[k].half_log_det);
        for (size_t k = 0; k < m; k++) {
            const float apart = d_weight[k] - top;
            const float w = apart < -20 ? 0 : std::exp(apart);
            d_weight[k] = w;
            total += w;
            error += w * distance[k];
        }
        for (size_t k = 0; k < m; k++)
            if (d_weight[k] > 0)
                d_share[k] += double(d_weight[k] / total);
        sum += error / total;
    }
    return std::clamp(sum / (2 * double(n)), 1e-6, 1e9);
}

input_report input_guard::test(const std::complex<float>* y, size_t n)
{
    prepare();
    const size_t m = d_points.size();
    input_report r;
    double power = 0, least_re = 1e30, most_re = -1e30, nearest = 0;
    for (size_t i = 0; i < n; i++) {
        power += std::norm(y[i]) / double(n);
        least_re = std::min(least_re, double(y[i].real() + 0.618f * y[i].imag()));
        most_re = std::max(most_re, double(y[i].real() + 0.618f * y[i].imag()));
        float smallest = 1e30f;
        for (size_t k = 0; k < m; k++) {
            const auto& p = d_points[k];
            const float re = y[i].real() - p.re, im = y[i].imag() - p.im;
            const float d = std::min(p.a * re * re + 2 * p.b * re * im + p.c * im * im, 1e12f);
            d_distance[i * m + k] = d;
            smallest = std::min(smallest, d);
        }
        nearest += smallest;
    }
    r.power = power / d_power;
    if (!(power > least_power * d_power) || most_re - least_re < 1e-3 * std::sqrt(power)) {
        r.reason = "dead";
        return r;
    }
    // From above: from below it may stay with the nearest points.
    double scale = std::max({ 1.0, 2 * nearest / double(n), d_scale });
    for (int round = 0; round < 12; round++) {
        const double next = refine(n, scale);
        const bool done = std::abs(next - scale) < 0.01 * scale;
        scale = next;
        if (done)
            break;
    }
    r.noise = scale;
    // The errors against an exponential law, weighted by how likely each point was.
    double chance[cells] = {};
    float edges[cells - 1];
    for (size_t c = 0; c + 1 < cells; c++)
        edges[c] = float(-2 * scale * std::log(1 - double(c + 1) / cells));
    const float inverse = float(-0.5 / scale);
    for (size_t i = 0; i < n; i++) {
        const float* distance = &d_distance[i * m];
        float top = -1e30f, total = 0;
        for (size_t k = 0; k < m; k++)
            top = std::max(top, d_weight[k] = distance[k] * inverse - d_points[k].half_log_det);
        for (size_t k = 0; k < m; k++)
            total += d_weight[k] = d_weight[k] - top < -20 ? 0 : std::exp(d_weight[k] - top);
        for (size_t k = 0; k < m; k++)
            if (d_weight[k] > 0)
                chance[std::upper_bound(edges, edges + cells - 1, distance[k]) - edges] += double(d_weight[k] / total);
    }
    const size_t levels = levels_of(y, n);
    const bool grid = levels > 0;
    if (grid)
        r.shape = d_cells.distance(y, n);
    for (size_t c = 0; c < cells && !grid; c++)
        r.shape += std::pow(chance[c] / double(n) - 1.0 / cells, 2) * cells;
    for (size_t k = 0; k < m; k++)
        r.unused += std::pow(d_share[k] / double(n) - 1 / double(m), 2) * double(m);
    r.reason = judge(r, n, levels);
    if (!r.reason.empty() || grid) {
        d_pool = 0;
    } else {
        d_pool = std::min(d_pool + 1, most_pool);
        for (size_t c = 0; c < cells; c++)
            d_pooled[c] += (chance[c] / double(n) - d_pooled[c]) / double(d_pool);
        for (size_t c = 0; c < cells && d_pooled[cells - 1] < 1.0 / cells; c++)
            r.pooled += std::pow(d_pooled[c] - 1.0 / cells, 2) * cells;
        if (d_gaussian && d_pool >= least_pool && r.pooled > pooled_limit())
            r.reason = "shape";
    }
    if (r.reason.empty() && !grid && d_has_rivals && d_gaussian && n >= least) {
        const auto v = d_rivals.feed(y, n);
        r.lead = v.lead;
        r.rival = v.points;
        r.rival_gain_db = v.gain_db;
        if (v.certain)
            r.reason = size_t(v.points) == m ? "level" : "constellation";
    }
    if (r.reason.empty())
        d_scale = scale;
    return r;
}

double input_guard::pooled_limit() const
{
    const double known = double(d_law.known_symbols()); // few leave their mark on the centroids
    return (known > 0 ? pooled_fitted + pooled_per_known / known : pooled_unfitted) + pooled_per_block / double(d_pool);
}

std::string input_guard::judge(const input_report& r, size_t n, size_t levels) const
{
    const double m = double(d_points.size());
    const bool grid = levels > 0;
    if (levels == 1) // one bit says nothing of the level
        ;
    else if (r.power < (grid ? grid_power_low : power_low) || r.power > (grid ? grid_power_high : power_high))
        return "level";
    if (d_said && r.noise > (d_law.fitted() ? noise_fitted : noise_unfitted) && !grid)
        return "noise";
    // On a grid an estimate may find no noise at all.
    if (d_snr < d_range.first - range_margin_db || (d_snr > d_range.second + range_margin_db && (d_said || !grid)))
        return "range";
    if (d_gaussian && r.shape > (grid ? cells_limit : shape_limit) + shape_per_symbol / double(n))
        return "shape";
    if (!grid && r.unused > unused_limit + unused_per_symbol * m / double(n))
        return "unused points";
    return "";
}

bool input_guard::conclude()
{
    const bool bad = !d_report.reason.empty();
    d_bad = bad ? d_bad + 1 : 0;
    d_good = bad ? 0 : d_good + 1;
    d_tests++;
    if (!d_alarm && d_bad >= to_alarm) {
        d_alarm = true;
        d_alarms++;
        return true;
    }
    if (d_alarm && d_good >= to_clear) {
        d_alarm = false;
        return true;
    }
    return false;
}

bool input_guard::moving_moment::jump(double value)
{
    const double apart = value - mean, rate = std::max(follow, 1.0 / double(seen + 1));
    const bool jumps = seen >= settled && !(apart * apart < jump_deviations * jump_deviations * variance);
    if (!std::isfinite(value))
        return jumps;
    mean += rate * apart;
    variance += rate * (apart * apart * (1 - rate) - variance);
    seen++;
    return jumps;
}

//! Sums up symbols that no test sees. Returns whether a block of them ended that is unlike those before.
bool input_guard::jumped(const std::complex<float>* y, size_t n)
{
    bool jump = false;
    while (n > 0) {
        const size_t some = std::min(n, block - d_summed);
        float square = 0, fourth = 0;
        for (size_t i = 0; i < some; i++) {
            const float p = y[i].real() * y[i].real() + y[i].imag() * y[i].imag();
            square += p;
            fourth += p * p;
        }
        d_square += double(square);
        d_fourth += double(fourth);
        d_summed += some;
        y += some;
        n -= some;
        if (d_summed < block)
            break;
        const bool level = d_level.jump(d_square / block);
        const bool kurtosis = d_kurtosis.jump(d_fourth * block / (d_square * d_square + 1e-30));
        jump = jump || level || kurtosis;
        d_square = d_fourth = 0;
        d_summed = 0;
    }
    return jump;
}

bool input_guard::feed(const std::complex<float>* y, size_t n)
{
    bool changed = false;
    for (size_t i = 0; i < n;) {
        if (d_skip > 0) {
            const size_t jump = std::min({ d_skip, n - i, block });
            d_skip -= jump;
            if (jumped(y + i, jump) && !d_alarm) {
                d_skip = 0;
                d_pool = 0;
                d_next = {};
            }
            i += jump;
            if (d_skip > 0 || i == n)
                continue;
        }
        if (d_block.empty() && d_tests >= close_tests && d_bad == 0 && !d_alarm && d_sparing &&
            std::chrono::steady_clock::now() < d_next) {
            d_skip = stride;
            continue;
        }
        const bool sound = std::abs(y[i].real()) < 1e4f && std::abs(y[i].imag()) < 1e4f; // false for NaN
        if (sound)
            d_block.push_back(y[i]);
        else
            d_lost++;
        i++;
        if (d_block.size() < block && d_lost < block)
            continue;
        const auto start = std::chrono::steady_clock::now();
        if (d_lost >= block / 4) {
            d_report = {};
            d_report.reason = "dead";
        } else {
            d_report = test(d_block.data(), d_block.size());
        }
        changed = conclude() != changed;
        const auto now = std::chrono::steady_clock::now();
        d_next = now + std::chrono::duration_cast<std::chrono::steady_clock::duration>((now - start) * time_share);
        d_block.clear();
        d_lost = 0;
        d_skip = d_bad > 0 && !d_alarm ? 0 : stride - block;
    }
    return changed;
}

} // namespace gr::diffusion::dsp
