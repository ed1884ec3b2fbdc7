/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "dsp/quantizer.h"
#include <gnuradio/diffusion/quantizer_cc.h>

namespace gr::diffusion {

class quantizer_cc_impl : public quantizer_cc
{
public:
    quantizer_cc_impl(int bits, double full_scale, bool dither, uint64_t seed);

    int work(int noutput_items,
             gr_vector_const_void_star& input_items,
             gr_vector_void_star& output_items) override;

    void set_bits(int bits) override;
    void set_full_scale(double full_scale) override;
    void set_dither(bool dither) override;
    int bits() const override;
    double full_scale() const override;
    bool dither() const override;
    uint64_t clipped() const override;

private:
    mutable between_calls d_between;
    dsp::quantizer d_quantizer;
};

} // namespace gr::diffusion
