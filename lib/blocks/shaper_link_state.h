/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "command.h"
#include "dsp/shaper.h"
#include <string>

namespace gr::diffusion {

/*! What shaper_bc and deshaper_cb have in common: a shaper model and the link state set by the user. Not
 * locked: the block uses it in calls of work and between them only. */
class shaper_link_state
{
public:
    shaper_link_state(const std::string& model, double snr_db, int block_length, int adc_bits,
                      double phase_noise_deg, const std::string& matcher)
        : d_shaper(model, size_t(std::max(block_length, 0)), dsp::matcher_from_name(matcher))
    {
        d_state.snr_db = snr_db;
        set_hardware(adc_bits, phase_noise_deg);
    }

    void set_snr_db(double snr_db)
    {
        engine::link_state next = d_state;
        next.snr_db = snr_db;
        change(next);
    }

    void set_hardware(int adc_bits, double phase_noise_deg)
    {
        engine::link_state next = d_state;
        next.hardware = adc_bits != 0;
        next.adc_bits = adc_bits;
        next.phase_noise_deg = phase_noise_deg;
        change(next);
    }

    void command(const std::string& key, const pmt::pmt_t& value)
    {
        if (key == "snr_db" || key == "snr")
            set_snr_db(pmt::to_double(value));
        else if (key == "adc_bits")
            set_hardware(to_int(value), d_state.phase_noise_deg);
        else if (key == "phase_noise_deg")
            set_hardware(d_state.adc_bits, pmt::to_double(value));
        else
            throw std::invalid_argument("'" + key + "' is none of snr_db, phase_noise_deg, adc_bits");
    }

    const dsp::shaper& shaper() const { return d_shaper; }
    using link_ptr = std::shared_ptr<const dsp::shaped_link>;
    const link_ptr& link() const { return d_link; }
    double snr_db() const { return d_state.snr_db; }

private:
    void change(const engine::link_state& next)
    {
        d_link = d_shaper.at(d_shaper.prior().index(next)); // throws before anything has changed
        d_state = next;
    }

    dsp::shaper d_shaper;
    engine::link_state d_state;
    link_ptr d_link;
};

} // namespace gr::diffusion
