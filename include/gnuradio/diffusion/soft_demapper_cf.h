/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <gnuradio/sync_interpolator.h>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion {

/*! \brief Soft demapper: equalised symbols in, log-likelihood ratios out, most significant bit first.
 * \ingroup diffusion
 *
 * Signs are digital.constellation_soft_decoder_cf's: positive means bit 1. Natural logarithm, held to +-87.
 * Tags and messages as denoiser_cc has them (model, fit, noise_var, snr); a model of another number of bits a
 * symbol is refused while running.
 *
 * Guard: input that the model was not made for (another constellation, a wrong level, more noise than was
 * said, an SNR outside training, no signal) is told from blocks of 512 symbols. After three bad ones in a row
 * soft bits are the ideal constellation's at the noise measured until eight are good; message port "guard"
 * says so (a dictionary with alarm, reason, text, power, noise, shape, pooled, unused, alarms), and so does a
 * tag "guard" (a symbol: the reason, empty when it is over) on the first soft bit concerned. Not with a
 * prior.
 */
class DIFFUSION_API soft_demapper_cf : virtual public gr::sync_interpolator
{
public:
    typedef std::shared_ptr<soft_demapper_cf> sptr;

    /*! \param model shipped model's name or a model file's path
     *  \param noise_var E|n|^2 with E|x|^2 = 1, distortion included; negative: from tags, else estimated
     *  \param mode "exact" network, lookup "table", or "auto": the table where it meets its error target
     *  \param guard watch the input, and fall back to the classical path when it is nothing the model was
     *         made for
     *  \throws std::invalid_argument naming value and remedy */
    static sptr make(const std::string& model, double noise_var = -1, const std::string& mode = "exact",
                     bool guard = true);

    virtual void set_model(const std::string& model) = 0;
    virtual void set_noise_var(double noise_var) = 0;
    virtual void set_mode(const std::string& mode) = 0;
    //! A fit (Receiver.state()) of the same constellation.
    virtual void set_fit(const std::vector<double>& state) = 0;
    /*! Probabilities of the points of a shaped constellation, by index and in any scale; empty: equally
     *  likely. Symbols are then around the points scaled to E|x|^2 = 1 under them. */
    virtual void set_prior(const std::vector<double>& pmf) = 0;
    /*! Shaper model of the sender (ps-qam64, ...): tags "shaping" of shaper_bc then set prior and amplitude;
     *  "": such tags mean nothing. */
    virtual void set_shaper(const std::string& model) = 0;

    virtual std::string model() const = 0;
    virtual std::string mode() const = 0;
    //! Whether soft bits come from the table now.
    virtual bool uses_table() const = 0;
    /*! Symbols so far that the exact network did although a table was asked for: in a running flowgraph a new
     *  model's table is made beside the stream; in mode auto it may also miss its error target. */
    virtual uint64_t without_table() const = 0;
    virtual int bits_per_symbol() const = 0;
    //! The noise variance in use, however it came.
    virtual double noise_var() const = 0;
    //! Its source: "given", "tag" or "estimate".
    virtual std::string noise_source() const = 0;
    //! Whether a fit is in use.
    virtual bool fitted() const = 0;
    //! Since the start: symbols that passed, samples that were no finite number, tags and messages refused.
    virtual uint64_t symbols() const = 0;
    virtual uint64_t bad_samples() const = 0;
    virtual uint64_t refused() const = 0;

    //! The guard: see the class's text.
    virtual void set_guard(bool on) = 0;
    virtual bool guard() const = 0;
    //! Why the classical path is in use now: dead, level, noise, shape, unused points, constellation, range;
    //! "": it is not.
    virtual std::string guard_reason() const = 0;
    //! Alarms since the start, and symbols that took the classical path.
    virtual uint64_t guard_alarms() const = 0;
    virtual uint64_t guarded_symbols() const = 0;
};

} // namespace gr::diffusion
