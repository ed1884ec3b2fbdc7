/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "dense.h"
#include "simd.h"
#include <complex>
#include <vector>

namespace gr::diffusion::engine {

/*! Kernels on panels: a panel is [feature][rows], a few vectors of rows wide (rows: symbols).
 *
 * Vectors run over symbols, so two inputs or three outputs cost as little as they should, which
 * row-major matrices with vectors over outputs cannot offer. Every row of a panel is computed by the
 * same operations in the same order whatever stands in the others: cutting a batch changes no bit. */

//! A dense layer with weights packed for panels, shared by all levels of noise.
struct DIFFUSION_API panel_layer {
    panel_layer() = default;
    //! \param weight row-major n_out x n_in
    panel_layer(size_t n_in, size_t n_out, const float* weight, activation act);

    size_t n_in = 0, n_out = 0;
    activation act = activation::none;
    aligned_floats weight; // [tile of outputs][input][output of the tile]
};

//! Packs a row-major n_out x n_in matrix the way the kernels read it.
DIFFUSION_API void pack_panel_weight(size_t n_in, size_t n_out, const float* weight, float* packed);
DIFFUSION_API void pack_panel_weight(size_t n_in, size_t n_out, const double* weight, float* packed);

struct panel_kernels {
    size_t rows; //!< rows (symbols) of a panel
    size_t lane; //!< rows of a vector
    const char* target;

    /*! out = act(scale (W x) + shift [+ W2 x2]), panels in and out.
     *  \param scale, shift n_out values each
     *  \param x2, w2, n2 second input, its weights (packed), its size; n2 = 0 for none
     *  \param vectors how many vectors of rows are in use */
    void (*layer)(const panel_layer& layer,
                  const float* scale,
                  const float* shift,
                  const float* x,
                  const float* x2,
                  const float* w2,
                  size_t n2,
                  size_t vectors,
                  float* out);
    //! [Re, Im] -> [Re, Im, Re^2, Im^2, Re Im] of gain times the input
    void (*products)(const float* state, float gain, size_t vectors, float* out);
    /*! Logits [m] -> unnormalised posteriors exp(l - max) in place, and from them the mean point
     *  \param points [m][2] \param mean [Re, Im] */
    void (*posterior)(float* logits, size_t m, const float* points, size_t vectors, float* mean);
    /*! Posteriors [m] -> log(P(bit = 1) / P(bit = 0)) as a panel [bits], most significant bit first;
     *  destroys the posteriors. */
    void (*bit_ratios)(float* posteriors, int bits, size_t vectors, float* out);
};

//! For the best SIMD target of this machine.
DIFFUSION_API const panel_kernels& kernels();

} // namespace gr::diffusion::engine
