/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stock_ofdm_rx_impl.h"
#include "buffer_fill.h"
#include "command.h"
#include "dsp/stages.h"
#include <gnuradio/block_detail.h>
#include <gnuradio/buffer_reader.h>
#include <gnuradio/digital/constellation.h>
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <cmath>
#include <cstring>

namespace gr::diffusion {

namespace {

// Samples a call takes at most: a bound on its time, and on what is queued.
constexpr uint64_t max_samples = 8192;

dsp::stock_settings settings_of(const stock_ofdm_waveform& w)
{
    dsp::stock_settings s;
    auto& g = s.geometry;
    const bool own = w.fft_len != g.fft_len || !w.occupied_carriers.empty() || !w.pilot_carriers.empty();
    if (own && (w.sync_word1.empty() || w.sync_word2.empty()))
        throw std::invalid_argument("ofdm_rx: with carriers other than the default ones give sync_word1 and "
                                    "sync_word2 (the transmitter's)");
    auto take = [](auto& to, const auto& from) {
        if (!from.empty())
            to = from;
    };
    g.fft_len = w.fft_len;
    g.cp_len = w.cp_len;
    take(g.occupied_carriers, w.occupied_carriers);
    take(g.pilot_carriers, w.pilot_carriers);
    take(g.pilot_symbols, w.pilot_symbols);
    take(g.sync_word1, w.sync_word1);
    take(g.sync_word2, w.sync_word2);
    s.bps_header = w.bps_header;
    s.bps_payload = w.bps_payload;
    s.scramble = w.scramble_bits;
    // Their scale is gr-digital's business, and not the same in all releases.
    s.bpsk_amplitude = std::abs(gr::digital::constellation_bpsk::make()->points()[0]);
    s.qpsk_amplitude = std::abs(gr::digital::constellation_qpsk::make()->points()[0]);
    s.check();
    return s;
}

} // namespace

stock_ofdm_rx::sptr stock_ofdm_rx::make(const std::string& estimator,
                                        const std::string& demapper,
                                        const std::string& estimator_model,
                                        const std::string& demapper_model,
                                        double max_cfo,
                                        const std::string& length_tag_key,
                                        const std::string& num_tag_key,
                                        const stock_ofdm_waveform& waveform)
{
    return gnuradio::make_block_sptr<stock_ofdm_rx_impl>(settings_of(waveform), dsp::sync_settings{ max_cfo },
                                                         estimator, demapper, estimator_model, demapper_model,
                                                         length_tag_key, num_tag_key);
}

stock_ofdm_rx_impl::stock_ofdm_rx_impl(const dsp::stock_settings& settings,
                                       const dsp::sync_settings& sync,
                                       const std::string& estimator,
                                       const std::string& demapper,
                                       const std::string& estimator_model,
                                       const std::string& demapper_model,
                                       const std::string& length_tag_key,
                                       const std::string& num_tag_key)
    : gr::block("stock_ofdm_rx",
                gr::io_signature::make(1, 1, sizeof(gr_complex)),
                gr::io_signature::make2(0, 2, sizeof(uint8_t), sizeof(gr_complex))),
      d_length_key(pmt::intern(length_tag_key)),
      d_num_key(pmt::intern(num_tag_key)),
      d_pdus(pmt::mp("pdus")),
      d_metrics(pmt::mp("metrics")),
      d_all(pmt::mp("frames")),
      d_receiver(settings, sync)
{
    set_tag_propagation_policy(TPP_DONT); // samples and bytes have no common rate
    set_channel_stage(estimator, estimator_model);
    set_demapper_stage(demapper, demapper_model);
    for (const auto& port : { d_pdus, d_metrics, d_all })
        message_port_register_out(port);
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        for_each_setting(d_logger, message, [this](const std::string& key, const pmt::pmt_t& value) {
            if (key == "estimator")
                set_estimator(pmt::symbol_to_string(value));
            else if (key == "demapper")
                set_demapper(pmt::symbol_to_string(value));
            else if (key == "estimator_model")
                set_estimator_model(pmt::symbol_to_string(value));
            else if (key == "demapper_model")
                set_demapper_model(pmt::symbol_to_string(value));
            else if (key == "model") // a file that `fit receiver` wrote
                set_demapper_stage("diffusion", pmt::symbol_to_string(value));
            else if (key == "compute_budget")
                set_compute_budget(pmt::to_bool(value));
            else if (key == "max_passes")
                set_max_passes(to_int(value));
            else
                throw std::invalid_argument("'" + key + "' is none of estimator, demapper, estimator_model, "
                                                        "demapper_model, max_passes, compute_budget");
        });
    });
}

void stock_ofdm_rx_impl::set_channel_stage(const std::string& name, const std::string& model)
{
    // A model takes time to load, so the stage is built in the caller's thread.
    const auto& g = d_receiver.demodulator().geometry();
    if (name != "diffusion" && !model.empty() && model != d_estimator_model)
        dsp::make_channel_stage("diffusion", g.fft_len, g.cp_len, model); // refused when it is named
    auto stage = dsp::make_channel_stage(name, g.fft_len, g.cp_len, model);
    d_between.ask([&] {
        d_receiver.demodulator().set_estimator(std::move(stage));
        d_estimator = name;
        d_estimator_model = model;
    });
}

void stock_ofdm_rx_impl::set_demapper_stage(const std::string& name, const std::string& model)
{
    if (name != "diffusion" && !model.empty() && model != d_demapper_model)
        dsp::make_demapper_stage("diffusion", model);
    auto stage = dsp::make_demapper_stage(name, model);
    d_between.ask([&] {
        d_receiver.demodulator().set_demapper(std::move(stage));
        d_demapper = name;
        d_demapper_model = model;
    });
}

void stock_ofdm_rx_impl::set_max_passes(int passes)
{
    if (passes < 0 || passes > 16)
        throw std::invalid_argument("ofdm_rx: max_passes is " + std::to_string(passes) + ", use 0 to 16");
    d_between.ask([&] { d_receiver.demodulator().set_max_passes(passes); });
}

std::map<std::string, uint64_t> stock_ofdm_rx_impl::counters() const
{
    const auto [c, bad] = d_between.ask([&] {
        return std::pair(d_receiver.counters(), d_receiver.sync().bad_samples());
    });
    return { { "detected", c.detected },           { "ok", c.ok },
             { "header_failed", c.header_failed }, { "payload_failed", c.payload_failed },
             { "truncated", c.truncated },         { "bad_samples", bad } };
}

void stock_ofdm_rx_impl::set_compute_budget(bool on)
{
    d_between.ask([&] { d_budget.set_on(on); });
}

bool stock_ofdm_rx_impl::compute_budget() const
{
    return d_between.ask([&] { return d_budget.on(); });
}

std::map<std::string, uint64_t> stock_ofdm_rx_impl::budget() const
{
    return d_between.ask([&] { return budget_figures(d_budget); });
}

std::string stock_ofdm_rx_impl::estimator() const
{
    return d_between.ask([&] { return d_estimator; });
}

std::string stock_ofdm_rx_impl::demapper() const
{
    return d_between.ask([&] { return d_demapper; });
}

bool stock_ofdm_rx_impl::input_done() { return detail() && detail()->input(0)->done(); }

/* The scheduler ends a block as soon as its finished input is all consumed, and then the last packets
 * could not be written any more. So the newest sample, though received, stays unconsumed until the input
 * has ended and everything is written. */
void stock_ofdm_rx_impl::forecast(int, gr_vector_int& ninput_items_required)
{
    ninput_items_required[0] = input_done() || pending() ? 1 : 2;
}

int stock_ofdm_rx_impl::general_work(int noutput_items,
                                     gr_vector_int& ninput_items,
                                     gr_vector_const_void_star& input_items,
                                     gr_vector_void_star& output_items)
{
    const uint64_t first = nitems_read(0), end = first + uint64_t(ninput_items[0]);
    const bool last = input_done() && detail()->input(0)->items_available() == ninput_items[0];
    // No new samples while packets wait to be written: memory stays bounded, upstream is held back.
    if (!pending()) {
        const uint64_t to = std::min(end, d_received + max_samples);
        const auto* in = static_cast<const gr_complex*>(input_items[0]);
        std::vector<tag_t> times;
        get_tags_in_range(times, 0, d_received, to, pmt::mp("rx_time"));
        std::sort(times.begin(), times.end(), tag_t::offset_compare);
        for (const auto& tag : times) {
            receive(in + (d_received - first), int(tag.offset - d_received), tag.offset > 0);
            d_received = tag.offset;
        }
        const bool flush = last && to == end && !d_flushed;
        receive(in + (d_received - first), int(to - d_received), flush);
        d_received = to;
        d_flushed = d_flushed || flush;
    }
    for (size_t port = 0; port < 2; port++) {
        if (port < output_items.size())
            produce(int(port), drain(int(port), port == 0 ? sizeof(uint8_t) : sizeof(gr_complex),
                                     output_items[port], noutput_items));
        else
            d_pending[port].clear();
    }
    const bool all = d_flushed && !pending();
    consume(0, int(d_received - first) - (all || d_received == first ? 0 : 1));
    return WORK_CALLED_PRODUCE;
}

void stock_ofdm_rx_impl::receive(const gr_complex* in, int n, bool flush)
{
    const work_watch::call timed(d_watch);
    d_frames.clear();
    const uint64_t origin = d_origin;
    {
        const between_calls::call here(d_between);
        const size_t before = d_frames.size();
        auto& stage = d_receiver.demodulator().estimator();
        stage.set_steps(allowed_steps(d_budget, d_watch, detail(), stage.trained_steps()));
        d_receiver.process(in, size_t(n), d_frames);
        d_budget.count(d_frames.size() - before);
        if (flush) {
            d_origin += d_receiver.samples();
            d_receiver.flush(d_frames);
        }
    }
    for (auto& frame : d_frames) {
        frame.sync.offset += origin;
        report(frame);
    }
    warn_of_bad_samples();
}

void stock_ofdm_rx_impl::report(const dsp::stock_frame& f)
{
    pmt::pmt_t m = pmt::make_dict();
    auto put = [&m](const pmt::pmt_t& key, const pmt::pmt_t& value) { m = pmt::dict_add(m, key, value); };
    put(pmt::mp("header_ok"), pmt::from_bool(f.header_ok));
    put(pmt::mp("payload_ok"), pmt::from_bool(f.payload_ok));
    put(pmt::mp("offset"), pmt::from_uint64(f.sync.offset));
    put(pmt::mp("cfo"), pmt::from_double(f.cfo));
    put(pmt::mp("snr_db"), pmt::from_double(f.snr_db));
    put(pmt::mp("noise_var"), pmt::from_double(f.noise_var));
    put(pmt::mp("sync_metric"), pmt::from_double(f.sync.metric));
    if (f.header_ok) {
        put(pmt::mp("frame"), pmt::from_long(f.header.number));
        put(pmt::mp("length"), pmt::from_long(f.header.length));
        put(pmt::mp("modulation"), pmt::mp(f.bits_per_symbol == 1 ? "bpsk" : "qpsk"));
    }
    if (f.payload_ok) {
        pmt::pmt_t tags = pmt::make_dict();
        tags = pmt::dict_add(tags, d_length_key, pmt::from_long(long(f.payload.size())));
        tags = pmt::dict_add(tags, d_num_key, pmt::from_long(f.header.number));
        // As the stock receiver counts it: the even carriers that its Schmidl-Cox stage cannot see.
        tags = pmt::dict_add(tags, pmt::mp("ofdm_sync_carr_offset"),
                             pmt::from_long(2 * std::lround(f.cfo / 2)));
        const pmt::pmt_t bytes = pmt::init_u8vector(f.payload.size(), f.payload);
        message_port_pub(d_pdus, pmt::cons(pmt::dict_update(m, tags), bytes));
        d_pending[0].push_back({ f.payload, 0, tags });
    }
    if (!f.symbols.empty()) {
        std::vector<uint8_t> raw(f.symbols.size() * sizeof(gr_complex));
        std::memcpy(raw.data(), f.symbols.data(), raw.size());
        const pmt::pmt_t tags =
            pmt::dict_add(pmt::make_dict(), d_length_key, pmt::from_long(long(f.symbols.size())));
        d_pending[1].push_back({ std::move(raw), 0, tags });
    }
    for (const auto& [name, value] : counters())
        put(pmt::mp(name), pmt::from_uint64(value));
    for (const auto& [name, value] : budget())
        put(pmt::mp("budget_" + name), pmt::from_uint64(value));
    message_port_pub(d_metrics, m);
    if (pmt::length(message_subscribers(d_all)) > 0) {
        put(pmt::mp("payload"), pmt::init_u8vector(f.payload.size(), f.payload));
        put(pmt::mp("symbols"), pmt::init_c32vector(f.symbols.size(), f.symbols));
        put(pmt::mp("symbol_noise"), pmt::init_f32vector(f.symbol_noise.size(), f.symbol_noise));
        put(pmt::mp("llr"), pmt::init_f32vector(f.llr.size(), f.llr));
        put(pmt::mp("channel"), pmt::init_c32vector(f.channel.size(), f.channel));
        put(pmt::mp("channel_error"), pmt::init_f32vector(f.channel_error.size(), f.channel_error));
        message_port_pub(d_all, m);
    }
}

//! Writes what fits of the pending packets of a port; returns the items written.
int stock_ofdm_rx_impl::drain(int port, size_t item_size, void* to, int space)
{
    auto* out = static_cast<uint8_t*>(to);
    int written = 0;
    auto& queue = d_pending[port];
    while (!queue.empty() && written < space) {
        output& packet = queue.front();
        const size_t items = packet.items.size() / item_size;
        if (packet.at == 0)
            for (pmt::pmt_t rest = packet.tags; pmt::is_pair(rest); rest = pmt::cdr(rest))
                add_item_tag(port, nitems_written(port) + uint64_t(written), pmt::caar(rest),
                             pmt::cdar(rest));
        const size_t n = std::min(items - packet.at, size_t(space - written));
        std::memcpy(out + size_t(written) * item_size, packet.items.data() + packet.at * item_size,
                    n * item_size);
        packet.at += n;
        written += int(n);
        if (packet.at == items)
            queue.pop_front();
    }
    return written;
}

void stock_ofdm_rx_impl::warn_of_bad_samples()
{
    const uint64_t bad = d_receiver.sync().bad_samples();
    if (bad < d_warn_at)
        return;
    d_logger->warn("{} samples were NaN or infinite and count as zero; look at the blocks upstream", bad);
    while (d_warn_at <= bad)
        d_warn_at *= 10; // so the log stays short, however long that goes on
}

} // namespace gr::diffusion
