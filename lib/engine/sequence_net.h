/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "dense.h"
#include <gnuradio/diffusion/model.h>
#include <complex>
#include <string>
#include <vector>

namespace gr::diffusion::engine {

/*! Network kind "envelope_taps": one of the two networks of a sequence model, taps that follow the envelope.
 *
 * The torch reference, with what it does and why, is python/diffusion/nn/sequence_net.py; tests hold the two
 * together. One object serves one thread. Memory is taken in the constructor, and by run() for rows longer
 * than any before. */
class DIFFUSION_API sequence_net
{
public:
    /*! \param part "denoiser" (received waveform -> sent) or "amplifier" (sent -> received)
     *  \param longest row that run() shall take without taking memory
     *  \throws model_error if the model is no sequence model */
    sequence_net(const model& file, const std::string& part, size_t longest = 0);

    //! Samples to either side of one that its output depends on.
    size_t margin() const { return d_margin; }

    //! E|n|^2 of the input, its power being about 1: the denoiser's condition; the amplifier has none.
    void set_noise_var(double noise_var);

    //! One row of n samples; beyond its ends there are zeros.
    void run(const std::complex<float>* in, size_t n, std::complex<float>* out);

private:
    static constexpr size_t kernel = 9, inputs = 3, chunk = 64;

    void reserve(size_t n);

    size_t d_reach = 0, d_width = 0, d_taps = 0, d_margin = 0;
    bool d_noisy;
    float d_level = 0;
    packed_dense d_conv[3], d_gate;
    std::vector<float> d_level0, d_bias0, d_level1, d_bias1, d_fixed; // of the noise level
    std::vector<float> d_features, d_a, d_b, d_out, d_re, d_im;
};

} // namespace gr::diffusion::engine
