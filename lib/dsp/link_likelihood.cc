/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "link_likelihood.h"
#include "cell_table.h"
#include "rail_cell.h"
#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace gr::diffusion::dsp {

namespace {

constexpr double least = 1e-13;   // probability of any cell: a fit survives what cannot be
constexpr double least_log = -25; // of a cell's probability by the likeliest symbol
constexpr double least_posterior = 2e-3;
constexpr double node_reach = 3.3, node_spacing = 1.2;

} // namespace

link_likelihood::link_likelihood(size_t m, const int* index, const std::complex<float>* y, size_t n,
                                 double step, size_t half)
    : d_count(m), d_step(step), d_half(int(half))
{
    std::vector<std::tuple<int, int, int>> all(n);
    for (size_t k = 0; k < n; k++) {
        all[k] = { index[k], int(std::floor(y[k].real() / step)), int(std::floor(y[k].imag() / step)) };
        d_count[index[k]]++;
    }
    std::sort(all.begin(), all.end());
    for (size_t k = 0; k < n; k++) {
        if (k && all[k] == all[k - 1])
            d_seen.back().times++;
        else
            d_seen.push_back({ std::get<0>(all[k]), std::get<1>(all[k]), std::get<2>(all[k]), 1 });
    }
    d_known = d_seen.size();
    d_known_count = d_count;
}

double link_likelihood::set_unknown(const std::vector<std::complex<float>>& points, const link_law& law,
                                    const std::complex<float>* y, size_t n, double weight, bool squared)
{
    d_seen.resize(d_known);
    d_count = d_known_count;
    cell_table table(points);
    table.prepare(law, law.fit_noise_var);
    std::map<std::pair<int, int>, double> cells;
    for (size_t k = 0; k < n; k++) {
        const auto on_rail = [&](float v) {
            return std::clamp(int(std::floor(std::clamp(double(v) / d_step, -1e6, 1e6))), -d_half,
                              d_half - 1);
        };
        cells[{ on_rail(y[k].real()), on_rail(y[k].imag()) }] += weight;
    }
    std::vector<double> p(points.size());
    double total = 0;
    for (const auto& [cell, times] : cells) {
        table.log_likelihood({ float((cell.first + 0.5) * d_step), float((cell.second + 0.5) * d_step) },
                             p.data());
        const double top = *std::max_element(p.begin(), p.end());
        if (!(top > least_log))
            continue; // no symbol of this law: an outlier
        double sum = 0, kept = 0;
        for (auto& v : p)
            sum += v = std::exp(v - top);
        for (auto& v : p) {
            v /= sum;
            kept += v = v > least_posterior ? v : 0;
        }
        for (size_t i = 0; i < p.size(); i++)
            if (p[i] > 0) {
                const double share = p[i] / kept;
                d_seen.push_back({ int(i), cell.first, cell.second, times * share });
                d_count[i] += times * share * (squared ? share : 1);
                total += times * share * share;
            }
    }
    return total;
}

std::vector<link_law::node> link_likelihood::phase_nodes(double phase_std, double radius, double additive,
                                                         double step)
{
    if (!(phase_std > 1e-4))
        return { { 1, 0, 1 } };
    // A Gaussian's trapezoid sum: the spacing follows what the additive noise and the cell smear anyhow.
    const double smear = std::sqrt(additive / 2 + step * step / 12);
    const double wanted = std::ceil(node_reach * phase_std * radius / (node_spacing * std::max(smear, 1e-9)));
    const int side = int(std::clamp(wanted, 3.0, double(link_law::max_nodes / 2)));
    std::vector<link_law::node> nodes;
    double total = 0;
    for (int k = -side; k <= side; k++) {
        const double t = node_reach * k / side;
        nodes.push_back({ std::cos(t * phase_std), std::sin(t * phase_std), std::exp(-t * t / 2) });
        total += nodes.back().weight;
    }
    for (auto& node : nodes)
        node.weight /= total;
    return nodes;
}

double link_likelihood::log_likelihood(const std::vector<double>& mean, double additive, double phase_std,
                                       std::vector<double>* gradient) const
{
    double radius = 0, sum = 0;
    for (size_t i = 0; i < mean.size(); i += 2)
        radius = std::max(radius, std::hypot(mean[i], mean[i + 1]));
    const auto nodes = phase_nodes(phase_std, radius, additive, d_step);
    const double deviation = std::sqrt(additive / 2);
    if (gradient)
        gradient->assign(mean.size(), 0);
    for (const auto& s : d_seen) {
        const double re = mean[2 * s.symbol], im = mean[2 * s.symbol + 1];
        double p = least, by_re = 0, by_im = 0;
        for (const auto& node : nodes) {
            const rail_cell a = rail_cell::of(re * node.cosine - im * node.sine, deviation, s.re, d_step,
                                              d_half);
            const rail_cell b = rail_cell::of(re * node.sine + im * node.cosine, deviation, s.im, d_step,
                                              d_half);
            p += node.weight * a.p * b.p;
            const double da = node.weight * a.slope * b.p, db = node.weight * a.p * b.slope;
            by_re += da * node.cosine + db * node.sine;
            by_im += db * node.cosine - da * node.sine;
        }
        sum += s.times * std::log(p);
        if (gradient) {
            (*gradient)[2 * s.symbol] += s.times * by_re / p;
            (*gradient)[2 * s.symbol + 1] += s.times * by_im / p;
        }
    }
    return sum;
}

void link_likelihood::precision(const std::vector<double>& mean, double additive, double phase_std,
                                std::vector<double>& information) const
{
    information.assign(mean.size(), 0);
    for (size_t r = 0; r < mean.size(); r++) {
        if (d_count[r / 2] == 0)
            continue;
        const double other = mean[r ^ 1];
        const double variance = additive / 2 + phase_std * phase_std * other * other;
        double one = 0;
        if (d_step < 0.5 * std::sqrt(variance) && std::abs(mean[r]) < d_half * d_step)
            one = 1 / (variance + d_step * d_step / 12);
        else
            for (int k = -d_half; k < d_half; k++) {
                const rail_cell c = rail_cell::of(mean[r], std::sqrt(variance), k, d_step, d_half);
                if (c.p > least)
                    one += c.slope * c.slope / c.p;
            }
        information[r] = d_count[r / 2] * one;
    }
}

} // namespace gr::diffusion::dsp
