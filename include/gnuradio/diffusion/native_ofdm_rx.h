/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/block.h>
#include <gnuradio/diffusion/api.h>
#include <cstdint>
#include <map>
#include <string>

namespace gr::diffusion {

/*! \brief Receiver of the native burst OFDM waveform (docs/link.md).
 * \ingroup diffusion
 *
 * Outputs, both optional: 0 the payload bytes of frames whose CRC fits, as tagged packets; 1 the
 * equalised payload symbols (E|x|^2 = 1) of every frame with a good header, for displays.
 * Message ports: "pdus" the payloads as PDUs; "metrics" a dictionary a frame (frame, header_ok,
 * payload_ok, length, modulation, fec, snr_db, evm_db, cfo, noise_var, phase_walk, offset, and the
 * counters detected, ok, header_failed, payload_failed, missed, truncated); "frames" the same with the
 * vectors symbols, symbol_noise, llr, channel, channel_error and payload, made only if it is connected.
 * The PDUs' metadata and the tags at the start of each packet carry frame, snr_db, evm_db and cfo.
 * Message port "cmd": a dictionary with any of "estimator", "demapper", "estimator_model",
 * "demapper_model", "compute_budget", "data_aided_rounds", "time_tracking"; what is wrong is logged and
 * changes nothing. A tag "rx_time" inside the stream (samples were lost) starts the search for frames anew.
 */
class DIFFUSION_API native_ofdm_rx : virtual public gr::block
{
public:
    typedef std::shared_ptr<native_ofdm_rx> sptr;

    /*! \param estimator ls, lmmse, nomp, sbl or diffusion
     *  \param demapper min-distance, map or diffusion
     *  \param estimator_model, demapper_model shipped names or files for the diffusion stages; "": the
     *         shipped one that fits
     *  \param max_cfo largest carrier offset searched, in subcarrier spacings */
    static sptr make(const std::string& estimator = "lmmse",
                     const std::string& demapper = "map",
                     const std::string& estimator_model = "",
                     const std::string& demapper_model = "",
                     int fft_len = 64,
                     int cp_len = 16,
                     int max_payload = 4096,
                     double max_cfo = 2.0,
                     const std::string& length_tag_key = "packet_len");

    virtual void set_estimator(const std::string& estimator) = 0;
    virtual void set_demapper(const std::string& demapper) = 0;
    virtual void set_estimator_model(const std::string& model) = 0;
    virtual void set_demapper_model(const std::string& model) = 0;
    /*! On: while the block is behind (its input stays full) the diffusion estimator takes fewer of its steps,
     *  never below 1, and returns to all of them when it has time. For live streams. Off at the start. */
    virtual void set_compute_budget(bool on) = 0;
    virtual bool compute_budget() const = 0;
    //! steps (in use), steps_wanted, lowered (times), reduced (frames that had fewer steps).
    virtual std::map<std::string, uint64_t> budget() const = 0;
    /*! Rounds in which estimator and decoder help each other, for frames whose CRC fails: 0 to 3. What the
     *  decoder believes of each symbol is a further pilot, weighted by its variance. \throws
     *  std::invalid_argument */
    virtual void set_data_aided_rounds(int rounds) = 0;
    virtual int data_aided_rounds() const = 0;
    //! Whether channels that move within a frame are followed (on at the start).
    virtual void set_time_tracking(bool on) = 0;
    virtual bool time_tracking() const = 0;
    virtual std::string estimator() const = 0;
    virtual std::string demapper() const = 0;
    //! detected, ok, header_failed, payload_failed, missed, truncated, since the start.
    virtual std::map<std::string, uint64_t> counters() const = 0;
};

} // namespace gr::diffusion
