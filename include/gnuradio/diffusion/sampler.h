/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/model.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gr::diffusion::engine {

/*! Discrete noise schedule, variance preserving (Ho et al. 2020, eq. 4), configured as the schedulers of
 * Hugging Face diffusers are: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e, x_0 and e of unit power. */
class DIFFUSION_API noise_schedule
{
public:
    struct config {
        size_t num_train_timesteps = 1000;
        std::string beta_schedule = "linear"; //!< or "scaled_linear", "squaredcos_cap_v2"
        double beta_start = 1e-4, beta_end = 0.02;
        std::vector<double> trained_betas; //!< replaces the named schedule; one a step
    };

    //! \throws std::invalid_argument naming field and value
    explicit noise_schedule(const config& c);

    size_t steps() const { return d_abar.size(); }
    const std::vector<double>& alphas_cumprod() const { return d_abar; }
    //! Noise variance E|n|^2 over symbol power at step t.
    double noise_var(size_t t) const { return (1 - d_abar[t]) / d_abar[t]; }
    //! The step whose noise level is nearest, in dB, to noise_var > 0.
    size_t matched_step(double noise_var) const;
    /*! Descending steps of a deterministic run from t_start on, min(steps, t_start + 1) of them, evenly
     *  spread; after the last comes the clean symbol. */
    std::vector<size_t> ladder(size_t t_start, size_t steps) const;

private:
    std::vector<double> d_abar;
};

/*! One step of a sampler: next = state * x_t + output * (network output) + noise * e, since x_0 and hence
 * every sampler's step is linear in both. A posterior's output is its mean symbol. */
struct DIFFUSION_API step_weights {
    double state, output, noise;
};

//! Deterministic DDIM step (Song et al. 2021, eq. 12 with sigma = 0) between two noise levels.
DIFFUSION_API step_weights ddim_weights(prediction type, double abar, double abar_prev);
//! Ancestral DDPM step (Ho et al. 2020, eq. 6-7; diffusers' variance_type "fixed_small").
DIFFUSION_API step_weights ddpm_weights(prediction type, double abar, double abar_prev);

/*! A denoising receiver without a flowgraph: observations y = x + n in, symbols and soft bits out.
 *
 * The reverse process starts at the step whose noise level equals the observation's, never from pure
 * noise, and is deterministic unless set_ancestral() asks for the literature's sampler. The network is a
 * schedule's ("discrete": conditioned on the step) or conditioned on the noise level itself ("continuous":
 * the noise's standard deviation then falls linearly to 0 over the steps; one step is the MMSE estimate).
 *
 * The model is shared and immutable; a receiver belongs to one thread at a time (setters and processing
 * are not synchronised). Processing allocates nothing, takes no lock and gives the same result, bit for
 * bit, however the samples are cut into calls. */
class DIFFUSION_API receiver
{
public:
    static constexpr size_t max_steps = 1000;

    /*! \param m a model whose network maps one symbol to one symbol or posterior
     *  \param steps of the deterministic sampler, 1 to max_steps; 0: the model's default (usually 1)
     *  \throws model_error, std::invalid_argument */
    explicit receiver(model::sptr m, size_t steps = 0);
    ~receiver();
    receiver(receiver&&) noexcept;
    receiver& operator=(receiver&&) noexcept;

    const model& get_model() const;

    /*! The noise level of what follows. An ideal link otherwise: hardware context 0, each symbol at its
     *  point of the constellation in circular noise.
     *  \param noise_var E|n|^2 with E|x|^2 = 1, distortion included; > 0
     *  \throws std::invalid_argument */
    void set_noise_var(double noise_var);

    /*! The same with a fitted link (dsp::symbol_law gives all three).
     *  \param noise_var E|n|^2
     *  \param context conditions() values; null: as set_noise_var()
     *  \param q2 M x 5 coefficients of [Re, Im, Re^2, Im^2, Re Im] in the log-likelihood of each symbol,
     *  \param q1 M constants; both null: the ideal constellation */
    void set_link(double noise_var, const float* context, const double* q2, const double* q1);

    double noise_var() const;
    //! Inputs of the network's condition: the SNR in dB, then hardware context; 0 without.
    size_t conditions() const;

    //! Steps of the deterministic sampler from now on.
    void set_steps(size_t steps);
    size_t steps() const;
    /*! The literature's reference mode: all steps down to 0 with fresh noise at each, hardware context
     *  ignored. For schedule models.
     *  \param on back to deterministic if false
     *  \param from_pure_noise start at step T, where the observation stands in for pure noise */
    void set_ancestral(bool on, bool from_pure_noise = false, uint64_t seed = 1);

    /*! Symbol estimates. Samples that are no finite number count as 0, see bad_samples().
     *  \param y n observations \param x_hat n symbols; may be y */
    void denoise(const std::complex<float>* y, std::complex<float>* x_hat, size_t n);
    /*! Log-likelihood ratios log(P(bit = 1) / P(bit = 0)), as digital.constellation_soft_decoder_cf gives
     *  them, most significant bit first, held to +-87.
     *
     *  A posterior's are the network's at the first step. Other networks give a symbol estimate, which is
     *  demapped as if it were an observation (the literature's way, and worse).
     *  \param llr n x bits_per_symbol values */
    void llr(const std::complex<float>* y, float* llr, size_t n);
    //! Both at once; either may be null.
    void process(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n);
    /*! The network's output at the first step (posteriors: logits), row by row, for tests and studies.
     *  \param out n x outputs() values */
    void network(const std::complex<float>* y, float* out, size_t n);
    size_t outputs() const;

    //! Samples so far that were NaN or infinite, or beyond 1e4 in a rail (and were held to it).
    uint64_t bad_samples() const;

private:
    struct impl;
    std::unique_ptr<impl> d;
};

} // namespace gr::diffusion::engine
