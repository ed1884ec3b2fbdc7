/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "beam_guide.h"
#include "dense.h"
#include <gnuradio/diffusion/model.h>
#include <complex>
#include <cstdint>
#include <vector>

namespace gr::diffusion::engine {

/*! Network kind "angular_unrolled": a MIMO channel from its pilots, in few guided steps.
 *
 * The torch reference, with what it does and why, is python/diffusion/nn/mimo_net.py; the tests hold the
 * two together. A model may have several views: it then estimates on as many sets of beams, each a part of a
 * beam's width beside the others, and the mean is the answer. One object serves one thread. Memory is taken
 * in the constructor and in set_pilots() only.
 */
class DIFFUSION_API angular_net
{
public:
    //! \throws model_error if the model is no channel estimator of this kind
    explicit angular_net(const model& file);

    array_shape receive_array() const { return d_rx; }
    array_shape transmit_array() const { return d_tx; }
    size_t receivers() const { return d_rx[0] * d_rx[1]; }
    size_t transmitters() const { return d_tx[0] * d_tx[1]; }
    //! Pilots of each observation, Np.
    size_t count() const { return d_views[0].count(); }

    //! \param pilots row-major transmitters x Np. \throws std::invalid_argument saying what is wrong
    void set_pilots(const std::vector<std::complex<float>>& pilots);

    /*! \param y frames x receivers x Np, y = H pilots + n
     *  \param noise_var E|n|^2, >= 0
     *  \param h frames x receivers x transmitters
     *  \param err_var E|h - truth|^2, the mean over the antenna pairs: one for each frame
     *  \returns frames with a value that is not finite: their h is 0 and their err_var Inf */
    size_t estimate(const std::complex<float>* y, size_t frames, float noise_var, std::complex<float>* h,
                    float* err_var);

private:
    struct step {
        packed_dense conv1, film, conv2, conv3, out;
    };

    bool one(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var);
    float look(beam_guide& view, const std::complex<float>* y, double scale, double noise,
               std::complex<float>* h);
    void features(const beam_guide& view);
    void next_belief(const step& s, const float* condition, const float* m);
    void convolve(const packed_dense& layer, const std::vector<uint32_t>& near, const float* in, float* out);

    array_shape d_rx, d_tx;
    std::vector<beam_guide> d_views;
    size_t d_width;
    std::vector<float> d_prior;  // log gamma at the start
    std::vector<float> d_spread; // weights and bias of the variance's correction
    std::vector<step> d_steps;
    std::vector<uint32_t> d_near_tx, d_near_rx; // the 3 x 3 beams around each beam, at one end
    std::vector<uint32_t> d_around;             // the beam and its neighbours along four axes

    std::vector<float> d_log_gamma, d_gamma, d_log_power, d_log_v, d_columns, d_x, d_window, d_a, d_b, d_o,
        d_mu, d_modulation;
    std::vector<std::complex<float>> d_h; // of each view but the first
};

} // namespace gr::diffusion::engine
