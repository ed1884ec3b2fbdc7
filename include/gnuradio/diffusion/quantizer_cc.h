/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <gnuradio/sync_block.h>
#include <cstdint>

namespace gr::diffusion {

/*! \brief DAC or ADC: uniform mid-rise quantizer of both rails, 1 to 16 bits.
 * \ingroup diffusion
 *
 * Unlike channels.quantizer it takes complex samples and clips at full scale at any number of bits.
 * Messages on port "cmd": a dictionary (or pair) with any of "bits", "full_scale", "dither". What is
 * wrong is logged and changes nothing.
 */
class DIFFUSION_API quantizer_cc : virtual public gr::sync_block
{
public:
    typedef std::shared_ptr<quantizer_cc> sptr;

    /*! \param bits bits per rail, 1 to 16
     *  \param full_scale largest amplitude of a rail, in the units of the signal, > 0
     *  \param dither add uniform dither of one step before rounding
     *  \param seed seed of the dither */
    static sptr make(int bits, double full_scale = 1.0, bool dither = false, uint64_t seed = 0);

    virtual void set_bits(int bits) = 0;
    virtual void set_full_scale(double full_scale) = 0;
    virtual void set_dither(bool dither) = 0;
    virtual int bits() const = 0;
    virtual double full_scale() const = 0;
    virtual bool dither() const = 0;
    //! Rails that were beyond full scale, since the start.
    virtual uint64_t clipped() const = 0;
};

} // namespace gr::diffusion
