/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "distribution_matcher.h"
#include "sphere_matcher.h"

namespace gr::diffusion::dsp {

/*! Bits <-> blocks of shaped constellation symbols.
 *
 * Symbols of equal probability form a class (the mirror images of a point, say). A matcher draws the sequence
 * of cells; which member of its cell a symbol is, uniform bits say. With constant composition a cell is a
 * class: that costs far less rate than matching the M symbols themselves, as the loss grows with the number
 * of classes. With sphere shaping, which loses nothing by it, cells are the classes cut into parts of equal
 * size, so that the number of uniform bits is the same in every block.
 * A block takes the matcher's k bits first, then the members' bits, symbol by symbol.
 */
class DIFFUSION_API shaping_code
{
public:
    /*! Constant composition.
     *  \param class_of class of each symbol index, 0 to classes - 1; up to 256 symbols; every class
     *         has 2^u members
     *  \param composition symbols per block in each class, sum n = 1 to 8192
     *  \throws std::invalid_argument naming what is wrong */
    shaping_code(const std::vector<uint8_t>& class_of, const std::vector<uint32_t>& composition);

    /*! Sphere shaping.
     *  \param class_pmf probability of each class
     *  \param energy of each class's members as integers, or empty (sphere_costs::of)
     *  \throws std::invalid_argument naming what is wrong */
    static shaping_code sphere(const std::vector<uint8_t>& class_of, const std::vector<double>& class_pmf,
                               size_t length, const std::vector<uint32_t>& energy = {});

    size_t length() const { return d_matcher->length(); } //!< n, symbols per block
    size_t bits() const { return d_bits; }                //!< bits per block
    const block_matcher& matcher() const { return *d_matcher; }
    //! The pmf over symbol indices: that of every block (constant composition), or of the mean over all
    //! blocks.
    std::vector<double> pmf() const;
    double entropy() const { return double(d_bits) / double(length()) + d_matcher->rate_loss(); }
    double rate() const { return double(d_bits) / double(length()); } //!< bits per symbol
    double rate_loss() const { return d_matcher->rate_loss(); }

    //! bits() bits (one a byte, lowest bit counts) to length() symbol indices.
    void encode(const uint8_t* bits, uint8_t* indices) const;
    //! The way back; false if the symbols cannot have come from encode() (see block_matcher).
    bool decode(const uint8_t* indices, uint8_t* bits) const;

private:
    struct place {
        uint8_t cell;
        uint8_t rank;
    };
    using members = std::vector<std::vector<uint8_t>>;
    shaping_code(const members& cells, size_t symbols, std::shared_ptr<const block_matcher> matcher);
    static members members_of(const std::vector<uint8_t>& class_of, size_t classes);

    std::shared_ptr<const block_matcher> d_matcher;
    std::vector<place> d_places;      // by symbol index
    std::vector<uint8_t> d_members;   // cell after cell
    std::vector<uint16_t> d_first;    // of a cell in d_members
    std::vector<uint8_t> d_rank_bits; // of a cell: u
    size_t d_bits = 0;
};

} // namespace gr::diffusion::dsp
