/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "block_matcher.h"

namespace gr::diffusion::dsp {

/*! The n-type pmf next to a target: integer counts of sum n that minimise the divergence
 * D(counts/n || pmf), the one that costs rate. The cost is separable and convex, so exchanging single
 * units until none pays reaches the optimum (Boecherer and Geiger, "Optimal quantization for
 * distribution synthesis", IEEE Trans. Inf. Theory 2016). Same bits in, same counts out, on every machine.
 *
 * \param pmf up to 256 probabilities, >= 0; scaled to sum 1
 * \param n block length, 1 to 65535
 * \throws std::invalid_argument naming what is wrong */
DIFFUSION_API std::vector<uint32_t> quantize_composition(const std::vector<double>& pmf, size_t n);

/*! Constant-composition distribution matching: k uniform bits <-> n symbols in which symbol s occurs
 * exactly composition[s] times.
 *
 * Arithmetic coding in the order of Ramabadran (IEEE Trans. Commun. 1990) and Schulte and Boecherer
 * (IEEE Trans. Inf. Theory 2016), in integers throughout. The unit interval is cut among the sequences
 * of this composition; the k bits name the point 0.b1...bk and with it the one sequence whose interval
 * holds it. Each cut hands its rounding remainder to the last symbol present, so the intervals cover
 * everything and are at most (1 + 2^-15) / multinomial wide; with k such that this is <= 2^-k, two
 * inputs never share an interval and every input comes back. k equals floor(log2(multinomial))
 * unless the multinomial is within 3e-5 above a power of two, where it may be one less.
 */
class DIFFUSION_API distribution_matcher final : public block_matcher
{
public:
    /*! \param composition how often each symbol occurs; up to 256 counts, sum n from 1 to 8192
     *  \throws std::invalid_argument naming what is wrong */
    explicit distribution_matcher(const std::vector<uint32_t>& composition);

    size_t alphabet() const override { return d_composition.size(); }
    size_t length() const override { return d_length; }
    size_t bits() const override { return d_bits; }
    std::vector<double> pmf() const override;
    const std::vector<uint32_t>& composition() const { return d_composition; }
    double log2_sequences() const { return d_log2_sequences; } //!< log2 of the multinomial

    void match(const uint8_t* bits, uint8_t* symbols) const override;
    //! False if the symbols are not of this composition.
    bool dematch(const uint8_t* symbols, uint8_t* bits) const override;

private:
    struct counts;

    std::vector<uint32_t> d_composition;
    size_t d_length = 0;
    size_t d_bits = 0;
    int d_depth = 0;                 // of the tree of counts
    std::vector<uint16_t> d_tree;    // at a node: symbols left in its left half
    double d_log2_sequences = 0;
};

} // namespace gr::diffusion::dsp
