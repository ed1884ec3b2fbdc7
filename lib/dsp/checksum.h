/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace gr::diffusion::dsp {

//! CRC-32 of IEEE 802.3 (reflected 0xEDB88320), as zlib's crc32().
inline uint32_t crc32(const uint8_t* data, size_t n)
{
    static const auto table = [] {
        std::array<uint32_t, 256> t{};
        for (uint32_t i = 0; i < 256; i++) {
            t[i] = i;
            for (int b = 0; b < 8; b++)
                t[i] = (t[i] >> 1) ^ (0xEDB88320u & (0u - (t[i] & 1)));
        }
        return t;
    }();
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++)
        crc = (crc >> 8) ^ table[(crc ^ data[i]) & 0xff];
    return ~crc;
}

//! CRC-16/CCITT-FALSE (0x1021, start 0xFFFF), as Python's binascii.crc_hqx(data, 0xFFFF).
inline uint16_t crc16(const uint8_t* data, size_t n)
{
    uint16_t crc = 0xFFFF;
    for (size_t i = 0; i < n; i++) {
        crc ^= uint16_t(data[i] << 8);
        for (int b = 0; b < 8; b++)
            crc = uint16_t(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
    }
    return crc;
}

} // namespace gr::diffusion::dsp
