/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ofdm_channel_estimator_vcvc_impl.h"
#include "buffer_fill.h"
#include "command.h"
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <cmath>

namespace gr::diffusion {

namespace {
const pmt::pmt_t key_offset = pmt::mp("ofdm_sync_carr_offset");
const pmt::pmt_t key_taps = pmt::mp("ofdm_sync_chan_taps");
const pmt::pmt_t key_err_var = pmt::mp("ofdm_sync_chan_err_var");
const pmt::pmt_t key_noise_var = pmt::mp("ofdm_sync_noise_var");
const pmt::pmt_t key_snr = pmt::mp("ofdm_sync_snr_db");
const pmt::pmt_t port_estimate = pmt::mp("estimate");
} // namespace

ofdm_channel_estimator_vcvc::sptr
ofdm_channel_estimator_vcvc::make(const std::string& model, const std::vector<gr_complex>& sync_symbol1,
                                  const std::vector<gr_complex>& sync_symbol2, int n_data_symbols, int,
                                  int max_carr_offset, bool force_one_sync_symbol, const std::string& method,
                                  float noise_var, bool compute_budget)
{
    return gnuradio::make_block_sptr<ofdm_channel_estimator_vcvc_impl>(
        model, sync_symbol1, sync_symbol2, n_data_symbols, max_carr_offset, force_one_sync_symbol, method,
        noise_var, compute_budget);
}

ofdm_channel_estimator_vcvc_impl::ofdm_channel_estimator_vcvc_impl(
    const std::string& model, const std::vector<gr_complex>& sync_symbol1,
    const std::vector<gr_complex>& sync_symbol2, int n_data_symbols, int max_carr_offset,
    bool force_one_sync_symbol, const std::string& method, float noise_var, bool compute_budget)
    : gr::block("ofdm_channel_estimator_vcvc",
                gr::io_signature::make(1, 1, int(sizeof(gr_complex) * sync_symbol1.size())),
                gr::io_signature::make(1, 2, int(sizeof(gr_complex) * sync_symbol1.size()))),
      d_estimator(sync_symbol1, sync_symbol2, max_carr_offset, force_one_sync_symbol),
      d_data_symbols(n_data_symbols)
{
    if (n_data_symbols < 1)
        throw std::invalid_argument("n_data_symbols is " + std::to_string(n_data_symbols) +
                                    ", use 1 or more");
    change(method, model);
    set_noise_var(noise_var);
    d_budget.set_on(compute_budget);
    set_output_multiple(n_data_symbols);
    set_relative_rate(uint64_t(n_data_symbols), uint64_t(n_data_symbols + d_estimator.symbols()));
    set_tag_propagation_policy(TPP_DONT);
    message_port_register_out(port_estimate);
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        for_each_setting(d_logger, message, [this](const std::string& key, const pmt::pmt_t& value) {
            if (key == "method")
                set_method(pmt::symbol_to_string(value));
            else if (key == "model")
                set_model(pmt::symbol_to_string(value));
            else if (key == "noise_var")
                set_noise_var(float(pmt::to_double(value)));
            else if (key == "compute_budget")
                set_compute_budget(pmt::to_bool(value));
            else
                throw std::invalid_argument("'" + key +
                                            "' is none of method, model, noise_var, compute_budget");
        });
    });
}

void ofdm_channel_estimator_vcvc_impl::forecast(int noutput_items, gr_vector_int& ninput_items_required)
{
    ninput_items_required[0] = noutput_items / d_data_symbols * (d_data_symbols + d_estimator.symbols());
}

int ofdm_channel_estimator_vcvc_impl::general_work(int noutput_items, gr_vector_int& ninput_items,
                                                   gr_vector_const_void_star& input_items,
                                                   gr_vector_void_star& output_items)
{
    const work_watch::call timed(d_watch);
    const between_calls::call here(d_between);
    const auto* in = static_cast<const gr_complex*>(input_items[0]);
    auto* out = static_cast<gr_complex*>(output_items[0]);
    auto* taps = output_items.size() > 1 ? static_cast<gr_complex*>(output_items[1]) : nullptr;
    const size_t n = d_estimator.fft_len();
    const int preamble = d_estimator.symbols(), frame = preamble + d_data_symbols;
    const int frames = std::min(noutput_items / d_data_symbols, ninput_items[0] / frame);
    if (frames > 0) {
        d_estimator.set_steps(allowed_steps(d_budget, d_watch, detail(), d_estimator.trained_steps()));
        d_budget.count(uint64_t(frames));
    }
    for (int i = 0; i < frames; i++) {
        const auto& result = d_estimator.estimate(in);
        const uint64_t item = nitems_written(0) + uint64_t(i) * d_data_symbols;
        move_tags(nitems_read(0) + uint64_t(i) * frame, item);
        announce(item, result);
        if (taps)
            taps = std::copy(result.taps.begin(), result.taps.end(), taps);
        out = std::copy_n(in + preamble * n, d_data_symbols * n, out);
        in += frame * n;
    }
    consume_each(frames * frame);
    produce(0, frames * d_data_symbols);
    if (taps)
        produce(1, frames);
    return WORK_CALLED_PRODUCE;
}

//! Tags of the preamble go to the frame's first data symbol, the others stay with their symbols.
void ofdm_channel_estimator_vcvc_impl::move_tags(uint64_t first, uint64_t to)
{
    const uint64_t preamble = d_estimator.symbols();
    get_tags_in_range(d_tags, 0, first, first + preamble + d_data_symbols);
    for (auto& tag : d_tags) {
        const uint64_t at = tag.offset - first;
        tag.offset = to + (at < preamble ? 0 : at - preamble);
        add_item_tag(0, tag);
    }
}

void ofdm_channel_estimator_vcvc_impl::announce(uint64_t item, const dsp::preamble_estimator::result& result)
{
    const uint64_t frame = d_frames++;
    if (!result.valid && ++d_invalid == d_next_warning) {
        d_logger->warn("{} frames with a NaN or Inf in the preamble so far; their taps are set to 1",
                       d_next_warning);
        d_next_warning *= 10;
    }
    const pmt::pmt_t offset = pmt::from_long(result.carr_offset);
    const pmt::pmt_t taps = pmt::init_c32vector(result.taps.size(), result.taps.data());
    const pmt::pmt_t err_var = pmt::init_f32vector(result.err_var.size(), result.err_var.data());
    const pmt::pmt_t noise_var = pmt::from_double(result.noise_var), snr = pmt::from_double(result.snr_db);
    add_item_tag(0, item, key_offset, offset);
    add_item_tag(0, item, key_taps, taps);
    add_item_tag(0, item, key_err_var, err_var);
    add_item_tag(0, item, key_noise_var, noise_var);
    add_item_tag(0, item, key_snr, snr);
    if (pmt::is_null(message_subscribers(port_estimate)))
        return;
    pmt::pmt_t message = pmt::make_dict();
    message = pmt::dict_add(message, pmt::mp("frame"), pmt::from_uint64(frame));
    message = pmt::dict_add(message, pmt::mp("method"), pmt::mp(d_method));
    message = pmt::dict_add(message, pmt::mp("carr_offset"), offset);
    message = pmt::dict_add(message, pmt::mp("taps"), taps);
    message = pmt::dict_add(message, pmt::mp("err_var"), err_var);
    message = pmt::dict_add(message, pmt::mp("noise_var"), noise_var);
    message = pmt::dict_add(message, pmt::mp("snr_db"), snr);
    message = pmt::dict_add(message, pmt::mp("steps"), pmt::from_uint64(d_estimator.steps()));
    message = pmt::dict_add(message, pmt::mp("reduced"), pmt::from_uint64(d_budget.reduced()));
    message_port_pub(port_estimate, message);
}

//! Builds the estimator in the caller's thread, so that a running flowgraph waits for a pointer only.
void ofdm_channel_estimator_vcvc_impl::change(const std::string& method, const std::string& model)
{
    const int n = int(d_estimator.fft_len());
    const std::string file = model.empty() ? "ce-ofdm" + std::to_string(n) : model;
    std::unique_ptr<dsp::pilot_estimator> made;
    if (!model.empty() && method != "diffusion") // a model that cannot be used is refused when it is named
        dsp::make_pilot_estimator("diffusion", n, file);
    if (method != "ls") {
        made = dsp::make_pilot_estimator(method, n, file);
        d_estimator.prepare(*made);
    }
    d_between.ask([&] {
        d_estimator.use(made);
        d_method = method;
        d_budget.allow(0, 0, 0, d_estimator.trained_steps());
        d_model = model;
    });
}

void ofdm_channel_estimator_vcvc_impl::set_method(const std::string& method)
{
    change(method, model());
}
void ofdm_channel_estimator_vcvc_impl::set_model(const std::string& model)
{
    change(method(), model);
}

void ofdm_channel_estimator_vcvc_impl::set_noise_var(float noise_var)
{
    if (!std::isfinite(noise_var))
        throw std::invalid_argument("noise_var is " + std::to_string(noise_var) +
                                    ", use a variance, or -1 to estimate it");
    d_between.ask([&] {
        d_estimator.set_noise_var(noise_var);
        d_noise_var = noise_var;
    });
}

void ofdm_channel_estimator_vcvc_impl::set_compute_budget(bool on)
{
    d_between.ask([&] { d_budget.set_on(on); });
}

bool ofdm_channel_estimator_vcvc_impl::compute_budget() const
{
    return d_between.ask([&] { return d_budget.on(); });
}

std::map<std::string, uint64_t> ofdm_channel_estimator_vcvc_impl::budget() const
{
    return d_between.ask([&] { return budget_figures(d_budget); });
}

std::string ofdm_channel_estimator_vcvc_impl::method() const
{
    return d_between.ask([&] { return d_method; });
}

std::string ofdm_channel_estimator_vcvc_impl::model() const
{
    return d_between.ask([&] { return d_model; });
}

float ofdm_channel_estimator_vcvc_impl::noise_var() const
{
    return d_noise_var;
}

} // namespace gr::diffusion
