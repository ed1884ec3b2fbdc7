/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "denoiser_cc_impl.h"
#include "buffer_fill.h"
#include <gnuradio/io_signature.h>

namespace gr::diffusion {

denoiser_cc::sptr denoiser_cc::make(const std::string& model, double noise_var, int steps,
                                    const std::string& mode, bool compute_budget, bool guard)
{
    return gnuradio::make_block_sptr<denoiser_cc_impl>(model, noise_var, steps, mode, compute_budget, guard);
}

denoiser_cc_impl::denoiser_cc_impl(const std::string& model, double noise_var, int steps,
                                   const std::string& mode, bool compute_budget, bool guard)
    : gr::sync_block("denoiser_cc", gr::io_signature::make(1, 1, sizeof(gr_complex)),
                     gr::io_signature::make(1, 1, sizeof(gr_complex))),
      d_stage(model, noise_var, steps, d_logger)
{
    d_stage.set_mode(mode, true);
    d_budget.set_on(compute_budget);
    d_budget.allow(0, 0, 0, d_stage.wanted_steps());
    message_port_register_out(pmt::mp("status"));
    message_port_register_out(pmt::mp("guard"));
    d_stage.guard().set_on(guard);
    d_stage.guard().set_listener([this](const pmt::pmt_t& m) { message_port_pub(pmt::mp("guard"), m); });
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        d_stage.ask([&] { d_stage.command(message, false, &d_budget); });
    });
}

int denoiser_cc_impl::work(int noutput_items,
                           gr_vector_const_void_star& input_items,
                           gr_vector_void_star& output_items)
{
    const work_watch::call timed(d_watch);
    const receiver_stage::call here(d_stage);
    if (d_stage.use_steps(allowed_steps(d_budget, d_watch, detail(), d_stage.wanted_steps())))
        publish_budget();
    if (!d_stage.receiver().uses_table())
        d_budget.count(uint64_t(noutput_items));
    get_tags_in_window(d_tags, 0, 0, noutput_items);
    d_stage.process(static_cast<const gr_complex*>(input_items[0]),
                    static_cast<gr_complex*>(output_items[0]),
                    nullptr,
                    noutput_items,
                    nitems_read(0),
                    d_tags);
    for (const auto& [offset, reason] : d_stage.marks())
        add_item_tag(0, offset, pmt::mp("guard"), pmt::mp(reason), pmt::mp(alias()));
    return noutput_items;
}

void denoiser_cc_impl::set_model(const std::string& model)
{
    d_stage.set_model(model, false);
}

void denoiser_cc_impl::set_noise_var(double noise_var) { d_stage.ask_noise_var(noise_var); }

void denoiser_cc_impl::set_steps(int steps)
{
    d_stage.ask([&] { d_stage.set_steps(steps); });
}

void denoiser_cc_impl::set_mode(const std::string& mode)
{
    d_stage.ask([&] { d_stage.set_mode(mode); });
}

void denoiser_cc_impl::set_prior(const std::vector<double>& pmf)
{
    d_stage.ask([&] { d_stage.set_prior(pmf); });
}

void denoiser_cc_impl::set_shaper(const std::string& model)
{
    d_stage.ask([&] { d_stage.set_shaper(model); });
}

void denoiser_cc_impl::set_fit(const std::vector<double>& state)
{
    d_stage.ask([&] { d_stage.set_fit(state); });
}

void denoiser_cc_impl::set_compute_budget(bool on)
{
    d_stage.ask([&] { d_budget.set_on(on); });
}

bool denoiser_cc_impl::compute_budget() const
{
    return d_stage.ask([&] { return d_budget.on(); });
}

std::map<std::string, uint64_t> denoiser_cc_impl::budget() const
{
    return d_stage.ask([&] { return budget_figures(d_budget); });
}

void denoiser_cc_impl::publish_budget()
{
    pmt::pmt_t status = pmt::make_dict();
    for (const auto& [name, value] : budget_figures(d_budget))
        status = pmt::dict_add(status, pmt::mp(name), pmt::from_uint64(value));
    message_port_pub(pmt::mp("status"), status);
}

std::string denoiser_cc_impl::model() const
{
    return d_stage.ask([&] { return d_stage.model(); });
}

double denoiser_cc_impl::noise_var() const
{
    return d_stage.ask([&] { return d_stage.noise_var(); });
}

std::string denoiser_cc_impl::noise_source() const
{
    return d_stage.ask([&] { return d_stage.noise_source(); });
}

int denoiser_cc_impl::steps() const
{
    return d_stage.ask([&] { return int(d_stage.wanted_steps()); });
}

std::string denoiser_cc_impl::mode() const
{
    return d_stage.ask([&] { return d_stage.mode(); });
}

bool denoiser_cc_impl::uses_table() const
{
    return d_stage.ask([&] { return d_stage.receiver().uses_table(); });
}

uint64_t denoiser_cc_impl::without_table() const
{
    return d_stage.ask([&] { return d_stage.without_table(); });
}

bool denoiser_cc_impl::fitted() const
{
    return d_stage.ask([&] { return d_stage.receiver().law().fitted(); });
}

void denoiser_cc_impl::set_guard(bool on)
{
    d_stage.ask([&] { d_stage.guard().set_on(on); });
}

bool denoiser_cc_impl::guard() const
{
    return d_stage.ask([&] { return d_stage.guard().on(); });
}

std::string denoiser_cc_impl::guard_reason() const
{
    return d_stage.ask([&] { return d_stage.guard().reason(); });
}

} // namespace gr::diffusion
