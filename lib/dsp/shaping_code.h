/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "distribution_matcher.h"
#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gr::diffusion::dsp {

/*! Bits <-> blocks of shaped constellation symbols.
 *
 * Symbols of equal probability form a class (the mirror images of a point, say). A constant-composition
 * matcher draws the sequence of classes; which member of its class a symbol is, uniform bits say. That
 * costs far less rate than matching the M symbols themselves: the loss grows with the number of classes.
 * A block takes the matcher's k bits first, then the members' bits, symbol by symbol.
 */
class DIFFUSION_API shaping_code
{
public:
    /*! \param class_of class of each symbol index, 0 to classes - 1; up to 256 symbols; every class
     *         has 2^u members
     *  \param composition symbols per block in each class, sum n = 1 to 8192
     *  \throws std::invalid_argument naming what is wrong */
    shaping_code(const std::vector<uint8_t>& class_of, const std::vector<uint32_t>& composition);

    size_t length() const { return d_matcher.length(); } //!< n, symbols per block
    size_t bits() const { return d_bits; }               //!< bits per block
    const distribution_matcher& matcher() const { return d_matcher; }
    //! The pmf over symbol indices that a block has exactly.
    std::vector<double> pmf() const;
    double entropy() const { return double(d_bits) / double(length()) + d_matcher.rate_loss(); }
    double rate() const { return double(d_bits) / double(length()); } //!< bits per symbol
    double rate_loss() const { return d_matcher.rate_loss(); }

    //! bits() bits (one a byte, lowest bit counts) to length() symbol indices.
    void encode(const uint8_t* bits, uint8_t* indices) const;
    //! The way back; false if the symbols cannot have come from encode() (see distribution_matcher).
    bool decode(const uint8_t* indices, uint8_t* bits) const;

private:
    struct place {
        uint8_t of_class;
        uint8_t rank;
    };
    distribution_matcher d_matcher;
    std::vector<place> d_places;      // by symbol index
    std::vector<uint8_t> d_members;   // class after class
    std::vector<uint16_t> d_first;    // of a class in d_members
    std::vector<uint8_t> d_rank_bits; // of a class: u
    size_t d_bits = 0;
};

} // namespace gr::diffusion::dsp
