/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

/*! One branch of a generalised memory polynomial (Morgan et al., IEEE Trans. Signal Processing 54(10),
 * 2006): sum over k of c[k] x[n - delay] |x[n - delay - envelope_delay]|^k. A negative envelope_delay
 * takes the envelope ahead of the sample ("leading" cross terms). */
struct DIFFUSION_API pa_branch {
    int delay = 0;                                 //!< of the signal, samples, 0 to max_lag
    int envelope_delay = 0;                        //!< of the envelope behind it, samples
    std::vector<std::complex<float>> coefficients; //!< of |.|^0, |.|^1, ...
};

/*! Power amplifier: baseband input and output envelope.
 *
 * In its own units an amplifier maps amplitude r = |x| to
 *  - Rapp: r / (1 + u^(2p))^(1/(2p)), phase am_pm u^2 / (1 + u^2), u = r / saturation
 *    (Rapp 1991; with p = 2 the 4th powers of the reference settings);
 *  - Saleh: alpha_a r / (1 + beta_a r^2), phase alpha_p r^2 / (1 + beta_p r^2)
 *    (Saleh, IEEE Trans. Communications 29(11), 1981);
 *  - memory polynomial: see pa_branch; amplitudes beyond the largest that was fitted are limited to it,
 *    because a polynomial says nothing about them.
 *
 * set_backoff(db) drives it instead with a signal of unit power, `db` below saturation (input
 * back-off): y = f(d x) / (d gain) with d = saturation 10^(-db/20). So small signals pass unchanged.
 * A NaN enters as 0.
 */
class DIFFUSION_API power_amplifier
{
public:
    static constexpr int max_lag = 64;

    //! A wire.
    power_amplifier() = default;

    //! \param am_pm largest phase shift, radians
    static power_amplifier rapp(double smoothness = 2, double saturation = 1, double am_pm = 0);
    //! The defaults are Saleh's helix TWT.
    static power_amplifier saleh(double alpha_a = 2.1587,
                                 double beta_a = 1.1517,
                                 double alpha_p = 4.0033,
                                 double beta_p = 9.1040);
    //! \param saturation largest input amplitude that was fitted
    //! \param gain linear gain, by which a driven amplifier's output is divided
    static power_amplifier
    memory_polynomial(std::vector<pa_branch> branches, double saturation = 1, std::complex<float> gain = 1);
    //! Coefficients as `fit pa` writes them: a file, or the name of a shipped one ("pa-dpa200").
    static power_amplifier load(const std::string& name);

    //! Drive for a unit-power input, input back-off in dB from saturation.
    void set_backoff(double db);
    //! Back to the amplifier's own units.
    void clear_backoff();

    //! n samples; in and out may be the same. The memory goes on from call to call.
    void process(const std::complex<float>* in, std::complex<float>* out, size_t n);
    //! Forgets past samples.
    void reset();

    bool has_memory() const { return d_lag > 0; }
    //! Input amplitude of saturation, own units.
    double saturation() const { return d_saturation; }
    //! Small-signal (Rapp, Saleh) or linear (memory polynomial) gain, own units.
    std::complex<float> gain() const { return d_gain; }
    const std::vector<pa_branch>& branches() const { return d_branches; }

private:
    enum class law { wire, rapp, saleh, polynomial };
    void process_rapp(const std::complex<float>* in, std::complex<float>* out, size_t n) const;
    void process_saleh(const std::complex<float>* in, std::complex<float>* out, size_t n) const;
    void process_polynomial(const std::complex<float>* in, std::complex<float>* out, size_t n);

    law d_law = law::wire;
    double d_parameter[4] = { 0, 0, 0, 0 };
    double d_saturation = 1;
    std::complex<float> d_gain = 1;
    float d_drive = 1;
    std::complex<float> d_output_scale = 1;
    std::vector<pa_branch> d_branches;
    size_t d_lag = 0;
    std::vector<std::complex<float>> d_line; //!< d_lag past samples, then one piece
    std::vector<float> d_amplitude;
};

} // namespace gr::diffusion::dsp
