/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "deshaper_cb_impl.h"
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <cstring>

namespace gr::diffusion {

deshaper_cb::sptr deshaper_cb::make(const std::string& model, double snr_db, int block_length, int adc_bits,
                                    double phase_noise_deg, const std::string& length_tag_name,
                                    const std::string& matcher)
{
    return gnuradio::make_block_sptr<deshaper_cb_impl>(
        model, snr_db, block_length, adc_bits, phase_noise_deg, length_tag_name, matcher);
}

deshaper_cb_impl::deshaper_cb_impl(const std::string& model, double snr_db, int block_length, int adc_bits,
                                   double phase_noise_deg, const std::string& length_tag_name,
                                   const std::string& matcher)
    : gr::block("deshaper_cb", gr::io_signature::make(1, 1, sizeof(gr_complex)),
                gr::io_signature::make(1, 1, sizeof(uint8_t))),
      shaper_block(model, snr_db, block_length, adc_bits, phase_noise_deg, matcher),
      d_length_tag(length_tag_name.empty() ? pmt::pmt_t() : pmt::intern(length_tag_name))
{
}

void deshaper_cb_impl::forecast(int, gr_vector_int& ninput_items_required)
{
    ninput_items_required[0] = d_given < d_ready ? 0 : 1;
}

void deshaper_cb_impl::read_tag(const gr::tag_t& tag)
{
    if (d_filled && worth_logging(++d_cut_blocks))
        d_logger->warn("a block begins at symbol {} before the one before it is complete: that one is "
                       "dropped ({} so far); check block_length at both ends",
                       tag.offset, d_cut_blocks);
    d_filled = 0;
    d_tagged = true;
    d_drop = true;
    shaping_tag read;
    const char* wrong = nullptr;
    if (!shaping_tag::from_pmt(tag.value, read)) {
        wrong = "is no tuple of composition index, bits and packet bits";
    } else if (read.index >= d_state.shaper().prior().states()) {
        wrong = "names a composition that this model does not have";
    } else {
        try {
            d_link = d_state.shaper().at(uint32_t(read.index));
            if (read.bits > d_link->code.bits())
                wrong = "says more bits than the block holds; check block_length at both ends";
        } catch (const std::exception&) { // a model file may be finite and still overflow somewhere
            wrong = "names a composition for which this model gives no pmf";
        }
    }
    if (wrong) {
        if (worth_logging(++d_bad_tags))
            d_logger->warn("the tag 'shaping' at symbol {} {}: block dropped ({} so far)", tag.offset, wrong,
                           d_bad_tags);
        return;
    }
    d_tag = read;
    d_drop = false;
}

size_t deshaper_cb_impl::take_symbols(const gr_complex* in, size_t available, uint64_t offset)
{
    size_t take = available;
    std::vector<gr::tag_t> tags;
    get_tags_in_range(tags, 0, offset, offset + available, shaping_tag::key());
    std::sort(tags.begin(), tags.end(), gr::tag_t::offset_compare);
    for (const auto& tag : tags) {
        if (tag.offset > offset) {
            take = size_t(tag.offset - offset);
            break;
        }
        if (tag.offset != d_tag_offset) { // of several at one place the first counts
            d_tag_offset = tag.offset;
            read_tag(tag);
        }
    }
    if (d_drop)
        return take;
    if (d_filled == 0 && d_tag_offset != offset) { // a block without a tag
        if (!d_tagged)
            d_link = d_state.link();
        d_tag = { d_link->index, d_link->code.bits(), 0 };
    }
    take = std::min(take, d_indices.size() - d_filled);
    d_bad_samples += d_state.shaper().decide(*d_link, in, d_indices.data() + d_filled, take);
    d_filled += take;
    if (d_filled == d_indices.size())
        decode_block();
    return take;
}

void deshaper_cb_impl::decode_block()
{
    d_bad_blocks += !d_link->code.decode(d_indices.data(), d_bits.data());
    d_blocks++;
    d_ready = size_t(d_tag.bits);
    d_given = 0;
    d_packet_bits = d_tag.packet_bits;
    d_filled = 0;
}

int deshaper_cb_impl::general_work(int noutput_items,
                                   gr_vector_int& ninput_items,
                                   gr_vector_const_void_star& input_items,
                                   gr_vector_void_star& output_items)
{
    const auto* in = static_cast<const gr_complex*>(input_items[0]);
    auto* out = static_cast<uint8_t*>(output_items[0]);
    const size_t available = size_t(ninput_items[0]), room = size_t(noutput_items);
    size_t used = 0, made = 0;
    const between_calls::call here(d_between);
    while (true) {
        if (d_given == d_ready) {
            if (used == available)
                break;
            used += take_symbols(in + used, available - used, nitems_read(0) + used);
            continue;
        }
        if (made == room)
            break;
        if (d_given == 0 && d_packet_bits && d_length_tag)
            add_item_tag(0, nitems_written(0) + made, d_length_tag, pmt::from_uint64(d_packet_bits));
        const size_t n = std::min(room - made, d_ready - d_given);
        std::memcpy(out + made, d_bits.data() + d_given, n);
        made += n;
        d_given += n;
    }
    consume_each(int(used));
    return int(made);
}

uint64_t deshaper_cb_impl::blocks() const
{
    return d_between.ask([this] { return d_blocks; });
}

uint64_t deshaper_cb_impl::bad_blocks() const
{
    return d_between.ask([this] { return d_bad_blocks; });
}

uint64_t deshaper_cb_impl::bad_tags() const
{
    return d_between.ask([this] { return d_bad_tags; });
}

uint64_t deshaper_cb_impl::cut_blocks() const
{
    return d_between.ask([this] { return d_cut_blocks; });
}

uint64_t deshaper_cb_impl::bad_samples() const
{
    return d_between.ask([this] { return d_bad_samples; });
}

} // namespace gr::diffusion
