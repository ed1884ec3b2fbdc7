/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/block.h>
#include <gnuradio/diffusion/api.h>
#include <gnuradio/gr_complex.h>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace gr::diffusion {

//! What digital.ofdm_tx was built with, where that is not its default (empty: the default).
struct DIFFUSION_API stock_ofdm_waveform {
    int fft_len = 64;
    int cp_len = 16;
    std::vector<std::vector<int>> occupied_carriers;
    std::vector<std::vector<int>> pilot_carriers;
    std::vector<std::vector<gr_complex>> pilot_symbols;
    int bps_header = 1;  //!< 1 (BPSK) or 2 (QPSK)
    int bps_payload = 0; //!< 1 (BPSK), 2 (QPSK), or 0: found out from each packet
    std::vector<gr_complex> sync_word1;
    std::vector<gr_complex> sync_word2;
    bool scramble_bits = false;
};

/*! \brief Receives what digital.ofdm_tx sends: the core of ofdm_rx(waveform="stock").
 * \ingroup diffusion
 *
 * Outputs, both optional: 0 the packets' bytes, CRC-32 checked and removed; the first byte of each
 * carries the tags of digital.ofdm_rx: length_tag_key (bytes), num_tag_key and "ofdm_sync_carr_offset"
 * (even, in carriers). 1 the equalised payload symbols (E|x|^2 = 1) of every packet with a header.
 *
 * Message ports: "pdus" the packets as PDUs; "metrics" a dictionary for each preamble found (header_ok,
 * payload_ok, frame, length, offset, cfo, snr_db, noise_var, sync_metric, and the counters); "frames" the
 * same with the vectors symbols, symbol_noise, llr, channel, channel_error and payload, made only if it
 * is connected. Port "cmd": a dictionary (or pair) with any of "estimator", "demapper",
 * "estimator_model", "demapper_model", "max_passes"; what is wrong is logged and changes nothing.
 *
 * A tag "rx_time" inside the stream (samples were lost) starts the search for packets anew.
 */
class DIFFUSION_API stock_ofdm_rx : virtual public gr::block
{
public:
    typedef std::shared_ptr<stock_ofdm_rx> sptr;

    /*! \param estimator ls, lmmse or diffusion
     *  \param demapper min-distance, map or diffusion
     *  \param estimator_model, demapper_model shipped names or files for the diffusion stages; "": the
     *         shipped one that fits
     *  \param max_cfo largest carrier offset searched, in subcarrier spacings */
    static sptr make(const std::string& estimator = "lmmse",
                     const std::string& demapper = "map",
                     const std::string& estimator_model = "",
                     const std::string& demapper_model = "",
                     double max_cfo = 2.0,
                     const std::string& length_tag_key = "packet_length",
                     const std::string& num_tag_key = "packet_num",
                     const stock_ofdm_waveform& waveform = {});

    virtual void set_estimator(const std::string& estimator) = 0;
    virtual void set_demapper(const std::string& demapper) = 0;
    virtual void set_estimator_model(const std::string& model) = 0;
    virtual void set_demapper_model(const std::string& model) = 0;
    //! Decision-directed passes at most, behind the first; 0 to 16.
    virtual void set_max_passes(int passes) = 0;
    /*! On: while the block is behind (its input stays full) the diffusion estimator takes fewer of its steps,
     *  never below 1, and returns to all of them when it has time. For live streams. Off at the start. */
    virtual void set_compute_budget(bool on) = 0;
    virtual bool compute_budget() const = 0;
    //! steps (in use), steps_wanted, lowered (times), reduced (frames that had fewer steps).
    virtual std::map<std::string, uint64_t> budget() const = 0;
    virtual std::string estimator() const = 0;
    virtual std::string demapper() const = 0;
    //! detected, ok, header_failed, payload_failed, truncated, bad_samples (NaN), since the start.
    virtual std::map<std::string, uint64_t> counters() const = 0;
};

} // namespace gr::diffusion
