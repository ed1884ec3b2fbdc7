/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace gr::diffusion::dsp {

//! Symbols of equal cost.
struct sphere_group {
    uint32_t cost, size;
    bool operator==(const sphere_group& o) const { return cost == o.cost && size == o.size; }
};

/*! How many sequences there are from each state (symbols to come, cost left): see sphere_matcher. Counts are
 *  mantissa 2^exponent, mantissa < 2^24 and 2^23 or (by rounding) at most 256 less. */
class DIFFUSION_API sphere_trellis
{
public:
    struct count {
        uint32_t mantissa;
        int32_t exponent;
    };

    //! Shared by all who ask for the same: groups by rising cost from 0, sequences of up to n symbols, total
    //! cost up to \p cost.
    static std::shared_ptr<const sphere_trellis> get(const std::vector<sphere_group>& groups, size_t n,
                                                     size_t cost);

    const std::vector<sphere_group>& groups() const { return d_groups; }
    size_t largest_cost() const { return d_width - 1; }
    const count& at(size_t n, size_t cost) const { return d_counts[n * d_width + cost]; }
    //! Of the state (n, cost): units of at(n, cost).mantissa that one symbol of group g takes.
    uint32_t branch(const count& of, size_t n, size_t cost, size_t g) const
    {
        const uint32_t c = d_groups[g].cost;
        if (c > cost)
            return 0;
        const count& child = at(n - 1, cost - c);
        const int shift = of.exponent - child.exponent;
        return shift < 24 ? child.mantissa >> shift : 0;
    }
    double log2_count(size_t n, size_t cost) const;
    double mean_cost(size_t n, size_t cost) const; //!< of a symbol, over all sequences from (n, cost)

private:
    sphere_trellis(const std::vector<sphere_group>& groups, size_t n, size_t cost);

    std::vector<sphere_group> d_groups;
    size_t d_length, d_width;
    std::vector<count> d_counts;
};

} // namespace gr::diffusion::dsp
