/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "random.h"
#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>

namespace gr::diffusion::dsp {

/*! Uniform mid-rise quantizer of both rails of a complex signal: the DAC or ADC of a link.
 *
 * With step D = 2 full_scale / 2^bits a rail x becomes (floor(x / D) + 1/2) D, held to the outermost
 * levels +-(full_scale - D/2). A rail beyond +-full_scale counts as clipped. A NaN becomes the level
 * just above zero and counts as clipped too, so that one bad sample stays one bad sample.
 */
class DIFFUSION_API quantizer
{
public:
    static constexpr int min_bits = 1;
    static constexpr int max_bits = 16;

    /*! \param bits bits per rail, 1 to 16
     *  \param full_scale largest amplitude of a rail, in the units of the signal, > 0
     *  \param dither add uniform dither of one step (non-subtractive) before rounding
     *  \param seed seed of the dither
     *  \throws std::invalid_argument naming the value */
    explicit quantizer(int bits, double full_scale = 1.0, bool dither = false, uint64_t seed = 0);

    //! Quantizes n samples; in and out may be the same.
    void process(const std::complex<float>* in, std::complex<float>* out, size_t n);

    void set_bits(int bits);
    void set_full_scale(double full_scale);
    void set_dither(bool dither) { d_dither = dither; }
    int bits() const { return d_bits; }
    double full_scale() const { return d_full_scale; }
    bool dither() const { return d_dither; }

    //! Rails that were beyond full scale, since the start.
    uint64_t clipped() const { return d_clipped; }

private:
    void update();
    float rail(float x);

    int d_bits;
    double d_full_scale;
    bool d_dither;
    random_source d_random;
    uint64_t d_clipped = 0;
    float d_step = 0, d_inverse_step = 0, d_limit = 0, d_top = 0;
};

} // namespace gr::diffusion::dsp
