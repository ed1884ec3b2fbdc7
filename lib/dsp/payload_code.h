/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

//! Forward error correction of a payload; the values go over the air in the frame header.
enum class fec : uint8_t { none = 0, cc_1_2 = 1, cc_2_3 = 2, cc_3_4 = 3, ldpc_1_2 = 4, first_long = 5 };

//! "none", "cc-1/2", "cc-2/3", "cc-3/4", "ldpc-1/2", "dvbs2-1/4" to "dvbs2-8/9", "dvbs2-4/5". \throws
//! std::invalid_argument
DIFFUSION_API fec fec_from_name(const std::string& name);
DIFFUSION_API const char* fec_name(fec code);
DIFFUSION_API const std::vector<std::string>& fec_names();

class dvbs2_code;
//! The code behind "dvbs2-...", or null.
DIFFUSION_API const dvbs2_code* long_code(fec code);

/*! One code at one length. Convolutional codes go through gr-fec's own encoder and decoder objects; LDPC
 * words are gr-fec's, coded by ldpc.h. An object serves one thread.
 *
 * cc: k = 7, generators 79 and 109 (0117, 0155 octal), terminated; 2/3 and 3/4 are punctured from 1/2.
 * ldpc-1/2: the (1800, 902) code GNU Radio ships, ceil(n/902) code words, each shortened: information
 * bits that are zero by agreement are not sent, so no payload length wastes air time.
 * dvbs2-...: the codes of dvbs2_code.h, shortened in the same way.
 * Bits are one a byte. LLRs: log P(1)/P(0), as real as the demapper can make them. */
class DIFFUSION_API payload_code
{
public:
    payload_code(fec code, size_t information_bits);
    ~payload_code();
    payload_code(payload_code&&) noexcept;
    payload_code& operator=(payload_code&&) noexcept;

    fec code() const;
    size_t information_bits() const;
    size_t coded_bits() const;

    void encode(const uint8_t* bits, uint8_t* coded);
    /*! \param posterior coded_bits() values: LLRs of the coded bits after decoding. Soft decoders give theirs
     *         (ldpc-1/2; cc by max-log BCJR on top of the Viterbi decoder's bits), the others what they were
     *         given. */
    void decode(const float* llr, uint8_t* bits, float* posterior = nullptr);
    //! Whether decode() takes much longer with a posterior (cc: many times).
    static bool posterior_costs(fec code);

    //! coded_bits() without building the code (for the header's airtime calculation).
    static size_t coded_bits(fec code, size_t information_bits);

private:
    struct impl;
    std::unique_ptr<impl> d_impl;
};

} // namespace gr::diffusion::dsp
