/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "block_matcher.h"

namespace gr::diffusion::dsp {

/*! Costs of symbols for a sphere: small integers, 0 the cheapest, at best proportional to -log p. */
struct DIFFUSION_API sphere_costs {
    static constexpr uint32_t never = UINT32_MAX; //!< of a symbol of probability 0

    /*! \param pmf up to 256 probabilities, >= 0; scaled to sum 1
     *  \param energy empty: the costs are -ln p in steps of 1/8; or an integer for each symbol (its energy),
     *         less the least of which is its cost: right for pmfs next to exp(-a energy), and all of them
     *         share one trellis
     *  \throws std::invalid_argument naming what is wrong */
    static std::vector<uint32_t> of(const std::vector<double>& pmf, const std::vector<uint32_t>& energy = {});
};

class sphere_trellis;

/*! Enumerative sphere shaping: k uniform bits <-> n symbols whose costs sum to at most a limit.
 *
 * Where a constant-composition block holds the typical sequences of one composition, a sphere holds all
 * compositions up to a total cost, so for short blocks it loses far less rate (Willems and Wuijts 1993;
 * Gueltekin, van Houtum, Koppelaar and Willems, "Enumerative sphere shaping for wireless communications with
 * short packets", IEEE Trans. Wireless Commun. 2020). With energies for costs it is the energy sphere; with
 * -log p the set of the most likely sequences of any pmf.
 *
 * The trellis counts the sequences from each state (symbols to come, cost left) in bounded precision: 24 bits
 * and an exponent, rounded down. Bits become a sequence by arithmetic coding (arithmetic_coder.h) over these
 * counts: a state whose branches count f_i is cut in proportion to f_i, and its own count is stored as the
 * sum F of the f_i, so the product of f / F is at most 1 / count(start) whatever was rounded away. With the
 * coder's own rounding, below 2^-22 a symbol, an interval is no wider than 2^-k for k = floor(log2
 * count(start) - 2^-8): every input comes back.
 *
 * A block longer than max_sphere() symbols is made of several spheres of equal size behind one coder.
 */
class DIFFUSION_API sphere_matcher final : public block_matcher
{
public:
    /*! \param costs of each symbol, the least 0, up to 65535, or sphere_costs::never
     *  \param mean_cost that the blocks are to have; the limit is the one whose mean is next to it
     *  \param length n, 1 to 8192
     *  \throws std::invalid_argument naming what is wrong */
    sphere_matcher(const std::vector<uint32_t>& costs, double mean_cost, size_t length);

    //! Costs as by sphere_costs::of, mean cost that of the pmf.
    static std::shared_ptr<const sphere_matcher> of(const std::vector<double>& pmf, size_t length,
                                                    const std::vector<uint32_t>& energy = {});

    size_t alphabet() const override { return d_costs.size(); }
    size_t length() const override { return d_length; }
    size_t bits() const override { return d_bits; }
    std::vector<double> pmf() const override { return d_pmf; }
    const std::vector<uint32_t>& costs() const { return d_costs; }
    size_t spheres() const { return d_spheres.size(); }
    uint32_t limit() const { return d_spheres[0].limit; } //!< of the first sphere
    double mean_cost() const;                             //!< of a symbol, over all blocks

    void match(const uint8_t* bits, uint8_t* symbols) const override;
    //! False if a sphere's limit is exceeded, or a symbol is one that cannot occur.
    bool dematch(const uint8_t* symbols, uint8_t* bits) const override;

private:
    struct sphere {
        uint32_t length, limit;
    };
    struct place {
        uint16_t group, rank;
    };
    std::vector<uint32_t> d_costs;
    size_t d_length, d_bits = 0;
    std::vector<sphere> d_spheres;
    std::vector<place> d_places;    // by symbol
    std::vector<uint8_t> d_members; // group after group
    std::vector<uint16_t> d_first;  // of a group in d_members
    std::shared_ptr<const sphere_trellis> d_trellis;
    std::vector<double> d_pmf;
};

} // namespace gr::diffusion::dsp
