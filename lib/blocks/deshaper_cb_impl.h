/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "shaper_block.h"
#include "shaping_tag.h"
#include <gnuradio/diffusion/deshaper_cb.h>

namespace gr::diffusion {

class deshaper_cb_impl : public shaper_block<deshaper_cb>
{
public:
    deshaper_cb_impl(const std::string& model, double snr_db, int block_length, int adc_bits,
                     double phase_noise_deg, const std::string& length_tag_name, const std::string& matcher);

    void forecast(int noutput_items, gr_vector_int& ninput_items_required) override;
    int general_work(int noutput_items,
                     gr_vector_int& ninput_items,
                     gr_vector_const_void_star& input_items,
                     gr_vector_void_star& output_items) override;

    uint64_t blocks() const override;
    uint64_t bad_blocks() const override;
    uint64_t bad_tags() const override;
    uint64_t cut_blocks() const override;
    uint64_t bad_samples() const override;

private:
    size_t take_symbols(const gr_complex* in, size_t available, uint64_t offset);
    void read_tag(const gr::tag_t& tag);
    void decode_block();

    const pmt::pmt_t d_length_tag;

    // The block being collected.
    shaper_link_state::link_ptr d_link;      // null before the first block
    bool d_tagged = false;                    // the stream has tags: they alone say what comes
    bool d_drop = false;                      // until the next tag
    shaping_tag d_tag;
    uint64_t d_tag_offset = UINT64_MAX;       // of the last tag read
    size_t d_filled = 0;
    // The bits being handed on.
    size_t d_ready = 0, d_given = 0;
    uint64_t d_packet_bits = 0;

    uint64_t d_blocks = 0, d_bad_blocks = 0, d_bad_tags = 0, d_cut_blocks = 0, d_bad_samples = 0;
};

} // namespace gr::diffusion
