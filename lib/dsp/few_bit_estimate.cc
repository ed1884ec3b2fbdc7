/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "few_bit_estimate.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;
using cd = std::complex<double>;

cut_gaussian cut_gaussian::of(double mean, double var, double low, double high)
{
    const double s = std::sqrt(var);
    double a = (low - mean) / s, b = (high - mean) / s;
    const bool flip = a + b > 0; // the lower tail keeps its digits
    if (flip) {
        const double t = a;
        a = -b;
        b = -t;
    }
    const auto density = [](double x) {
        return std::isfinite(x) ? std::exp(-0.5 * x * x) / std::sqrt(2 * M_PI) : 0.0;
    };
    const double z = 0.5 * (std::erfc(-b / std::sqrt(2)) - std::erfc(-a / std::sqrt(2)));
    double d, v;
    if (z > 1e-280) {
        const double pa = density(a) / z, pb = density(b) / z;
        d = pa - pb;
        v = 1 + (std::isfinite(a) ? a * pa : 0) - (std::isfinite(b) ? b * pb : 0) - d * d;
    } else { // as good as impossible: at the nearer edge, where the density falls like exp(-|b| x)
        d = b - 1 / std::max(std::abs(b), 1.0);
        v = 1 / (b * b);
    }
    // In the tail 1 + ... is a difference of large numbers; the true variance is near 1 / b^2 there.
    v = std::clamp(v, b < -3 ? 0.2 / (b * b) : 1e-9, 1.0);
    return { mean + (flip ? -d : d) * s, v * var, std::log(std::max(z, 1e-280)) };
}

void few_bit_estimate(pilot_estimator& e, const few_bit_pilots& view, const cf* y, size_t frames,
                      const float* noise_var, float power, int rounds, cf* h, float* err_var)
{
    constexpr double share = 0.6;        // of the way, a round
    constexpr double most_growth = 1.2;  // of an estimate's power over the linear view's
    const auto& pilots = e.pilots();
    const size_t n = pilots.size(), carriers = e.carriers();
    const double step = view.step(), half = double(view.levels()) / 2;
    const double infinity = std::numeric_limits<double>::infinity();
    std::vector<cf> z(n);
    std::vector<cd> mean(n), belief(n);
    std::vector<cf> best_h(carriers);
    std::vector<float> best_error(carriers);
    const auto cell_of = [&](double at) { return std::clamp(std::round(at / step - 0.5), -half, half - 1); };
    const auto cut_to = [&](double m, double var, double cell) {
        return cut_gaussian::of(m, var, cell <= -half ? -infinity : cell * step,
                                cell >= half - 1 ? infinity : (cell + 1) * step);
    };
    for (size_t f = 0; f < frames; f++, y += n, h += carriers, err_var += carriers) {
        std::copy_n(y, n, z.begin());
        double tau = view.apply(z.data(), n, noise_var[f], power);
        e.estimate(z.data(), 1, float(tau), h, err_var);
        double best = -infinity, first_level = 0;
        // Takes the scale that one bit leaves open, then keeps the estimate if the cells are likelier than
        // before.
        const auto judge = [&] {
            double level = 0, fit = 0;
            for (size_t k = 0; k < carriers; k++)
                level += (std::norm(h[k]) + err_var[k]) / double(carriers);
            const float scale = view.levels() == 2 && level > 0 && std::isfinite(level)
                                    ? std::sqrt(power / level)
                                    : 1;
            for (size_t k = 0; k < carriers; k++) {
                h[k] *= scale;
                err_var[k] *= scale * scale;
            }
            for (size_t i = 0; i < n; i++) {
                const double var = (std::max(double(err_var[pilots[i]]), 1e-6 * power) + noise_var[f]) / 2;
                fit += cut_to(h[pilots[i]].real(), var, cell_of(y[i].real())).log_mass +
                       cut_to(h[pilots[i]].imag(), var, cell_of(y[i].imag())).log_mass;
            }
            // What explodes between the pilots may still fit at them.
            if (first_level == 0)
                first_level = level;
            const bool sane = level < most_growth * first_level || view.levels() == 2;
            if (fit > best && sane) {
                best = fit;
                std::copy_n(h, carriers, best_h.begin());
                std::copy_n(err_var, carriers, best_error.begin());
                return true;
            }
            return false;
        };
        const bool rounded = view.levels() && rounds > 0;
        if (rounded)
            judge();
        for (int round = 0; round < rounds && view.levels(); round++) {
            double error = 0;
            for (int p : pilots)
                error += err_var[p] / double(n);
            error = std::max(error, 1e-6 * power);
            if (!std::isfinite(error) || !std::isfinite(tau))
                break;
            // What the estimator believes without the pseudo-observation of that pilot.
            const double c = std::clamp(1 / std::max(1 / error - 1 / tau, 1e-3 / power), 1e-5 * power,
                                        10.0 * power);
            const double noise = std::max(double(noise_var[f]), 1e-7 * power), gain = c / (c + noise);
            double after = 0;
            for (size_t i = 0; i < n; i++) {
                belief[i] = c * (cd(h[pilots[i]]) / error - cd(z[i]) / tau);
                double moved[2];
                for (int rail = 0; rail < 2; rail++) {
                    const double at = rail ? y[i].imag() : y[i].real(),
                                 m = rail ? belief[i].imag() : belief[i].real();
                    const auto cut = cut_to(m, (c + noise) / 2, cell_of(at));
                    moved[rail] = cut.mean - m;
                    after += gain * gain * cut.var / double(n);
                }
                mean[i] = belief[i] + gain * cd(moved[0], moved[1]);
            }
            after += c * (1 - gain);
            const double sharper = std::max(1 / after - 1 / c, 1e-3 / power);
            for (size_t i = 0; i < n; i++)
                z[i] = cf(share * (mean[i] / after - belief[i] / c) / sharper + (1 - share) * cd(z[i]));
            tau = 1 / (share * sharper + (1 - share) / tau);
            e.estimate(z.data(), 1, float(tau), h, err_var);
            if (!judge())
                break;
        }
        if (rounded && std::isfinite(best)) {
            std::copy_n(best_h.begin(), carriers, h);
            std::copy_n(best_error.begin(), carriers, err_var);
        }
    }
}

} // namespace gr::diffusion::dsp
