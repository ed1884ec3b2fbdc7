/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "channel_stage.h"
#include "engine/delay_guide.h"
#include "engine/vectorise.h"
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
    : d_fft_len(fft_len),
      d_taps(taps),
      d_learn(learn),
      d_profile(taps, 1.0 / taps),
      d_re(size_t(taps) * fft_len),
      d_im(size_t(taps) * fft_len),
      d_inverse_re(size_t(taps) * taps),
      d_inverse_im(size_t(taps) * taps),
      d_scratch(2 * size_t(taps) * taps),
      d_carrier(3 * size_t(fft_len)),
      d_tap(6 * size_t(taps))
{
    const long n = fft_len;
    for (int l = 0; l < taps; l++)
        for (long i = 0; i < n; i++) {
            const cd f = std::polar(1.0, -2 * M_PI * double((((i - n / 2) * l) % n + n) % n) / double(n));
            d_re[size_t(l) * n + i] = f.real();
            d_im[size_t(l) * n + i] = f.imag();
        }
}

namespace {

//! toeplitz_l = sum_k w_k conj(f_kl), b_l = sum_k conj(f_kl) v_k, with f the rows fr + j fi.
DIFFUSION_VECTORISE void to_taps(size_t taps, size_t n, const double* __restrict fr,
                                 const double* __restrict fi, const double* __restrict w,
                                 const double* __restrict vr, const double* __restrict vi,
                                 double* __restrict toeplitz_re, double* __restrict toeplitz_im,
                                 double* __restrict b_re, double* __restrict b_im)
{
    constexpr size_t lanes = 8; // partial sums, so that the compiler may vectorise without reordering
    for (size_t l = 0; l < taps; l++, fr += n, fi += n) {
        double sum[4][lanes] = {};
        size_t k = 0;
        for (; k + lanes <= n; k += lanes)
            for (size_t j = 0; j < lanes; j++) {
                const double c = fr[k + j], s = fi[k + j];
                sum[0][j] += w[k + j] * c;
                sum[1][j] -= w[k + j] * s;
                sum[2][j] += c * vr[k + j] + s * vi[k + j];
                sum[3][j] += c * vi[k + j] - s * vr[k + j];
            }
        for (; k < n; k++) {
            sum[0][0] += w[k] * fr[k];
            sum[1][0] -= w[k] * fi[k];
            sum[2][0] += fr[k] * vr[k] + fi[k] * vi[k];
            sum[3][0] += fr[k] * vi[k] - fi[k] * vr[k];
        }
        double total[4] = {};
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < lanes; j++)
                total[i] += sum[i][j];
        toeplitz_re[l] = total[0];
        toeplitz_im[l] = total[1];
        b_re[l] = total[2];
        b_im[l] = total[3];
    }
}

//! h_k = sum_l f_kl g_l and e_k = sum_d Re(f_kd c_d).
DIFFUSION_VECTORISE void to_carriers(size_t taps, size_t n, const double* __restrict fr,
                                     const double* __restrict fi, const double* __restrict g_re,
                                     const double* __restrict g_im, const double* __restrict c_re,
                                     const double* __restrict c_im, double* __restrict h_re,
                                     double* __restrict h_im, double* __restrict e)
{
    std::fill_n(h_re, n, 0.0);
    std::fill_n(h_im, n, 0.0);
    std::fill_n(e, n, 0.0);
    for (size_t l = 0; l < taps; l++, fr += n, fi += n)
        for (size_t k = 0; k < n; k++) {
            h_re[k] += fr[k] * g_re[l] - fi[k] * g_im[l];
            h_im[k] += fr[k] * g_im[l] + fi[k] * g_re[l];
            e[k] += fr[k] * c_re[l] - fi[k] * c_im[l];
        }
}

} // namespace

void lmmse_stage::estimate(const channel_observation& o, channel_estimate& out)
{
    const size_t n = size_t(d_fft_len), taps = size_t(d_taps);
    out.h.assign(n, cf(0));
    out.error_var.assign(n, 0);
    if (o.carriers.empty())
        return;
    double power = 0;
    for (size_t i = 0; i < o.ls.size(); i++)
        power += std::max(std::norm(o.ls[i]) - o.noise_var[i], 0.0f);
    power = std::max(power / double(o.ls.size()), 1e-20);
    if (!d_started) {
        std::fill(d_profile.begin(), d_profile.end(), power / double(taps));
        d_started = true;
    }
    // The profile's shape is the link's, its level this frame's (AGC and fading move it).
    double level = 0;
    for (double p : d_profile)
        level += p;
    const double gain = power / level;

    // Information form: A = diag(1/p) + F^H N^-1 F, b = F^H N^-1 y. F^H N^-1 F is Toeplitz.
    double *const w = d_carrier.data(), *const v_re = w + n, *const v_im = v_re + n;
    std::fill_n(w, 3 * n, 0.0);
    for (size_t i = 0; i < o.ls.size(); i++) {
        const size_t k = size_t(o.carriers[i] + d_fft_len / 2);
        w[k] = 1 / std::max(double(o.noise_var[i]), 1e-12);
        v_re[k] = w[k] * double(o.ls[i].real());
        v_im[k] = w[k] * double(o.ls[i].imag());
    }
    double *const t_re = d_tap.data(), *const t_im = t_re + taps, *const b_re = t_im + taps,
                  *const b_im = b_re + taps;
    double *const g_re = b_im + taps, *const g_im = g_re + taps;
    to_taps(taps, n, d_re.data(), d_im.data(), w, v_re, v_im, t_re, t_im, b_re, b_im);
    for (size_t r = 0; r < taps; r++)
        for (size_t c = r; c < taps; c++) { // the upper triangle: conjugates of the lower one's t_{c - r}
            d_inverse_re[r * taps + c] = t_re[c - r] +
                                         (r == c ? 1 / std::max(d_profile[r] * gain, 1e-6 * power) : 0);
            d_inverse_im[r * taps + c] = -t_im[c - r];
        }
    if (!engine::invert_hermitian(d_inverse_re.data(), d_inverse_im.data(), taps, d_scratch.data())) {
        std::fill(out.error_var.begin(), out.error_var.end(), INFINITY); // only with numbers beyond all sense
        return;
    }
    // g = A^-1 b; var h_k = f_k A^-1 f_k^H depends on the sums along A^-1's diagonals only.
    for (size_t r = 0; r < taps; r++) {
        double re = 0, im = 0;
        for (size_t c = 0; c < taps; c++) {
            const double a_re = d_inverse_re[r * taps + c], a_im = d_inverse_im[r * taps + c];
            re += a_re * b_re[c] - a_im * b_im[c];
            im += a_re * b_im[c] + a_im * b_re[c];
        }
        g_re[r] = re;
        g_im[r] = im;
    }
    for (size_t d = 0; d < taps; d++) {
        double re = 0, im = 0;
        for (size_t l = 0; l + d < taps; l++) {
            re += d_inverse_re[(l + d) * taps + l];
            im += d_inverse_im[(l + d) * taps + l];
        }
        t_re[d] = d ? 2 * re : re;
        t_im[d] = d ? 2 * im : im;
    }
    double *const h_re = d_carrier.data(), *const h_im = h_re + n, *const e = h_im + n;
    to_carriers(taps, n, d_re.data(), d_im.data(), g_re, g_im, t_re, t_im, h_re, h_im, e);
    for (size_t k = 0; k < n; k++) {
        out.h[k] = { float(h_re[k]), float(h_im[k]) };
        out.error_var[k] = float(std::max(e[k], 0.0));
    }
    if (d_learn > 0 && o.final && o.learn)
        for (size_t l = 0; l < taps; l++)
            d_profile[l] = (1 - d_learn) * d_profile[l] * gain +
                           d_learn * (g_re[l] * g_re[l] + g_im[l] * g_im[l] + d_inverse_re[l * taps + l]);
}

} // namespace gr::diffusion::dsp
