/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "delay_guide.h"
#include "dense.h"
#include "profile_bank.h"
#include <gnuradio/diffusion/model.h>
#include <complex>
#include <memory>
#include <vector>

namespace gr::diffusion::engine {

/*! Network kind "delay_unrolled": the channel of an OFDM symbol from its pilots, in few guided steps.
 *
 * The torch reference, with what it does and why, is python/diffusion/nn/delay_net.py; the tests hold
 * the two together. One object serves one thread. Memory is taken in the constructor and in
 * set_pilots() only.
 */
class DIFFUSION_API delay_net
{
public:
    //! \throws model_error if the model is no channel estimator of this kind
    explicit delay_net(const model& file);

    size_t carriers() const { return d_guide.carriers(); }
    const std::vector<int>& pilots() const { return d_guide.pilots(); }

    //! Guided steps: as trained, or fewer, which costs less and knows less. 1 to trained_steps().
    void set_steps(size_t steps) { d_used = steps < 1 ? 1 : steps < d_steps.size() ? steps : d_steps.size(); }
    size_t steps() const { return d_used; }
    size_t trained_steps() const { return d_steps.size(); }

    //! \param pilots indices of carriers, distinct. \throws std::invalid_argument naming the index
    void set_pilots(const std::vector<int>& pilots);

    /*! \param y frames x pilots, received / known pilot, finite
     *  \param noise_var E|n|^2 of y, >= 0
     *  \param h frames x carriers
     *  \param err_var E|h - truth|^2, frames x carriers; may be null, which saves its cost */
    void estimate(const std::complex<float>* y, size_t frames, float noise_var, std::complex<float>* h,
                  float* err_var);

    /*! The last estimate's channel from a better observation of it, with the belief that the steps came to:
     *  one Gaussian posterior, a tenth of the cost. As estimate() for one frame; also does what estimate()
     *  does where there is no such belief (no estimate since set_pilots(), or a bank that takes part). */
    void refine(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var);

private:
    struct step {
        packed_dense conv1, film, conv2, out;
        std::vector<float> x; // (taps + kernel - 1) x inputs, the embedding already in place
    };

    void one(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var);
    bool bank_used() const;
    float scaled(const std::complex<float>* y, float noise_var);
    void answer(float noise, std::complex<float>* h, float* err_var);
    void features(float* x, size_t inputs);
    void next_belief(step& s, const float* condition);
    void wrap(float* rows, size_t channels) const;

    delay_guide d_guide;
    size_t d_width, d_kernel, d_embedding, d_gates;
    std::vector<float> d_prior;  // log gamma at the start
    std::vector<float> d_spread; // weights and bias of the variance's correction
    std::vector<step> d_steps;
    size_t d_used = 0;
    std::unique_ptr<profile_bank> d_bank; // none in most models

    bool d_believes = false; // d_gamma, d_mu and d_scale are those of a frame
    float d_scale = 1;       // of the frame at hand: y = d_scale d_y
    std::vector<std::complex<double>> d_y;
    std::vector<float> d_log_gamma, d_gamma, d_mu, d_rows, d_a, d_b, d_o, d_modulation, d_log_power, d_log_v,
        d_variance;
};

} // namespace gr::diffusion::engine
