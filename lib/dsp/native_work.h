/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "native_demodulator.h"
#include <gnuradio/fft/fft.h>
#include <vector>

namespace gr::diffusion::dsp {

//! State of the frame at hand. Symbol 0 and 1 are the sync words, 2 the first header symbol.
struct native_demodulator::work {
    using cf = std::complex<float>;

    explicit work(int n) : dft(n), idft(n) {}

    gr::fft::fft_complex_fwd dft;
    gr::fft::fft_complex_rev idft;
    std::vector<std::vector<cf>> y;      // [symbol][shifted carrier], in units of H x
    std::vector<std::vector<cf>> known;  // the same, what was sent there; 0: not known
    // the same, E|sent - known|^2 of soft decisions; empty: all are certain
    std::vector<std::vector<float>> doubt;
    std::vector<double> phase, phase_var;
    double noise_var = 0, walk = 0, step = 0;
    std::vector<cf> inverse;     // of the channel, by carrier
    std::vector<double> spread;
    std::vector<std::complex<double>> sum;        // by carrier: conj(x) y, and |x|^2 below
    std::vector<double> energy;
    channel_observation observation;
    channel_estimate channel;
    std::vector<double> own;     // powers of the delays of this frame's preamble, sum 1; empty: not yet known
    bool moving = false;         // then the channel has a value for each symbol:
    std::vector<cf> h;           // symbols x fft_len
    std::vector<float> error;
    double first_noise = 0;      // the synchroniser's, which movement does not touch

    const cf* channel_of(size_t s) const { return moving ? &h[s * channel.h.size()] : channel.h.data(); }
    const float* error_of(size_t s) const
    {
        return moving ? &error[s * channel.h.size()] : channel.error_var.data();
    }
    float doubt_of(size_t s, size_t i) const
    {
        return s < doubt.size() && !doubt[s].empty() ? doubt[s][i] : 0.0f;
    }
};

} // namespace gr::diffusion::dsp
