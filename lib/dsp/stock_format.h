/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "ofdm_geometry.h"
#include <cstdint>
#include <optional>

namespace gr::diffusion::dsp {

//! The packet format of digital.ofdm_tx (GNU Radio 3.10).
struct DIFFUSION_API stock_settings {
    ofdm_geometry geometry = ofdm_geometry::stock();
    int bps_header = 1;   //!< bits per header symbol: 1 (BPSK) or 2 (QPSK)
    int bps_payload = 0;  //!< bits per payload symbol: 1 or 2; 0: found out from each frame
    bool scramble = false;
    //! |X| of a BPSK and of a QPSK symbol; 3.10 leaves its QPSK points at (+-sqrt 2, +-sqrt 2).
    float bpsk_amplitude = 1;
    float qpsk_amplitude = 2;
    int header_flips = 8; //!< least reliable header bits that are tried both ways; 0: hard decisions

    float amplitude(int bits) const { return bits == 1 ? bpsk_amplitude : qpsk_amplitude; }
    //! \throws std::invalid_argument naming the value and the remedy
    void check();
};

struct DIFFUSION_API stock_header {
    int length = 0; //!< bytes of the payload with its CRC-32, 12 bits
    int number = 0; //!< packet number, 12 bits
    int flipped = 0; //!< bits that were decided against their sign
};

/*! Header and payload bits of a stock packet.
 *
 * The header is one OFDM symbol: length (12 bits), number (12), CRC-8 (0x07, start 0xFF, over both as
 * little-endian 16-bit words), the rest zero; least significant bits first; optionally whitened. The
 * payload ends with its CRC-32 (little endian), is optionally whitened, and sent least significant bit
 * first. BPSK: 0 is -1. QPSK: first bit on I, second on Q.
 */
class DIFFUSION_API stock_format
{
public:
    static constexpr int header_bits = 32;

    explicit stock_format(const stock_settings& settings = {});

    const stock_settings& settings() const { return d_settings; }
    const ofdm_geometry& geometry() const { return d_settings.geometry; }

    //! All bits of the header symbol (set 0 carriers times bps_header), whitened.
    std::vector<uint8_t> encode_header(const stock_header& header) const;
    //! The whitened value of bits behind the 32, which are always zero before whitening.
    const std::vector<uint8_t>& header_mask() const { return d_header_mask; }
    /*! The most likely header whose CRC fits, among those that differ from the signs of \p llr only in
     * the header_flips least reliable bits; none if no CRC fits or a field makes no sense. */
    std::optional<stock_header> decode_header(const float* llr) const;

    //! Payload symbols in whole OFDM symbols.
    size_t payload_symbols(const stock_header& header, int bits_per_symbol) const;
    //! OFDM symbols of preamble and header.
    static constexpr size_t front_symbols = 3;

    //! Bits as sent from bytes that hold their CRC.
    std::vector<uint8_t> encode_payload(const std::vector<uint8_t>& bytes) const;
    //! Bytes, without the CRC when it fits (ok), with it otherwise.
    std::vector<uint8_t> decode_payload(const float* llr, size_t length, bool& ok) const;

private:
    stock_settings d_settings;
    std::vector<uint8_t> d_header_mask;
    std::vector<uint8_t> d_whitening; // bytes
};

} // namespace gr::diffusion::dsp
