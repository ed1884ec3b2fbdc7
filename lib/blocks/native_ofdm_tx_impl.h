/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "dsp/native_modulator.h"
#include "rate_limited.h"
#include <gnuradio/diffusion/native_ofdm_tx.h>
#include <limits>

namespace gr::diffusion {

class native_ofdm_tx_impl : public native_ofdm_tx
{
public:
    native_ofdm_tx_impl(const std::string& modulation, const std::string& fec,
                        const std::string& transmission, double amplitude, int guard, int fft_len, int cp_len,
                        int max_payload, const std::string& length_tag_key);

    void forecast(int noutput_items, gr_vector_int& ninput_items_required) override;
    int general_work(int noutput_items, gr_vector_int& ninput_items, gr_vector_const_void_star& input_items,
                     gr_vector_void_star& output_items) override;

    void set_modulation(const std::string& modulation) override;
    void set_fec(const std::string& fec) override;
    void set_amplitude(double amplitude) override;
    void set_shaping_snr_db(double snr_db) override;
    void set_pilots(const std::string& pilots) override;
    std::string pilots() const override;
    int shaping() const override;
    std::string modulation() const override;
    std::string fec() const override;
    double amplitude() const override;
    uint64_t sent() const override { return d_sent; }
    uint64_t dropped() const override { return d_dropped; }

private:
    mutable between_calls d_between;
    bool take_message();
    bool input_ended() const;
    int take_stream(const uint8_t* in, int available);
    void send(const uint8_t* bytes, size_t length);
    void drop(const std::string& why);
    void change(int bits, dsp::fec plain, double shaping_snr_db);

    dsp::native_modulator d_modulator;
    const bool d_continuous;
    const size_t d_guard;
    const pmt::pmt_t d_length_key, d_port;
    double d_amplitude;
    double d_shaping_snr_db = std::numeric_limits<double>::quiet_NaN(); // NaN: plain payloads
    dsp::fec d_plain_fec = dsp::fec::cc_1_2;                            // what they are coded with
    std::vector<gr_complex> d_pending; // samples of the frame that is going out
    size_t d_at = 0;                   // next of d_pending
    std::vector<uint8_t> d_packet;     // bytes of the input packet so far
    size_t d_packet_len = 0;
    int d_held = 0;                    // input bytes to be consumed once d_pending is out
    uint64_t d_sent = 0, d_dropped = 0;
    rate_limited d_log_limit;
};

} // namespace gr::diffusion
