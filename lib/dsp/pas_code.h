/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "distribution_matcher.h"
#include "dvbs2_code.h"
#include "sphere_matcher.h"
#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gr::diffusion::dsp {

/*! Probabilistic amplitude shaping (Boecherer, Steiner and Schulte, IEEE Trans. Commun. 2015): one LDPC code
 * word of square Gray QAM whose amplitudes have a wanted composition.
 *
 * A matcher draws the amplitudes of all rails; their bits are information bits of a systematic code. The
 * parity bits, which come out equally likely, and what information bits are left over become the signs: the
 * symbols keep their composition through the encoder. The demapper must know the prior; the decoder takes its
 * LLRs as they are. Information bits and rails are interleaved; the bits
 * that the code protects best (dvbs2_code::heavy) are the amplitudes' last label bits, those known worst.
 */
class DIFFUSION_API pas_code
{
public:
    /*! \param bits_per_symbol 4, 6 or 8
     *  \param code of a rate of at least (bits_per_symbol - 2) / bits_per_symbol
     *  \param amplitudes how often each amplitude occurs, smallest first; 2^(bits_per_symbol / 2 - 1) counts
     *         of sum 2 symbols_of(bits_per_symbol, code)
     *  \param kind of matcher; with sphere shaping the composition is the wanted mean
     *  \throws std::invalid_argument naming what is wrong */
    pas_code(int bits_per_symbol, const dvbs2_code& code, const std::vector<uint32_t>& amplitudes,
             matcher_kind kind = matcher_kind::ccdm);

    static bool fits(int bits_per_symbol, const dvbs2_code& code);
    static size_t symbols_of(int bits_per_symbol, const dvbs2_code& code)
    {
        return code.n() / size_t(bits_per_symbol);
    }

    size_t symbols() const { return symbols_of(d_width, *d_code); } //!< of a word
    size_t bits() const { return d_matcher->bits() + d_extra; } //!< payload bits of a word
    double rate() const { return double(bits()) / double(symbols()); } //!< payload bits a symbol
    double rate_loss() const { return 2 * d_matcher->rate_loss(); }     //!< of the matcher, bits a symbol
    const dvbs2_code& code() const { return *d_code; }
    //! Of every word, or (sphere shaping) of the mean word.
    const std::vector<uint32_t>& amplitudes() const { return d_amplitudes; }

    //! bits() bits to the bits of symbols() labels (I rail's first), one a byte.
    void encode(const uint8_t* bits, uint8_t* labels) const;
    //! LLRs of the labels' bits, prior included, positive for 1; false if they decode to no word of this
    //! composition.
    bool decode(const float* llr, uint8_t* bits, size_t iterations = dvbs2_code::default_iterations) const;

private:
    int d_width, d_amplitude_bits; // bits a symbol; bits of a rail without its sign
    const dvbs2_code* d_code;
    std::shared_ptr<const block_matcher> d_matcher;
    std::vector<uint32_t> d_amplitudes;
    size_t d_extra; // information bits among the signs
    std::vector<uint8_t> d_label, d_amplitude; // amplitude -> its bits, and back
    std::vector<uint32_t> d_place;             // of the code word's bits among the labels' bits
};

} // namespace gr::diffusion::dsp
