/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "symbol_law.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

namespace {
constexpr double state_version = 2;
}

symbol_law::symbol_law(std::vector<std::complex<float>> points) : d_points(std::move(points))
{
    if (d_points.size() < 2 || d_points.size() > max_points)
        throw std::invalid_argument("constellation has " + std::to_string(d_points.size()) +
                                    " points, use 2 to " + std::to_string(max_points));
    for (const auto& p : d_points) {
        if (!std::isfinite(p.real()) || !std::isfinite(p.imag()))
            throw std::invalid_argument("constellation: a point is not finite");
        d_law.push_back({ p.real(), p.imag(), 0, 0, 0 });
    }
    d_polynomial[0] = 1;
}

std::vector<symbol_gaussian> symbol_law::at(double noise_var) const
{
    if (!(noise_var > 0) || !std::isfinite(noise_var))
        throw std::invalid_argument("noise_var is " + std::to_string(noise_var) +
                                    ", use a positive variance");
    auto law = d_law;
    for (auto& g : law) {
        const double half = (g.var_re - g.var_im) / 2;
        const double smallest = (g.var_re + g.var_im) / 2 - std::hypot(half, g.covariance);
        // Less noise than at the fit: the variance falls by no more than the noise's factor, for behind a
        // coarse converter it is less than the noise's to begin with.
        const double change = fitted() ? std::max((noise_var - d_noise_var) / 2,
                                                  -(1 - std::min(1.0, noise_var / d_noise_var)) * smallest)
                                       : noise_var / 2;
        g.var_re += change;
        g.var_im += change;
    }
    return law;
}

void symbol_law::coefficients(double noise_var, double* q2, double* q1) const
{
    const auto law = at(noise_var);
    double top = -1e300;
    for (size_t i = 0; i < law.size(); i++) {
        const auto& g = law[i];
        const double det = g.var_re * g.var_im - g.covariance * g.covariance;
        const double a = g.var_im / det, b = -g.covariance / det, c = g.var_re / det;
        double* q = q2 + 5 * i;
        q[0] = a * g.re + b * g.im;
        q[1] = b * g.re + c * g.im;
        q[2] = -a / 2;
        q[3] = -c / 2;
        q[4] = -b;
        q1[i] = -(g.re * q[0] + g.im * q[1]) / 2 - std::log(det) / 2;
        top = std::max(top, q1[i]);
    }
    for (size_t i = 0; i < law.size(); i++)
        q1[i] -= top;
}

std::array<float, symbol_law::n_context> symbol_law::context(double noise_var) const
{
    const auto law = at(noise_var);
    double variance = 0;
    for (const auto& g : law)
        variance += (g.var_re + g.var_im) / double(law.size());
    std::array<float, n_context> c{};
    c[0] = float(-10 * std::log10(variance));
    if (!fitted())
        return c;
    c[1] = float(std::log10(1.0 + double(d_known)));
    if (d_grid.step > 0) {
        c[2] = 1;
        c[3] = float(d_grid.step);
        c[4] = float(std::log(d_grid.step / std::sqrt(variance / 2)));
        c[5] = float(d_grid.top);
    }
    const double share = d_noise[0] + d_noise[1] + d_noise[2];
    c[6] = float(d_noise[1] / share);
    c[7] = float(d_noise[2] / share);
    for (size_t k = 0; k < 5; k++) {
        const std::complex<double> departure = d_polynomial[k] - (k == 0 ? 1.0 : 0.0);
        c[8 + 2 * k] = float(departure.real());
        c[9 + 2 * k] = float(departure.imag());
    }
    return c;
}

std::vector<double> symbol_law::state() const
{
    std::vector<double> s = { state_version, double(d_points.size()), double(d_known), d_noise_var,
                              d_grid.step,   d_grid.top,              d_noise[0],      d_noise[1],
                              d_noise[2],    double(d_link.valid()) };
    for (const auto& c : d_polynomial)
        s.insert(s.end(), { c.real(), c.imag() });
    if (d_link.valid()) {
        s.insert(s.end(), { double(d_link.half), d_link.additive, d_link.phase_var, d_link.fit_noise_var });
        for (const auto& symbol : d_link.symbols)
            s.insert(s.end(), { symbol.mean.real(), symbol.mean.imag(), symbol.uncertainty });
    }
    for (const auto& g : d_law)
        s.insert(s.end(), { g.re, g.im, g.var_re, g.var_im, g.covariance });
    return s;
}

symbol_law symbol_law::from_state(std::vector<std::complex<float>> points, const std::vector<double>& s)
{
    symbol_law law(std::move(points));
    const size_t m = law.d_points.size();
    auto refuse = [](const std::string& why) { throw std::invalid_argument("fitted state refused: " + why); };
    if (s.empty() || (s[0] != state_version && s[0] != 1))
        refuse("not a fitted state of this version");
    const size_t header = s[0] == 1 ? 9 : 10; // version 1 knew no link before the converter
    if (s.size() < header)
        refuse("not a fitted state of this version");
    const bool linked = header == 10 && s[9] == 1;
    const size_t link_at = header + 2 * n_terms, law_at = link_at + (linked ? 4 + 3 * m : 0);
    if (s[1] != double(m) || s.size() != law_at + 5 * m)
        refuse("it is for " + std::to_string(s[1]) + " points, the model has " + std::to_string(m));
    for (double v : s)
        if (!std::isfinite(v) || std::abs(v) > 1e9)
            refuse("it holds a value that is not finite");
    if (s[2] < 0 || s[3] < 0 || (s[2] > 0 && s[3] <= 0) || s[4] < 0 || s[5] < 0 || s[6] + s[7] + s[8] < 0)
        refuse("a count, variance or step is negative");
    law.d_known = size_t(s[2]);
    law.d_noise_var = s[3];
    law.d_grid = { s[4], s[5] };
    law.d_noise = { s[6], s[7], s[8] };
    for (size_t k = 0; k < n_terms; k++)
        law.d_polynomial[k] = { s[header + 2 * k], s[header + 2 * k + 1] };
    if (linked) {
        const double half = s[link_at], additive = s[link_at + 1], phase_var = s[link_at + 2],
                     noise_var = s[link_at + 3];
        if (!(half >= 1 && half <= 65536 && half == std::floor(half) && additive > 0 && phase_var >= 0 &&
              s[4] > 0 && noise_var > 0))
            refuse("its converter or the noise before it cannot be");
        law.d_link.half = size_t(half);
        law.d_link.additive = additive;
        law.d_link.phase_var = phase_var;
        law.d_link.step = s[4];
        law.d_link.fit_noise_var = noise_var;
        for (size_t i = 0; i < m; i++) {
            const double* v = &s[link_at + 4 + 3 * i];
            if (v[2] < 0)
                refuse("the uncertainty of symbol " + std::to_string(i) + " is negative");
            law.d_link.symbols.push_back({ { v[0], v[1] }, v[2] });
        }
    }
    for (size_t i = 0; i < m; i++) {
        const double* g = &s[law_at + 5 * i];
        if (law.fitted() && !(g[2] > 0 && g[3] > 0 && g[2] * g[3] > g[4] * g[4]))
            refuse("the covariance of symbol " + std::to_string(i) + " is not positive definite");
        law.d_law[i] = { g[0], g[1], g[2], g[3], g[4] };
    }
    return law;
}

} // namespace gr::diffusion::dsp
