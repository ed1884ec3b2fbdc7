/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "quantizer_cc_impl.h"
#include "command.h"
#include <gnuradio/io_signature.h>

namespace gr::diffusion {

quantizer_cc::sptr quantizer_cc::make(int bits, double full_scale, bool dither, uint64_t seed)
{
    return gnuradio::make_block_sptr<quantizer_cc_impl>(bits, full_scale, dither, seed);
}

quantizer_cc_impl::quantizer_cc_impl(int bits, double full_scale, bool dither, uint64_t seed)
    : gr::sync_block("quantizer_cc",
                     gr::io_signature::make(1, 1, sizeof(gr_complex)),
                     gr::io_signature::make(1, 1, sizeof(gr_complex))),
      d_quantizer(bits, full_scale, dither, seed)
{
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        for_each_setting(d_logger, message, [this](const std::string& key, const pmt::pmt_t& value) {
            if (key == "bits")
                set_bits(to_int(value));
            else if (key == "full_scale")
                set_full_scale(pmt::to_double(value));
            else if (key == "dither")
                set_dither(pmt::to_bool(value));
            else
                throw std::invalid_argument("'" + key + "' is none of bits, full_scale, dither");
        });
    });
}

int quantizer_cc_impl::work(int noutput_items,
                            gr_vector_const_void_star& input_items,
                            gr_vector_void_star& output_items)
{
    const between_calls::call here(d_between);
    d_quantizer.process(static_cast<const gr_complex*>(input_items[0]),
                        static_cast<gr_complex*>(output_items[0]),
                        noutput_items);
    return noutput_items;
}

void quantizer_cc_impl::set_bits(int bits)
{
    d_between.ask([&] { d_quantizer.set_bits(bits); });
}

void quantizer_cc_impl::set_full_scale(double full_scale)
{
    d_between.ask([&] { d_quantizer.set_full_scale(full_scale); });
}

void quantizer_cc_impl::set_dither(bool dither)
{
    d_between.ask([&] { d_quantizer.set_dither(dither); });
}

int quantizer_cc_impl::bits() const { return d_between.ask([&] { return d_quantizer.bits(); }); }
double quantizer_cc_impl::full_scale() const
{
    return d_between.ask([&] { return d_quantizer.full_scale(); });
}
bool quantizer_cc_impl::dither() const { return d_between.ask([&] { return d_quantizer.dither(); }); }
uint64_t quantizer_cc_impl::clipped() const { return d_between.ask([&] { return d_quantizer.clipped(); }); }

} // namespace gr::diffusion
