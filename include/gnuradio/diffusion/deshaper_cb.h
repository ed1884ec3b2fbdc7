/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/block.h>
#include <gnuradio/diffusion/api.h>
#include <cstdint>
#include <string>

namespace gr::diffusion {

/*! \brief Shaped constellation symbols back to the bits that shaper_bc took in.
 * \ingroup diffusion
 *
 * In: equalised (and, better, denoised or decoded) symbols with the tag "shaping" of shaper_bc on the
 * first symbol of each block. Each symbol is decided for the nearest point, each block decoded with the
 * composition that its tag names. A tag in the middle of a block starts a new one. A block without a tag
 * has the previous composition; a stream without tags at all is cut into blocks from its first sample,
 * with the composition of snr_db. Out: bits, one a byte.
 *
 * A block whose symbols do not have the composition gives its bits all the same (wrong ones), and counts
 * in bad_blocks(): the code detects most symbol errors for free. Blocks with a tag that makes no sense are
 * dropped and counted in bad_tags(); NaN and infinite samples count in bad_samples().
 */
class DIFFUSION_API deshaper_cb : virtual public gr::block
{
public:
    typedef std::shared_ptr<deshaper_cb> sptr;

    /*! \param model, snr_db, block_length, adc_bits, phase_noise_deg as in shaper_bc
     *  \param length_tag_name tag to put on the first bit of a packet, or "" for none
     *  \param matcher that of the shaper */
    static sptr make(const std::string& model,
                     double snr_db = 15,
                     int block_length = 1024,
                     int adc_bits = 0,
                     double phase_noise_deg = 0,
                     const std::string& length_tag_name = "",
                     const std::string& matcher = "ccdm");

    //! For streams without tags; takes effect with the next block.
    virtual void set_snr_db(double snr_db) = 0;
    virtual void set_hardware(int adc_bits, double phase_noise_deg) = 0;
    virtual double snr_db() const = 0;
    virtual uint64_t blocks() const = 0;      //!< decoded so far
    virtual uint64_t bad_blocks() const = 0;  //!< that cannot have been sent so
    virtual uint64_t bad_tags() const = 0;    //!< blocks dropped because their tag makes no sense
    virtual uint64_t cut_blocks() const = 0;  //!< dropped because the next block's tag came too early
    virtual uint64_t bad_samples() const = 0; //!< NaN or infinite
};

} // namespace gr::diffusion
