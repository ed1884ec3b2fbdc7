/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "denoiser_cc_impl.h"
#include <gnuradio/io_signature.h>

namespace gr::diffusion {

denoiser_cc::sptr denoiser_cc::make(const std::string& model, double noise_var, int steps, const std::string& mode)
{
    return gnuradio::make_block_sptr<denoiser_cc_impl>(model, noise_var, steps, mode);
}

denoiser_cc_impl::denoiser_cc_impl(const std::string& model, double noise_var, int steps, const std::string& mode)
    : gr::sync_block("denoiser_cc",
                     gr::io_signature::make(1, 1, sizeof(gr_complex)),
                     gr::io_signature::make(1, 1, sizeof(gr_complex))),
      d_stage(model, noise_var, steps, d_logger)
{
    d_stage.set_mode(mode, true);
    message_port_register_in(pmt::mp("cmd"));
    set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
        gr::thread::scoped_lock lock(d_setlock);
        d_stage.command(message, false);
    });
}

int denoiser_cc_impl::work(int noutput_items,
                           gr_vector_const_void_star& input_items,
                           gr_vector_void_star& output_items)
{
    gr::thread::scoped_lock lock(d_setlock);
    get_tags_in_window(d_tags, 0, 0, noutput_items);
    d_stage.process(static_cast<const gr_complex*>(input_items[0]),
                    static_cast<gr_complex*>(output_items[0]),
                    nullptr,
                    noutput_items,
                    nitems_read(0),
                    d_tags);
    return noutput_items;
}

#define LOCKED gr::thread::scoped_lock lock(const_cast<denoiser_cc_impl*>(this)->d_setlock)

void denoiser_cc_impl::set_model(const std::string& model)
{
    LOCKED;
    d_stage.set_model(model, false);
}

void denoiser_cc_impl::set_noise_var(double noise_var)
{
    LOCKED;
    d_stage.set_noise_var(noise_var);
}

void denoiser_cc_impl::set_steps(int steps)
{
    LOCKED;
    d_stage.set_steps(steps);
}

void denoiser_cc_impl::set_mode(const std::string& mode)
{
    LOCKED;
    d_stage.set_mode(mode);
}

void denoiser_cc_impl::set_prior(const std::vector<double>& pmf)
{
    LOCKED;
    d_stage.set_prior(pmf);
}

void denoiser_cc_impl::set_shaper(const std::string& model)
{
    LOCKED;
    d_stage.set_shaper(model);
}

void denoiser_cc_impl::set_fit(const std::vector<double>& state)
{
    LOCKED;
    d_stage.set_fit(state);
}

std::string denoiser_cc_impl::model() const
{
    LOCKED;
    return d_stage.model();
}

double denoiser_cc_impl::noise_var() const
{
    LOCKED;
    return d_stage.noise_var();
}

std::string denoiser_cc_impl::noise_source() const
{
    LOCKED;
    return d_stage.noise_source();
}

int denoiser_cc_impl::steps() const
{
    LOCKED;
    return int(d_stage.receiver().steps());
}

std::string denoiser_cc_impl::mode() const
{
    LOCKED;
    return d_stage.mode();
}

bool denoiser_cc_impl::uses_table() const
{
    LOCKED;
    return d_stage.receiver().uses_table();
}

uint64_t denoiser_cc_impl::without_table() const
{
    LOCKED;
    return d_stage.without_table();
}

bool denoiser_cc_impl::fitted() const
{
    LOCKED;
    return d_stage.receiver().law().fitted();
}

#undef LOCKED

} // namespace gr::diffusion
