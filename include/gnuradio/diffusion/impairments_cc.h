/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <gnuradio/sync_block.h>
#include <complex>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion {

/*! \brief What a radio does to a signal: IQ imbalance, DC, power amplifier, phase noise, CFO, residual EVM.
 * \ingroup diffusion
 *
 * The stages, in this order (order "tx"):
 *  - IQ imbalance: I + j(g Q cos phi + g I sin phi); "iq_gain_db" (dB), "iq_phase_deg" (degrees);
 *  - DC offset: "dc" (1 + j)/sqrt 2 times the signal's RMS;
 *  - power amplifier "pa": "off", "rapp" (with "smoothness" p and "am_pm" radians), "saleh", or the
 *    memory-polynomial coefficients of `fit pa` (a file, or a shipped name such as "pa-dpa200"), driven
 *    "backoff_db" (input back-off, dB) below saturation; small signals pass with gain 1;
 *  - "output_gain_db" (dB);
 *  - phase noise: i.i.d. of "phase_noise_deg" (degrees RMS), and Wiener with increments of variance
 *    2 pi linewidth / sample_rate, "linewidth_hz" (Hz, full width at half maximum of the line);
 *  - carrier offset "cfo_hz" (Hz);
 *  - residual EVM: complex Gaussian of variance kt^2 + kr^2 (1 + kt^2) times the signal's power,
 *    "kappa_tx" and "kappa_rx" (amplitudes, 0.05 is 5% EVM).
 *
 * "order" "rx" is a receiver: phase noise and CFO first, then IQ imbalance and DC; no amplifier.
 * "signal_power" is E|x|^2 at the input (default 1); "sample_rate" is in Hz (default 1: then what is in
 * Hz is in cycles a sample). Everything is off by default. Channel noise is another block's
 * (channels.channel_model), converters are quantizer_cc's.
 *
 * Messages on port "cmd": a dictionary (or pair) with any of these names, or "preset"
 * ("off", "mild", "reference-s1", "reference-s2", "harsh", or "random": a radio drawn with the seed). What is
 * wrong is logged and changes nothing.
 */
class DIFFUSION_API impairments_cc : virtual public gr::sync_block
{
public:
    typedef std::shared_ptr<impairments_cc> sptr;

    /*! \param preset where to start from: "off", "mild", "reference-s1", "reference-s2", "harsh", "random"
     *  \param sample_rate Hz
     *  \param seed of all the random stages; the same seed, the same noise
     *  \throws std::invalid_argument naming what is wrong */
    static sptr make(const std::string& preset = "off", double sample_rate = 1, uint64_t seed = 0);

    virtual void set_preset(const std::string& preset) = 0;
    //! One setting by the names above. \throws std::invalid_argument naming value and range
    virtual void set(const std::string& key, double value) = 0;
    virtual void set(const std::string& key, const std::string& value) = 0;
    //! A numerical setting.
    virtual double get(const std::string& key) const = 0;
    virtual std::string pa() const = 0;

    void set_sample_rate(double hz) { set("sample_rate", hz); }
    void set_iq_gain_db(double db) { set("iq_gain_db", db); }
    void set_iq_phase_deg(double deg) { set("iq_phase_deg", deg); }
    void set_dc(double dc) { set("dc", dc); }
    void set_pa(const std::string& pa) { set("pa", pa); }
    void set_backoff_db(double db) { set("backoff_db", db); }
    void set_smoothness(double p) { set("smoothness", p); }
    void set_am_pm(double rad) { set("am_pm", rad); }
    void set_phase_noise_deg(double deg) { set("phase_noise_deg", deg); }
    void set_linewidth_hz(double hz) { set("linewidth_hz", hz); }
    void set_cfo_hz(double hz) { set("cfo_hz", hz); }
    void set_kappa_tx(double kappa) { set("kappa_tx", kappa); }
    void set_kappa_rx(double kappa) { set("kappa_rx", kappa); }

    //! Sets output_gain_db so that these points keep their mean power through IQ, DC and PA.
    virtual void renormalise(const std::vector<std::complex<float>>& points) = 0;
    //! Samples that were NaN or infinite (each entered as 0), since the start.
    virtual uint64_t not_finite() const = 0;
};

} // namespace gr::diffusion
