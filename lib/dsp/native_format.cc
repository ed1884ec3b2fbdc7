/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "native_format.h"
#include "checksum.h"
#include "random.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

namespace {

using cf = std::complex<float>;

constexpr int stratum = 13; // neighbouring carriers that share a pilot in turn
constexpr size_t header_bytes = 13;
constexpr int version = 1, densities = 3; // in the header: version + density
constexpr double least_repetition = 2.6;

// Seeds of everything both ends must agree on. Changing one makes another waveform.
constexpr uint64_t sync_seed = 0x6f66646d01, pilot_seed = 0x6f66646d02, scramble_seed = 0x6f66646d03,
                   header_seed = 0x6f66646d10, payload_seed = 0x6f66646d20;

float sign(random_source& random) { return random.bits() >> 63 ? 1.0f : -1.0f; }

//! The one of 200 random BPSK words with the lowest crest factor: less clipping in PA and ADC.
std::vector<cf> sync_word(const ofdm_geometry& g, const std::vector<int>& used, bool even_only, uint64_t seed)
{
    std::vector<cf> best;
    double best_peak = INFINITY;
    const int tries = g.fft_len <= 256 ? 200 : 20; // a long word's crest factor hardly varies
    for (int attempt = 0; attempt < tries; attempt++) {
        random_source random(seed + 1000 * attempt);
        std::vector<cf> word(g.fft_len);
        for (int k : used)
            if (!even_only || k % 2 == 0)
                word[g.index(k)] = sign(random) * (even_only ? std::sqrt(2.0f) : 1.0f);
        double peak = 0;
        for (const cf& x : modulate_symbol(g, word))
            peak = std::max(peak, double(std::norm(x)));
        if (peak < best_peak) {
            best_peak = peak;
            best = word;
        }
    }
    return best;
}

std::vector<uint8_t> to_bits(const std::vector<uint8_t>& bytes)
{
    std::vector<uint8_t> bits;
    bits.reserve(bytes.size() * 8);
    for (uint8_t byte : bytes)
        for (int b = 7; b >= 0; b--)
            bits.push_back((byte >> b) & 1);
    return bits;
}

std::vector<uint8_t> to_bytes(const std::vector<uint8_t>& bits)
{
    std::vector<uint8_t> bytes(bits.size() / 8);
    for (size_t i = 0; i < bytes.size() * 8; i++)
        bytes[i / 8] = uint8_t(2 * bytes[i / 8] + (bits[i] & 1));
    return bytes;
}

void scramble(std::vector<uint8_t>& bytes)
{
    random_source random(scramble_seed);
    uint64_t word = 0;
    for (size_t i = 0; i < bytes.size(); i++, word >>= 8) {
        if (i % 8 == 0)
            word = random.bits();
        bytes[i] ^= uint8_t(word);
    }
}

void put(std::vector<uint8_t>& bytes, uint32_t value, int n)
{
    for (int b = n - 1; b >= 0; b--)
        bytes.push_back(uint8_t(value >> (8 * b)));
}

uint32_t take(const uint8_t*& bytes, int n)
{
    uint32_t value = 0;
    for (int b = 0; b < n; b++)
        value = value << 8 | *bytes++;
    return value;
}

} // namespace

pilot_density pilot_density_from_name(const std::string& name)
{
    for (int d = 0; d < densities; d++)
        if (name == pilot_density_name(pilot_density(d)))
            return pilot_density(d);
    throw std::invalid_argument("pilots is '" + name + "'; use full, half or quarter");
}

const char* pilot_density_name(pilot_density density)
{
    return density == pilot_density::full ? "full" : density == pilot_density::half ? "half" : "quarter";
}

std::vector<uint32_t> random_permutation(size_t n, uint64_t seed)
{
    std::vector<uint32_t> p(n);
    for (size_t i = 0; i < n; i++)
        p[i] = uint32_t(i);
    random_source random(seed);
    for (size_t i = n; i > 1; i--) // Fisher-Yates
        std::swap(p[i - 1], p[size_t(random.uniform() * double(i))]);
    return p;
}

//! What costs more to build than to use. A link sends frames of a few sizes, so a few are kept.
struct native_format::cache {
    static constexpr size_t most = 16;

    payload_code& code(fec which, size_t bits)
    {
        for (auto& c : codes)
            if (c.code() == which && c.information_bits() == bits)
                return c;
        if (codes.size() >= most)
            codes.erase(codes.begin());
        codes.emplace_back(which, bits);
        return codes.back();
    }

    const std::vector<uint32_t>& permutation(size_t n, uint64_t seed)
    {
        for (const auto& p : permutations)
            if (p.seed == seed && p.order.size() == n)
                return p.order;
        if (permutations.size() >= most)
            permutations.erase(permutations.begin());
        permutations.push_back({ seed, random_permutation(n, seed) });
        return permutations.back().order;
    }

    struct interleaver {
        uint64_t seed;
        std::vector<uint32_t> order;
    };
    std::vector<payload_code> codes;
    std::vector<interleaver> permutations;
};

native_format::~native_format() = default;

native_format::native_format(const native_settings& settings)
    : d_settings(settings), d_cache(std::make_unique<cache>())
{
    const int n = settings.fft_len;
    if (n < 64 || n > 2048 || (n & (n - 1)))
        throw std::invalid_argument("native waveform: fft_len is " + std::to_string(n) +
                                    ", use a power of two from 64 to 2048");
    if (settings.cp_len < 4 || settings.cp_len > n / 2)
        throw std::invalid_argument("native waveform: cp_len is " + std::to_string(settings.cp_len) +
                                    ", use 4 to fft_len / 2");
    if (settings.max_payload < 1 || settings.max_payload > 65535)
        throw std::invalid_argument("native waveform: max_payload is " +
                                    std::to_string(settings.max_payload) + " bytes, use 1 to 65535");
    for (int k = -13 * n / 32; k <= 13 * n / 32; k++)
        if (k != 0)
            d_used.push_back(k);
    auto& g = d_geometry;
    g.fft_len = n;
    g.cp_len = settings.cp_len;
    g.sync_word1 = sync_word(g, d_used, true, sync_seed);
    g.sync_word2 = sync_word(g, d_used, false, sync_seed + 1);

    const int strata = int(d_used.size()) / stratum;
    std::vector<std::vector<uint32_t>> turn;
    for (int s = 0; s < strata; s++)
        turn.push_back(random_permutation(stratum, pilot_seed + s));
    // Every step-th stratum in turn: a pilot's place moves on each time that its stratum's turn has come.
    const auto place_pilots = [&](ofdm_geometry& to, int step, uint64_t seed) {
        random_source random(seed);
        for (int symbol = 0; symbol < stratum * step; symbol++) {
            std::vector<int> pilots, data;
            std::vector<cf> values;
            for (int s = 0; s < strata; s++)
                for (int i = 0; i < stratum; i++) {
                    const int k = d_used[s * stratum + i];
                    if ((s + symbol) % step == 0 && i == int(turn[s][symbol / step])) {
                        pilots.push_back(k);
                        values.push_back(sign(random));
                    } else {
                        data.push_back(k);
                    }
                }
            to.pilot_carriers.push_back(pilots);
            to.pilot_symbols.push_back(values);
            to.occupied_carriers.push_back(data);
        }
    };
    place_pilots(g, 1, pilot_seed);
    g.normalise();
    for (int d = 1; d < densities; d++) {
        auto& sparse = d_sparse[d - 1];
        sparse.fft_len = n;
        sparse.cp_len = settings.cp_len;
        place_pilots(sparse, 1 << d, pilot_seed + uint64_t(d));
    }

    const size_t coded = payload_code::coded_bits(fec::cc_1_2, header_bytes * 8);
    const size_t per_symbol = 2 * data_per_symbol();
    d_header_symbols = size_t(std::ceil(least_repetition * double(coded) / double(per_symbol)));
}

double native_format::scale() const { return 1 / std::sqrt(double(d_used.size())); }

namespace {

std::shared_ptr<const shaped_payload> shaped(const native_header& h)
{
    return shaped_payload::get(h.bits_per_symbol, h.code, uint32_t(h.shaping));
}

} // namespace

const qam& native_format::constellation(const native_header& header)
{
    // kept for good
    return header.shaping < 0 ? qam_of(header.bits_per_symbol) : shaped(header)->constellation();
}

size_t native_format::payload_symbols(const native_header& header) const
{
    if (header.shaping >= 0) {
        const size_t symbols = shaped(header)->symbols(size_t(header.length) * 8);
        return (symbols + data_per_symbol(header) - 1) / data_per_symbol(header);
    }
    const size_t coded = payload_code::coded_bits(header.code, size_t(header.length) * 8);
    const size_t per_symbol = data_per_symbol(header) * header.bits_per_symbol;
    return (coded + per_symbol - 1) / per_symbol;
}

size_t native_format::payload_bits(const native_header& header) const
{
    return payload_symbols(header) * data_per_symbol(header) * header.bits_per_symbol;
}

size_t native_format::front_len() const
{
    return d_geometry.preamble_len() + d_header_symbols * d_geometry.symbol_len();
}

size_t native_format::frame_len(const native_header& header) const
{
    return front_len() + payload_symbols(header) * d_geometry.symbol_len();
}

std::vector<uint8_t> native_format::encode_header(const native_header& h) const
{
    std::vector<uint8_t> bytes;
    put(bytes, h.length, 2);
    put(bytes, uint32_t((version + int(h.pilots)) << 4 | h.bits_per_symbol), 1);
    const uint32_t index = uint32_t(std::max(h.shaping, 0));
    put(bytes, uint32_t(h.code) | (h.shaping < 0 ? 0 : 0x80 | index >> 8 << 5), 1);
    put(bytes, h.number, 2);
    put(bytes, h.shaping < 0 ? h.context : index & 0xFF, 1);
    put(bytes, h.payload_crc, 4);
    put(bytes, crc16(bytes.data(), bytes.size()), 2);
    scramble(bytes);
    payload_code& code = d_cache->code(fec::cc_1_2, header_bytes * 8);
    std::vector<uint8_t> coded(code.coded_bits()), out(d_header_symbols * data_per_symbol() * 2);
    code.encode(to_bits(bytes).data(), coded.data());
    for (size_t at = 0, turn = 0; at < out.size(); turn++)
        for (uint32_t from : d_cache->permutation(coded.size(), header_seed + turn))
            if (at < out.size())
                out[at++] = coded[from];
    return out;
}

std::optional<native_header> native_format::decode_header(const float* llr) const
{
    payload_code& code = d_cache->code(fec::cc_1_2, header_bytes * 8);
    std::vector<float> sum(code.coded_bits());
    const size_t n = d_header_symbols * data_per_symbol() * 2;
    for (size_t at = 0, turn = 0; at < n; turn++)
        for (uint32_t to : d_cache->permutation(sum.size(), header_seed + turn))
            if (at < n)
                sum[to] += llr[at++];
    std::vector<uint8_t> bits(header_bytes * 8);
    code.decode(sum.data(), bits.data());
    auto bytes = to_bytes(bits);
    scramble(bytes);
    const uint8_t* p = bytes.data();
    native_header h;
    h.length = uint16_t(take(p, 2));
    const uint32_t modulation = take(p, 1), fec_byte = take(p, 1), fec_number = fec_byte & 0x1F;
    h.number = uint16_t(take(p, 2));
    h.context = uint8_t(take(p, 1));
    h.payload_crc = take(p, 4);
    if (take(p, 2) != crc16(bytes.data(), header_bytes - 2))
        return std::nullopt;
    h.bits_per_symbol = modulation & 15;
    const int m = h.bits_per_symbol;
    const int density = int(modulation >> 4) - version;
    if (density < 0 || density >= densities || (m != 1 && m != 2 && m != 4 && m != 6 && m != 8) ||
        fec_number >= fec_names().size() || h.length > d_settings.max_payload)
        return std::nullopt;
    h.pilots = pilot_density(density);
    h.code = fec(fec_number);
    if (fec_byte & 0x80) {
        h.shaping = int((fec_byte >> 5 & 3) << 8 | h.context);
        h.context = 0;
        try {
            shaped(h);
        } catch (const std::exception&) { // no such combination, or the model is not installed here
            return std::nullopt;
        }
    } else if (fec_byte >> 5) {
        return std::nullopt;
    }
    return h;
}

std::vector<uint8_t> native_format::encode_payload(const native_header& h, const uint8_t* payload) const
{
    std::vector<uint8_t> bytes(payload, payload + h.length);
    scramble(bytes);
    if (h.shaping >= 0) {
        const auto payload = shaped(h);
        std::vector<uint8_t> labels(payload_bits(h));
        const size_t bits = bytes.size() * 8, used = payload->symbols(bits) * size_t(h.bits_per_symbol);
        payload->encode(to_bits(bytes).data(), bits, labels.data());
        // carriers left over: symbols once more, they have the right law
        for (size_t i = used; i < labels.size(); i++)
            labels[i] = used ? labels[i - used] : 0;
        return labels;
    }
    payload_code& code = d_cache->code(h.code, bytes.size() * 8);
    std::vector<uint8_t> coded(payload_bits(h)), out(coded.size());
    code.encode(to_bits(bytes).data(), coded.data());
    random_source random(scramble_seed + 1); // padding must look like data, or the PA sees a tone
    for (size_t i = code.coded_bits(); i < coded.size(); i++)
        coded[i] = random.bits() >> 63;
    const auto& order = d_cache->permutation(coded.size(), payload_seed);
    for (size_t i = 0; i < order.size(); i++)
        out[i] = coded[order[i]];
    return out;
}

std::vector<uint8_t> native_format::decode_payload(const native_header& h, const float* llr,
                                                   std::vector<float>* posterior) const
{
    if (posterior)
        posterior->assign(llr, llr + payload_bits(h));
    if (h.shaping >= 0) {
        std::vector<uint8_t> bits(size_t(h.length) * 8);
        shaped(h)->decode(llr, bits.size(), bits.data());
        auto bytes = to_bytes(bits);
        scramble(bytes);
        return bytes;
    }
    payload_code& code = d_cache->code(h.code, size_t(h.length) * 8);
    std::vector<float> ordered(payload_bits(h));
    const auto& order = d_cache->permutation(ordered.size(), payload_seed);
    for (size_t i = 0; i < order.size(); i++)
        ordered[order[i]] = llr[i];
    std::vector<uint8_t> bits(size_t(h.length) * 8);
    if (!posterior) {
        code.decode(ordered.data(), bits.data());
    } else {
        std::vector<float> after(ordered.size());
        code.decode(ordered.data(), bits.data(), after.data());
        random_source random(scramble_seed + 1); // the padding is known
        for (size_t i = code.coded_bits(); i < after.size(); i++)
            after[i] = random.bits() >> 63 ? 30.0f : -30.0f;
        for (size_t i = 0; i < order.size(); i++)
            (*posterior)[i] = after[order[i]];
    }
    auto bytes = to_bytes(bits);
    scramble(bytes);
    return bytes;
}

} // namespace gr::diffusion::dsp
