/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "phase_tracker.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {

struct state {
    double phase, step, pp, ps, ss; // mean and covariance
};

state predict(const state& s, double walk)
{
    return { s.phase + s.step, s.step, s.pp + 2 * s.ps + s.ss + walk, s.ps + s.ss, s.ss + 1e-10 };
}

//! Filters forward; returns the log-likelihood of the innovations.
double filter(const std::vector<double>& angle, const std::vector<double>& r, double step_std, double walk,
              std::vector<state>& predicted, std::vector<state>& filtered)
{
    double likelihood = 0, product = 1; // of some totals: fewer logarithms
    int factors = 0;
    state s{ 0, 0, 1e-6, 0, step_std * step_std };
    for (size_t i = 0; i < r.size(); i++) {
        if (i > 0)
            s = predict(s, walk);
        predicted[i] = s;
        if (std::isfinite(r[i])) {
            double innovation = angle[i] - s.phase;
            innovation -= 2 * M_PI * std::floor(innovation / (2 * M_PI) + 0.5);
            const double total = s.pp + r[i], k0 = s.pp / total, k1 = s.ps / total;
            product *= total;
            if (++factors == 4) { // each is between 1e-30 and 1e30
                likelihood -= 0.5 * std::log(product);
                product = 1;
                factors = 0;
            }
            likelihood -= 0.5 * innovation * innovation / total;
            s = { s.phase + k0 * innovation, s.step + k1 * innovation, s.pp * (1 - k0), s.ps * (1 - k0),
                  s.ss - k1 * s.ps };
        }
        filtered[i] = s;
    }
    return likelihood - 0.5 * std::log(product);
}

} // namespace

phase_tracker::track phase_tracker::run(const std::vector<std::complex<double>>& z,
                                        const std::vector<double>& phase_var, double step_std)
{
    const size_t n = z.size();
    std::vector<double> angle(n), r(phase_var);
    for (size_t i = 0; i < n; i++) {
        angle[i] = std::arg(z[i]);
        // Nothing received, or a variance that says nothing: no measurement.
        r[i] = std::norm(z[i]) > 0 && r[i] < 1e30 ? std::max(r[i], 1e-30) : INFINITY;
    }
    track out;
    out.phase.resize(n);
    out.variance.resize(n);
    if (n == 0)
        return out;
    std::vector<state> predicted(n), filtered(n), best_predicted(n), best_filtered(n);
    double best = -INFINITY;
    bool first = true;
    for (double walk : { 1e-6, 1e-5, 1e-4, 1e-3, 1e-2 }) {
        const double likelihood = filter(angle, r, step_std, walk, predicted, filtered);
        if (likelihood > best || first) {
            best = likelihood;
            out.walk_var = walk;
            best_predicted.swap(predicted);
            best_filtered.swap(filtered);
            first = false;
        }
    }
    state s = best_filtered[n - 1];
    out.phase[n - 1] = s.phase;
    out.variance[n - 1] = s.pp;
    for (size_t i = n - 1; i-- > 0;) {
        const state &f = best_filtered[i], &p = best_predicted[i + 1];
        // C = P_f F^T P_p^-1 with F = [1 1; 0 1]
        const double a = f.pp + f.ps, b = f.ps, c = f.ps + f.ss, d = f.ss;
        const double det = std::max(p.pp * p.ss - p.ps * p.ps, 1e-30);
        const double c00 = (a * p.ss - b * p.ps) / det, c01 = (b * p.pp - a * p.ps) / det;
        const double c10 = (c * p.ss - d * p.ps) / det, c11 = (d * p.pp - c * p.ps) / det;
        const double dp = s.phase - p.phase, ds = s.step - p.step;
        const double epp = s.pp - p.pp, eps = s.ps - p.ps, ess = s.ss - p.ss;
        s = { f.phase + c00 * dp + c01 * ds,
              f.step + c10 * dp + c11 * ds,
              f.pp + c00 * c00 * epp + 2 * c00 * c01 * eps + c01 * c01 * ess,
              f.ps + c00 * c10 * epp + (c00 * c11 + c01 * c10) * eps + c01 * c11 * ess,
              f.ss + c10 * c10 * epp + 2 * c10 * c11 * eps + c11 * c11 * ess };
        out.phase[i] = s.phase;
        out.variance[i] = std::max(s.pp, 0.0);
    }
    out.step = n > 1 ? (out.phase[n - 1] - out.phase[0]) / double(n - 1) : 0;
    return out;
}

} // namespace gr::diffusion::dsp
