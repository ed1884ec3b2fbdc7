/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Of native_demodulator: the distortion of radios that a fit knows. */
#include "native_work.h"
#include "soft_level.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;

namespace {

constexpr int most_distrust = 6; // frames in which the correction did harm, less those in which it helped

} // namespace

//! What the transmitter adds to the carriers of a symbol, \p grid and \p added shifted, fft_len values.
void native_demodulator::distort(const cf* grid, cf* added)
{
    auto& w = *d_work;
    const int n = d_format.geometry().fft_len;
    const float scale = std::sqrt(float(d_format.used().size()));
    for (int i = 0; i < n; i++)
        w.idft.get_inbuf()[(i + n / 2) % n] = grid[i];
    w.idft.execute();
    for (int i = 0; i < n; i++)
        w.dft.get_inbuf()[i] = d_correction->distortion(w.idft.get_outbuf()[i] / scale);
    w.dft.execute();
    for (int i = 0; i < n; i++)
        added[i] = w.dft.get_outbuf()[(i + n / 2) % n] * (scale / float(n));
}

/* The distortion is the transmitter's own doing, so it follows from the symbols as decided: twice around,
 * decisions soft. The pilots, which no decision touches, say whether it helped: else the frame stays as it
 * was. */
void native_demodulator::undo_distortion(native_frame& frame, size_t first, size_t count)
{
    auto& w = *d_work;
    const auto& g = d_format.geometry();
    const qam& plain = qam_of(frame.header.bits_per_symbol);
    const qam& c = native_format::constellation(frame.header);
    const bool one_rail = c.bits() == 1;
    const int levels = one_rail ? 2 : 1 << (c.bits() / 2);
    const float spacing = (one_rail ? 2 : std::sqrt(6.0f / (float(levels) * float(levels) - 1))) *
                          std::abs(c.points()[0] / plain.points()[0]); // a shaped payload's points are scaled
    const size_t per = d_format.data_per_symbol(frame.header);
    std::vector<cf> x = frame.symbols, grid(size_t(g.fft_len)), added(size_t(g.fft_len));
    double before = 0, after = 0;
    for (int round = 0; round < 2; round++) {
        before = after = 0;
        for (size_t s = first; s < first + count; s++) {
            std::fill(grid.begin(), grid.end(), cf(0));
            const auto& map = d_format.geometry(frame.header, s - 2);
            const auto& carriers = map.data_set(s - 2);
            const size_t at = (s - first) * per;
            for (size_t j = 0; j < per; j++) {
                const cf z = x[at + j];
                const float noise = frame.symbol_noise[at + j];
                const float imag = one_rail ? 0 : soft_level(z.imag(), noise, levels, spacing);
                grid[size_t(g.index(carriers[j]))] = { soft_level(z.real(), noise, levels, spacing), imag };
            }
            const auto& pilots = map.pilot_set(s - 2);
            for (size_t p = 0; p < pilots.size(); p++)
                grid[size_t(g.index(pilots[p]))] = map.pilot_values(s - 2)[p];
            distort(grid.data(), added.data());
            for (size_t j = 0; j < per; j++)
                x[at + j] = frame.symbols[at + j] - added[size_t(g.index(carriers[j]))];
            const cf turn = cf(std::polar(1.0, w.phase[s]));
            for (size_t p = 0; p < pilots.size(); p++) {
                const size_t i = size_t(g.index(pilots[p]));
                const cf h = w.channel_of(s)[i] * turn, e = w.y[s][i] - h * grid[i];
                before += std::norm(e);
                after += std::norm(e - h * added[i]);
            }
        }
    }
    const bool helps = after < before;
    d_distrust = std::clamp(d_distrust + (helps ? -1 : 1), 0, most_distrust);
    frame.corrected = helps ? 1 : -1;
    const double pilots = double(count * (d_format.used().size() - per));
    if (helps || !d_guard) {
        frame.symbols = std::move(x);
    } else if (pilots > 0) { // the noise was measured on symbols that the wrong correction had warped
        const float ratio = float(std::max(1.0, before / pilots / std::max(w.noise_var, 1e-30)));
        for (float& v : frame.symbol_noise)
            v *= ratio;
    }
}

} // namespace gr::diffusion::dsp
