/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "ofdm_geometry.h"
#include "payload_code.h"
#include "permutation.h"
#include "shaped_payload.h"
#include <memory>
#include <optional>

namespace gr::diffusion::dsp {

//! Numerology of the native waveform.
struct DIFFUSION_API native_settings {
    int fft_len = 64;       //!< a power of two, 64 to 2048
    int cp_len = 16;        //!< cyclic prefix, samples
    int max_payload = 4096; //!< bytes; a header that announces more is taken as damaged

    bool operator==(const native_settings& o) const
    {
        return fft_len == o.fft_len && cp_len == o.cp_len && max_payload == o.max_payload;
    }
};

/*! How many carriers of a payload symbol are pilots: fft_len/16, a half or a quarter of that. The rest
 * carries data. The header says which, in its version field: full 1, half 2, quarter 3. */
enum class pilot_density : uint8_t { full = 0, half = 1, quarter = 2 };

//! "full", "half", "quarter". \throws std::invalid_argument
DIFFUSION_API pilot_density pilot_density_from_name(const std::string& name);
DIFFUSION_API const char* pilot_density_name(pilot_density density);

//! What the header of a native frame says.
struct DIFFUSION_API native_header {
    uint16_t length = 0;       //!< payload, bytes
    int bits_per_symbol = 2;   //!< 1, 2, 4, 6, 8
    fec code = fec::cc_1_2;
    uint16_t number = 0;       //!< frame counter
    uint8_t context = 0;       //!< free for the application; 0 in a shaped frame
    pilot_density pilots = pilot_density::full; //!< of the payload's symbols; the header's own are full
    int shaping = -1;          //!< composition index of a shaped payload, 0 to 1023, or -1
    uint32_t payload_crc = 0;  //!< CRC-32 of the payload
};

/*! The native burst waveform.
 *
 * fft_len carriers, of which 13/16 are used (all but DC, -13/32 fft_len .. 13/32 fft_len). A frame is
 *   sync word 1 | sync word 2 | header symbols | payload symbols
 * The sync words are BPSK; word 1 sits on the even carriers, sqrt(2) strong, so that its halves are
 * equal. In every later symbol fft_len/16 carriers are pilots: one in each stratum of 13 neighbouring
 * carriers, at a place that a fixed random permutation of the stratum gives for each symbol. So the
 * pilots of a symbol are irregular, and 13 symbols together sound every carrier once. With half or a quarter
 * of the pilots, every second or fourth stratum has one, in turn: 26 or 52 symbols sound every carrier once.
 *
 * The header is 13 bytes, most significant byte first: length 2, version and modulation (4 bits each),
 * FEC 1, frame counter 2, context 1 (of a shaped frame, whose FEC byte has its highest bit set: the
 * composition index' lowest 8 bits, the 2 above them being bits 5 and 6 of the FEC byte), payload CRC-32 4,
 * CRC-16 of all that 2. It is coded at rate 1/2 (k = 7), repeated at least 2.6 times under different
 * interleavings, and sent as QPSK. The payload is scrambled, coded, zero-padded to whole symbols, interleaved
 * over the frame, Gray QAM. Every sample of a frame has unit mean power.
 *
 * An object serves one thread: it keeps the codes and interleavers that it used last.
 */
class DIFFUSION_API native_format
{
public:
    //! \throws std::invalid_argument naming the value and the remedy
    explicit native_format(const native_settings& settings = {});
    ~native_format();

    const native_settings& settings() const { return d_settings; }
    const ofdm_geometry& geometry() const { return d_geometry; }
    //! Where data and pilots are in symbol i of such a frame, counted from the header: data_set(i),
    //! pilot_set(i).
    const ofdm_geometry& geometry(const native_header& header, size_t i) const
    {
        return i < d_header_symbols || header.pilots == pilot_density::full
                   ? d_geometry
                   : d_sparse[size_t(header.pilots) - 1];
    }
    //! Used carriers, ascending from the centre numbering's lowest.
    const std::vector<int>& used() const { return d_used; }
    //! Of the header's symbols, and of the payload's.
    size_t data_per_symbol() const { return d_geometry.data_set(0).size(); }
    size_t data_per_symbol(const native_header& header) const
    {
        return geometry(header, d_header_symbols).data_set(0).size();
    }
    size_t header_symbols() const { return d_header_symbols; }
    //! Factor from the unnormalised inverse DFT to samples of unit mean power.
    double scale() const;

    size_t payload_symbols(const native_header& header) const;
    //! Samples of a whole frame / of preamble and header.
    size_t frame_len(const native_header& header) const;
    size_t front_len() const;

    //! QPSK bits of the header symbols, and back. decode: none if the CRC or a field is wrong.
    std::vector<uint8_t> encode_header(const native_header& header) const;
    std::optional<native_header> decode_header(const float* llr) const;

    //! Bits on the payload's carriers, whole symbols, from length bytes, and back.
    std::vector<uint8_t> encode_payload(const native_header& header, const uint8_t* payload) const;
    /*! \param posterior payload_bits() LLRs as sent, after decoding (see payload_code); shaped payloads: as
     *        received */
    std::vector<uint8_t> decode_payload(const native_header& header, const float* llr,
                                        std::vector<float>* posterior = nullptr) const;

    //! Bits of the payload region: payload_symbols * data_per_symbol(header) * bits_per_symbol.
    size_t payload_bits(const native_header& header) const;

    //! The points of the payload's symbols: plain Gray QAM, or with the shaped payload's scale and prior.
    static const qam& constellation(const native_header& header);

private:
    struct cache;

    native_settings d_settings;
    ofdm_geometry d_geometry;
    ofdm_geometry d_sparse[2]; // half, quarter; data and pilots only
    std::vector<int> d_used;
    size_t d_header_symbols = 0;
    std::unique_ptr<cache> d_cache;
};

} // namespace gr::diffusion::dsp
