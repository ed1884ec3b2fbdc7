/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "impairments_cc_impl.h"
#include "command.h"
#include <gnuradio/io_signature.h>

namespace gr::diffusion {

impairments_cc::sptr impairments_cc::make(const std::string& preset, double sample_rate, uint64_t seed)
{
    return gnuradio::make_block_sptr<impairments_cc_impl>(preset, sample_rate, seed);
}

impairments_cc_impl::impairments_cc_impl(const std::string& preset, double sample_rate, uint64_t seed)
    : gr::sync_block("impairments_cc",
                     gr::io_signature::make(1, 1, sizeof(gr_complex)),
                     gr::io_signature::make(1, 1, sizeof(gr_complex))),
      d_impairments(preset, sample_rate, seed)
{
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        for_each_setting(d_logger, message, [this](const std::string& key, const pmt::pmt_t& value) {
            if (key == "preset")
                set_preset(pmt::symbol_to_string(value));
            else if (pmt::is_symbol(value))
                set(key, pmt::symbol_to_string(value));
            else
                set(key, pmt::to_double(value));
        });
    });
}

int impairments_cc_impl::work(int noutput_items,
                              gr_vector_const_void_star& input_items,
                              gr_vector_void_star& output_items)
{
    const between_calls::call here(d_between);
    d_impairments.process(static_cast<const gr_complex*>(input_items[0]),
                          static_cast<gr_complex*>(output_items[0]),
                          noutput_items);
    return noutput_items;
}

void impairments_cc_impl::set_preset(const std::string& preset)
{
    d_between.ask([&] { d_impairments.set_preset(preset); });
}

void impairments_cc_impl::set(const std::string& key, double value)
{
    d_between.ask([&] { d_impairments.set(key, value); });
}

void impairments_cc_impl::set(const std::string& key, const std::string& value)
{
    d_between.ask([&] { d_impairments.set(key, value); });
}

void impairments_cc_impl::renormalise(const std::vector<std::complex<float>>& points)
{
    d_between.ask([&] { d_impairments.renormalise(points); });
}

double impairments_cc_impl::get(const std::string& key) const
{
    return d_between.ask([&] { return d_impairments.get(key); });
}

std::string impairments_cc_impl::pa() const
{
    return d_between.ask([&] { return d_impairments.settings().pa; });
}

uint64_t impairments_cc_impl::not_finite() const
{
    return d_between.ask([&] { return d_impairments.not_finite(); });
}

} // namespace gr::diffusion
