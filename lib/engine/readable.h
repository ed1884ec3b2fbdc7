/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <algorithm>
#include <string>

namespace gr::diffusion::engine {

//! Bytes of the UTF-8 character at text[at]; 0: control character, or none.
inline size_t character_at(const std::string& text, size_t at)
{
    const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    const unsigned first = byte(at);
    if (first < 0x80)
        return first >= 32 && first != 127;
    const size_t length = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3
                                                          : first >= 0xf0 && first < 0xf5   ? 4
                                                                                            : 0;
    for (size_t i = 1; i < length; i++)
        if ((byte(at + i) & 0xc0) != 0x80)
            return 0;
    const unsigned second = byte(at + 1); // overlong forms, surrogates, beyond U+10FFFF
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
        (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
        return 0;
    return length;
}

/*! The text with '?' for all that is no UTF-8 or a control character: what a broken file puts into an error.
 * Python would lose the whole sentence. */
inline std::string readable(const std::string& text)
{
    std::string out;
    for (size_t at = 0; at < text.size();) {
        const size_t length = character_at(text, at);
        out += length ? text.substr(at, length) : "?";
        at += std::max<size_t>(length, 1);
    }
    return out;
}

} // namespace gr::diffusion::engine
