/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nomp.h"
#include "engine/delay_guide.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {
constexpr size_t oversampling = 4;
constexpr int cycles = 3;
} // namespace

nomp::nomp(size_t carriers) : d_carriers(carriers) {}

void nomp::set_pilots(const std::vector<int>& pilots)
{
    d_pilots = pilots;
    const size_t count = pilots.size();
    d_most = std::max<size_t>(1, std::min<size_t>(count / 2, 40));
    d_grid.resize(oversampling * d_carriers * count);
    for (size_t g = 0; g < oversampling * d_carriers; g++) {
        atom(double(g) / oversampling, &d_grid[g * count]);
        for (size_t i = 0; i < count; i++)
            d_grid[g * count + i] = std::conj(d_grid[g * count + i]);
    }
    d_delay.reserve(d_most);
    d_gain.resize(d_most);
    d_right.resize(d_most);
    d_atoms.resize(d_most * count);
    d_residual.resize(count);
    d_trial.resize(count);
    d_scratch.resize(2 * d_most * d_most);
    d_re.resize(d_most * d_most);
    d_im.resize(d_most * d_most);
}

void nomp::atom(double delay, cdouble* a) const
{
    const double step = -2 * M_PI * delay / double(d_carriers);
    for (size_t i = 0; i < d_pilots.size(); i++)
        a[i] = std::polar(1.0, step * (d_pilots[i] - int(d_carriers / 2)));
}

//! The grid delay whose atom fits best.
double nomp::search(const std::vector<cdouble>& residual) const
{
    const size_t count = d_pilots.size();
    double best = -1;
    size_t where = 0;
    for (size_t g = 0; g < oversampling * d_carriers; g++) {
        const cdouble* a = &d_grid[g * count];
        double re = 0, im = 0;
        for (size_t i = 0; i < count; i++) {
            re += a[i].real() * residual[i].real() - a[i].imag() * residual[i].imag();
            im += a[i].real() * residual[i].imag() + a[i].imag() * residual[i].real();
        }
        // Among aliases, which fit equally, the earliest: those of a comb differ only in rounding.
        const double fit = re * re + im * im;
        if (fit > best * (1 + 1e-9)) {
            best = fit;
            where = g;
        }
    }
    return double(where) / oversampling;
}

//! One Newton step on a path's delay, taken only if it improves the fit; residual kept up to date.
void nomp::newton(size_t path)
{
    const size_t count = d_pilots.size();
    cdouble* const a = &d_atoms[path * count];
    for (size_t i = 0; i < count; i++)
        d_residual[i] += d_gain[path] * a[i];
    cdouble overlap = 0;
    for (size_t i = 0; i < count; i++)
        overlap += std::conj(a[i]) * d_residual[i];
    cdouble gain = overlap / double(count);
    const double step = -2 * M_PI / double(d_carriers);
    double slope = 0, curvature = 0;
    for (size_t i = 0; i < count; i++) {
        const double w = step * (d_pilots[i] - int(d_carriers / 2));
        const cdouble left = std::conj(d_residual[i] - gain * a[i]);
        const cdouble first = cdouble(0, w) * gain * a[i];
        slope += (left * first).real();
        curvature += (left * (-w * w) * gain * a[i]).real() - std::norm(first);
    }
    if (curvature < 0) {
        const double delay = d_delay[path] - std::clamp(slope / curvature, -0.25, 0.25);
        atom(delay, d_trial.data());
        cdouble trial = 0;
        for (size_t i = 0; i < count; i++)
            trial += std::conj(d_trial[i]) * d_residual[i];
        if (std::norm(trial) > std::norm(overlap)) {
            d_delay[path] = delay;
            std::copy_n(d_trial.data(), count, a);
            gain = trial / double(count);
        }
    }
    d_gain[path] = gain;
    for (size_t i = 0; i < count; i++)
        d_residual[i] -= gain * a[i];
}

//! Joint gains (A^H A + ridge) g = A^H y and their residual; leaves the inverse in d_re, d_im.
void nomp::fit(const std::complex<float>* y, double ridge)
{
    const size_t count = d_pilots.size(), paths = d_delay.size();
    for (size_t a = 0; a < paths; a++) {
        d_right[a] = 0;
        for (size_t i = 0; i < count; i++)
            d_right[a] += std::conj(d_atoms[a * count + i]) * cdouble(y[i]);
        for (size_t b = 0; b <= a; b++) {
            cdouble sum = 0;
            for (size_t i = 0; i < count; i++)
                sum += std::conj(d_atoms[a * count + i]) * d_atoms[b * count + i];
            d_re[a * paths + b] = d_re[b * paths + a] = sum.real();
            d_im[a * paths + b] = sum.imag();
            d_im[b * paths + a] = -sum.imag();
        }
        d_re[a * paths + a] += ridge;
        d_im[a * paths + a] = 0;
    }
    if (!engine::invert_hermitian(d_re.data(), d_im.data(), paths, d_scratch.data()))
        return;
    for (size_t i = 0; i < count; i++)
        d_residual[i] = y[i];
    for (size_t a = 0; a < paths; a++) {
        cdouble gain = 0;
        for (size_t b = 0; b < paths; b++)
            gain += cdouble(d_re[a * paths + b], d_im[a * paths + b]) * d_right[b];
        d_gain[a] = gain;
        for (size_t i = 0; i < count; i++)
            d_residual[i] -= gain * d_atoms[a * count + i];
    }
}

void nomp::run(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var)
{
    const size_t count = d_pilots.size();
    double power = 0;
    for (size_t i = 0; i < count; i++) {
        d_residual[i] = y[i];
        power += std::norm(d_residual[i]) / double(count);
    }
    const double noise = std::max(double(noise_var), 1e-12 * power + 1e-300);
    const double threshold = noise * (std::log(double(count)) - std::log(-std::log(0.99)));
    d_delay.clear();
    double ridge = 0;
    while (d_delay.size() < d_most) {
        const double delay = search(d_residual);
        atom(delay, d_trial.data());
        cdouble overlap = 0;
        for (size_t i = 0; i < count; i++)
            overlap += std::conj(d_trial[i]) * d_residual[i];
        if (std::norm(overlap) / double(count) < threshold)
            break;
        const size_t path = d_delay.size();
        d_delay.push_back(delay);
        std::copy_n(d_trial.data(), count, &d_atoms[path * count]);
        d_gain[path] = overlap / double(count);
        for (size_t i = 0; i < count; i++)
            d_residual[i] -= d_gain[path] * d_trial[i];
        newton(path);
        for (int c = 0; c < cycles; c++)
            for (size_t p = 0; p <= path; p++)
                newton(p);
        ridge = noise * double(d_delay.size()) / std::max(power, 1e-300);
        fit(y, ridge);
    }

    const size_t paths = d_delay.size();
    for (size_t k = 0; k < d_carriers; k++) {
        cdouble sum = 0;
        double variance = 0;
        const double step = -2 * M_PI * (double(k) - double(d_carriers / 2)) / double(d_carriers);
        for (size_t a = 0; a < paths; a++) {
            d_right[a] = std::polar(1.0, step * d_delay[a]);
            sum += d_gain[a] * d_right[a];
        }
        h[k] = std::complex<float>(sum);
        if (!err_var)
            continue;
        for (size_t a = 0; a < paths; a++)
            for (size_t b = 0; b < paths; b++)
                variance +=
                    (std::conj(d_right[a]) * cdouble(d_re[a * paths + b], d_im[a * paths + b]) * d_right[b])
                        .real();
        err_var[k] = float(paths ? noise * std::max(variance, 0.0) : power);
    }
}

} // namespace gr::diffusion::dsp
