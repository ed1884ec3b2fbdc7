/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "preamble_fit.h"
#include <gnuradio/fft/fft.h>
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;
using cd = std::complex<double>;

class preamble_fit::impl
{
public:
    explicit impl(const ofdm_geometry& g)
        : d_geometry(g), d_active(g.active_carriers()), d_fft(g.fft_len), d_observed(2 * d_active.size())
    {
        // Orthonormal basis of what cp_len taps can produce (modified Gram-Schmidt; directions that
        // the preamble does not excite are dropped).
        for (int tap = 0; tap < g.cp_len; tap++) {
            std::vector<cd> v(d_observed.size());
            for (size_t i = 0; i < v.size(); i++) {
                const auto& word = i < d_active.size() ? g.sync_word1 : g.sync_word2;
                const int k = d_active[i % d_active.size()];
                v[i] = cd(word[g.index(k)]) *
                       std::polar(1.0, -2 * M_PI * ((long(k) * tap) % g.fft_len) / g.fft_len);
            }
            const double before = energy(v);
            for (const auto& q : d_basis) {
                const cd c = inner(q, v);
                for (size_t i = 0; i < v.size(); i++)
                    v[i] -= c * q[i];
            }
            const double after = energy(v);
            if (!(after > 1e-9 * before))
                continue;
            for (auto& x : v)
                x /= std::sqrt(after);
            d_basis.push_back(std::move(v));
        }
    }

    result fit(const cf* preamble, double cfo)
    {
        const auto& g = d_geometry;
        for (int symbol = 0; symbol < 2; symbol++) {
            const int start = symbol * g.symbol_len() + g.cp_len - timing_backoff(g);
            const double step = -2 * M_PI * cfo / g.fft_len;
            cd phase = std::polar(1.0, step * start);
            const cd turn = std::polar(1.0, step);
            for (int n = 0; n < g.fft_len; n++, phase *= turn)
                d_fft.get_inbuf()[n] = preamble[start + n] * cf(phase);
            d_fft.execute();
            for (size_t i = 0; i < d_active.size(); i++)
                d_observed[symbol * d_active.size() + i] =
                    cd(d_fft.get_outbuf()[(d_active[i] + g.fft_len) % g.fft_len]);
        }
        double fitted = 0;
        for (const auto& q : d_basis)
            fitted += std::norm(inner(q, d_observed));
        const double free = double(d_observed.size()) - double(d_basis.size());
        const double n = g.fft_len;
        result r;
        const double per_carrier = std::max(energy(d_observed) - fitted, 0.0) / std::max(free, 1.0);
        r.noise_var = per_carrier / n;
        r.power = std::max(fitted - double(d_basis.size()) * per_carrier, 0.0) / (2 * n * n);
        return r;
    }

private:
    static double energy(const std::vector<cd>& v)
    {
        double sum = 0;
        for (const cd& x : v)
            sum += std::norm(x);
        return sum;
    }
    static cd inner(const std::vector<cd>& a, const std::vector<cd>& b)
    {
        cd sum = 0;
        for (size_t i = 0; i < a.size(); i++)
            sum += std::conj(a[i]) * b[i];
        return sum;
    }

    const ofdm_geometry d_geometry;
    const std::vector<int> d_active;
    gr::fft::fft_complex_fwd d_fft;
    std::vector<cd> d_observed;
    std::vector<std::vector<cd>> d_basis;
};

preamble_fit::preamble_fit(const ofdm_geometry& geometry) : d_impl(std::make_unique<impl>(geometry)) {}
preamble_fit::~preamble_fit() = default;
preamble_fit::result preamble_fit::operator()(const cf* preamble, double cfo)
{
    return d_impl->fit(preamble, cfo);
}

} // namespace gr::diffusion::dsp
