/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "shaper_link_state.h"
#include <gnuradio/block.h>
#include <string>
#include <vector>

namespace gr::diffusion {

/*! What shaper_bc and deshaper_cb share as blocks: the link state, its setters, and port "cmd" for
 * them. \tparam interface the public class, which derives from gr::block */
template <class interface>
class shaper_block : public interface
{
public:
    void set_snr_db(double snr_db) override
    {
        d_between.ask([&] { d_state.set_snr_db(snr_db); });
    }

    void set_hardware(int adc_bits, double phase_noise_deg) override
    {
        d_between.ask([&] { d_state.set_hardware(adc_bits, phase_noise_deg); });
    }

    double snr_db() const override { return d_between.ask([this] { return d_state.snr_db(); }); }

protected:
    shaper_block(const std::string& model, double snr_db, int block_length, int adc_bits,
                 double phase_noise_deg, const std::string& matcher)
        : d_state(model, snr_db, block_length, adc_bits, phase_noise_deg, matcher),
          d_bits(8 * size_t(block_length)), d_indices(size_t(block_length))
    {
        // bits and symbols do not correspond one to one
        this->set_tag_propagation_policy(gr::block::TPP_DONT);
        this->message_port_register_in(pmt::mp("cmd"));
        this->set_msg_handler(pmt::mp("cmd"), [this](const pmt::pmt_t& message) {
            for_each_setting(this->d_logger, message,
                             [this](const std::string& key, const pmt::pmt_t& value) {
                                 d_between.ask([&] { d_state.command(key, value); });
                             });
        });
    }

    shaper_link_state d_state;
    mutable between_calls d_between;
    std::vector<uint8_t> d_bits, d_indices; // of one block
};

} // namespace gr::diffusion
