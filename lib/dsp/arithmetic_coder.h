/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace gr::diffusion::dsp {

/* Arithmetic coding in 64-bit integers, for matchers: bits name a point of [0, 1), a sequence of cuts finds
 * the interval that holds it, and the same cuts give the interval's lower edge back.
 *
 * The range is kept in (2^55, 2^63], two 64-bit divisions a cut. A cut divides the range into `total` units,
 * total at most 2^24, and hands what does not go into units to the part that ends at total. */
constexpr uint64_t coder_range_start = uint64_t(1) << 63;
constexpr uint64_t coder_range_floor = uint64_t(1) << 55;

//! From bits to intervals.
class interval_finder
{
public:
    //! Bits beyond the k that exist are zeros: the point is the lower edge of its cell.
    interval_finder(const uint8_t* bits, size_t k) : d_bits(bits), d_left(k)
    {
        for (int i = 0; i < 7; i++)
            d_offset = d_offset << 8 | byte();
        // 63 bits at first, bytes later: the odd bit is made up for by starting one bit late.
        const uint64_t ahead = byte();
        d_offset = d_offset << 7 | ahead >> 1;
        d_odd = ahead & 1;
    }

    //! Where of 0 to total - 1 the point is.
    uint32_t position(uint32_t total)
    {
        d_unit = d_range / total;
        return uint32_t(std::min<uint64_t>(d_offset / d_unit, total - 1));
    }
    //! The part that was found: [start, start + count) of the total asked for last.
    void take(uint32_t start, uint32_t count, uint32_t total)
    {
        d_offset -= d_unit * start;
        d_range = start + count == total ? d_range - d_unit * start : d_unit * count;
        while (d_range < coder_range_floor) {
            d_range <<= 8;
            const uint64_t ahead = byte();
            d_offset = d_offset << 8 | d_odd << 7 | ahead >> 1;
            d_odd = ahead & 1;
        }
    }

private:
    uint64_t byte()
    {
        uint64_t value = 0;
        if (d_left >= 8) {
            for (int i = 0; i < 8; i++)
                value = value << 1 | (d_bits[i] & 1);
            d_bits += 8;
            d_left -= 8;
            return value;
        }
        for (int i = 0; i < 8; i++) {
            value <<= 1;
            if (d_left) {
                value |= *d_bits++ & 1;
                d_left--;
            }
        }
        return value;
    }

    const uint8_t* d_bits;
    size_t d_left;
    uint64_t d_range = coder_range_start, d_unit = 0;
    uint64_t d_offset = 0; // of the point from the interval's lower edge
    uint64_t d_odd = 0;
};

/*! From intervals to bits: the lower edge as a long binary fraction. 63 bits of head room move in a register,
 * bytes that leave it wait for a carry. max_bytes: what the cuts can narrow the interval by, in bytes. */
template <size_t max_bytes>
class interval_builder
{
public:
    void take(uint32_t start, uint32_t count, uint32_t total)
    {
        const uint64_t unit = d_range / total;
        d_low += unit * start; // below 2^63 + 2^63
        if (d_low >> 63) {
            d_low &= coder_range_start - 1;
            for (size_t i = d_size; i-- > 0 && ++d_bytes[i] == 0;)
                ;
        }
        d_range = start + count == total ? d_range - unit * start : unit * count;
        while (d_range < coder_range_floor) {
            d_range <<= 8;
            shift();
        }
    }
    //! Smallest multiple of 2^-k that is not below the edge, as k bits; false if that is 1.
    bool round_up(size_t k, uint8_t* bits)
    {
        for (int i = 0; i < 8; i++)
            shift();
        const size_t whole = k / 8, rest = k % 8;
        bool below = false;
        if (rest)
            below = d_bytes[whole] & (0xFF >> rest);
        for (size_t i = whole + (rest != 0); !below && i < d_size; i++)
            below = d_bytes[i];
        for (size_t i = 0; i < k; i++)
            bits[i] = d_bytes[i / 8] >> (7 - i % 8) & 1;
        for (size_t i = k; below && i-- > 0;) {
            below = bits[i];
            bits[i] ^= 1;
        }
        return !below;
    }

private:
    void shift()
    {
        // The register holds 63 bits, so its highest byte is bits 55 to 62.
        d_bytes[d_size++] = uint8_t(d_low >> 55);
        d_low = (d_low << 8) & (coder_range_start - 1);
    }

    uint64_t d_range = coder_range_start, d_low = 0;
    size_t d_size = 0;
    // What a byte-wise register adds to the cuts' own bytes stays below 16.
    uint8_t d_bytes[max_bytes + 64];
};

} // namespace gr::diffusion::dsp
