/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "channel_stage.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;
using cd = std::complex<double>;

void ls_stage::estimate(const channel_observation& o, channel_estimate& out)
{
    out.h.assign(d_fft_len, cf(0));
    out.error_var.assign(d_fft_len, 0);
    const size_t n = o.carriers.size();
    if (n == 0)
        return;
    size_t next = 0; // first observation at or above the carrier
    for (int i = 0; i < d_fft_len; i++) {
        const int k = i - d_fft_len / 2;
        while (next < n && o.carriers[next] < k)
            next++;
        if (next == 0 || next == n || o.carriers[next] == k) {
            const size_t at = std::min(next, n - 1);
            out.h[i] = o.ls[at];
            out.error_var[i] = o.noise_var[at];
        } else {
            const float w = float(k - o.carriers[next - 1]) / float(o.carriers[next] - o.carriers[next - 1]);
            out.h[i] = (1 - w) * o.ls[next - 1] + w * o.ls[next];
            out.error_var[i] = (1 - w) * (1 - w) * o.noise_var[next - 1] + w * w * o.noise_var[next];
        }
    }
}

lmmse_stage::lmmse_stage(int fft_len, int taps, double learn)
    : d_fft_len(fft_len), d_taps(taps), d_learn(learn), d_profile(taps, 1.0 / taps), d_rotation(fft_len)
{
    for (int n = 0; n < fft_len; n++)
        d_rotation[n] = std::polar(1.0, -2 * M_PI * n / fft_len);
}

namespace {

//! Cholesky factor (lower, in place) of a Hermitian positive definite matrix, row major.
void cholesky(std::vector<cd>& a, int n)
{
    for (int j = 0; j < n; j++) {
        double d = a[j * n + j].real();
        for (int k = 0; k < j; k++)
            d -= std::norm(a[j * n + k]);
        d = std::sqrt(std::max(d, 1e-300));
        a[j * n + j] = d;
        for (int i = j + 1; i < n; i++) {
            cd s = a[i * n + j];
            for (int k = 0; k < j; k++)
                s -= a[i * n + k] * std::conj(a[j * n + k]);
            a[i * n + j] = s / d;
        }
    }
}

void solve_lower(const std::vector<cd>& l, int n, cd* x)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++)
            x[i] -= l[i * n + k] * x[k];
        x[i] /= l[i * n + i].real();
    }
}

void solve_upper(const std::vector<cd>& l, int n, cd* x) // L^H
{
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            x[i] -= std::conj(l[k * n + i]) * x[k];
        x[i] /= l[i * n + i].real();
    }
}

} // namespace

void lmmse_stage::estimate(const channel_observation& o, channel_estimate& out)
{
    const int n = d_fft_len, taps = d_taps;
    out.h.assign(n, cf(0));
    out.error_var.assign(n, 0);
    if (o.carriers.empty())
        return;
    auto f = [&](int k, int l) { return d_rotation[size_t(((long(k) * l) % n + n) % n)]; };
    double power = 0;
    for (size_t i = 0; i < o.ls.size(); i++)
        power += std::max(std::norm(o.ls[i]) - o.noise_var[i], 0.0f);
    power = std::max(power / o.ls.size(), 1e-20);
    if (!d_started) {
        std::fill(d_profile.begin(), d_profile.end(), power / taps);
        d_started = true;
    }
    // The profile's shape is the link's, its level this frame's (AGC and fading move it).
    double level = 0;
    for (double p : d_profile)
        level += p;
    const double gain = power / level;

    // Information form: A = diag(1/p) + F^H N^-1 F, b = F^H N^-1 y. F^H N^-1 F is Toeplitz.
    std::vector<cd> toeplitz(taps), b(taps), a(size_t(taps) * taps);
    for (size_t i = 0; i < o.ls.size(); i++) {
        const double w = 1 / std::max(double(o.noise_var[i]), 1e-12);
        for (int l = 0; l < taps; l++) {
            const cd c = std::conj(f(o.carriers[i], l));
            toeplitz[l] += w * c;
            b[l] += w * c * cd(o.ls[i]);
        }
    }
    for (int r = 0; r < taps; r++)
        for (int c = 0; c <= r; c++)
            a[r * taps + c] = toeplitz[r - c] + (r == c ? 1 / std::max(d_profile[r] * gain, 1e-6 * power) : 0);
    cholesky(a, taps);
    solve_lower(a, taps, b.data());
    solve_upper(a, taps, b.data());

    std::vector<double> variance(taps);
    std::vector<cd> column(taps);
    for (int i = 0; i < n; i++) {
        const int k = i - n / 2;
        cd h = 0;
        for (int l = 0; l < taps; l++) {
            column[l] = f(k, l);
            h += column[l] * b[l];
        }
        // var h_k = f A^-1 f^H = |L^-1 f^H|^2
        for (auto& x : column)
            x = std::conj(x);
        solve_lower(a, taps, column.data());
        double e = 0;
        for (const auto& x : column)
            e += std::norm(x);
        out.h[i] = cf(h);
        out.error_var[i] = float(e);
    }
    if (d_learn > 0 && o.final) {
        for (int l = 0; l < taps; l++) {
            std::fill(column.begin(), column.end(), cd(0));
            column[l] = 1;
            solve_lower(a, taps, column.data());
            for (const auto& x : column)
                variance[l] += std::norm(x);
        }
        for (int l = 0; l < taps; l++)
            d_profile[l] = (1 - d_learn) * d_profile[l] * gain + d_learn * (std::norm(b[l]) + variance[l]);
    }
}

} // namespace gr::diffusion::dsp
