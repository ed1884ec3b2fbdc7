/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "native_ofdm_rx_impl.h"
#include "buffer_fill.h"
#include "command.h"
#include "dsp/stages.h"
#include "modulation_name.h"
#include <gnuradio/block_detail.h>
#include <gnuradio/buffer_reader.h>
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <cstring>

namespace gr::diffusion {

native_ofdm_rx::sptr native_ofdm_rx::make(const std::string& estimator, const std::string& demapper,
                                          const std::string& estimator_model,
                                          const std::string& demapper_model, int fft_len, int cp_len,
                                          int max_payload, double max_cfo, const std::string& length_tag_key)
{
    return gnuradio::make_block_sptr<native_ofdm_rx_impl>(estimator, demapper, estimator_model,
                                                          demapper_model, fft_len, cp_len, max_payload,
                                                          max_cfo, length_tag_key);
}

native_ofdm_rx_impl::native_ofdm_rx_impl(const std::string& estimator, const std::string& demapper,
                                         const std::string& estimator_model,
                                         const std::string& demapper_model, int fft_len, int cp_len,
                                         int max_payload, double max_cfo, const std::string& length_tag_key)
    : gr::block("native_ofdm_rx",
                gr::io_signature::make(1, 1, sizeof(gr_complex)),
                gr::io_signature::make2(0, 2, sizeof(uint8_t), sizeof(gr_complex))),
      d_fft_len(fft_len),
      d_cp_len(cp_len),
      d_length_key(pmt::intern(length_tag_key)),
      d_receiver({ fft_len, cp_len, max_payload }, { max_cfo }),
      d_estimator_model(estimator_model),
      d_demapper_model(demapper_model)
{
    set_estimator(estimator);
    set_demapper(demapper);
    set_tag_propagation_policy(TPP_DONT);
    for (const char* port : { "pdus", "metrics", "frames" })
        message_port_register_out(pmt::mp(port));
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        for_each_setting(d_logger, message, [this](const std::string& key, const pmt::pmt_t& value) {
            if (key == "compute_budget")
                return set_compute_budget(pmt::to_bool(value));
            if (key == "data_aided_rounds")
                return set_data_aided_rounds(int(pmt::to_long(value)));
            if (key == "time_tracking")
                return set_time_tracking(pmt::to_bool(value));
            const std::string text = pmt::symbol_to_string(value);
            if (key == "estimator")
                set_estimator(text);
            else if (key == "demapper")
                set_demapper(text);
            else if (key == "estimator_model")
                set_estimator_model(text);
            else if (key == "demapper_model")
                set_demapper_model(text);
            else if (key == "model") { // a file that `fit receiver` wrote
                auto stage = dsp::make_demapper_stage("diffusion", text);
                d_between.ask([&] {
                    d_receiver.demodulator().set_demapper(std::move(stage));
                    d_demapper = "diffusion";
                    d_demapper_model = text;
                });
            } else
                throw std::invalid_argument(
                    "'" + key + "' is none of model, estimator, demapper, estimator_model, demapper_model, "
                    "compute_budget, data_aided_rounds, time_tracking");
        });
    });
}

bool native_ofdm_rx_impl::input_done() { return detail() && detail()->input(0)->done(); }

/* The scheduler ends a block as soon as its finished input is all consumed, and then the last frames
 * could not be written any more. So the newest sample, though received, stays unconsumed until the input
 * has ended and everything is written. */
void native_ofdm_rx_impl::forecast(int, gr_vector_int& ninput_items_required)
{
    const bool pending = !d_pending[0].empty() || !d_pending[1].empty();
    ninput_items_required[0] = input_done() || pending ? 1 : 2;
}

int native_ofdm_rx_impl::general_work(int noutput_items, gr_vector_int& ninput_items,
                                      gr_vector_const_void_star& input_items,
                                      gr_vector_void_star& output_items)
{
    const uint64_t first = nitems_read(0), end = first + uint64_t(ninput_items[0]);
    const bool last = input_done() && detail()->input(0)->items_available() == ninput_items[0];
    // No new samples while frames wait to be written: memory stays bounded, upstream is held back.
    if (d_pending[0].empty() && d_pending[1].empty()) {
        const uint64_t to = std::min(end, d_received + 8192);
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
    int produced[2] = { 0, 0 };
    for (size_t port = 0; port < 2; port++) {
        if (port < output_items.size())
            produced[port] = drain(int(port), port == 0 ? sizeof(uint8_t) : sizeof(gr_complex),
                                   output_items[port], noutput_items);
        else
            d_pending[port].clear();
    }
    const bool all = d_flushed && d_pending[0].empty() && d_pending[1].empty();
    consume(0, int(d_received - first) - (all || d_received == first ? 0 : 1));
    for (size_t port = 0; port < output_items.size(); port++)
        produce(int(port), produced[port]);
    return WORK_CALLED_PRODUCE;
}

void native_ofdm_rx_impl::receive(const gr_complex* in, int n, bool flush)
{
    const work_watch::call timed(d_watch);
    d_frames.clear();
    {
        const between_calls::call here(d_between);
        const size_t before = d_frames.size();
        auto& stage = d_receiver.demodulator().estimator();
        stage.set_steps(allowed_steps(d_budget, d_watch, detail(), stage.trained_steps()));
        d_receiver.process(in, size_t(n), d_frames);
        d_budget.count(d_frames.size() - before);
        const uint64_t length = d_receiver.samples();
        if (flush)
            d_receiver.flush(d_frames);
        d_counters = d_receiver.counters();
        for (auto& frame : d_frames)
            frame.sync.offset += d_origin;
        if (flush)
            d_origin += length;
    }
    for (const auto& frame : d_frames)
        report(frame);
}

pmt::pmt_t native_ofdm_rx_impl::metrics(const dsp::native_frame& f) const
{
    pmt::pmt_t m = pmt::make_dict();
    auto put = [&m](const char* key, pmt::pmt_t value) { m = pmt::dict_add(m, pmt::mp(key), value); };
    put("header_ok", pmt::from_bool(f.header_ok));
    put("payload_ok", pmt::from_bool(f.payload_ok));
    put("offset", pmt::from_uint64(f.sync.offset));
    put("cfo", pmt::from_double(f.cfo));
    put("snr_db", pmt::from_double(f.snr_db));
    put("noise_var", pmt::from_double(f.noise_var));
    if (f.header_ok) {
        put("frame", pmt::from_long(f.header.number));
        put("context", pmt::from_long(f.header.context));
        put("shaping", pmt::from_long(f.header.shaping));
        put("pilots", pmt::mp(dsp::pilot_density_name(f.header.pilots)));
        put("length", pmt::from_long(f.header.length));
        put("modulation", pmt::mp(modulation_of_bits(f.header.bits_per_symbol)));
        put("fec", pmt::mp(dsp::fec_name(f.header.code)));
        put("evm_db", pmt::from_double(f.evm_db));
        put("phase_walk", pmt::from_double(f.phase_walk));
        put("doppler", pmt::from_double(f.doppler));
        put("rounds", pmt::from_long(f.rounds));
        if (f.corrected != 0)
            put("corrected", pmt::from_bool(f.corrected > 0));
        if (!f.note.empty())
            put("note", pmt::mp(f.note));
    }
    return m;
}

void native_ofdm_rx_impl::report(const dsp::native_frame& f)
{
    const pmt::pmt_t m = metrics(f);
    uint64_t held;
    if (!f.note.empty() && d_log_limit(held))
        d_logger->warn("{} ({} frames since the last such line)", f.note, held);
    if (f.payload_ok) {
        const pmt::pmt_t bytes = pmt::init_u8vector(f.payload.size(), f.payload);
        message_port_pub(pmt::mp("pdus"), pmt::cons(m, bytes));
        if (!f.payload.empty())
            d_pending[0].push_back({ f.payload, 0, m });
    }
    if (!f.symbols.empty()) {
        std::vector<uint8_t> raw(f.symbols.size() * sizeof(gr_complex));
        std::memcpy(raw.data(), f.symbols.data(), raw.size());
        d_pending[1].push_back({ std::move(raw), 0, m });
    }
    pmt::pmt_t with_counters = m;
    for (const auto& [name, value] : counters())
        with_counters = pmt::dict_add(with_counters, pmt::mp(name), pmt::from_uint64(value));
    for (const auto& [name, value] : budget())
        with_counters = pmt::dict_add(with_counters, pmt::mp("budget_" + name), pmt::from_uint64(value));
    message_port_pub(pmt::mp("metrics"), with_counters);

    if (pmt::length(message_subscribers(pmt::mp("frames"))) > 0) {
        pmt::pmt_t all = with_counters;
        auto put = [&all](const char* key, pmt::pmt_t value) {
            all = pmt::dict_add(all, pmt::mp(key), value);
        };
        put("payload", pmt::init_u8vector(f.payload.size(), f.payload));
        put("symbols", pmt::init_c32vector(f.symbols.size(), f.symbols));
        put("symbol_noise", pmt::init_f32vector(f.symbol_noise.size(), f.symbol_noise));
        put("llr", pmt::init_f32vector(f.llr.size(), f.llr));
        put("channel", pmt::init_c32vector(f.channel.size(), f.channel));
        put("channel_error", pmt::init_f32vector(f.channel_error.size(), f.channel_error));
        message_port_pub(pmt::mp("frames"), all);
    }
}

//! Writes what fits of the pending packets of a port; returns the items written.
int native_ofdm_rx_impl::drain(int port, size_t item_size, void* to, int space)
{
    auto* out = static_cast<uint8_t*>(to);
    int written = 0;
    auto& queue = d_pending[port];
    while (!queue.empty() && written < space) {
        output& packet = queue.front();
        const size_t items = packet.items.size() / item_size;
        if (packet.at == 0) {
            const uint64_t at = nitems_written(port) + uint64_t(written);
            add_item_tag(port, at, d_length_key, pmt::from_long(long(items)), alias_pmt());
            for (const char* key : { "frame", "snr_db", "evm_db", "cfo" })
                add_item_tag(port, at, pmt::mp(key),
                             pmt::dict_ref(packet.metadata, pmt::mp(key), pmt::PMT_NIL), alias_pmt());
        }
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

void native_ofdm_rx_impl::set_estimator(const std::string& estimator)
{
    // A model takes time to load, so the stage is built in the caller's thread.
    auto stage = dsp::make_channel_stage(estimator, d_fft_len, d_cp_len,
                                         d_between.ask([&] { return d_estimator_model; }));
    d_between.ask([&] {
        d_receiver.demodulator().set_estimator(std::move(stage));
        d_estimator = estimator;
    });
}

void native_ofdm_rx_impl::set_demapper(const std::string& demapper)
{
    auto stage = dsp::make_demapper_stage(demapper, d_between.ask([&] { return d_demapper_model; }));
    d_between.ask([&] {
        d_receiver.demodulator().set_demapper(std::move(stage));
        d_demapper = demapper;
    });
}

void native_ofdm_rx_impl::set_estimator_model(const std::string& model)
{
    // A model that cannot be used is refused when it is named, not when the stage is chosen later.
    std::shared_ptr<dsp::channel_stage> stage;
    const bool in_use = estimator() == "diffusion";
    if (in_use || !model.empty())
        stage = dsp::make_channel_stage("diffusion", d_fft_len, d_cp_len, model);
    d_between.ask([&] {
        if (in_use)
            d_receiver.demodulator().set_estimator(std::move(stage));
        d_estimator_model = model;
    });
}

void native_ofdm_rx_impl::set_demapper_model(const std::string& model)
{
    std::shared_ptr<dsp::demapper_stage> stage;
    const bool in_use = demapper() == "diffusion";
    if (in_use || !model.empty())
        stage = dsp::make_demapper_stage("diffusion", model);
    d_between.ask([&] {
        if (in_use)
            d_receiver.demodulator().set_demapper(std::move(stage));
        d_demapper_model = model;
    });
}

void native_ofdm_rx_impl::set_compute_budget(bool on)
{
    d_between.ask([&] { d_budget.set_on(on); });
}

bool native_ofdm_rx_impl::compute_budget() const
{
    return d_between.ask([&] { return d_budget.on(); });
}

std::map<std::string, uint64_t> native_ofdm_rx_impl::budget() const
{
    return d_between.ask([&] { return budget_figures(d_budget); });
}

void native_ofdm_rx_impl::set_data_aided_rounds(int rounds)
{
    d_between.ask([&] { d_receiver.demodulator().set_data_aided_rounds(rounds); });
}

int native_ofdm_rx_impl::data_aided_rounds() const
{
    return d_between.ask([&] { return d_receiver.demodulator().data_aided_rounds(); });
}

void native_ofdm_rx_impl::set_time_tracking(bool on)
{
    d_between.ask([&] { d_receiver.demodulator().set_time_tracking(on); });
}

bool native_ofdm_rx_impl::time_tracking() const
{
    return d_between.ask([&] { return d_receiver.demodulator().time_tracking(); });
}

std::string native_ofdm_rx_impl::estimator() const
{
    return d_between.ask([&] { return d_estimator; });
}

std::string native_ofdm_rx_impl::demapper() const
{
    return d_between.ask([&] { return d_demapper; });
}

std::map<std::string, uint64_t> native_ofdm_rx_impl::counters() const
{
    const auto c = d_between.ask([&] { return d_counters; });
    return { { "detected", c.detected },
             { "ok", c.ok },
             { "header_failed", c.header_failed },
             { "payload_failed", c.payload_failed },
             { "missed", c.missed },
             { "truncated", c.truncated } };
}

} // namespace gr::diffusion
