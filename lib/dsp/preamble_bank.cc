/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "preamble_bank.h"
#include "engine/vectorise.h"
#include <cmath>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;
using cd = std::complex<double>;

preamble_bank::preamble_bank(const ofdm_geometry& g, double max_cfo)
    : d_symbol_len(g.symbol_len()), d_last(int(std::ceil(max_cfo * steps_per_carrier)) + 1)
{
    const auto s1 = modulate_symbol(g, g.sync_word1), s2 = modulate_symbol(g, g.sync_word2);
    for (const cf& x : s1)
        d_energy1 += std::norm(x);
    for (const cf& x : s2)
        d_energy2 += std::norm(x);
    for (int grid = first(); grid <= last(); grid++) {
        std::vector<float> both(4 * size_t(d_symbol_len));
        for (int n = 0; n < 2 * d_symbol_len; n++) {
            const cf x = cf(cd(n < d_symbol_len ? s1[n] : s2[n - d_symbol_len]) *
                            std::polar(1.0, 2 * M_PI * cfo(grid) * n / g.fft_len));
            both[size_t(n)] = x.real();
            both[size_t(2 * d_symbol_len + n)] = x.imag();
        }
        d_templates.push_back(std::move(both));
    }
    find_lambda(s1, s2, g.cp_len);
}

namespace {

typedef float eight __attribute__((vector_size(32), aligned(4), may_alias)); // at any address

//! c_t = sum_m y_{t+m} conj(s_m) for 8 x vectors values of t, which stay in registers while m runs.
template <size_t vectors>
inline __attribute__((always_inline)) void correlate_block(const float* y_re, const float* y_im,
                                                           const float* s_re, const float* s_im,
                                                           size_t length, float* c_re, float* c_im)
{
    eight re[vectors] = {}, im[vectors] = {};
    for (size_t m = 0; m < length; m++) {
        const auto* a = reinterpret_cast<const eight*>(y_re + m);
        const auto* b = reinterpret_cast<const eight*>(y_im + m);
        const float c = s_re[m], d = s_im[m];
        for (size_t v = 0; v < vectors; v++) {
            re[v] += a[v] * c;
            im[v] += b[v] * c;
            re[v] += b[v] * d;
            im[v] -= a[v] * d;
        }
    }
    for (size_t v = 0; v < vectors; v++) {
        reinterpret_cast<eight*>(c_re)[v] = re[v];
        reinterpret_cast<eight*>(c_im)[v] = im[v];
    }
}

/* The same for n values of t, a multiple of 8; real and imaginary parts apart. Five vectors at once:
 * frame_sync asks for five prefixes. */
DIFFUSION_VECTORISE void correlate_all(const float* y_re, const float* y_im, const float* s_re,
                                       const float* s_im, size_t length, size_t n, float* c_re, float* c_im)
{
    size_t t = 0;
    for (; t + 40 <= n; t += 40)
        correlate_block<5>(y_re + t, y_im + t, s_re, s_im, length, c_re + t, c_im + t);
    for (; t < n; t += 8)
        correlate_block<1>(y_re + t, y_im + t, s_re, s_im, length, c_re + t, c_im + t);
}

} // namespace

void preamble_bank::correlate(int grid, const cf* y, size_t delays, cf* c1, cf* c2)
{
    const float* const s = d_templates[size_t(grid - first())].data();
    const size_t n = size_t(d_symbol_len), samples = delays - 1 + 2 * n;
    // delays beyond those asked for see zeros
    const size_t rounded = (delays + 7) / 8 * 8, room = rounded + 2 * n;
    d_work.assign(2 * room + 2 * rounded, 0.0f);
    float *const re = d_work.data(), *const im = re + room, *const c_re = im + room,
                 *const c_im = c_re + rounded;
    for (size_t i = 0; i < samples; i++) {
        re[i] = y[i].real();
        im[i] = y[i].imag();
    }
    for (int word = 0; word < 2; word++) {
        const size_t at = size_t(word) * n;
        correlate_all(re + at, im + at, s + at, s + 2 * n + at, n, rounded, c_re, c_im);
        cf* const c = word ? c2 : c1;
        for (size_t t = 0; t < delays; t++)
            c[t] = { c_re[t], c_im[t] };
    }
}

void preamble_bank::find_lambda(const std::vector<cf>& s1, const std::vector<cf>& s2, int cp)
{
    // Power iteration on v -> S^H S v, with S the normalised symbols at cp delays. A CFO multiplies S by
    // unitary diagonal matrices on both sides, so one value serves all hypotheses.
    const int n = 2 * d_symbol_len + cp - 1;
    std::vector<cd> v(2 * cp, 1.0), u(n);
    for (int i = 0; i < 2 * cp; i++)
        v[i] = std::polar(1.0, 0.7 * i * i);
    for (int iteration = 0; iteration < 60; iteration++) {
        std::fill(u.begin(), u.end(), cd(0));
        auto each = [&](auto&& f) {
            for (int i = 0; i < 2 * cp; i++)
                for (int m = 0; m < d_symbol_len; m++) {
                    const bool second = i >= cp;
                    const cd s = second ? cd(s2[m]) / std::sqrt(d_energy2) : cd(s1[m]) / std::sqrt(d_energy1);
                    f(i, (second ? d_symbol_len + i - cp : i) + m, s);
                }
        };
        each([&](int i, int at, cd s) { u[at] += v[i] * s; });
        std::fill(v.begin(), v.end(), cd(0));
        each([&](int i, int at, cd s) { v[i] += u[at] * std::conj(s); });
        double norm = 0;
        for (const cd& x : v)
            norm += std::norm(x);
        norm = std::sqrt(norm);
        d_lambda = norm;
        for (cd& x : v)
            x /= norm;
    }
    d_lambda *= 1.02; // what the iteration may still miss: the bound must hold
}

} // namespace gr::diffusion::dsp
