/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "few_bit_estimate.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

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

namespace {

//! What the rounds ask of an estimator.
struct target {
    size_t observations, values, errors; //!< of a frame: pilots seen, coefficients of h, values of err_var
    virtual ~target() = default;
    virtual void estimate(const cf* z, float tau, cf* h, float* err_var) = 0;
    //! What an estimate says of each observation before noise and converter: mean and variance of its error.
    virtual void expect(const cf* h, const float* err_var, cd* mean, double* var) const = 0;
    //! E|signal|^2 of an observation according to the estimate.
    virtual double level(const cf* h, const float* err_var) const = 0;
};

struct carriers_seen final : target {
    pilot_estimator& e;
    explicit carriers_seen(pilot_estimator& from) : e(from)
    {
        observations = e.pilots().size();
        values = errors = e.carriers();
    }
    void estimate(const cf* z, float tau, cf* h, float* err_var) override
    {
        e.estimate(z, 1, tau, h, err_var);
    }
    void expect(const cf* h, const float* err_var, cd* mean, double* var) const override
    {
        for (size_t i = 0; i < observations; i++) {
            mean[i] = h[e.pilots()[i]];
            var[i] = err_var[e.pilots()[i]];
        }
    }
    double level(const cf* h, const float* err_var) const override
    {
        double sum = 0;
        for (size_t k = 0; k < values; k++)
            sum += (std::norm(h[k]) + err_var[k]) / double(values);
        return sum;
    }
};

struct antennas_seen final : target {
    mimo_estimator& e;
    std::vector<double> column; //!< energy of each pilot vector
    double mean_column = 0;
    explicit antennas_seen(mimo_estimator& from) : e(from), column(e.count())
    {
        observations = e.receivers() * e.count();
        values = e.receivers() * e.transmitters();
        errors = 1;
        for (size_t i = 0; i < e.count(); i++) {
            for (size_t t = 0; t < e.transmitters(); t++)
                column[i] += std::norm(cd(e.pilots()[t * e.count() + i]));
            mean_column += column[i] / double(e.count());
        }
    }
    void estimate(const cf* z, float tau, cf* h, float* err_var) override
    {
        e.estimate(z, 1, tau, h, err_var);
    }
    void expect(const cf* h, const float* err_var, cd* mean, double* var) const override
    {
        const size_t nt = e.transmitters(), count = e.count();
        std::fill_n(mean, observations, cd(0));
        for (size_t r = 0; r < e.receivers(); r++)
            for (size_t t = 0; t < nt; t++)
                for (size_t i = 0; i < count; i++)
                    mean[r * count + i] += cd(h[r * nt + t]) * cd(e.pilots()[t * count + i]);
        for (size_t i = 0; i < observations; i++)
            var[i] = *err_var * column[i % count];
    }
    double level(const cf* h, const float* err_var) const override
    {
        double sum = 0;
        for (size_t k = 0; k < values; k++)
            sum += std::norm(h[k]) / double(values);
        return (sum + *err_var) * mean_column;
    }
};

void by_rounds(target& e, const few_bit_pilots& view, const cf* y, size_t frames, const float* noise_var,
               float power, int rounds, cf* h, float* err_var)
{
    constexpr double share = 0.6;        // of the way, a round
    constexpr double most_growth = 1.2;  // of an estimate's power over the linear view's
    const size_t n = e.observations;
    const double step = view.step(), half = double(view.levels()) / 2;
    const double infinity = std::numeric_limits<double>::infinity();
    std::vector<cf> z(n);
    std::vector<cd> mean(n), belief(n), seen(n);
    std::vector<double> seen_var(n);
    std::vector<cf> best_h(e.values);
    std::vector<float> best_error(e.errors);
    const auto cell_of = [&](double at) { return std::clamp(std::round(at / step - 0.5), -half, half - 1); };
    const auto cut_to = [&](double m, double var, double cell) {
        return cut_gaussian::of(m, var, cell <= -half ? -infinity : cell * step,
                                cell >= half - 1 ? infinity : (cell + 1) * step);
    };
    for (size_t f = 0; f < frames; f++, y += n, h += e.values, err_var += e.errors) {
        std::copy_n(y, n, z.begin());
        double tau = view.apply(z.data(), n, noise_var[f], power);
        e.estimate(z.data(), float(tau), h, err_var);
        double best = -infinity, first_level = 0;
        // Takes the scale that one bit leaves open, then keeps the estimate if the cells are likelier than
        // before.
        const auto judge = [&] {
            double level = e.level(h, err_var), fit = 0;
            const bool open = view.levels() == 2 && level > 0 && std::isfinite(level);
            const float scale = open ? std::sqrt(power / level) : 1;
            for (size_t k = 0; k < e.values; k++)
                h[k] *= scale;
            for (size_t k = 0; k < e.errors; k++)
                err_var[k] *= scale * scale;
            e.expect(h, err_var, seen.data(), seen_var.data());
            for (size_t i = 0; i < n; i++) {
                const double var = (std::max(seen_var[i], 1e-6 * power) + noise_var[f]) / 2;
                fit += cut_to(seen[i].real(), var, cell_of(y[i].real())).log_mass +
                       cut_to(seen[i].imag(), var, cell_of(y[i].imag())).log_mass;
            }
            // What explodes between the pilots may still fit at them.
            if (first_level == 0)
                first_level = level;
            const bool sane = level < most_growth * first_level || view.levels() == 2;
            if (fit > best && sane) {
                best = fit;
                std::copy_n(h, e.values, best_h.begin());
                std::copy_n(err_var, e.errors, best_error.begin());
                return true;
            }
            return false;
        };
        const bool rounded = view.levels() && rounds > 0;
        if (rounded)
            judge();
        for (int round = 0; round < rounds && view.levels(); round++) {
            double error = 0;
            for (double v : seen_var)
                error += v / double(n);
            error = std::max(error, 1e-6 * power);
            if (!std::isfinite(error) || !std::isfinite(tau))
                break;
            // What the estimator believes without the pseudo-observation of that pilot.
            const double rest = std::max(1 / error - 1 / tau, 1e-3 / power);
            const double c = std::clamp(1 / rest, 1e-5 * power, 10.0 * power);
            const double noise = std::max(double(noise_var[f]), 1e-7 * power), gain = c / (c + noise);
            double after = 0;
            for (size_t i = 0; i < n; i++) {
                belief[i] = c * (seen[i] / error - cd(z[i]) / tau);
                double moved[2];
                for (int rail = 0; rail < 2; rail++) {
                    const double at = rail ? y[i].imag() : y[i].real();
                    const double m = rail ? belief[i].imag() : belief[i].real();
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
            e.estimate(z.data(), float(tau), h, err_var);
            if (!judge())
                break;
        }
        if (rounded && std::isfinite(best)) {
            std::copy_n(best_h.begin(), e.values, h);
            std::copy_n(best_error.begin(), e.errors, err_var);
        }
    }
}

} // namespace

void few_bit_estimate(pilot_estimator& e, const few_bit_pilots& view, const cf* y, size_t frames,
                      const float* noise_var, float power, int rounds, cf* h, float* err_var)
{
    carriers_seen all(e);
    by_rounds(all, view, y, frames, noise_var, power, rounds, h, err_var);
}

void few_bit_estimate(mimo_estimator& e, const few_bit_pilots& view, const cf* y, size_t frames,
                      const float* noise_var, float power, int rounds, cf* h, float* err_var)
{
    antennas_seen all(e);
    by_rounds(all, view, y, frames, noise_var, power, rounds, h, err_var);
}

} // namespace gr::diffusion::dsp
