/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "hardware_prior.h"
#include "impairments.h"
#include "positive_definite.h"
#include "random.h"
#include <mutex>

namespace gr::diffusion::dsp {

namespace {

using cplx = std::complex<double>;
constexpr size_t T = hardware_prior::n_terms, n_draws = 160;
constexpr double ridge = 1e-7;                    // variance that every parameter has anyhow
// an AGC's and an equaliser's residual; gain and phase unknown
constexpr double gain_std[] = { 0.01, 0.5 };
// nearly ideal, good and poor mixers, without an amplifier
constexpr double mixer_scales[] = { 0.05, 0.3, 1 };

std::array<cplx, T> terms(cplx x)
{
    const cplx c = std::conj(x);
    const double p = std::norm(x);
    return { x,     c,         1.0,       x * p,         x * p * p, c * p,     x * x,      cplx(p),
             c * c, x * x * x, c * c * c, x * p * p * p, c * p * p, x * x * p, cplx(p * p) };
}

// Standard deviations of a radio of no kind known, around mu(x) = x.
constexpr std::array<double, T> free_std = { 0.5,  0.12, 0.12, 0.2,  0.1,  0.04, 0.04, 0.04,
                                             0.04, 0.02, 0.02, 0.03, 0.02, 0.02, 0.02 };

} // namespace

hardware_prior::hardware_prior(const std::vector<std::complex<float>>& points)
{
    const size_t m = points.size();
    std::vector<std::array<cplx, T>> f(m);
    positive_definite<cplx, T> gram;
    for (size_t i = 0; i < m; i++) {
        f[i] = terms(cplx(points[i]));
        std::array<double, n> re{}, im{};
        for (size_t k = 0; k < T; k++) {
            re[2 * k] = f[i][k].real(), re[2 * k + 1] = -f[i][k].imag();
            im[2 * k] = f[i][k].imag(), im[2 * k + 1] = f[i][k].real();
            for (size_t j = 0; j <= k; j++)
                gram.a[k][j] += std::conj(f[i][k]) * f[i][j] / double(m);
        }
        d_rows.push_back(re);
        d_rows.push_back(im);
    }
    for (size_t k = 0; k < T; k++)
        gram.a[k][k] += 1e-6;
    gram.factor();

    random_source random(20240607);
    auto between = [&](double low, double high) { return low + (high - low) * random.uniform(); };
    auto draws = [&](double low_backoff, double high_backoff) {
        std::vector<std::array<double, n>> w(n_draws);
        for (auto& parameters : w) {
            impairments radio;
            radio.set("iq_gain_db", between(-1.5, 1.5));
            radio.set("iq_phase_deg", between(-8, 8));
            if (high_backoff > 0) {
                radio.set("pa", "rapp");
                radio.set("backoff_db", between(low_backoff, high_backoff));
                radio.set("smoothness", between(1.5, 4));
                radio.set("am_pm", between(0, 0.45));
            }
            // The class has its offset on one diagonal; a radio's may point anywhere: turn the plane about
            // it.
            const cplx turn = std::polar(1.0, between(0, 2 * M_PI));
            radio.set("dc", between(0, 0.1));
            std::vector<std::complex<float>> turned(m);
            for (size_t i = 0; i < m; i++)
                turned[i] = std::complex<float>(cplx(points[i]) * turn);
            radio.renormalise(turned);
            const auto warped = radio.warp(turned);
            std::array<cplx, T> b{};
            for (size_t i = 0; i < m; i++) {
                const cplx shift = cplx(warped[i]) * std::conj(turn) - cplx(points[i]);
                for (size_t k = 0; k < T; k++)
                    b[k] += std::conj(f[i][k]) * shift / double(m);
            }
            gram.solve(b);
            for (size_t k = 0; k < T; k++) {
                parameters[2 * k] = b[k].real();
                parameters[2 * k + 1] = b[k].imag();
            }
        }
        return w;
    };
    const auto mixer = draws(0, 0), strong = draws(1, 3.5), weak = draws(3.5, 11);
    const std::array<double, n> zero{};
    for (double scale : mixer_scales)
        add(zero, mixer, scale);
    for (const auto& amplifier : { strong, weak }) {
        std::array<double, n> mean{};
        for (const auto& w : amplifier)
            for (size_t k = 0; k < n; k++)
                mean[k] += w[k] / double(n_draws);
        add(mean, amplifier, 1);
    }
    component any;
    for (size_t k = 0; k < n; k++) {
        const double std = free_std[k / 2];
        any.precision[k][k] = 1 / (std * std);
        any.log_det += 2 * std::log(std);
    }
    d_components.push_back(any);
}

void hardware_prior::add(const std::array<double, n>& mean, const std::vector<std::array<double, n>>& draws,
                         double scale)
{
    for (double gain : gain_std) {
        component c;
        c.mean = mean;
        positive_definite<double, n> covariance;
        for (const auto& w : draws)
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j <= i; j++)
                    covariance.a[i][j] += scale * scale * (w[i] - mean[i]) * (w[j] - mean[j]) /
                                          double(draws.size());
        for (size_t i = 0; i < n; i++)
            covariance.a[i][i] += ridge + (i < 2 ? gain * gain : 0);
        c.log_det = covariance.factor();
        for (size_t i = 0; i < n; i++) {
            std::array<double, n> unit{};
            unit[i] = 1;
            covariance.solve(unit);
            for (size_t j = 0; j < n; j++)
                c.precision[j][i] = unit[j];
        }
        d_components.push_back(c);
    }
}

std::shared_ptr<const hardware_prior> hardware_prior::of(const std::vector<std::complex<float>>& points)
{
    // Fits come by the hundred for the same few constellations.
    static std::mutex mutex;
    static std::vector<std::pair<std::vector<std::complex<float>>, std::shared_ptr<const hardware_prior>>>
        kept;
    const std::lock_guard<std::mutex> lock(mutex);
    for (const auto& [key, prior] : kept)
        if (key == points)
            return prior;
    std::shared_ptr<const hardware_prior> made(new hardware_prior(points));
    if (kept.size() == 8)
        kept.erase(kept.begin());
    kept.emplace_back(points, made);
    return made;
}

} // namespace gr::diffusion::dsp
