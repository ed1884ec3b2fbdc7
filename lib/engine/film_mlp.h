/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "panel.h"
#include <gnuradio/diffusion/model.h>
#include <vector>

namespace gr::diffusion::engine {

/*! A film_mlp under one condition: per-layer scales and shifts, the coefficients of the skip.
 * Made by film_mlp::make_level(), filled by film_mlp::prepare(), which allocates nothing. */
struct film_level {
    aligned_floats affine; // per layer: scale (n_out), shift (n_out)
    aligned_floats skip;   // packed outputs x 5
    bool has_skip = false;
    float gain = 1; // network input = gain * state
    std::vector<double> work, matrix;
};

/*! Network kind "film_mlp" (see docs/model-file.md): an MLP over one symbol whose layers are scaled and
 * shifted by a condition that is constant over a batch (Perez et al. 2018, FiLM). The weights stay as
 * they are, shared by all levels; what a condition changes is a few vectors.
 *
 * Immutable; forward() may run in any number of threads, each with its own scratch. */
class DIFFUSION_API film_mlp
{
public:
    //! \throws model_error
    explicit film_mlp(const model& m);

    size_t outputs() const { return d_layers.back().n_out; }
    //! Inputs of the conditioner, 0 without one (or with an embedding).
    size_t conditions() const { return d_inputs; }
    //! Time steps of the embedding, 0 without one.
    size_t embedded_steps() const { return d_embedded; }
    bool wants_skip() const { return d_gaussian_skip; }
    //! Whether the input is y / sqrt(1 + noise_var) rather than y.
    bool scales_input() const { return d_vp_input; }

    film_level make_level() const;

    /*! \param step row of the embedding (ignored without one)
     *  \param condition conditions() values, not yet normalised (ignored without a conditioner)
     *  \param gain network input = gain * state
     *  \param unit observation y = unit * state: the skip is a function of y
     *  \param q2 outputs x 5 coefficients of [Re, Im, Re^2, Im^2, Re Im] of y, null for no skip
     *  \param q1 outputs constants */
    void prepare(film_level& level,
                 size_t step,
                 const float* condition,
                 double gain,
                 double unit,
                 const double* q2,
                 const double* q1) const;

    //! Floats of scratch that forward() needs; aligned_floats has the alignment.
    size_t scratch() const;

    //! One panel: state [2][rows] -> out [outputs][rows], of which \p vectors vectors are in use.
    void forward(const film_level& level, const float* state, size_t vectors, float* out,
                 float* scratch) const;

private:
    void film_row(film_level& level, size_t step, const float* condition) const;

    std::vector<panel_layer> d_layers;
    std::vector<std::vector<float>> d_bias;
    size_t d_features = 2, d_inputs = 0, d_hidden = 0, d_embedded = 0, d_rows = 0, d_widest = 0;
    bool d_gaussian_skip = false, d_vp_input = false;
    activation d_act = activation::none;
    std::vector<float> d_w0, d_b0, d_w1, d_b1, d_embedding; // of the conditioner
    std::vector<double> d_mean, d_scale;
};

} // namespace gr::diffusion::engine
