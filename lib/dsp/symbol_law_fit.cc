/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cell_table.h"
#include "positive_definite.h"
#include "symbol_law.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

namespace {

using cplx = std::complex<double>;
constexpr size_t min_known = 8;

//! Order as in polynomial().
std::array<cplx, symbol_law::n_terms> terms(cplx x)
{
    const cplx c = std::conj(x);
    const double p = std::norm(x);
    return { x, c, 1.0, x * p, x * p * p, c * p, x * x, cplx(p), c * c, x * x * x, c * c * c };
}

// Prior standard deviations of the terms' coefficients around x: gain and phase hardly known, the rest as
// radios have it (1 dB / 5 degrees of IQ imbalance is 0.07 of x*; 3 dB back-off is 0.1 of x|x|^2).
constexpr std::array<double, symbol_law::n_terms> prior_std = { 0.5,  0.12, 0.12, 0.2,  0.1, 0.04,
                                                                0.04, 0.04, 0.04, 0.02, 0.02 };

using hermitian = positive_definite<cplx, symbol_law::n_terms>;

void check(const std::vector<std::complex<float>>& points, const int* index, const std::complex<float>* y,
           size_t n, double noise_var)
{
    if (n < min_known)
        throw std::invalid_argument("fit: " + std::to_string(n) +
                                    " known symbols are too few, use at least " + std::to_string(min_known));
    if (!(noise_var > 0) || !std::isfinite(noise_var))
        throw std::invalid_argument("fit: noise_var is " + std::to_string(noise_var) +
                                    ", use a positive variance E|n|^2");
    for (size_t i = 0; i < n; i++) {
        if (index[i] < 0 || size_t(index[i]) >= points.size())
            throw std::invalid_argument("fit: symbol index " + std::to_string(index[i]) +
                                        " is none of 0 to " + std::to_string(points.size() - 1));
        if (!std::isfinite(y[i].real()) || !std::isfinite(y[i].imag()))
            throw std::invalid_argument("fit: received sample " + std::to_string(i) +
                                        " is not finite; leave such samples out");
    }
}

// Least variance of a rail: few symbols that all fell into one converter cell must not make a law that is
// certain of it. The chance of another cell, one step away, is of the order of 1 / (count + 2) then, which a
// Gaussian has at step^2 / (2 variance) = log(count + 2) + 1. A symbol seen often may be surer.
constexpr double min_noise_share = 0.02;
double least_variance(double noise_var, double step, double count)
{
    return std::max(0.5 * noise_var * (min_noise_share + 4 / (8 + count)),
                    step * step / (2 * std::log(count + 2) + 2));
}

constexpr size_t enough_each = 64; // known symbols of each point that speak for themselves
constexpr double fine_cells = 300; // of the signal's RMS

double log_gamma_2(double half) { return std::lgamma(half) + std::lgamma(half - 0.5); }

} // namespace

//! Sufficient statistics of the known symbols.
struct symbol_law::statistics {
    std::vector<double> count;
    std::vector<cplx> mean;

    statistics(size_t m, const int* index, const std::complex<float>* y, size_t n) : count(m), mean(m)
    {
        for (size_t i = 0; i < n; i++) {
            count[index[i]]++;
            mean[index[i]] += cplx(y[i]);
        }
        for (size_t i = 0; i < m; i++)
            if (count[i] > 0)
                mean[i] /= count[i];
    }
};

/* Class means m_i = f_i w + r_i, observed with variance variance[i] / count[i]. w ~ N(e_0, diag(prior)),
 * r_i ~ N(0, own). Its variance `own` is the one of a few candidates with the largest marginal likelihood;
 * the system is n_terms square whatever the constellation (matrix inversion lemma). */
void symbol_law::fit_centroids(const statistics& s, const std::vector<double>& variance,
                               std::vector<double>& uncertainty)
{
    const size_t m = d_points.size();
    double best = 0, own = -1;
    hermitian precision;
    std::array<cplx, n_terms> w{};
    const double known = std::accumulate(s.count.begin(), s.count.end(), 0.0);
    for (double candidate : { 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2 }) {
        if (candidate > 1e-3 && known < 16 * double(m))
            break; // a few unlucky symbols must not pass for an irregular constellation
        hermitian a;
        std::array<cplx, n_terms> b{};
        double log_det = 0, quadratic = 0;
        for (size_t k = 0; k < n_terms; k++) {
            a.a[k][k] = 1 / (prior_std[k] * prior_std[k]);
            log_det += 2 * std::log(prior_std[k]);
        }
        for (size_t i = 0; i < m; i++) {
            if (s.count[i] == 0)
                continue;
            const double d = candidate + variance[i] / s.count[i];
            const auto f = terms(cplx(d_points[i]));
            const cplx e = s.mean[i] - cplx(d_points[i]);
            for (size_t j = 0; j < n_terms; j++) {
                for (size_t k = 0; k <= j; k++)
                    a.a[j][k] += std::conj(f[j]) * f[k] / d;
                b[j] += std::conj(f[j]) * e / d;
            }
            quadratic += std::norm(e) / d;
            log_det += std::log(d);
        }
        log_det += a.factor();
        auto z = b;
        a.forward(z);
        for (const auto& v : z)
            quadratic -= std::norm(v);
        const double evidence = -log_det - quadratic;
        if (own < 0 || evidence > best) {
            best = evidence;
            own = candidate;
            precision = a;
            w = b;
            a.solve(w);
        }
    }
    d_polynomial = w;
    d_polynomial[0] += 1.0;
    for (size_t i = 0; i < m; i++) {
        auto f = terms(cplx(d_points[i]));
        cplx mean = 0;
        for (size_t k = 0; k < n_terms; k++)
            mean += f[k] * d_polynomial[k];
        for (auto& v : f)
            v = std::conj(v);
        precision.forward(f);
        double spread = 0;
        for (const auto& v : f)
            spread += std::norm(v);
        // The symbol's own deviation: pulled to its sample mean as its count grows.
        const double noise = s.count[i] > 0 ? variance[i] / s.count[i] : 0;
        const double pull = s.count[i] > 0 ? own / (own + noise) : 0;
        if (s.count[i] > 0)
            mean += pull * (s.mean[i] - mean);
        uncertainty[i] = (1 - pull) * (1 - pull) * spread + (s.count[i] > 0 ? pull * noise : own);
        d_law[i].re = mean.real();
        d_law[i].im = mean.imag();
    }
}

/* Additive, multiplicative and phase noise from the squared radial and tangential residuals, whose means
 * are linear in (v0, v1, v2): iteratively reweighted least squares, which is the maximum likelihood of
 * their gamma law, held to values >= 0, with a few pseudo-observations of the stated noise. */
void symbol_law::fit_noise(const statistics& s, const int* index, const std::complex<float>* y, size_t n)
{
    const size_t m = d_points.size();
    std::vector<double> radial(m), tangential(m);
    double total = 0;
    for (size_t k = 0; k < n; k++) {
        const auto& g = d_law[index[k]];
        const cplx mean(g.re, g.im), residual = cplx(y[k]) - mean;
        const double length = std::abs(mean);
        const cplx local = length > 1e-9 ? residual * std::conj(mean) / length : residual;
        radial[index[k]] += local.real() * local.real();
        tangential[index[k]] += local.imag() * local.imag();
        total += std::norm(residual);
    }
    const double floor = 1e-3 * total / double(n) + min_noise_share * d_noise_var;
    d_noise = { std::max(total / double(n), floor), 0, 0 };
    for (int iteration = 0; iteration < 8; iteration++) {
        double a[3][3] = {}, b[3] = {};
        auto observe = [&](const std::array<double, 3>& row, double mean_square, double count) {
            double expected = 0;
            for (int j = 0; j < 3; j++)
                expected += row[j] * d_noise[j];
            const double weight = count / std::pow(std::max(expected, floor), 2);
            for (int j = 0; j < 3; j++) {
                for (int k = 0; k < 3; k++)
                    a[j][k] += weight * row[j] * row[k];
                b[j] += weight * row[j] * mean_square;
            }
        };
        for (size_t i = 0; i < m; i++) {
            if (s.count[i] == 0)
                continue;
            const double p = d_law[i].re * d_law[i].re + d_law[i].im * d_law[i].im;
            observe({ 0.5, 0.5 * p, 0 }, radial[i] / s.count[i], s.count[i]);
            observe({ 0.5, 0.5 * p, p }, tangential[i] / s.count[i], s.count[i]);
        }
        // Weak priors: the stated noise; little multiplicative and phase noise, in units of the additive one.
        const double scale = std::max(d_noise[0], floor);
        observe({ 0.5, 0.5, 0.5 }, 0.5 * d_noise_var, 4);
        a[1][1] += 2 / (scale * scale);
        a[2][2] += 2 / (scale * scale);
        bool active[3] = { true, true, true };
        std::array<double, 3> v{};
        for (int round = 0; round < 3; round++) { // drop what comes out negative, solve again
            double c[3][4] = {};
            for (int j = 0; j < 3; j++) {
                for (int k = 0; k < 3; k++)
                    c[j][k] = active[j] && active[k] ? a[j][k] : double(j == k);
                c[j][3] = active[j] ? b[j] : 0;
            }
            for (int p = 0; p < 3; p++)
                for (int j = 0; j < 3; j++)
                    if (j != p) {
                        const double factor = c[j][p] / c[p][p];
                        for (int k = p; k < 4; k++)
                            c[j][k] -= factor * c[p][k];
                    }
            bool done = true;
            for (int j = 0; j < 3; j++) {
                v[j] = c[j][3] / c[j][j];
                if (v[j] < 0) {
                    active[j] = done = false;
                    v[j] = 0;
                }
            }
            if (done)
                break;
        }
        d_noise = { std::max(v[0], floor), v[1], v[2] };
    }
}

symbol_gaussian symbol_law::model_covariance(size_t i) const
{
    symbol_gaussian g = d_law[i];
    const double base = 0.5 * (d_noise[0] + d_noise[1] * (g.re * g.re + g.im * g.im));
    g.var_re = base + d_noise[2] * g.im * g.im;
    g.var_im = base + d_noise[2] * g.re * g.re;
    g.covariance = -d_noise[2] * g.re * g.im;
    return g;
}

/* Inverse-Wishart blend: (nu Sigma_model + S_i) / (nu + n_i), nu by marginal likelihood of the scatters. */
void symbol_law::fit_covariances(const int* index, const std::complex<float>* y, size_t n,
                                 const std::vector<double>& uncertainty)
{
    const size_t m = d_points.size();
    std::vector<std::array<double, 4>> scatter(m); // re^2, im^2, re im, count
    for (size_t k = 0; k < n; k++) {
        const auto& g = d_law[index[k]];
        const double re = y[k].real() - g.re, im = y[k].imag() - g.im;
        auto& c = scatter[index[k]];
        c[0] += re * re;
        c[1] += im * im;
        c[2] += re * im;
        c[3] += 1;
    }
    std::vector<symbol_gaussian> model(m);
    for (size_t i = 0; i < m; i++)
        model[i] = model_covariance(i);
    auto determinant = [](double a, double b, double c) { return std::max(a * b - c * c, 1e-300); };
    double best = 0, weight = -1;
    for (double nu : { 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0 }) {
        double evidence = 0;
        for (size_t i = 0; i < m; i++) {
            const auto& g = model[i];
            const auto& c = scatter[i];
            evidence += 0.5 * nu * std::log(determinant(nu * g.var_re, nu * g.var_im, nu * g.covariance)) -
                        0.5 * (nu + c[3]) * std::log(determinant(nu * g.var_re + c[0], nu * g.var_im + c[1],
                                                                 nu * g.covariance + c[2])) +
                        log_gamma_2(0.5 * (nu + c[3])) - log_gamma_2(0.5 * nu);
        }
        if (weight < 0 || evidence > best) {
            best = evidence;
            weight = nu;
        }
    }
    for (size_t i = 0; i < m; i++) {
        const auto& c = scatter[i];
        const double total = weight + c[3];
        auto& g = d_law[i];
        g.var_re = (weight * model[i].var_re + c[0]) / total + 0.5 * uncertainty[i];
        g.var_im = (weight * model[i].var_im + c[1]) / total + 0.5 * uncertainty[i];
        g.covariance = (weight * model[i].covariance + c[2]) / total;
        const double smallest = (g.var_re + g.var_im) / 2 -
                                std::hypot((g.var_re - g.var_im) / 2, g.covariance);
        const double lift = std::max(0.0, least_variance(d_noise_var, d_grid.step, c[3]) - smallest);
        g.var_re += lift;
        g.var_im += lift;
    }
}

symbol_law symbol_law::fit(std::vector<std::complex<float>> points, const int* index,
                           const std::complex<float>* y, size_t n, double noise_var)
{
    symbol_law law(std::move(points));
    check(law.d_points, index, y, n, noise_var);
    const size_t m = law.d_points.size();
    const statistics s(m, index, y, n);
    law.d_known = n;
    law.d_noise_var = noise_var;
    law.d_grid = adc_grid::detect(y, n);
    std::vector<double> variance(m, noise_var), uncertainty(m);
    for (int pass = 0; pass < 3; pass++) { // centroids and noise depend on each other
        law.fit_centroids(s, variance, uncertainty);
        law.fit_noise(s, index, y, n);
        for (size_t i = 0; i < m; i++) {
            const auto g = law.model_covariance(i);
            variance[i] = g.var_re + g.var_im;
        }
    }
    law.fit_covariances(index, y, n, uncertainty);
    if (law.d_grid.step > 0)
        law.d_link = link_law::fit(law.d_points, index, y, n, noise_var, law.d_grid);
    else if (n < enough_each * m)
        law.take_gaussians(index, y, n);
    return law;
}

/* Few symbols and no converter: the Gaussians of link_law, which knows radios better than the polynomial
 * above, fitted in cells so fine that they lose nothing. */
void symbol_law::take_gaussians(const int* index, const std::complex<float>* y, size_t n)
{
    double power = 0, largest = 0;
    for (size_t k = 0; k < n; k++) {
        power += std::norm(cplx(y[k])) / double(n);
        largest = std::max({ largest, std::abs(double(y[k].real())), std::abs(double(y[k].imag())) });
    }
    const double step = std::sqrt(power) / fine_cells;
    if (!(step > 1e-9) || largest > 100 * std::sqrt(power))
        return;
    double half = 1;
    while (half * step < 2 * largest)
        half *= 2;
    // A largest level below the converter's, so that none is taken for clipped.
    const auto link = link_law::fit(d_points, index, y, n, d_noise_var, { step, 0.75 * half * step });
    for (size_t i = 0; i < d_points.size(); i++) {
        const cplx mean = link.symbols[i].mean;
        const double base = link.additive / 2 + link.symbols[i].uncertainty, turn = link.phase_var;
        auto& g = d_law[i];
        g.re = mean.real() * std::exp(-turn / 2);
        g.im = mean.imag() * std::exp(-turn / 2);
        g.var_re = base + turn * mean.imag() * mean.imag();
        g.var_im = base + turn * mean.real() * mean.real();
        g.covariance = -turn * mean.real() * mean.imag();
    }
}

symbol_law symbol_law::behind_converter(std::vector<std::complex<float>> points, const std::complex<float>* y, size_t n,
                                        double noise_var, double guess, bool blind)
{
    symbol_law law(std::move(points));
    law.d_grid = adc_grid::detect(y, n);
    const bool told = noise_var > 0;
    if (!(law.d_grid.step > 0) || law.d_grid.top > law.d_grid.step * double(cell_table::most_half))
        return law;
    law.d_link = link_law::ideal(law.d_points, y, n, told ? noise_var : guess, told, law.d_grid);
    if (blind && cell_table::takes(law.d_link))
        law.d_link = law.d_link.blind(law.d_points, y, n, noise_var);
    return law;
}

symbol_law symbol_law::refined(const int* index, const std::complex<float>* known_y, size_t known,
                               const std::complex<float>* y, size_t n, double noise_var) const
{
    if (!cell_table::takes(d_link))
        throw std::invalid_argument("refined: the law has no converter of 1 to 6 bits");
    check(d_points, index, known_y, known, d_noise_var);
    if (n == 0)
        throw std::invalid_argument("refined: no samples");
    symbol_law law(*this);
    law.d_link = d_link.refined(d_points, index, known_y, known, y, n, noise_var);
    return law;
}

symbol_law symbol_law::fit_linear(std::vector<std::complex<float>> points, const int* index,
                                  const std::complex<float>* y, size_t n, double noise_var)
{
    symbol_law law(std::move(points));
    check(law.d_points, index, y, n, noise_var);
    cplx cross = 0;
    double power = 0, error = 0;
    for (size_t k = 0; k < n; k++) {
        const cplx x(law.d_points[index[k]]);
        cross += std::conj(x) * cplx(y[k]);
        power += std::norm(x);
    }
    const cplx gain = power > 0 ? cross / power : 1;
    for (size_t k = 0; k < n; k++)
        error += std::norm(cplx(y[k]) - gain * cplx(law.d_points[index[k]]));
    law.d_known = n;
    law.d_noise_var = noise_var;
    law.d_grid = adc_grid::detect(y, n);
    law.d_polynomial[0] = gain;
    const double variance = std::max((error + 4 * noise_var) / double(n + 4), 1e-9);
    law.d_noise = { variance, 0, 0 };
    for (auto& g : law.d_law) {
        const cplx mean = gain * cplx(g.re, g.im);
        g = { mean.real(), mean.imag(), variance / 2, variance / 2, 0 };
    }
    return law;
}

} // namespace gr::diffusion::dsp
