/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "preamble_bank.h"
#include <volk/volk.h>
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
        std::vector<cf> both(2 * d_symbol_len);
        for (int n = 0; n < 2 * d_symbol_len; n++)
            both[n] = cf(cd(n < d_symbol_len ? s1[n] : s2[n - d_symbol_len]) *
                         std::polar(1.0, 2 * M_PI * cfo(grid) * n / g.fft_len));
        d_templates.push_back(std::move(both));
    }
    find_lambda(s1, s2, g.cp_len);
}

void preamble_bank::correlate(int grid, const cf* y, size_t delays, cf* c1, cf* c2) const
{
    const cf* s = d_templates[grid - first()].data();
    for (size_t t = 0; t < delays; t++) {
        volk_32fc_x2_conjugate_dot_prod_32fc(c1 + t, y + t, s, d_symbol_len);
        volk_32fc_x2_conjugate_dot_prod_32fc(c2 + t, y + t + d_symbol_len, s + d_symbol_len, d_symbol_len);
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
