/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "native_format.h"
#include "qam.h"
#include <array>
#include <memory>

namespace gr::diffusion::dsp {

//! Bytes to native frames.
class DIFFUSION_API native_modulator
{
public:
    //! \throws std::invalid_argument for a numerology that native_format refuses
    explicit native_modulator(const native_settings& settings = {});
    ~native_modulator();

    //! \param bits 1, 2, 4, 6 or 8 (BPSK to 256-QAM) \throws std::invalid_argument
    void set_bits_per_symbol(int bits);
    void set_fec(fec code) { d_code = code; }
    /*! Shaped payloads from now on: composition index of the shaper model of this constellation, or -1 for
     *  plain QAM. \throws std::invalid_argument, model_error: see shaped_payload::get() */
    void set_shaping(int index);
    int shaping() const { return d_shaping; }
    //! Pilots of the payload's symbols; the header tells the receiver.
    void set_pilots(pilot_density density) { d_pilots = density; }
    pilot_density pilots() const { return d_pilots; }
    int bits_per_symbol() const { return d_bits; }
    fec code() const { return d_code; }
    const native_format& format() const { return d_format; }

    /*! One frame of unit mean power. The frame counter moves on by one.
     *  \param payload length bytes, 0 to max_payload
     *  \throws std::invalid_argument if there are more */
    std::vector<std::complex<float>> modulate(const uint8_t* payload, size_t length, uint8_t context = 0);

    //! Header of the latest frame.
    const native_header& header() const { return d_header; }

private:
    class dft;
    native_format d_format;
    int d_bits = 2;
    fec d_code = fec::cc_1_2;
    int d_shaping = -1;
    pilot_density d_pilots = pilot_density::full;
    uint16_t d_number = 0;
    native_header d_header;
    std::unique_ptr<dft> d_dft;
};

//! Data symbols of a frame behind the preamble (header and payload), in the order of the carriers.
DIFFUSION_API std::vector<std::complex<float>> header_points(const native_format& format,
                                                             const native_header& header);
DIFFUSION_API std::vector<std::complex<float>>
payload_points(const native_format& format, const native_header& header, const uint8_t* payload);

} // namespace gr::diffusion::dsp
