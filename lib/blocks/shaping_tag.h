/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <pmt/pmt.h>
#include <cstdint>

namespace gr::diffusion {

//! What shaper_bc tells deshaper_cb about a block: the tag "shaping".
struct shaping_tag {
    uint64_t index = 0;       //!< of the composition
    uint64_t bits = 0;        //!< of payload; the rest of the block is padding
    uint64_t packet_bits = 0; //!< of the packet that begins with this block, or 0

    static pmt::pmt_t key()
    {
        static const pmt::pmt_t name = pmt::intern("shaping");
        return name;
    }

    pmt::pmt_t to_pmt() const
    {
        return pmt::make_tuple(pmt::from_uint64(index), pmt::from_uint64(bits),
                               pmt::from_uint64(packet_bits));
    }

    //! False if the value is no such tuple; never throws.
    static bool from_pmt(const pmt::pmt_t& value, shaping_tag& tag)
    {
        if (!pmt::is_tuple(value) || pmt::length(value) != 3)
            return false;
        uint64_t* const to[3] = { &tag.index, &tag.bits, &tag.packet_bits };
        for (size_t i = 0; i < 3; i++) {
            const pmt::pmt_t item = pmt::tuple_ref(value, i);
            if (pmt::is_uint64(item))
                *to[i] = pmt::to_uint64(item);
            else if (pmt::is_integer(item) && pmt::to_long(item) >= 0)
                *to[i] = uint64_t(pmt::to_long(item));
            else
                return false;
        }
        return true;
    }
};

//! True for the 1st, 2nd, 4th, 8th ... event: a log that cannot flood.
inline bool worth_logging(uint64_t count) { return count && (count & (count - 1)) == 0; }

} // namespace gr::diffusion
