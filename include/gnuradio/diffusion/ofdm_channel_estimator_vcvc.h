/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/block.h>
#include <gnuradio/diffusion/api.h>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gr::diffusion {

/*! \brief Channel and coarse frequency offset of OFDM frames; takes the place of digital.ofdm_chanest_vcvc.
 * \ingroup diffusion
 *
 * Ports and tags are the stock block's: symbols in the frequency domain (DC in the middle) come in, one
 * or two preamble symbols and then n_data_symbols for each frame; the data symbols go out unchanged, the
 * first of each frame with the tags ofdm_sync_carr_offset (carriers) and ofdm_sync_chan_taps (complex,
 * FFT length). The optional second output carries the taps, one vector for each frame.
 *
 * New are the choice of method, the tags ofdm_sync_chan_err_var (float, FFT length: E|taps - truth|^2),
 * ofdm_sync_noise_var and ofdm_sync_snr_db, and the message port "estimate" with the same in a
 * dictionary.
 *
 * Methods: "diffusion" (a model), "ls" (what the stock block gives), "lmmse", "nomp" (Newtonized orthogonal
 * matching pursuit), "sbl" (sparse Bayesian learning). Messages on port "cmd": a dictionary
 * (or pair) with any of "method", "model", "noise_var", "compute_budget". What is wrong is logged and changes
 * nothing.
 *
 * Delay: 0 samples; data symbol m of a frame goes out as soon as the frame's preamble and data are in.
 */
class DIFFUSION_API ofdm_channel_estimator_vcvc : virtual public gr::block
{
public:
    typedef std::shared_ptr<ofdm_channel_estimator_vcvc> sptr;

    /*! \param model name or path of the model; empty: ce-ofdmN for an FFT length of N. Read only when the
     *         method is "diffusion"
     *  \param sync_symbol1 first preamble symbol, its length is the FFT length
     *  \param sync_symbol2 second preamble symbol, or empty
     *  \param n_data_symbols symbols that follow the preamble in each frame, >= 1
     *  \param eq_noise_red_len has no effect, as in the stock block (kept so that its arguments fit)
     *  \param max_carr_offset largest frequency offset searched, in carriers; -1: all that fit
     *  \param force_one_sync_symbol only one preamble symbol although sync_symbol2 is given
     *  \param method diffusion, ls, lmmse, nomp or sbl
     *  \param noise_var variance of the noise on a carrier at the input; < 0: estimated from each preamble
     *  \param compute_budget see set_compute_budget() */
    static sptr make(const std::string& model, const std::vector<gr_complex>& sync_symbol1,
                     const std::vector<gr_complex>& sync_symbol2, int n_data_symbols,
                     int eq_noise_red_len = 0, int max_carr_offset = -1, bool force_one_sync_symbol = false,
                     const std::string& method = "diffusion", float noise_var = -1,
                     bool compute_budget = false);

    virtual void set_method(const std::string& method) = 0;
    virtual void set_model(const std::string& model) = 0;
    virtual void set_noise_var(float noise_var) = 0;
    /*! On: while the block is behind (its input stays full, its output empty) the model takes fewer of its
     *  steps, never below 1, and returns to all of them when it has time. For live streams: one from a file
     *  is always behind. Methods without steps do not change. */
    virtual void set_compute_budget(bool on) = 0;
    virtual bool compute_budget() const = 0;
    //! steps (in use), steps_wanted, lowered (times), reduced (frames that had fewer steps).
    virtual std::map<std::string, uint64_t> budget() const = 0;
    virtual std::string method() const = 0;
    virtual std::string model() const = 0;
    virtual float noise_var() const = 0;
    //! Frames so far.
    virtual uint64_t frames() const = 0;
    //! Frames whose preamble held a NaN or Inf.
    virtual uint64_t invalid_frames() const = 0;
};

} // namespace gr::diffusion
