/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "power_amplifier.h"
#include "random.h"
#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

//! What a radio does to a signal. Everything is off by default.
struct DIFFUSION_API impairment_settings {
    double sample_rate = 1;     //!< Hz; what linewidth_hz and cfo_hz refer to
    double signal_power = 1;    //!< E|x|^2 of the input; what dc, backoff_db and kappa refer to
    double iq_gain_db = 0;      //!< gain of Q over I
    double iq_phase_deg = 0;    //!< departure of Q from quadrature
    double dc = 0;              //!< offset dc (1 + j)/sqrt 2, in units of the signal's RMS
    std::string pa = "off";     //!< off, rapp, saleh, or coefficients of `fit pa` (name or file)
    double backoff_db = 6;      //!< input back-off from saturation
    double smoothness = 2;      //!< Rapp's p
    double am_pm = 0.25;        //!< Rapp amplifier: phase shift far in saturation, radians
    double phase_noise_deg = 0; //!< i.i.d. phase noise, RMS
    double linewidth_hz = 0;    //!< Wiener phase noise: Lorentzian line's full width at half maximum
    double cfo_hz = 0;          //!< carrier frequency offset
    double kappa_tx = 0;        //!< residual EVM of the transmitter, an amplitude (0.05 is 5%)
    double kappa_rx = 0;        //!< of the receiver
    double output_gain_db = 0;  //!< of what the stages before the phase noise put out
    std::string order = "tx";   //!< "tx": IQ, DC, PA, phase; "rx": phase, IQ, DC
};

/*! A radio's impairments in the order of the reference settings: IQ imbalance
 * x <- I + j(g Q cos phi + g I sin phi), DC offset, power amplifier, phase noise (i.i.d. and Wiener), CFO,
 * residual EVM: complex Gaussian of variance (kt^2 + kr^2 (1 + kt^2)) signal_power.
 *
 * A receiver ("rx") meets them the other way round: its oscillator comes before its mixer's imbalance
 * and offset; it has no PA. Every stage has its own random sequence, so switching one leaves the
 * others' noise as it was; the result does not depend on how the signal is cut into calls.
 */
class DIFFUSION_API impairments
{
public:
    explicit impairments(const std::string& preset = "off", double sample_rate = 1, uint64_t seed = 0);

    //! "off", "mild", "reference-s1", "reference-s2", "harsh", "random" (a radio drawn with the seed).
    static const std::vector<std::string>& preset_names();
    //! Names of the settings, as set() takes them.
    static const std::vector<std::string>& setting_names();

    //! All stages as the preset says; sample_rate and signal_power stay. What is in Hz scales with the
    //! sample rate ("mild": linewidth 1e-6 of it).
    void set_preset(const std::string& name);
    //! One setting by name. \throws std::invalid_argument naming value and range; nothing changes then
    void set(const std::string& key, double value);
    void set(const std::string& key, const std::string& value);
    double get(const std::string& key) const;
    const impairment_settings& settings() const { return d_settings; }

    /*! Sets output_gain_db so that these points, equally likely, leave the memoryless stages (IQ, DC, PA)
     * with the power they came with: the renormalised warped constellation of the reference settings. */
    void renormalise(const std::vector<std::complex<float>>& points);
    //! IQ imbalance, DC, PA and output gain only: where the points of a constellation end up.
    std::vector<std::complex<float>> warp(const std::vector<std::complex<float>>& points) const;

    //! n samples; in and out may be the same. What is not finite enters as 0 and is counted.
    void process(const std::complex<float>* in, std::complex<float>* out, size_t n);
    //! Starts all random sequences anew, phase 0, no past samples.
    void reset(uint64_t seed);
    uint64_t not_finite() const { return d_not_finite; }

private:
    void update();
    void apply(impairment_settings settings);
    void mixer(std::complex<float>* x, size_t n) const;
    void amplifier(std::complex<float>* x, size_t n);
    void oscillator(std::complex<float>* x, size_t n);
    void distortion(std::complex<float>* x, size_t n);

    impairment_settings d_settings;
    uint64_t d_not_finite = 0;
    power_amplifier d_amplifier;
    random_source d_iid, d_wiener, d_kappa;
    uint64_t d_seed = 0;
    double d_phase = 0; //!< of CFO and Wiener phase noise, radians
    double d_cfo_step = 0, d_wiener_step = 0, d_iid_rms = 0, d_kappa_power = 0;
    float d_qi = 0, d_qq = 1, d_dc = 0, d_pa_in = 1, d_pa_out = 1, d_gain = 1;
    bool d_mixer_on = false, d_oscillator_on = false;
};

} // namespace gr::diffusion::dsp
