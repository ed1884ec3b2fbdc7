/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "centroid_fit.h"
#include <cmath>
#include <limits>

namespace gr::diffusion::dsp {

namespace {
constexpr double owns[] = { 3e-6, 1e-4, 1e-3, 1e-2 };
constexpr double most_own_of_few = 1e-3; // a few unlucky symbols must not pass for an irregular constellation
constexpr double free_gain = 0.5;
constexpr int newton_steps = 3;
} // namespace

centroid_fit::centroid_fit(const std::vector<std::complex<float>>& points, size_t known)
    : d_prior(hardware_prior::of(points)), d_radio(points), d_many(known >= 16 * points.size()),
      d_own(owns[0])
{
    for (const auto& p : points) {
        d_ideal.push_back(p.real());
        d_ideal.push_back(p.imag());
    }
    curve tight{ radio_curve::spread, radio_curve::typical };
    curve loose = tight;
    loose.spread[radio_curve::n - 2] = loose.spread[radio_curve::n - 1] = free_gain;
    d_curves = { tight, loose };
}

void centroid_fit::linearise(const curve& c)
{
    d_base = d_radio.at(c.now);
    d_rows.assign(d_base.size(), {});
    for (size_t k = 0; k < radio_curve::n; k++) {
        const double step = 0.02 * c.spread[k];
        auto moved = c.now;
        moved[k] += step;
        const auto there = d_radio.at(moved);
        for (size_t r = 0; r < there.size(); r++)
            d_rows[r][k] = (there[r] - d_base[r]) / step;
    }
}

double centroid_fit::solve(const pseudo_observations& z, size_t kind, double own)
{
    const size_t components = d_prior->components().size();
    auto& a = d_posterior.a;
    vector b{}, mean{};
    double evidence = 0;
    for (auto& row : a)
        std::fill(row, row + P, 0.0);
    if (kind < components) {
        const auto& prior = d_prior->components()[kind];
        mean = prior.mean;
        evidence = prior.log_det;
        for (size_t i = 0; i < P; i++)
            for (size_t j = 0; j <= i; j++)
                a[i][j] = prior.precision[i][j];
        d_base = d_ideal;
        d_rows = d_prior->rows();
    } else {
        const auto& c = d_curves[kind - components];
        linearise(c);
        for (size_t i = 0; i < P; i++) {
            const double std = i < radio_curve::n ? c.spread[i] : 1; // the rest is not used
            a[i][i] = 1 / (std * std);
            evidence += 2 * std::log(std);
            if (i < radio_curve::n)
                mean[i] = radio_curve::typical[i] - c.now[i];
        }
    }
    for (size_t r = 0; r < d_rows.size(); r++) {
        if (!(z.precision[r] > 0))
            continue;
        const auto& f = d_rows[r];
        double e = z.value[r] - d_base[r];
        for (size_t k = 0; k < P; k++)
            e -= f[k] * mean[k];
        const double weight = z.precision[r] / (1 + own * z.precision[r]);
        for (size_t i = 0; i < P; i++) {
            const double scaled = weight * f[i];
            for (size_t j = 0; j <= i; j++)
                a[i][j] += scaled * f[j];
            b[i] += scaled * e;
        }
        evidence += e * e * weight + std::log1p(own * z.precision[r]);
    }
    evidence += d_posterior.factor();
    auto half = b;
    d_posterior.forward(half);
    for (double v : half)
        evidence -= v * v;
    d_posterior.solve(b);
    for (size_t k = 0; k < P; k++)
        d_w[k] = mean[k] + b[k];
    return -0.5 * evidence;
}

void centroid_fit::choose(const pseudo_observations& z)
{
    const size_t components = d_prior->components().size();
    for (size_t c = 0; c < d_curves.size(); c++)
        for (int step = 0; step < newton_steps; step++) {
            solve(z, components + c, d_own);
            auto& now = d_curves[c].now;
            for (size_t k = 0; k < radio_curve::n; k++)
                now[k] += d_w[k];
            now = radio_curve::held(now);
        }
    double best = -std::numeric_limits<double>::infinity();
    for (size_t kind = 0; kind < components + d_curves.size(); kind++)
        for (double own : owns) {
            if (own > most_own_of_few && !d_many)
                break;
            const double evidence = solve(z, kind, own);
            if (evidence > best) {
                best = evidence;
                d_kind = kind;
                d_own = own;
            }
        }
}

void centroid_fit::apply(const pseudo_observations& z, std::vector<double>& mean,
                         std::vector<double>& uncertainty)
{
    solve(z, d_kind, d_own);
    mean.resize(d_rows.size());
    uncertainty.resize(d_rows.size());
    d_used = 0;
    for (size_t r = 0; r < d_rows.size(); r++) {
        auto b = d_rows[r];
        double shift = 0, spread = 0;
        for (size_t k = 0; k < P; k++)
            shift += b[k] * d_w[k];
        d_posterior.forward(b);
        for (double v : b)
            spread += v * v;
        // The symbol's own deviation: pulled to its own observations as they grow.
        const double pull = d_own * z.precision[r] / (1 + d_own * z.precision[r]);
        mean[r] = d_base[r] + shift;
        mean[r] += pull * (z.value[r] - mean[r]);
        uncertainty[r] = (1 - pull) * (1 - pull) * spread + (1 - pull) * d_own;
        d_used += std::min(1.0, uncertainty[r] * z.precision[r]);
    }
}

} // namespace gr::diffusion::dsp
