/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "native_demodulator.h"
#include <deque>

namespace gr::diffusion::dsp {

//! What a receiver has counted since its start.
struct DIFFUSION_API receiver_counters {
    uint64_t detected = 0;      //!< preambles
    uint64_t header_failed = 0; //!< of these: header CRC or fields wrong
    uint64_t payload_failed = 0; //!< header right, payload CRC wrong
    uint64_t ok = 0;            //!< both right
    uint64_t missed = 0;        //!< gaps in the frame counter
    uint64_t guarded = 0;       //!< a guard did without the model, or without its fit of the radios
    uint64_t truncated = 0;     //!< the stream ended, or was reset, inside the frame
};

/*! A stream of samples in, native frames out, in order. Results do not depend on how it is cut. */
class DIFFUSION_API native_receiver
{
public:
    explicit native_receiver(const native_settings& settings = {}, const sync_settings& sync = {});

    native_demodulator& demodulator() { return d_demodulator; }
    const native_demodulator& demodulator() const { return d_demodulator; }
    const native_format& format() const { return d_demodulator.format(); }

    void process(const std::complex<float>* in, size_t n, std::vector<native_frame>& frames);
    //! The stream ends here: decides what is still open.
    void flush(std::vector<native_frame>& frames);
    //! Forgets what is buffered (new time base, retuned radio); counters stay.
    void reset();

    const receiver_counters& counters() const { return d_counters; }
    uint64_t samples() const { return d_base + d_buffer.size(); }

private:
    void advance(std::vector<native_frame>& frames, bool end);
    void finish(native_frame&& frame, std::vector<native_frame>& frames);

    native_demodulator d_demodulator;
    frame_sync d_sync;
    std::vector<std::complex<float>> d_buffer, d_conditioned;
    uint64_t d_base = 0;           // number of d_buffer[0] since the start or reset
    std::vector<sync_frame> d_found;
    size_t d_next = 0;             // first of d_found that is not dealt with
    std::unique_ptr<native_frame> d_open; // header right, payload not yet complete
    uint64_t d_busy_until = 0;     // end of the latest frame with a good header
    int d_last_number = -1;
    receiver_counters d_counters;
};

} // namespace gr::diffusion::dsp
