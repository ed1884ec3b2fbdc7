/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sequence_denoiser_cc_impl.h"
#include "command.h"
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <cmath>

namespace gr::diffusion {

namespace {

const pmt::pmt_t noise_var_key = pmt::mp("noise_var"), snr_key = pmt::mp("snr");

std::unique_ptr<engine::sequence_net> load(const std::string& model, size_t longest)
{
    const auto file = engine::model::load(model);
    auto net = std::make_unique<engine::sequence_net>(*file, "denoiser");
    return std::make_unique<engine::sequence_net>(*file, "denoiser", longest + 2 * net->margin());
}

} // namespace

sequence_denoiser_cc::sptr sequence_denoiser_cc::make(const std::string& model, double noise_var,
                                                      std::complex<double> gain)
{
    return gnuradio::make_block_sptr<sequence_denoiser_cc_impl>(model, noise_var, gain);
}

sequence_denoiser_cc_impl::sequence_denoiser_cc_impl(const std::string& model, double noise_var,
                                                     std::complex<double> gain)
    : gr::sync_block("sequence_denoiser_cc",
                     gr::io_signature::make(1, 1, sizeof(gr_complex)),
                     gr::io_signature::make(1, 1, sizeof(gr_complex))),
      d_model(model),
      d_net(load(model, longest)),
      d_margin(unsigned(d_net->margin())),
      d_scaled(longest + 2 * d_margin),
      d_result(longest + 2 * d_margin)
{
    set_noise_var(noise_var);
    set_gain(gain);
    set_history(2 * d_margin + 1);
    declare_sample_delay(d_margin);
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        bool any = false;
        for_each_setting(d_logger, message, [&](const std::string& key, const pmt::pmt_t& value) {
            any = true;
            try {
                command(key, value);
            } catch (...) {
                d_refused++;
                throw; // for the log
            }
        });
        if (!any)
            d_refused++;
    });
}

void sequence_denoiser_cc_impl::command(const std::string& key, const pmt::pmt_t& value)
{
    if (key == "noise_var")
        set_noise_var(pmt::to_double(value));
    else if (key == "snr")
        set_noise_var(std::norm(gain()) * std::pow(10, -pmt::to_double(value) / 10));
    else if (key == "gain")
        set_gain(pmt::to_complex(value));
    else if (key == "model")
        set_model(pmt::symbol_to_string(value));
    else
        throw std::invalid_argument("'" + key + "' is no setting; use noise_var, snr, gain or model");
}

void sequence_denoiser_cc_impl::run(const gr_complex* in, size_t n, gr_complex* out)
{
    const gr_complex scale(1.0 / d_gain);
    for (size_t at = 0; at < n; at += longest) {
        const size_t count = std::min(longest, n - at), all = count + 2 * d_margin;
        uint64_t bad = 0;
        for (size_t k = 0; k < all; k++) {
            const gr_complex v = in[at + k];
            const gr_complex scaled = v * scale;
            // not so if NaN
            const bool sound = std::abs(scaled.real()) < largest && std::abs(scaled.imag()) < largest;
            d_scaled[k] = sound ? scaled : gr_complex(0);
            bad += !sound && k >= d_margin && k < d_margin + count; // each once
        }
        d_bad += bad;
        d_net->run(d_scaled.data(), all, d_result.data());
        std::copy_n(&d_result[d_margin], count, out + at);
    }
}

int sequence_denoiser_cc_impl::work(int noutput_items,
                                    gr_vector_const_void_star& input_items,
                                    gr_vector_void_star& output_items)
{
    const between_calls::call here(d_between);
    const auto* in = static_cast<const gr_complex*>(input_items[0]);
    auto* out = static_cast<gr_complex*>(output_items[0]);
    const size_t n = size_t(noutput_items);
    get_tags_in_window(d_tags, 0, 0, noutput_items);
    std::sort(d_tags.begin(), d_tags.end(), gr::tag_t::offset_compare);
    size_t done = 0;
    for (const auto& tag : d_tags) {
        if (!pmt::equal(tag.key, noise_var_key) && !pmt::equal(tag.key, snr_key))
            continue;
        // The declared delay is in the tag's offset already: it is where its sample comes out.
        const size_t at = size_t(tag.offset - nitems_read(0));
        run(in + done, at - done, out + done);
        done = at;
        try {
            command(pmt::symbol_to_string(tag.key), tag.value);
        } catch (const std::exception& e) {
            d_refused++;
            log_ignored(d_logger, pmt::cons(tag.key, tag.value), e.what());
        }
    }
    run(in + done, n - done, out + done);
    return noutput_items;
}

void sequence_denoiser_cc_impl::set_model(const std::string& model)
{
    auto net = load(model, longest);
    if (net->margin() != d_margin)
        throw std::invalid_argument("model " + model + " looks " + std::to_string(net->margin()) +
                                    " samples around, this block was made for " + std::to_string(d_margin) +
                                    "; start it with that model");
    d_between.ask([&] {
        net->set_noise_var(d_noise_var / std::norm(d_gain));
        d_net.swap(net);
        d_model = model;
    });
}

void sequence_denoiser_cc_impl::set_noise_var(double noise_var)
{
    if (!(noise_var > 0 && std::isfinite(noise_var)))
        throw std::invalid_argument("noise_var is " + std::to_string(noise_var) +
                                    ", use a positive variance E|n|^2");
    d_between.ask([&] {
        d_noise_var = noise_var;
        d_net->set_noise_var(d_noise_var / std::norm(d_gain));
    });
}

void sequence_denoiser_cc_impl::set_gain(std::complex<double> gain)
{
    if (!(std::norm(gain) > 1e-24 && std::norm(gain) < 1e24))
        throw std::invalid_argument("gain is " + std::to_string(gain.real()) + " + " +
                                    std::to_string(gain.imag()) + "j, use one of magnitude 1e-12 to 1e12");
    d_between.ask([&] {
        d_gain = gain;
        d_net->set_noise_var(d_noise_var / std::norm(d_gain));
    });
}

std::string sequence_denoiser_cc_impl::model() const
{
    return d_between.ask([&] { return d_model; });
}

double sequence_denoiser_cc_impl::noise_var() const
{
    return d_between.ask([&] { return d_noise_var; });
}

std::complex<double> sequence_denoiser_cc_impl::gain() const
{
    return d_between.ask([&] { return d_gain; });
}

} // namespace gr::diffusion
