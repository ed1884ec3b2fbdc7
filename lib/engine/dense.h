/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "simd.h"
#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <string>
#include <vector>

namespace gr::diffusion::engine {

enum class activation { none, relu, silu, softplus, tanh };

//! The activation of that name ("none", "relu", "silu", "softplus", "tanh"). \throws std::invalid_argument
DIFFUSION_API activation activation_of(const std::string& name);

//! Names that activation_of() knows.
DIFFUSION_API const std::vector<std::string>& activation_names();

/*! A convolution's weights for a dense layer over gathered windows: torch's (\p out, \p in, \p kernel...) as
 *  (out, kernel x in), the order of a window in memory; \p kernel is the number of places in it. */
DIFFUSION_API std::vector<float> windows(const std::vector<float>& w, size_t out, size_t in, size_t kernel);

/*! A dense layer, out[i] = act(W in[i] + b), with its weights packed for the SIMD kernel.
 *
 * run() is const, allocates nothing and may be called by any number of threads. Each output is the
 * same sum in the same order whatever the number of rows, so cutting a batch changes no bit.
 */
class DIFFUSION_API packed_dense
{
public:
    packed_dense() = default;

    /*! \param n_in inputs, \param n_out outputs, both >= 1
     *  \param weight row-major n_out x n_in
     *  \param bias n_out values, or null for none */
    packed_dense(size_t n_in, size_t n_out, const float* weight, const float* bias, activation act);

    /*! \param in row i is in[i * in_stride .. + n_in). in_stride may be smaller than n_in: on the layout
     *            [position][channel] a 1-D convolution of width k is a dense layer over windows of
     *            k * channels floats with in_stride = channels
     *  \param out row i is out[i * out_stride .. + n_out); must not overlap in
     *  \param rows how many */
    void run(const float* in, size_t in_stride, float* out, size_t out_stride, size_t rows) const;

    size_t n_in() const { return d_in; }
    size_t n_out() const { return d_out; }
    activation act() const { return d_act; }

private:
    size_t d_in = 0, d_out = 0;
    activation d_act = activation::none;
    aligned_floats d_weight; // [block of outputs][input][output of the block], padded with zeros
    aligned_floats d_bias;
};

} // namespace gr::diffusion::engine
