/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <memory>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

//! What a frame says about its channel before any estimator: least squares on known symbols.
struct channel_observation {
    std::vector<int> carriers;              //!< ascending, numbered from the centre (DC = 0)
    std::vector<std::complex<float>> ls;    //!< least-squares channel there
    std::vector<float> noise_var;           //!< E|error|^2 of each
    bool learn = true;  //!< false: of the link's statistics nothing is to be learned from this, final or not
    bool final = true; //!< false: a first look at a frame, from which nothing is to be learned
    bool again = false; //!< the same frame as before, of which more is known now; final too
};

//! An estimate at every carrier; index i is carrier i - fft_len/2.
struct channel_estimate {
    std::vector<std::complex<float>> h;
    std::vector<float> error_var;           //!< E|h_hat - h|^2 as the estimator sees it
};

/*! Estimator stage of a receiver: one small interface, so that stages can be exchanged while running.
 * The channel's delays lie in [0, cp_len) samples after the DFT window's nominal start. */
class DIFFUSION_API channel_stage
{
public:
    //! What a stage knows of the delays of a channel: nothing, the link's mean profile, or this frame's own.
    enum class delays { none, link, frame };
    virtual ~channel_stage() = default;
    virtual delays knows() const { return delays::frame; }
    virtual void estimate(const channel_observation& observation, channel_estimate& out) = 0;
    //! Steps of a stage that has them, the trained number, and a lower one (1 at least) to save time.
    virtual size_t steps() const { return 1; }
    virtual size_t trained_steps() const { return 1; }
    virtual void set_steps(size_t) {}
};

//! Observations as they are; linear interpolation between carriers, the nearest one outside.
class DIFFUSION_API ls_stage : public channel_stage
{
public:
    explicit ls_stage(int fft_len) : d_fft_len(fft_len) {}
    delays knows() const override { return delays::none; }
    void estimate(const channel_observation& observation, channel_estimate& out) override;

private:
    int d_fft_len;
};

/*! Linear MMSE in the delay domain: taps at 0 .. cp_len + margin - 1 samples, independent Gaussian with
 * mean powers p_l, so that E[h_k h_m*] = sum_l p_l exp(-j 2 pi (k - m) l / fft_len).
 * The powers start uniform and are learned from the frames received by expectation maximisation with
 * forgetting: p_l <- (1 - a) p_l + a (|E g_l|^2 + var g_l). So the covariance is the link's own. */
class DIFFUSION_API lmmse_stage : public channel_stage
{
public:
    //! \param learn 0 keeps the uniform profile; else the forgetting factor a
    lmmse_stage(int fft_len, int taps, double learn = 0.1);
    delays knows() const override { return delays::link; }
    void estimate(const channel_observation& observation, channel_estimate& out) override;
    const std::vector<double>& profile() const { return d_profile; }

private:
    int d_fft_len, d_taps;
    double d_learn;
    bool d_started = false;
    std::vector<double> d_profile;
    std::vector<double> d_re, d_im; // f_kl = exp(-2 pi j k l / fft_len), tap by tap
    std::vector<double> d_inverse_re, d_inverse_im, d_scratch, d_carrier, d_tap;
};

} // namespace gr::diffusion::dsp
