/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rival_test.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {

constexpr double certain_nats = 12, certain_per_rail = 5e-4; // ahead of the own law
constexpr double own_nats = 3;                               // the own law ahead: start afresh
constexpr double most_blocks = 32;
constexpr double misfit_per_rail = 2e-3;
constexpr double least_gain_db = 0.7, most_gain_db = 3;
constexpr int rounds = 6, newton_steps = 4;

} // namespace

rival_test::rival_test()
{
    d_candidates.push_back({ 1, { 0 }, { 1 } }); // noise alone
    for (int bits : { 1, 2, 4, 6, 8 }) {
        candidate c;
        c.points = 1 << bits;
        if (bits == 1) { // one rail has no signal
            c.level = { -1, 0, 1 };
            c.weight = { 0.25, 0.5, 0.25 };
        } else {
            const int m = 1 << (bits / 2);
            const double unit = std::sqrt(1.5 / (c.points - 1.0));
            for (int i = 0; i < m; i++)
                c.level.push_back((2 * i - m + 1) * unit);
            c.weight.assign(size_t(m), 1.0 / m);
        }
        d_candidates.push_back(std::move(c));
    }
}

bool rival_test::prepare(const std::vector<std::complex<float>>& points)
{
    reset();
    d_own = -1;
    for (size_t k = 0; k < d_candidates.size(); k++) {
        const auto& c = d_candidates[k];
        auto has = [&](float v) {
            return std::any_of(c.level.begin(), c.level.end(), [v](double l) { return std::abs(l - double(v)) < 1e-3; });
        };
        if (size_t(c.points) == points.size() &&
            std::all_of(points.begin(), points.end(), [&](auto p) { return has(p.real()) && has(p.imag()); }))
            d_own = int(k);
    }
    return d_own >= 0;
}

void rival_test::reset()
{
    d_count.fill(0);
    d_total = d_square = d_blocks = 0;
}

//! Log-likelihood of the counts: chances of the bins, exactly, by their edges. \p variance without what binning adds.
double rival_test::likelihood(const candidate& c, double gain, double variance) const
{
    const double width = reach / bins, deviation = std::sqrt(2 * variance);
    std::array<double, bins + 1> below{};
    for (size_t i = 0; i < c.level.size(); i++) {
        const double centre = gain * c.level[i];
        for (size_t b = 0; b <= bins; b++) {
            const double edge = (double(b) * width - centre) / deviation;
            if (edge > 5)
                for (; b <= bins; b++)
                    below[b] += c.weight[i];
            else if (edge > -5)
                below[b] += c.weight[i] * 0.5 * (1 + std::erf(edge));
        }
    }
    double sum = 0;
    for (size_t b = 0; b < bins; b++) {
        const double above = b + 1 == bins ? 1 : below[b + 1]; // the last bin holds all beyond it
        if (d_count[b] > 0)
            sum += d_count[b] * std::log(std::max(2 * (above - below[b]), 1e-9));
    }
    return sum;
}

/*! Gain (or 1) and variance of a rail, and what they make of the counts: the best of a few variances, then expectation
 *  maximisation, then Newton's way with the variance, as the former crawls where levels overlap. */
rival_test::fitted rival_test::fit(const candidate& c, bool free_gain) const
{
    const double width = reach / bins, added = width * width / 12;
    const double least = width * width / 64, most = 2 * d_square / d_total;
    const size_t m = c.level.size();
    fitted f{ 1, most, likelihood(c, 1, most) };
    for (double v = most / 2; v > least; v /= 2) {
        const double l = likelihood(c, 1, v);
        if (l > f.likelihood)
            f = { 1, v, l };
    }
    std::array<float, 16> likely{};
    for (int round = 0; round < rounds; round++) {
        double cross = 0, power = 0, square = 0;
        const float inverse = float(-0.5 / (f.variance + added));
        for (size_t b = 0; b < bins; b++) {
            if (d_count[b] == 0)
                continue;
            const double y = (double(b) + 0.5) * width;
            float sum = 0, top = -1e30f;
            for (size_t i = 0; i < m; i++) {
                const float apart = float(y - f.gain * c.level[i]);
                likely[i] = apart * apart * inverse;
                top = std::max(top, likely[i]);
            }
            double first = 0, second = 0;
            for (size_t i = 0; i < m; i++) {
                const float p = float(c.weight[i]) * std::exp(likely[i] - top);
                sum += p;
                first += double(p) * c.level[i];
                second += double(p) * c.level[i] * c.level[i];
            }
            first /= double(sum);
            second /= double(sum);
            cross += d_count[b] * y * first;
            power += d_count[b] * second;
            square += d_count[b] * y * y;
        }
        if (free_gain && power > 0)
            f.gain = std::clamp(cross / power, 0.5, 2.0);
        f.variance = std::max((square - 2 * f.gain * cross + f.gain * f.gain * power) / d_total - added, least);
    }
    f.likelihood = likelihood(c, f.gain, f.variance);
    for (int step = 0; step < newton_steps; step++) { // over the logarithm
        const double h = 1.1, up = likelihood(c, f.gain, f.variance * h);
        const double down = likelihood(c, f.gain, std::max(f.variance / h, least));
        const double bend = up + down - 2 * f.likelihood;
        const double factor = std::pow(h, bend < 0 ? std::clamp((down - up) / (2 * bend), -4.0, 4.0) : up > down ? 4 : -4);
        const double variance = std::max(f.variance * factor, least), l = likelihood(c, f.gain, variance);
        if (l > f.likelihood)
            f = { f.gain, variance, l };
        else
            break;
    }
    return f;
}

//! How far from these counts the best candidate is allowed to be: nats beyond what chance makes, per rail.
double rival_test::misfit(double likelihood) const
{
    double best = 0, used = 0;
    for (double n : d_count)
        if (n > 0) {
            best += n * std::log(n / d_total);
            used++;
        }
    return (best - likelihood - used / 2 - 2 * std::sqrt(used / 2)) / d_total;
}

//! Whether a block, judged alone, is clearly the own constellation's: then what came before it is over.
bool rival_test::own_again(const histogram& newest, double square, const candidate& rival)
{
    const histogram count = d_count;
    const double total = d_total, all = d_square;
    d_count = newest;
    d_square = square;
    d_total = 0;
    for (double n : newest)
        d_total += n;
    const bool again = fit(d_candidates[size_t(d_own)], false).likelihood > fit(rival, true).likelihood + own_nats;
    d_count = count;
    d_total = total;
    d_square = all;
    return again;
}

rival_test::verdict rival_test::feed(const std::complex<float>* y, size_t n)
{
    verdict v;
    if (d_own < 0)
        return v;
    double power = 0;
    for (size_t i = 0; i < n; i++)
        power += std::norm(y[i]) / double(n);
    if (!(power < max_power)) {
        reset();
        return v;
    }
    const float scale = float(bins / reach);
    histogram newest{};
    for (size_t i = 0; i < n; i++)
        for (float rail : { y[i].real(), y[i].imag() })
            newest[size_t(std::min(std::abs(rail) * scale, float(bins - 1)))] += 1;
    for (size_t b = 0; b < bins; b++)
        d_count[b] += newest[b];
    d_total += 2 * double(n);
    d_square += power * double(n);
    d_blocks++;
    const auto& own = d_candidates[size_t(d_own)];
    const double plain = fit(own, false).likelihood;
    bool clearly_own = true;
    const candidate* best = nullptr;
    for (const auto& c : d_candidates) {
        const fitted f = fit(c, true);
        const double lead = f.likelihood - plain, gain_db = 20 * std::log10(f.gain);
        if (&c == &own && std::abs(gain_db) < least_gain_db)
            continue;
        if (&c != &own && std::abs(gain_db) > most_gain_db)
            continue;
        clearly_own = clearly_own && lead < -own_nats;
        if (!best || lead > v.lead) {
            best = &c;
            v = { lead, gain_db, c.points,
                  lead > certain_nats + certain_per_rail * d_total && misfit(f.likelihood) < misfit_per_rail };
        }
    }
    if (clearly_own || (v.certain && own_again(newest, power * double(n), *best))) {
        reset();
        v = {};
    } else if (d_blocks >= most_blocks) {
        for (double& count : d_count)
            count /= 2;
        d_total /= 2;
        d_square /= 2;
        d_blocks /= 2;
    }
    return v;
}

} // namespace gr::diffusion::dsp
