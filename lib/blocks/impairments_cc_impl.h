/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "dsp/impairments.h"
#include <gnuradio/diffusion/impairments_cc.h>

namespace gr::diffusion {

class impairments_cc_impl : public impairments_cc
{
public:
    impairments_cc_impl(const std::string& preset, double sample_rate, uint64_t seed);

    int work(int noutput_items,
             gr_vector_const_void_star& input_items,
             gr_vector_void_star& output_items) override;

    void set_preset(const std::string& preset) override;
    void set(const std::string& key, double value) override;
    void set(const std::string& key, const std::string& value) override;
    double get(const std::string& key) const override;
    std::string pa() const override;
    void renormalise(const std::vector<std::complex<float>>& points) override;
    uint64_t not_finite() const override;

private:
    mutable between_calls d_between;
    dsp::impairments d_impairments;
};

} // namespace gr::diffusion
