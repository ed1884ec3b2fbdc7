/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/block.h>
#include <gnuradio/diffusion/api.h>
#include <cstdint>
#include <string>

namespace gr::diffusion {

/*! \brief Transmitter of the native burst OFDM waveform (docs/link.md).
 * \ingroup diffusion
 *
 * Packets come as PDUs on message port "pdus" (any . u8vector), or, with an input connected, as a tagged
 * byte stream; each leaves as one frame. Output: complex samples, a length tag in front of each burst,
 * tx_sob and tx_eob at its ends; with transmission "continuous" zeros fill the time between frames, so
 * that a radio never runs dry, until the stream input ends (with no stream input, it never stops by itself).
 * Message port "cmd": a dictionary with any of "modulation", "fec", "amplitude", "pilots", "shaping_snr_db".
 * What cannot be sent (too long, no length tag, not bytes) is dropped, counted and logged.
 */
class DIFFUSION_API native_ofdm_tx : virtual public gr::block
{
public:
    typedef std::shared_ptr<native_ofdm_tx> sptr;

    /*! \param modulation bpsk, qpsk, qam16, qam64, qam256
     *  \param fec none, cc-1/2, cc-2/3, cc-3/4, ldpc-1/2
     *  \param transmission "burst" or "continuous"
     *  \param amplitude RMS of the samples of a frame, 1e-12 to 1e12
     *  \param guard zeros behind each frame, samples; -1: two OFDM symbols
     *  \param fft_len carriers, a power of two, 64 to 2048
     *  \param cp_len cyclic prefix, samples
     *  \param max_payload bytes a frame, at most
     *  \param length_tag_key name of the length tags of input (bytes) and output (samples) */
    static sptr make(const std::string& modulation = "qpsk",
                     const std::string& fec = "cc-1/2",
                     const std::string& transmission = "burst",
                     double amplitude = 1.0,
                     int guard = -1,
                     int fft_len = 64,
                     int cp_len = 16,
                     int max_payload = 4096,
                     const std::string& length_tag_key = "packet_len");

    virtual void set_modulation(const std::string& modulation) = 0;
    virtual void set_fec(const std::string& fec) = 0;
    virtual void set_amplitude(double amplitude) = 0;
    /*! Shaped payloads (probabilistic amplitude shaping) that follow the link's SNR: code and composition are
     *  the best that a link 2 dB worse than snr_db bears, and travel in each frame's header. 16-, 64- and
     *  256-QAM. Plain payloads again: NaN, or by message a value that is no number. \param snr_db as the
     *  receiver reports it */
    virtual void set_shaping_snr_db(double snr_db) = 0;
    //! \param pilots of the payload's symbols: "full" (fft_len/16 a symbol), "half", "quarter"; each header
    //!        says it
    virtual void set_pilots(const std::string& pilots) = 0;
    virtual std::string pilots() const = 0;
    //! Composition index of the next frame, or -1.
    virtual int shaping() const = 0;
    virtual std::string modulation() const = 0;
    virtual std::string fec() const = 0;
    virtual double amplitude() const = 0;
    //! Frames sent, packets dropped.
    virtual uint64_t sent() const = 0;
    virtual uint64_t dropped() const = 0;
};

} // namespace gr::diffusion
