/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "marginal_fit.h"
#include "link_likelihood.h"
#include "positive_definite.h"
#include "rail_cell.h"
#include "random.h"
#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace gr::diffusion::dsp {

namespace {

constexpr double least = 1e-13;        // probability of any cell: a fit survives what cannot be
constexpr double reach = 6.5;          // standard deviations that count
constexpr double least_phase = 1e-3, most_phase = 0.5, phase_spread = 0.07; // rad
constexpr int most_rounds = 14, most_tries = 6;
constexpr double settled = 0.02;       // gain of log likelihood that ends the climb
constexpr double difference = 2e-3;    // of a parameter's spread, for slopes
constexpr double no_amplifier_db = 14; // back-off
constexpr int coarse_half = 2;         // converters that leave radios open
constexpr int draws = 64;              // of each kind there; behind one bit six times as many
constexpr double kind_counts = 6;      // log evidence behind the best that still does
constexpr size_t log_additive = radio_curve::n, phase = radio_curve::n + 1;

} // namespace

marginal_fit::marginal_fit(const std::vector<std::complex<float>>& points, const int* index,
                           const std::complex<float>* known_y, size_t known, const std::complex<float>* y,
                           size_t n, double step, size_t half)
    : d_radio(points), d_points(points.size()), d_step(step), d_half(int(half))
{
    const auto on_rail = [&](float v) {
        return std::clamp(int(std::floor(std::clamp(double(v) / d_step, -1e6, 1e6))), -d_half, d_half - 1);
    };
    std::map<std::tuple<int, int, int>, double> cells;
    for (size_t k = 0; k < known; k++)
        cells[{ index[k], on_rail(known_y[k].real()), on_rail(known_y[k].imag()) }]++;
    for (const auto& [c, times] : cells)
        d_known.push_back({ std::get<0>(c), std::get<1>(c), std::get<2>(c), times });
    cells.clear();
    for (size_t k = 0; k < n; k++)
        cells[{ -1, on_rail(y[k].real()), on_rail(y[k].imag()) }]++;
    for (const auto& [c, times] : cells)
        d_unknown.push_back({ -1, std::get<1>(c), std::get<2>(c), times });
}

int marginal_fit::side_of(const std::vector<double>& rails, double additive, double phase_std, double step)
{
    double radius = 0;
    for (size_t i = 0; i < rails.size(); i += 2)
        radius = std::max(radius, std::hypot(rails[i], rails[i + 1]));
    return int(link_likelihood::phase_nodes(std::max(phase_std, 0.02), radius, additive, step).size() / 2);
}

void marginal_fit::evaluate(const std::vector<double>& rails, double additive, double phase_std, int side,
                            bool all, std::vector<double>& log_p) const
{
    struct turn {
        double cosine, sine, weight;
    };
    std::vector<turn> turns;
    double total = 0;
    for (int k = -side; k <= side; k++) {
        const double t = 3.3 * k / side;
        turns.push_back({ std::cos(t * phase_std), std::sin(t * phase_std), std::exp(-t * t / 2) });
        total += turns.back().weight;
    }
    const double deviation = std::sqrt(additive / 2);
    const size_t levels = 2 * size_t(d_half);
    std::vector<double> grid(all ? levels * levels : 0, 0.0), re(levels), im(levels);
    log_p.assign(d_known.size() + (all ? d_unknown.size() : 0), 0);
    const auto fill = [&](double mean, std::vector<double>& rail) {
        const auto at = [&](double v) {
            return std::clamp(int(std::floor(v / d_step)), -d_half, d_half - 1);
        };
        const int low = at(mean - reach * deviation), high = at(mean + reach * deviation);
        for (int k = low; k <= high; k++)
            rail[k + d_half] = rail_cell::of(mean, deviation, k, d_step, d_half).p;
        return std::pair<int, int>{ low + d_half, high + d_half };
    };
    size_t known = 0;
    for (size_t i = 0; i < d_points; i++) {
        size_t end = known;
        while (end < d_known.size() && d_known[end].symbol == int(i))
            end++;
        if (!all && end == known)
            continue;
        for (const auto& t : turns) {
            const double weight = t.weight / total, x = rails[2 * i], y = rails[2 * i + 1];
            const auto a = fill(x * t.cosine - y * t.sine, re), b = fill(x * t.sine + y * t.cosine, im);
            if (all)
                for (int k = a.first; k <= a.second; k++) {
                    const double p = weight * re[k];
                    double* row = &grid[k * levels];
                    for (int l = b.first; l <= b.second; l++)
                        row[l] += p * im[l];
                }
            for (size_t k = known; k < end; k++) {
                const int u = d_known[k].re + d_half, v = d_known[k].im + d_half;
                if (u >= a.first && u <= a.second && v >= b.first && v <= b.second)
                    log_p[k] += weight * re[u] * im[v];
            }
        }
        known = end;
    }
    for (size_t k = 0; k < d_known.size(); k++)
        log_p[k] = std::log(log_p[k] + least);
    if (all)
        for (size_t k = 0; k < d_unknown.size(); k++) {
            const auto& c = d_unknown[k];
            const double p = grid[(c.re + d_half) * levels + size_t(c.im + d_half)] / double(d_points);
            log_p[d_known.size() + k] = std::log(p + least);
        }
}

double marginal_fit::log_likelihood(const std::vector<double>& rails, double additive, double phase_std) const
{
    std::vector<double> log_p;
    evaluate(rails, additive, phase_std, side_of(rails, additive, phase_std, d_step), !d_unknown.empty(),
             log_p);
    double sum = 0;
    for (size_t k = 0; k < log_p.size(); k++)
        sum += log_p[k] * (k < d_known.size() ? d_known[k] : d_unknown[k - d_known.size()]).times;
    return sum;
}

std::vector<double> marginal_fit::rails_of(const vector& v) const
{
    radio_curve::parameters p;
    std::copy_n(v.begin(), p.size(), p.begin());
    return d_radio.at(p);
}

marginal_fit::vector marginal_fit::search(vector at, const kind& of, bool all,
                                          std::vector<outcome>* outcomes) const
{
    const auto& before = of.radio;
    const auto held = [](vector v) {
        radio_curve::parameters p;
        std::copy_n(v.begin(), p.size(), p.begin());
        p = radio_curve::held(p);
        std::copy_n(p.begin(), p.size(), v.begin());
        v[log_additive] = std::clamp(v[log_additive], -16.0, 4.0);
        v[phase] = std::clamp(v[phase], least_phase, most_phase);
        return v;
    };
    const auto times = [&](size_t k) {
        return (k < d_known.size() ? d_known[k] : d_unknown[k - d_known.size()]).times;
    };
    const auto prior = [&](const vector& v) {
        double sum = 0;
        for (size_t k = 0; k < P; k++) {
            const double off = (v[k] - before.mean[k]) / before.spread[k];
            sum -= before.heavy[k] ? 2 * std::log1p(off * off / 4) : off * off / 2;
        }
        return sum;
    };
    int side = 3;
    std::vector<double> log_p, there;
    const auto value = [&](const vector& v, std::vector<double>& out) {
        evaluate(rails_of(v), std::exp(v[log_additive]), v[phase], side, all, out);
        double sum = prior(v);
        for (size_t k = 0; k < out.size(); k++)
            sum += times(k) * out[k];
        return sum;
    };
    positive_definite<double, P> information, solver;
    vector gradient;
    const auto slopes = [&]() {
        std::vector<vector> slope(log_p.size());
        for (size_t k = 0; k < P; k++) {
            auto moved = at;
            moved[k] += difference * before.spread[k];
            evaluate(rails_of(moved), std::exp(moved[log_additive]), moved[phase], side, all, there);
            for (size_t c = 0; c < slope.size(); c++)
                slope[c][k] = (there[c] - log_p[c]) / (difference * before.spread[k]);
        }
        gradient.fill(0);
        for (auto& row : information.a)
            std::fill(row, row + P, 0.0);
        for (size_t c = 0; c < slope.size(); c++)
            for (size_t i = 0; i < P; i++) {
                const double scaled = times(c) * slope[c][i];
                gradient[i] += scaled;
                for (size_t j = 0; j <= i; j++)
                    information.a[i][j] += scaled * slope[c][j];
            }
        for (size_t k = 0; k < P; k++) {
            const double off = (at[k] - before.mean[k]) / before.spread[k];
            const double weight = (before.heavy[k] ? 1 / (1 + off * off / 4) : 1) / before.spread[k];
            gradient[k] -= weight * off;
            information.a[k][k] += weight / before.spread[k];
        }
    };
    at = held(at);
    double damping = 1e-3;
    double best = 0;
    for (int round = 0; round < most_rounds; round++) {
        side = side_of(rails_of(at), std::exp(at[log_additive]), at[phase], d_step);
        best = value(at, log_p);
        slopes();
        double gain = 0;
        for (int attempt = 0; attempt < most_tries; attempt++) {
            solver = information;
            for (size_t k = 0; k < P; k++)
                solver.a[k][k] *= 1 + damping;
            solver.factor();
            auto step = gradient;
            solver.solve(step);
            auto next = at;
            for (size_t k = 0; k < P; k++)
                next[k] += step[k];
            next = held(next);
            gain = value(next, there) - best;
            if (gain > 0) {
                at = next;
                best += gain;
                damping = std::max(1e-6, damping / 5);
                break;
            }
            damping *= 8;
        }
        if (!(gain > settled))
            break;
    }

    if (!outcomes)
        return at;

    side = side_of(rails_of(at), std::exp(at[log_additive]), at[phase], d_step);
    best = value(at, log_p);
    slopes();
    solver = information;
    double evidence = best - 0.5 * solver.factor() + of.log_prior;
    for (double spread : before.spread)
        evidence -= std::log(spread);
    const auto rails = rails_of(at);
    double used = 0;
    for (size_t k = 0; k < P; k++) {
        vector unit{};
        unit[k] = 1;
        solver.forward(unit);
        double variance = 0;
        for (double v : unit)
            variance += v * v;
        used += std::max(0.0, 1 - variance / (before.spread[k] * before.spread[k]));
    }
    outcome top{ at, {}, used, evidence };
    std::vector<vector> by(rails.size());
    for (size_t k = 0; k < radio_curve::n; k++) {
        auto moved = at;
        moved[k] += difference * before.spread[k];
        const auto other = rails_of(moved);
        for (size_t r = 0; r < rails.size(); r++)
            by[r][k] = (other[r] - rails[r]) / (difference * before.spread[k]);
    }
    for (size_t i = 0; i < d_points; i++) {
        double spread = 0;
        for (size_t r = 2 * i; r < 2 * i + 2; r++) {
            by[r][log_additive] = by[r][phase] = 0;
            solver.forward(by[r]);
            for (double v : by[r])
                spread += v * v / 2;
        }
        top.symbols.push_back({ { rails[2 * i], rails[2 * i + 1] }, spread });
    }
    double known = evidence;
    for (const auto& o : *outcomes)
        known = std::max(known, o.log_weight);
    if (d_half > coarse_half || evidence < known - kind_counts) {
        outcomes->push_back(top);
        return at;
    }
    random_source random(1);
    const int many = d_half == 1 ? 6 * draws : draws;
    for (int draw = 0; draw < many; draw++) {
        vector z, v = at;
        double square = 0;
        for (auto& one : z) {
            one = random.normal();
            square += one * one;
        }
        for (size_t i = P; i-- > 0;) { // of covariance information^-1
            for (size_t k = i + 1; k < P; k++)
                z[i] -= solver.a[k][i] * z[k];
            z[i] /= solver.a[i][i];
            v[i] += z[i];
        }
        if (v != held(v))
            continue;
        const auto there_rails = rails_of(v);
        side = side_of(there_rails, std::exp(v[log_additive]), v[phase], d_step);
        outcome one{ v, {}, used, evidence + value(v, there) - best + square / 2 - std::log(double(many)) };
        for (size_t i = 0; i < d_points; i++)
            one.symbols.push_back({ { there_rails[2 * i], there_rails[2 * i + 1] }, 0 });
        outcomes->push_back(one);
    }
    return at;
}

std::vector<marginal_fit::kind> marginal_fit::kinds(const noise_belief& noise) const
{
    belief radio{ {}, {}, {} };
    std::copy_n(radio_curve::typical.begin(), radio_curve::n, radio.mean.begin());
    std::copy_n(radio_curve::spread.begin(), radio_curve::n, radio.spread.begin());
    radio.heavy[radio_curve::n - 2] = radio.heavy[radio_curve::n - 1] = radio.heavy[log_additive] = true;
    radio.mean[log_additive] = std::log(noise.additive);
    radio.spread[log_additive] = noise.spread;
    radio.mean[phase] = 0;
    radio.spread[phase] = phase_spread;
    std::vector<kind> kinds{ { radio, 0 } };
    const auto without = [&](std::initializer_list<size_t> parameters, double chance) {
        const size_t n = kinds.size();
        for (size_t k = 0; k < n; k++) {
            auto other = kinds[k];
            for (size_t p : parameters) {
                other.radio.mean[p] = p == 4 ? no_amplifier_db : 0;
                other.radio.spread[p] *= 0.02;
            }
            other.log_prior += std::log(chance);
            kinds[k].log_prior += std::log(1 - chance);
            kinds.push_back(other);
        }
    };
    without({ 4, 6 }, 0.4); // as often as the radios that receivers were trained on
    if (d_half <= coarse_half) {
        without({ 0, 1 }, 0.09);
        without({ 2, 3 }, 0.4);
    }
    return kinds;
}

double marginal_fit::fit(const noise_belief& noise, link_law& law) const
{
    std::vector<outcome> outcomes;
    for (const auto& one : kinds(noise)) {
        vector start = one.radio.mean;
        start[phase] = 0.03;
        start[log_additive] = std::log(law.additive);
        // known symbols only: near enough for the others not to mislead
        start = search(start, one, false, nullptr);
        search(start, one, !d_unknown.empty(), &outcomes);
    }
    double top = outcomes[0].log_weight, total = 0;
    for (const auto& o : outcomes)
        top = std::max(top, o.log_weight);
    for (auto& o : outcomes)
        total += o.log_weight = std::exp(o.log_weight - top);
    std::vector<link_law::symbol> mean(d_points);
    double additive = 0, phase_var = 0, used = 0;
    for (const auto& o : outcomes) {
        const double w = o.log_weight / total;
        for (size_t i = 0; i < d_points; i++)
            mean[i].mean += w * o.symbols[i].mean;
        additive += w * std::exp(o.at[log_additive]);
        phase_var += w * o.at[phase] * o.at[phase];
        used += w * o.used;
    }
    std::vector<double> rails;
    for (size_t i = 0; i < d_points; i++) {
        for (const auto& o : outcomes)
            mean[i].uncertainty += o.log_weight / total *
                                   (o.symbols[i].uncertainty +
                                    std::norm(o.symbols[i].mean - mean[i].mean) / 2);
        rails.push_back(mean[i].mean.real());
        rails.push_back(mean[i].mean.imag());
    }
    law.symbols = mean;
    law.additive = additive;
    law.phase_var = phase_var;
    return log_likelihood(rails, additive, std::sqrt(phase_var)) - used;
}

} // namespace gr::diffusion::dsp
