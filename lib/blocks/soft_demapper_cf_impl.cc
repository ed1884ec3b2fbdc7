/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "soft_demapper_cf_impl.h"
#include <gnuradio/io_signature.h>

namespace gr::diffusion {

soft_demapper_cf::sptr soft_demapper_cf::make(const std::string& model, double noise_var,
                                              const std::string& mode, bool guard)
{
    return gnuradio::make_block_sptr<soft_demapper_cf_impl>(model, noise_var, mode, guard);
}

soft_demapper_cf_impl::soft_demapper_cf_impl(const std::string& model, double noise_var,
                                             const std::string& mode, bool guard)
    : gr::sync_interpolator("soft_demapper_cf", gr::io_signature::make(1, 1, sizeof(gr_complex)),
                            gr::io_signature::make(1, 1, sizeof(float)), 1),
      d_stage(model, noise_var, 0, d_logger, true)
{
    d_stage.set_mode(mode, true);
    set_interpolation(unsigned(d_stage.receiver().bits_per_symbol()));
    message_port_register_out(pmt::mp("guard"));
    d_stage.guard().set_on(guard);
    d_stage.guard().set_listener([this](const pmt::pmt_t& m) { message_port_pub(pmt::mp("guard"), m); });
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        d_stage.ask([&] { d_stage.command(message, true); });
    });
}

int soft_demapper_cf_impl::work(int noutput_items,
                                gr_vector_const_void_star& input_items,
                                gr_vector_void_star& output_items)
{
    const receiver_stage::call here(d_stage);
    const int symbols = noutput_items / int(interpolation());
    get_tags_in_window(d_tags, 0, 0, symbols);
    d_stage.process(static_cast<const gr_complex*>(input_items[0]),
                    nullptr,
                    static_cast<float*>(output_items[0]),
                    symbols,
                    nitems_read(0),
                    d_tags);
    for (const auto& [offset, reason] : d_stage.marks())
        add_item_tag(0, offset * interpolation(), pmt::mp("guard"), pmt::mp(reason), pmt::mp(alias()));
    return symbols * int(interpolation());
}

void soft_demapper_cf_impl::set_model(const std::string& model)
{
    d_stage.set_model(model, true);
}

void soft_demapper_cf_impl::set_noise_var(double noise_var) { d_stage.ask_noise_var(noise_var); }

void soft_demapper_cf_impl::set_mode(const std::string& mode)
{
    d_stage.ask([&] { d_stage.set_mode(mode); });
}

std::string soft_demapper_cf_impl::mode() const
{
    return d_stage.ask([&] { return d_stage.mode(); });
}

bool soft_demapper_cf_impl::uses_table() const
{
    return d_stage.ask([&] { return d_stage.receiver().uses_table(); });
}

uint64_t soft_demapper_cf_impl::without_table() const
{
    return d_stage.ask([&] { return d_stage.without_table(); });
}

void soft_demapper_cf_impl::set_prior(const std::vector<double>& pmf)
{
    d_stage.ask([&] { d_stage.set_prior(pmf); });
}

void soft_demapper_cf_impl::set_shaper(const std::string& model)
{
    d_stage.ask([&] { d_stage.set_shaper(model); });
}

void soft_demapper_cf_impl::set_fit(const std::vector<double>& state)
{
    d_stage.ask([&] { d_stage.set_fit(state); });
}

std::string soft_demapper_cf_impl::model() const
{
    return d_stage.ask([&] { return d_stage.model(); });
}

int soft_demapper_cf_impl::bits_per_symbol() const
{
    return d_stage.ask([&] { return d_stage.receiver().bits_per_symbol(); });
}

double soft_demapper_cf_impl::noise_var() const
{
    return d_stage.ask([&] { return d_stage.noise_var(); });
}

std::string soft_demapper_cf_impl::noise_source() const
{
    return d_stage.ask([&] { return d_stage.noise_source(); });
}

bool soft_demapper_cf_impl::fitted() const
{
    return d_stage.ask([&] { return d_stage.receiver().law().fitted(); });
}

void soft_demapper_cf_impl::set_guard(bool on)
{
    d_stage.ask([&] { d_stage.guard().set_on(on); });
}

bool soft_demapper_cf_impl::guard() const
{
    return d_stage.ask([&] { return d_stage.guard().on(); });
}

std::string soft_demapper_cf_impl::guard_reason() const
{
    return d_stage.ask([&] { return d_stage.guard().reason(); });
}

} // namespace gr::diffusion
