/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/block.h>
#include <gnuradio/diffusion/api.h>
#include <cstdint>
#include <string>

namespace gr::diffusion {

/*! \brief Bits to shaped constellation symbols; the pmf follows the link's SNR.
 * \ingroup diffusion
 *
 * In: bits, one a byte (the lowest bit counts). Out: blocks of block_length symbols of unit mean power (or
 * driven into the amplifier, with hardware). Each block's composition is the one of the SNR set when the
 * block begins; its first symbol carries the tag "shaping": a tuple (composition index, payload bits in
 * this block, bits of the packet that begins here or 0), which is what a header has to transport.
 *
 * With length_tag_name the bits come as packets: a packet's last block is padded with zero bits, the
 * first symbol carries length_tag_name with the packet's symbols, and bits outside packets are dropped.
 * Without, what does not fill a block at the end of the stream is not sent. Other tags are not passed on.
 *
 * Messages on port "cmd": a dictionary (or pair) with any of "snr_db" (or "snr"), "phase_noise_deg",
 * "adc_bits". What is wrong is logged and changes nothing.
 */
class DIFFUSION_API shaper_bc : virtual public gr::block
{
public:
    typedef std::shared_ptr<shaper_bc> sptr;

    /*! \param model name or path of a shaper model (ps-qam16, ps-qam64, ps-qam256)
     *  \param snr_db SNR of the link, rounded to 0.1 dB and held to the model's range
     *  \param block_length symbols per block, 64 to 8192
     *  \param adc_bits 0: AWGN; else the receiver's ADC bits in a link with PA and phase noise (ps-qam64)
     *  \param phase_noise_deg RMS phase noise of that link, degrees
     *  \param length_tag_name tag with the length of a packet in bits, or "" for a stream
     *  \param matcher "ccdm": constant composition; "ess": enumerative sphere shaping, which loses less rate
     *         in short blocks (its blocks have their mean power on average only). Both ends must have the
     *         same */
    static sptr make(const std::string& model,
                     double snr_db = 15,
                     int block_length = 1024,
                     int adc_bits = 0,
                     double phase_noise_deg = 0,
                     const std::string& length_tag_name = "",
                     const std::string& matcher = "ccdm");

    virtual void set_snr_db(double snr_db) = 0;
    virtual void set_hardware(int adc_bits, double phase_noise_deg) = 0;
    virtual double snr_db() const = 0;
    //! The composition index of the next block.
    virtual uint32_t index() const = 0;
    //! Bits per symbol of the next block.
    virtual double rate() const = 0;
    virtual uint64_t blocks() const = 0; //!< sent so far
};

} // namespace gr::diffusion
