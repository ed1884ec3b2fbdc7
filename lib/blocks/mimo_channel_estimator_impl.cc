/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mimo_channel_estimator_impl.h"
#include "command.h"
#include <gnuradio/io_signature.h>
#include <algorithm>
#include <cmath>

namespace gr::diffusion {

namespace {
const pmt::pmt_t key_noise_var = pmt::mp("noise_var");
}

mimo_channel_estimator_impl::estimator
mimo_channel_estimator_impl::load(const std::string& model, const std::string& method,
                                  const std::vector<gr_complex>& pilots)
{
    auto made = dsp::make_mimo_estimator(method, model);
    made->set_pilots(pilots);
    return made;
}

mimo_channel_estimator::sptr mimo_channel_estimator::make(const std::string& model,
                                                          const std::vector<gr_complex>& pilots,
                                                          float noise_var, const std::string& method)
{
    return gnuradio::make_block_sptr<mimo_channel_estimator_impl>(
        model, method, mimo_channel_estimator_impl::load(model, method, pilots), pilots, noise_var);
}

mimo_channel_estimator_impl::mimo_channel_estimator_impl(const std::string& model, const std::string& method,
                                                         estimator made,
                                                         const std::vector<gr_complex>& pilots,
                                                         float noise_var)
    : gr::sync_block("mimo_channel_estimator",
                     gr::io_signature::make(1, 1,
                                            int(sizeof(gr_complex) * made->receivers() * made->count())),
                     gr::io_signature::make2(1, 2,
                                             int(sizeof(gr_complex) * made->receivers() *
                                                 made->transmitters()),
                                             sizeof(float))),
      d_estimator(std::move(made)), d_nr(int(d_estimator->receivers())),
      d_nt(int(d_estimator->transmitters())), d_count(d_estimator->count()), d_pilots(pilots), d_model(model),
      d_method(method)
{
    set_noise_var(noise_var);
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        for_each_setting(d_logger, message, [this](const std::string& key, const pmt::pmt_t& value) {
            if (key == "model")
                set_model(pmt::symbol_to_string(value));
            else if (key == "method")
                set_method(pmt::symbol_to_string(value));
            else if (key == "noise_var")
                set_noise_var(float(pmt::to_double(value)));
            else
                throw std::invalid_argument("'" + key + "' is none of model, method, noise_var");
        });
    });
}

int mimo_channel_estimator_impl::work(int noutput_items, gr_vector_const_void_star& input_items,
                                      gr_vector_void_star& output_items)
{
    const between_calls::call here(d_between);
    const auto* y = static_cast<const gr_complex*>(input_items[0]);
    auto* h = static_cast<gr_complex*>(output_items[0]);
    auto* err_var = output_items.size() > 1 ? static_cast<float*>(output_items[1]) : nullptr;
    get_tags_in_window(d_tags, 0, 0, noutput_items, key_noise_var);
    std::sort(d_tags.begin(), d_tags.end(), gr::tag_t::offset_compare);
    int done = 0;
    auto until = [&](int end) {
        run(y + size_t(done) * d_nr * d_count, end - done, h + size_t(done) * d_nr * d_nt,
            err_var ? err_var + done : nullptr);
        done = end;
    };
    for (const auto& tag : d_tags) {
        until(int(tag.offset - nitems_read(0)));
        apply(tag);
    }
    until(noutput_items);
    return noutput_items;
}

void mimo_channel_estimator_impl::run(const gr_complex* y, int frames, gr_complex* h, float* err_var)
{
    float unused;
    size_t invalid = 0;
    for (int i = 0; i < frames; i++, y += d_nr * d_count, h += size_t(d_nr) * d_nt)
        invalid += d_estimator->estimate(y, 1, d_noise_var, h, err_var ? err_var + i : &unused);
    d_frames += uint64_t(frames);
    d_invalid += invalid;
    uint64_t held;
    if (invalid && d_limit_values(held))
        d_logger->warn("{} input vectors with a NaN or Inf so far; their channels are set to 0",
                       uint64_t(d_invalid));
}

void mimo_channel_estimator_impl::apply(const gr::tag_t& tag)
{
    // Not is_number(): it has unsigned integers and complex numbers too, which to_double() throws at.
    const bool real = pmt::is_real(tag.value) || pmt::is_integer(tag.value);
    const float value = real ? float(pmt::to_double(tag.value)) : 0;
    if (value > 0 && std::isfinite(value)) {
        d_noise_var = value;
        return;
    }
    uint64_t held;
    if (d_limit_tags(held))
        d_logger->warn("tag noise_var ignored: {} is no variance > 0 ({} such tags)",
                       pmt::write_string(tag.value).substr(0, 100), held);
}

//! Builds the estimator in the caller's thread, so that a running flowgraph waits for a pointer only.
void mimo_channel_estimator_impl::replace(const std::string& model, const std::string& method,
                                          const std::vector<gr_complex>& pilots)
{
    auto made = load(model, method, pilots);
    if (int(made->receivers()) != d_nr || int(made->transmitters()) != d_nt)
        throw std::invalid_argument("model '" + model + "' is for " + std::to_string(made->transmitters()) +
                                    " x " + std::to_string(made->receivers()) +
                                    " antennas, the block was made for " + std::to_string(d_nt) + " x " +
                                    std::to_string(d_nr));
    d_between.ask([&] {
        d_estimator.swap(made);
        d_model = model;
        d_method = method;
        d_pilots = pilots;
    });
}

void mimo_channel_estimator_impl::set_model(const std::string& model) { replace(model, method(), pilots()); }

void mimo_channel_estimator_impl::set_method(const std::string& method)
{
    replace(model(), method, pilots());
}

void mimo_channel_estimator_impl::set_pilots(const std::vector<gr_complex>& pilots)
{
    if (pilots.size() != d_count * size_t(d_nt))
        throw std::invalid_argument("pilots: " + std::to_string(pilots.size()) +
                                    " values, the block was made for " + std::to_string(d_nt) + " x " +
                                    std::to_string(d_count));
    replace(model(), method(), pilots);
}

void mimo_channel_estimator_impl::set_noise_var(float noise_var)
{
    if (!(noise_var > 0) || !std::isfinite(noise_var))
        throw std::invalid_argument("noise_var is " + std::to_string(noise_var) + ", use a variance > 0");
    d_noise_var = noise_var;
}

std::string mimo_channel_estimator_impl::model() const
{
    return d_between.ask([&] { return d_model; });
}

std::string mimo_channel_estimator_impl::method() const
{
    return d_between.ask([&] { return d_method; });
}

std::vector<gr_complex> mimo_channel_estimator_impl::pilots() const
{
    return d_between.ask([&] { return d_pilots; });
}

} // namespace gr::diffusion
