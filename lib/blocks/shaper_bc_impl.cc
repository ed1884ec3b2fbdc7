/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shaper_bc_impl.h"
#include "shaping_tag.h"
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <cstring>

namespace gr::diffusion {

shaper_bc::sptr shaper_bc::make(const std::string& model, double snr_db, int block_length, int adc_bits,
                                double phase_noise_deg, const std::string& length_tag_name,
                                const std::string& matcher)
{
    return gnuradio::make_block_sptr<shaper_bc_impl>(
        model, snr_db, block_length, adc_bits, phase_noise_deg, length_tag_name, matcher);
}

shaper_bc_impl::shaper_bc_impl(const std::string& model, double snr_db, int block_length, int adc_bits,
                               double phase_noise_deg, const std::string& length_tag_name,
                               const std::string& matcher)
    : gr::block("shaper_bc", gr::io_signature::make(1, 1, sizeof(uint8_t)),
                gr::io_signature::make(1, 1, sizeof(gr_complex))),
      shaper_block(model, snr_db, block_length, adc_bits, phase_noise_deg, matcher),
      d_packets(!length_tag_name.empty()), d_length_tag(pmt::intern(length_tag_name))
{
}

void shaper_bc_impl::forecast(int, gr_vector_int& ninput_items_required)
{
    // Bits are collected here, so that a block may need more of them than a buffer holds; what waits to be
    // sent must go out even when no bit comes any more.
    ninput_items_required[0] = d_sending ? 0 : 1;
}

void shaper_bc_impl::complain(const char* what, uint64_t offset)
{
    if (worth_logging(++d_complaints))
        d_logger->warn("{} at bit {} ({} such events so far)", what, offset, d_complaints);
}

void shaper_bc_impl::start_packet(uint64_t offset, uint64_t bits)
{
    if (d_packet_left) {
        complain("the packet before is shorter than its length tag said; it is sent with zeros in place",
                 offset);
        if (d_link)
            finish_block();
    }
    d_packet_left = bits;
    d_packet_start = bits;
    d_packet_link = d_state.link();
}

void shaper_bc_impl::begin_block()
{
    d_link = d_packets ? d_packet_link : d_state.link();
    d_filled = 0;
}

void shaper_bc_impl::finish_block()
{
    const size_t need = d_link->code.bits();
    std::fill(d_bits.begin() + d_filled, d_bits.begin() + need, uint8_t(0));
    d_link->code.encode(d_bits.data(), d_indices.data());
    d_sending = d_link;
    d_sent = 0;
    d_payload = d_filled;
    d_packet_bits = d_packet_start;
    d_packet_symbols = (d_packet_start + need - 1) / need * d_indices.size();
    d_packet_start = 0;
    d_link = nullptr;
    d_blocks++;
}

size_t shaper_bc_impl::take_bits(const uint8_t* in, size_t available, uint64_t offset)
{
    size_t take = available;
    if (d_packets) {
        std::vector<gr::tag_t> tags;
        get_tags_in_range(tags, 0, offset, offset + available, d_length_tag);
        std::sort(tags.begin(), tags.end(), gr::tag_t::offset_compare);
        for (const auto& tag : tags) {
            if (tag.offset > offset) { // up to here, the rest in the next call
                take = size_t(tag.offset - offset);
                break;
            }
            const uint64_t bits = pmt::is_uint64(tag.value) ? pmt::to_uint64(tag.value)
                                  : pmt::is_integer(tag.value) && pmt::to_long(tag.value) > 0
                                      ? uint64_t(pmt::to_long(tag.value))
                                      : 0;
            if (bits == 0) {
                complain("a length tag is no positive number, ignored", offset);
                continue;
            }
            if (d_packet_start == bits && d_packet_left == bits && d_filled == 0)
                continue; // seen already: the call before had no room to go on
            start_packet(offset, bits);
            if (d_sending)
                return 0; // the cut packet's last block goes out first
        }
        if (d_packet_left == 0) {
            complain("bits outside any packet, dropped", offset);
            return take;
        }
        take = size_t(std::min<uint64_t>(take, d_packet_left));
    }
    if (!d_link)
        begin_block();
    take = std::min(take, d_link->code.bits() - d_filled);
    std::memcpy(d_bits.data() + d_filled, in, take);
    d_filled += take;
    if (d_packets)
        d_packet_left -= take;
    if (d_filled == d_link->code.bits() || (d_packets && d_packet_left == 0))
        finish_block();
    return take;
}

int shaper_bc_impl::general_work(int noutput_items,
                                 gr_vector_int& ninput_items,
                                 gr_vector_const_void_star& input_items,
                                 gr_vector_void_star& output_items)
{
    const auto* in = static_cast<const uint8_t*>(input_items[0]);
    auto* out = static_cast<gr_complex*>(output_items[0]);
    const size_t available = size_t(ninput_items[0]), room = size_t(noutput_items);
    size_t used = 0, made = 0;
    const between_calls::call here(d_between);
    while (true) {
        if (!d_sending) {
            if (used == available)
                break;
            used += take_bits(in + used, available - used, nitems_read(0) + used);
            continue;
        }
        if (made == room)
            break;
        if (d_sent == 0) {
            const uint64_t at = nitems_written(0) + made;
            add_item_tag(0, at, shaping_tag::key(),
                         shaping_tag{ d_sending->index, d_payload, d_packet_bits }.to_pmt());
            if (d_packet_bits)
                add_item_tag(0, at, d_length_tag, pmt::from_uint64(d_packet_symbols));
        }
        const size_t n = std::min(room - made, d_indices.size() - d_sent);
        for (size_t i = 0; i < n; i++)
            out[made + i] = d_sending->points[d_indices[d_sent + i]];
        made += n;
        d_sent += n;
        if (d_sent == d_indices.size())
            d_sending = nullptr;
    }
    consume_each(int(used));
    return int(made);
}

uint32_t shaper_bc_impl::index() const
{
    return d_between.ask([this] { return d_state.link()->index; });
}

double shaper_bc_impl::rate() const
{
    return d_between.ask([this] { return d_state.link()->code.rate(); });
}

uint64_t shaper_bc_impl::blocks() const
{
    return d_between.ask([this] { return d_blocks; });
}

} // namespace gr::diffusion
