/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

/*! Bits to blocks of symbols of a wanted pmf, and back to the same bits: what every distribution matcher is.
 *  Objects are immutable: match() and dematch() neither allocate nor lock, and may run in threads. */
class DIFFUSION_API block_matcher
{
public:
    static constexpr size_t max_alphabet = 256;
    static constexpr size_t max_length = 8192;

    virtual ~block_matcher() = default;
    virtual size_t alphabet() const = 0;
    virtual size_t length() const = 0;             //!< n, symbols per block
    virtual size_t bits() const = 0;               //!< k, bits per block
    virtual std::vector<double> pmf() const = 0;   //!< mean share of each symbol over all blocks

    //! k bits (one a byte, lowest bit counts) to n symbols.
    virtual void match(const uint8_t* bits, uint8_t* symbols) const = 0;
    /*! n symbols to k bits. Returns false if no bits give these symbols as far as can be seen (errors on the
     * link); the bits are then those of a nearby sequence: defined, but not what was sent. */
    virtual bool dematch(const uint8_t* symbols, uint8_t* bits) const = 0;

    //! Of the pmf, bits per symbol.
    double entropy() const
    {
        double sum = 0;
        for (double p : pmf())
            if (p > 0)
                sum -= p * std::log2(p);
        return sum;
    }
    //! What the finite block costs: entropy - k/n, bits per symbol.
    double rate_loss() const { return entropy() - double(bits()) / double(length()); }
};

//! Kinds of matchers by name: "ccdm" constant composition, "ess" enumerative sphere shaping.
enum class matcher_kind { ccdm, ess };

inline matcher_kind matcher_from_name(const std::string& name)
{
    if (name == "ccdm")
        return matcher_kind::ccdm;
    if (name == "ess")
        return matcher_kind::ess;
    throw std::invalid_argument("matcher is '" + name +
                                "', use ccdm (constant composition) or ess (sphere shaping)");
}

inline const char* matcher_name(matcher_kind kind) { return kind == matcher_kind::ess ? "ess" : "ccdm"; }

} // namespace gr::diffusion::dsp
