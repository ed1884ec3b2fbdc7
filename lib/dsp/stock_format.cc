/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stock_format.h"
#include "checksum.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {
namespace {

//! The shift register of gr-digital's additive scrambler: mask 0x8a, 8 cells.
class whitener
{
public:
    explicit whitener(unsigned seed) : d_state(seed) {}
    unsigned next()
    {
        const unsigned out = d_state & 1;
        const unsigned fed = unsigned(__builtin_parity(d_state & 0x8a));
        d_state = (d_state >> 1) | (fed << 7);
        return out;
    }

private:
    unsigned d_state;
};

unsigned crc8(const uint8_t* data, size_t n)
{
    unsigned crc = 0xFF;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int b = 0; b < 8; b++)
            crc = (crc & 0x80 ? (crc << 1) ^ 0x07 : crc << 1) & 0xFF;
    }
    return crc;
}

unsigned header_crc(unsigned length, unsigned number)
{
    const uint8_t bytes[] = { uint8_t(length), uint8_t(length >> 8), uint8_t(number), uint8_t(number >> 8) };
    return crc8(bytes, sizeof bytes);
}

//! What the CRC check gives for 32 header bits, least significant first; 0 when it fits.
unsigned syndrome(uint32_t word)
{
    return header_crc(word & 0xFFF, (word >> 12) & 0xFFF) ^ (word >> 24);
}

} // namespace

void stock_settings::check()
{
    auto refuse = [](const std::string& what) { throw std::invalid_argument("ofdm_rx: " + what); };
    geometry.normalise();
    if (bps_header != 1 && bps_header != 2)
        refuse("bps_header is " + std::to_string(bps_header) + ", use 1 (BPSK) or 2 (QPSK)");
    if (bps_payload < 0 || bps_payload > 2)
        refuse("bps_payload is " + std::to_string(bps_payload) + ", use 1 (BPSK), 2 (QPSK) or 0 (either)");
    if (geometry.data_set(0).size() * size_t(bps_header) < stock_format::header_bits)
        refuse("a header symbol holds " + std::to_string(geometry.data_set(0).size() * size_t(bps_header)) +
               " bits, it needs 32: occupy more carriers or raise bps_header");
    if (header_flips < 0 || header_flips > 12)
        refuse("header_flips is " + std::to_string(header_flips) + ", use 0 to 12");
    if (!(bpsk_amplitude > 0) || !(qpsk_amplitude > 0))
        refuse("an amplitude is not positive");
}

stock_format::stock_format(const stock_settings& settings) : d_settings(settings)
{
    d_settings.check();
    d_header_mask.assign(geometry().data_set(0).size() * size_t(d_settings.bps_header), 0);
    d_whitening.assign(4096, 0);
    if (d_settings.scramble) {
        whitener header(0x6f), payload(0x7f);
        for (auto& bit : d_header_mask)
            bit = uint8_t(header.next());
        for (auto& byte : d_whitening)
            for (int b = 0; b < 8; b++)
                byte = uint8_t(byte | payload.next() << b);
    }
}

std::vector<uint8_t> stock_format::encode_header(const stock_header& h) const
{
    const uint32_t word = uint32_t(h.length & 0xFFF) | uint32_t(h.number & 0xFFF) << 12 |
                          uint32_t(header_crc(unsigned(h.length) & 0xFFF, unsigned(h.number) & 0xFFF)) << 24;
    std::vector<uint8_t> bits(d_header_mask);
    for (int i = 0; i < header_bits; i++)
        bits[i] = uint8_t(bits[i] ^ (word >> i & 1));
    return bits;
}

std::optional<stock_header> stock_format::decode_header(const float* llr) const
{
    uint32_t word = 0;
    for (int i = 0; i < header_bits; i++)
        word |= uint32_t((llr[i] > 0) != (d_header_mask[i] != 0)) << i;
    std::vector<int> order(header_bits);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return std::abs(llr[a]) < std::abs(llr[b]); });
    const int flips = d_settings.header_flips;
    // The CRC is linear: a flipped bit changes the syndrome by its own.
    std::vector<unsigned> effect(flips);
    for (int i = 0; i < flips; i++)
        effect[i] = syndrome(uint32_t(1) << order[i]) ^ syndrome(0);
    const unsigned start = syndrome(word);
    double least = INFINITY;
    unsigned best = 0;
    for (unsigned pattern = 0; pattern < 1u << flips; pattern++) {
        unsigned s = start;
        double cost = 0;
        for (int i = 0; i < flips; i++)
            if (pattern >> i & 1) {
                s ^= effect[i];
                cost += std::abs(llr[order[i]]);
            }
        if (s == 0 && cost < least) {
            least = cost;
            best = pattern;
        }
    }
    if (!std::isfinite(least))
        return {};
    for (int i = 0; i < flips; i++)
        if (best >> i & 1)
            word ^= uint32_t(1) << order[i];
    stock_header h;
    h.length = int(word & 0xFFF);
    h.number = int(word >> 12 & 0xFFF);
    h.flipped = __builtin_popcount(best);
    if (h.length <= 4) // the CRC-32 alone
        return {};
    return h;
}

size_t stock_format::payload_symbols(const stock_header& h, int bits_per_symbol) const
{
    const size_t needed = (size_t(h.length) * 8 + size_t(bits_per_symbol) - 1) / size_t(bits_per_symbol);
    size_t count = 0;
    for (size_t have = 0; have < needed; count++)
        have += std::max<size_t>(1, geometry().data_set(count + 1).size());
    return count;
}

std::vector<uint8_t> stock_format::encode_payload(const std::vector<uint8_t>& bytes) const
{
    std::vector<uint8_t> bits(bytes.size() * 8);
    for (size_t i = 0; i < bits.size(); i++)
        bits[i] = uint8_t((bytes[i / 8] ^ d_whitening[i / 8 % d_whitening.size()]) >> (i % 8) & 1);
    return bits;
}

std::vector<uint8_t> stock_format::decode_payload(const float* llr, size_t length, bool& ok) const
{
    std::vector<uint8_t> bytes(length);
    for (size_t i = 0; i < length * 8; i++)
        bytes[i / 8] = uint8_t(bytes[i / 8] | (llr[i] > 0) << (i % 8));
    for (size_t i = 0; i < length; i++)
        bytes[i] ^= d_whitening[i];
    ok = false;
    if (length > 4) {
        const uint8_t* c = bytes.data() + length - 4;
        const uint32_t sent = c[0] | uint32_t(c[1]) << 8 | uint32_t(c[2]) << 16 | uint32_t(c[3]) << 24;
        ok = crc32(bytes.data(), length - 4) == sent;
        if (ok)
            bytes.resize(length - 4);
    }
    return bytes;
}

} // namespace gr::diffusion::dsp
