/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <gnuradio/sync_block.h>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gr::diffusion {

/*! \brief Denoising receiver: equalised symbols in, denoised symbols out.
 * \ingroup diffusion
 *
 * The output is the model's estimate of the symbol sent, E[x | y] for models that predict posteriors.
 * Symbols must come equalised with unit mean power, one sample a symbol.
 *
 * Tags "noise_var" (E|n|^2) and "snr" (dB) set the noise level from their sample on, unless noise_var is
 * given. Message port "cmd": a dictionary (or pair) with any of "model" (name or path), "fit" (f64vector,
 * Receiver.state()), "noise_var" (negative: back to tags or the block's own estimate), "snr" (dB), "steps",
 * "mode", "compute_budget", "guard"; Receiver.message() makes one with model and fit. What is wrong is logged
 * and counted and changes nothing. Samples that are NaN or infinite count as 0, see bad_samples(). Message
 * port "status": budget() as a dictionary whenever a budget changes the steps. Delay: 0 samples (symbol for
 * symbol).
 *
 * Guard: input that the model was not made for (another constellation, a wrong level, more noise than was
 * said, an SNR outside training, no signal) is told from blocks of 512 symbols. After three bad ones in a row
 * symbols pass unchanged until eight are good; message port "guard" says so (a dictionary
 * with alarm, reason, text, power, noise, shape, pooled, unused, alarms), and so does a tag "guard" (a
 * symbol: the reason, empty when it is over) on the first symbol concerned. Not with a prior.
 */
class DIFFUSION_API denoiser_cc : virtual public gr::sync_block
{
public:
    typedef std::shared_ptr<denoiser_cc> sptr;

    /*! \param model shipped model's name or a model file's path
     *  \param noise_var E|n|^2 with E|x|^2 = 1, distortion included; negative: from tags, else estimated
     *  \param steps of the deterministic sampler; 0: the model's default
     *  \param mode "exact" network; lookup "table" of its map, which follows the noise level in steps of 0.25
     *         dB, made beside the stream; "auto": the table where its RMS error is below 1e-3, else the
     *         network
     *  \param compute_budget see set_compute_budget()
     *  \param guard watch the input, and fall back to the classical path when it is nothing the model was
     *         made for
     *  \throws std::invalid_argument naming value and remedy */
    static sptr make(const std::string& model,
                     double noise_var = -1,
                     int steps = 0,
                     const std::string& mode = "auto",
                     bool compute_budget = false,
                     bool guard = true);

    virtual void set_model(const std::string& model) = 0;
    virtual void set_noise_var(double noise_var) = 0;
    virtual void set_steps(int steps) = 0;
    virtual void set_mode(const std::string& mode) = 0;
    //! A fit (Receiver.state()) of the same constellation.
    virtual void set_fit(const std::vector<double>& state) = 0;
    /*! Probabilities of the points of a shaped constellation, by index and in any scale; empty: equally
     *  likely. Symbols are then around the points scaled to E|x|^2 = 1 under them. */
    virtual void set_prior(const std::vector<double>& pmf) = 0;
    /*! Shaper model of the sender (ps-qam64, ...): tags "shaping" of shaper_bc then set prior and amplitude;
     *  "": such tags mean nothing. */
    virtual void set_shaper(const std::string& model) = 0;

    /*! On: while the block is behind (its input stays full, its output empty) it takes fewer steps, never
     *  below 1, and returns to the number set when it has time. For live streams: one that comes from a file
     *  is always behind. A lookup table's cost does not depend on the steps, so it is left alone. */
    virtual void set_compute_budget(bool on) = 0;
    virtual bool compute_budget() const = 0;
    //! steps (in use), steps_wanted, lowered (times), reduced (symbols that had fewer steps).
    virtual std::map<std::string, uint64_t> budget() const = 0;

    virtual std::string model() const = 0;
    //! The noise variance in use, however it came.
    virtual double noise_var() const = 0;
    //! Its source: "given", "tag" or "estimate".
    virtual std::string noise_source() const = 0;
    virtual int steps() const = 0;
    virtual std::string mode() const = 0;
    //! Whether symbols come from the lookup table now (mode auto: where it meets its error target).
    virtual bool uses_table() const = 0;
    /*! Symbols so far that the exact network did although a table was asked for: in a running flowgraph a new
     *  model's table is made beside the stream; in mode auto it may also miss its error target. */
    virtual uint64_t without_table() const = 0;
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
