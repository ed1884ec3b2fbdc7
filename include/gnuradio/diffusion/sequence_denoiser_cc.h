/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <gnuradio/sync_block.h>
#include <complex>
#include <cstdint>
#include <string>

namespace gr::diffusion {

/*! \brief Undoes an amplifier with memory: received waveform in, denoised waveform out.
 * \ingroup diffusion
 *
 * One step of a sequence denoiser (models seq-*) at the matched noise level: the posterior mean of the
 * waveform sent. It knows the amplifier, not the symbols; whoever demodulates comes after it. Any stretch of
 * a stream gives the same samples however the scheduler cuts it.
 *
 * Input: samples of a waveform that was sent with mean power 1, divided here by `gain`. Tags and message port
 * "cmd": "noise_var" (E|n|^2 at the input) and "snr" (dB, for a waveform of power |gain|^2); messages also
 * "gain", "model" (a sequence model of the same reach). What is wrong is logged and counted and changes
 * nothing. Samples that are NaN, infinite or 120 dB above the waveform's power count as 0, see bad_samples().
 * Delay: delay_samples() samples, which tags follow. */
class DIFFUSION_API sequence_denoiser_cc : virtual public gr::sync_block
{
public:
    typedef std::shared_ptr<sequence_denoiser_cc> sptr;

    /*! \param model shipped sequence model's name or a model file's path
     *  \param noise_var E|n|^2 at the input
     *  \param gain linear gain from the waveform sent to the input
     *  \throws std::invalid_argument naming value and remedy */
    static sptr make(const std::string& model = "seq-dpa200",
                     double noise_var = 1e-3,
                     std::complex<double> gain = 1);

    virtual void set_model(const std::string& model) = 0;
    virtual void set_noise_var(double noise_var) = 0;
    virtual void set_gain(std::complex<double> gain) = 0;

    virtual std::string model() const = 0;
    virtual double noise_var() const = 0;
    virtual std::complex<double> gain() const = 0;
    //! Samples between a sample and what came of it.
    virtual unsigned delay_samples() const = 0;
    virtual uint64_t bad_samples() const = 0;
    //! Tags and messages refused.
    virtual uint64_t refused() const = 0;
};

} // namespace gr::diffusion
