/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "stock_demodulator.h"

namespace gr::diffusion::dsp {

//! What a receiver of stock packets has counted since its start.
struct DIFFUSION_API stock_counters {
    uint64_t detected = 0;       //!< preambles
    uint64_t header_failed = 0;  //!< of these: no header fits its CRC
    uint64_t payload_failed = 0; //!< header right, payload CRC wrong
    uint64_t ok = 0;             //!< both right
    uint64_t truncated = 0;      //!< the stream ended inside the packet
};

/*! A stream of samples in, packets of digital.ofdm_tx out, in order. How the stream is cut does not
 * matter. A header that passed its CRC-8 by chance (one in some) may announce a packet of any length:
 * only a packet whose CRC-32 fits hides the preambles found inside it. */
class DIFFUSION_API stock_receiver
{
public:
    explicit stock_receiver(const stock_settings& settings = {}, const sync_settings& sync = {});

    stock_demodulator& demodulator() { return d_demodulator; }
    const frame_sync& sync() const { return d_sync; }

    //! Appends every frame whose preamble was found, right or wrong.
    void process(const std::complex<float>* in, size_t n, std::vector<stock_frame>& frames);
    //! The stream ends here: decides what is still open.
    void flush(std::vector<stock_frame>& frames);
    //! Forgets what is buffered (new time base, retuned radio); counters stay.
    void reset();

    const stock_counters& counters() const { return d_counters; }
    //! Samples since the start or reset.
    uint64_t samples() const { return d_base + d_buffer.size(); }

private:
    void advance(std::vector<stock_frame>& frames, bool end);

    stock_demodulator d_demodulator;
    frame_sync d_sync;
    std::vector<std::complex<float>> d_buffer;
    uint64_t d_base = 0; // number of d_buffer[0]
    std::vector<sync_frame> d_found;
    size_t d_next = 0;            // first of d_found that is not dealt with
    bool d_open = false;          // its header is read (d_frame), the payload not yet complete
    stock_frame d_frame;
    uint64_t d_busy_until = 0;    // end of the latest packet that was right
    stock_counters d_counters;
};

} // namespace gr::diffusion::dsp
