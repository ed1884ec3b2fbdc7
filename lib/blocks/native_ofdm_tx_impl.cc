/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "native_ofdm_tx_impl.h"
#include "command.h"
#include "modulation_name.h"
#include <gnuradio/block_detail.h>
#include <gnuradio/buffer_reader.h>
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <cmath>
#include <sstream>

namespace gr::diffusion {

namespace {

// Below the reported SNR: 1 dB for the code, 1 for estimation and for what the SNR moves until the next
// report.
constexpr double shaping_margin_db = 2;

bool is_continuous(const std::string& transmission)
{
    if (transmission != "burst" && transmission != "continuous")
        throw std::invalid_argument("transmission is '" + transmission + "'; use burst or continuous");
    return transmission == "continuous";
}

size_t guard_of(int guard, int symbol_len)
{
    if (guard < -1 || guard > 10000000)
        throw std::invalid_argument("guard is " + std::to_string(guard) +
                                    " samples; use 0 to 10000000, or -1 for two OFDM symbols");
    return guard < 0 ? size_t(2 * symbol_len) : size_t(guard);
}

} // namespace

native_ofdm_tx::sptr native_ofdm_tx::make(const std::string& modulation, const std::string& fec,
                                          const std::string& transmission, double amplitude, int guard,
                                          int fft_len, int cp_len, int max_payload,
                                          const std::string& length_tag_key)
{
    return gnuradio::make_block_sptr<native_ofdm_tx_impl>(
        modulation, fec, transmission, amplitude, guard, fft_len, cp_len, max_payload, length_tag_key);
}

native_ofdm_tx_impl::native_ofdm_tx_impl(const std::string& modulation, const std::string& fec,
                                         const std::string& transmission, double amplitude, int guard,
                                         int fft_len, int cp_len, int max_payload,
                                         const std::string& length_tag_key)
    : gr::block("native_ofdm_tx",
                gr::io_signature::make(0, 1, sizeof(uint8_t)),
                gr::io_signature::make(1, 1, sizeof(gr_complex))),
      d_modulator({ fft_len, cp_len, max_payload }),
      d_continuous(is_continuous(transmission)),
      d_guard(guard_of(guard, fft_len + cp_len)),
      d_length_key(pmt::intern(length_tag_key)),
      d_port(pmt::mp("pdus"))
{
    set_modulation(modulation);
    set_fec(fec);
    set_amplitude(amplitude);
    set_tag_propagation_policy(TPP_DONT);
    message_port_register_in(d_port); // no handler: packets wait here until they can be sent
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        for_each_setting(d_logger, message, [this](const std::string& key, const pmt::pmt_t& value) {
            if (key == "modulation")
                set_modulation(pmt::symbol_to_string(value));
            else if (key == "fec")
                set_fec(pmt::symbol_to_string(value));
            else if (key == "amplitude")
                set_amplitude(pmt::to_double(value));
            else if (key == "pilots")
                set_pilots(pmt::symbol_to_string(value));
            else if (key == "shaping_snr_db")
                set_shaping_snr_db(pmt::is_number(value) ? pmt::to_double(value)
                                                         : std::numeric_limits<double>::quiet_NaN());
            else
                throw std::invalid_argument(
                    "'" + key + "' is none of modulation, fec, amplitude, pilots, shaping_snr_db");
        });
    });
}

void native_ofdm_tx_impl::forecast(int, gr_vector_int& ninput_items_required)
{
    for (int& n : ninput_items_required)
        n = d_continuous ? 0 : 1;
}

void native_ofdm_tx_impl::drop(const std::string& why)
{
    d_dropped++;
    uint64_t held;
    if (d_log_limit(held))
        d_logger->warn("packet not sent: {} ({} since the last such line)", why, held);
}

void native_ofdm_tx_impl::send(const uint8_t* bytes, size_t length)
{
    if (length > size_t(d_modulator.format().settings().max_payload))
        return drop(std::to_string(length) + " bytes, more than max_payload = " +
                    std::to_string(d_modulator.format().settings().max_payload));
    const between_calls::call here(d_between);
    d_pending = d_modulator.modulate(bytes, length);
    for (auto& x : d_pending)
        x *= float(d_amplitude);
    d_pending.resize(d_pending.size() + d_guard);
    d_at = 0;
    d_sent++;
}

bool native_ofdm_tx_impl::take_message()
{
    const pmt::pmt_t message = delete_head_nowait(d_port);
    if (!message)
        return false;
    if (!pmt::is_pair(message) || !pmt::is_u8vector(pmt::cdr(message))) {
        drop("the message on port pdus is not a PDU of bytes (metadata . u8vector)");
        return true;
    }
    size_t length;
    const uint8_t* bytes = pmt::u8vector_elements(pmt::cdr(message), length);
    send(bytes, length);
    return true;
}

//! Takes bytes up to the end of a packet; returns how many can be consumed at once.
int native_ofdm_tx_impl::take_stream(const uint8_t* in, int available)
{
    int used = 0;
    while (used < available && d_at == d_pending.size()) {
        if (d_packet_len == 0) {
            std::vector<tag_t> tags;
            get_tags_in_range(tags, 0, nitems_read(0) + used, nitems_read(0) + available, d_length_key);
            std::sort(tags.begin(), tags.end(), tag_t::offset_compare);
            const int skip = tags.empty() ? available - used : int(tags[0].offset - nitems_read(0)) - used;
            if (skip > 0) {
                drop("bytes without a length tag '" + pmt::symbol_to_string(d_length_key) + "'");
                used += skip;
                continue;
            }
            const uint64_t length = pmt::is_uint64(tags[0].value) ? pmt::to_uint64(tags[0].value)
                                    : pmt::is_integer(tags[0].value)
                                        ? uint64_t(std::max(pmt::to_long(tags[0].value), 0L))
                                        : 0;
            // What cannot be a packet must not be collected: a wrong tag would swallow the rest of the
            // stream.
            if (length < 1 || length > uint64_t(d_modulator.format().settings().max_payload)) {
                drop("the length tag is " + pmt::write_string(tags[0].value) + ", use 1 to max_payload = " +
                     std::to_string(d_modulator.format().settings().max_payload));
                used++;
                continue;
            }
            d_packet_len = size_t(length);
            d_packet.clear();
        }
        const size_t take = std::min(d_packet_len - d_packet.size(), size_t(available - used));
        d_packet.insert(d_packet.end(), in + used, in + used + take);
        used += int(take);
        if (d_packet.size() == d_packet_len) {
            d_packet_len = 0;
            send(d_packet.data(), d_packet.size());
            // The scheduler ends a block whose finished input is all consumed, so the packet's last byte
            // stays until its frame is out.
            if (!d_pending.empty() && d_at < d_pending.size()) {
                d_held = 1;
                return used - 1;
            }
        }
    }
    return used;
}

//! No byte is left and none will come. Asked for by zeros only: without them the scheduler sees it itself.
bool native_ofdm_tx_impl::input_ended() const
{
    const auto reader = detail()->input(0);
    // in this order: the last bytes come before the end
    return reader->done() && reader->items_available() == 0;
}

int native_ofdm_tx_impl::general_work(int noutput_items, gr_vector_int& ninput_items,
                                      gr_vector_const_void_star& input_items,
                                      gr_vector_void_star& output_items)
{
    auto* out = static_cast<gr_complex*>(output_items[0]);
    const bool stream = !input_items.empty();
    int produced = 0, consumed = 0;
    while (produced < noutput_items) {
        if (d_at == d_pending.size()) {
            consumed += d_held;
            d_held = 0;
            if (stream && consumed < ninput_items[0]) {
                // Tags are looked up from nitems_read on, so what is used must be consumed first.
                consume(0, consumed);
                const auto* in = static_cast<const uint8_t*>(input_items[0]) + consumed;
                ninput_items[0] -= consumed;
                input_items[0] = in;
                consumed = 0;
                const int used = take_stream(in, ninput_items[0]);
                consume(0, used);
                ninput_items[0] -= used;
                input_items[0] = in + used;
            }
            if (d_at == d_pending.size() && !take_message())
                break;
            if (d_at == d_pending.size())
                continue;
        }
        if (d_at == 0) {
            const uint64_t at = nitems_written(0) + produced;
            add_item_tag(0, at, d_length_key, pmt::from_long(long(d_pending.size())), alias_pmt());
            add_item_tag(0, at, pmt::mp("tx_sob"), pmt::PMT_T, alias_pmt());
        }
        const size_t n = std::min(d_pending.size() - d_at, size_t(noutput_items - produced));
        std::copy_n(d_pending.begin() + long(d_at), n, out + produced);
        d_at += n;
        produced += int(n);
        if (d_at == d_pending.size())
            add_item_tag(0, nitems_written(0) + produced - 1, pmt::mp("tx_eob"), pmt::PMT_T, alias_pmt());
    }
    if (d_at == d_pending.size() && d_held) {
        consumed += d_held;
        d_held = 0;
    }
    if (stream && consumed)
        consume(0, consumed);
    if (d_continuous && produced == 0 && stream && input_ended())
        return WORK_DONE;
    if (d_continuous && produced < noutput_items) {
        std::fill(out + produced, out + noutput_items, gr_complex(0));
        produced = noutput_items;
    }
    return produced;
}

void native_ofdm_tx_impl::set_modulation(const std::string& modulation)
{
    const int bits = bits_of_modulation(modulation);
    d_between.ask([&] { change(bits, d_plain_fec, d_shaping_snr_db); });
}

void native_ofdm_tx_impl::set_fec(const std::string& fec)
{
    const auto code = dsp::fec_from_name(fec);
    dsp::payload_code(code, 8); // builds it once, so that what is missing shows here and not in work()
    d_between.ask([&] { change(d_modulator.bits_per_symbol(), code, d_shaping_snr_db); });
}

void native_ofdm_tx_impl::set_shaping_snr_db(double snr_db)
{
    d_between.ask([&] { change(d_modulator.bits_per_symbol(), d_plain_fec, snr_db); });
}

void native_ofdm_tx_impl::set_pilots(const std::string& pilots)
{
    const auto density = dsp::pilot_density_from_name(pilots);
    d_between.ask([&] { d_modulator.set_pilots(density); });
}

std::string native_ofdm_tx_impl::pilots() const
{
    return d_between.ask([&] { return dsp::pilot_density_name(d_modulator.pilots()); });
}

int native_ofdm_tx_impl::shaping() const
{
    return d_between.ask([&] { return d_modulator.shaping(); });
}

//! All three at once or, with an exception, none. Between two packets.
void native_ofdm_tx_impl::change(int bits, dsp::fec plain, double shaping_snr_db)
{
    dsp::shaped_payload::mode mode{ plain, 0, 0 };
    const bool shaped = !std::isnan(shaping_snr_db);
    if (shaped) {
        mode = dsp::shaped_payload::mode_for(bits, shaping_snr_db, shaping_margin_db);
        dsp::shaped_payload::get(bits, mode.code, mode.index); // throws before anything has changed
    }
    d_modulator.set_shaping(-1);
    d_modulator.set_bits_per_symbol(bits);
    d_modulator.set_fec(mode.code);
    if (shaped)
        d_modulator.set_shaping(int(mode.index));
    d_plain_fec = plain;
    d_shaping_snr_db = shaping_snr_db;
}

void native_ofdm_tx_impl::set_amplitude(double amplitude)
{
    if (!(amplitude >= 1e-12 && amplitude <= 1e12)) { // what single precision bears, peaks included
        std::ostringstream text;
        text << "amplitude is " << amplitude << "; use an RMS of 1e-12 to 1e12";
        throw std::invalid_argument(text.str());
    }
    d_between.ask([&] { d_amplitude = amplitude; });
}

std::string native_ofdm_tx_impl::modulation() const
{
    return d_between.ask([&] { return modulation_of_bits(d_modulator.bits_per_symbol()); });
}

std::string native_ofdm_tx_impl::fec() const
{
    return d_between.ask([&] { return dsp::fec_name(d_modulator.code()); });
}

double native_ofdm_tx_impl::amplitude() const
{
    return d_between.ask([&] { return d_amplitude; });
}

} // namespace gr::diffusion
