/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "shaper_block.h"
#include <gnuradio/diffusion/shaper_bc.h>

namespace gr::diffusion {

class shaper_bc_impl : public shaper_block<shaper_bc>
{
public:
    shaper_bc_impl(const std::string& model, double snr_db, int block_length, int adc_bits,
                   double phase_noise_deg, const std::string& length_tag_name, const std::string& matcher);

    void forecast(int noutput_items, gr_vector_int& ninput_items_required) override;
    int general_work(int noutput_items,
                     gr_vector_int& ninput_items,
                     gr_vector_const_void_star& input_items,
                     gr_vector_void_star& output_items) override;

    uint32_t index() const override;
    double rate() const override;
    uint64_t blocks() const override;

private:
    size_t take_bits(const uint8_t* in, size_t available, uint64_t offset);
    void start_packet(uint64_t offset, uint64_t bits);
    void begin_block();
    void finish_block();
    void complain(const char* what, uint64_t offset);

    const bool d_packets;
    const pmt::pmt_t d_length_tag;

    // The block being filled; null between blocks.
    shaper_link_state::link_ptr d_link;
    size_t d_filled = 0;
    // The block being sent.
    shaper_link_state::link_ptr d_sending;
    size_t d_sent = 0;
    uint64_t d_payload = 0;      // bits of it
    uint64_t d_packet_symbols = 0, d_packet_bits = 0; // of the packet it begins, or 0
    // The packet whose bits come in.
    shaper_link_state::link_ptr d_packet_link; // one composition a packet
    uint64_t d_packet_left = 0, d_packet_start = 0;
    uint64_t d_blocks = 0, d_complaints = 0;
};

} // namespace gr::diffusion
