/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdexcept>
#include <string>

namespace gr::diffusion {

//! Bits per symbol of bpsk, qpsk, qam16, qam64, qam256. \throws std::invalid_argument
inline int bits_of_modulation(const std::string& name)
{
    const struct { const char* name; int bits; } known[] = {
        { "bpsk", 1 }, { "qpsk", 2 }, { "qam16", 4 }, { "qam64", 6 }, { "qam256", 8 }
    };
    for (const auto& k : known)
        if (name == k.name)
            return k.bits;
    throw std::invalid_argument("modulation is '" + name + "'; use bpsk, qpsk, qam16, qam64 or qam256");
}

inline std::string modulation_of_bits(int bits)
{
    return bits == 1 ? "bpsk" : bits == 2 ? "qpsk" : "qam" + std::to_string(1 << bits);
}

} // namespace gr::diffusion
