/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pas_code.h"
#include "permutation.h"
#include <algorithm>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

namespace {

constexpr uint64_t place_seed = 0x7061730001; // both ends draw the interleaver from it

size_t checked(int bits_per_symbol, const dvbs2_code& code)
{
    if (bits_per_symbol != 4 && bits_per_symbol != 6 && bits_per_symbol != 8)
        throw std::invalid_argument("amplitude shaping: " + std::to_string(bits_per_symbol) +
                                    " bits per symbol, use 4, 6 or 8 (16-, 64-, 256-QAM)");
    if (code.n() % size_t(bits_per_symbol))
        throw std::invalid_argument("amplitude shaping: words of code " + code.rate() + ", " +
                                    std::to_string(code.n()) + " bits, are no whole number of symbols of " +
                                    std::to_string(bits_per_symbol) + " bits; use another code");
    if (!pas_code::fits(bits_per_symbol, code))
        throw std::invalid_argument(
            "amplitude shaping: code rate " + code.rate() + " is too low for " +
            std::to_string(1 << bits_per_symbol) + "-QAM: its parity bits outnumber the signs; use " +
            std::to_string(bits_per_symbol - 2) + "/" + std::to_string(bits_per_symbol) + " or more");
    return code.k() - size_t(bits_per_symbol - 2) * pas_code::symbols_of(bits_per_symbol, code);
}

} // namespace

bool pas_code::fits(int bits_per_symbol, const dvbs2_code& code)
{
    return code.n() % size_t(bits_per_symbol) == 0 &&
           code.k() >= size_t(bits_per_symbol - 2) * symbols_of(bits_per_symbol, code);
}

pas_code::pas_code(int bits_per_symbol, const dvbs2_code& code, const std::vector<uint32_t>& amplitudes,
                   matcher_kind kind)
    : d_width(bits_per_symbol), d_amplitude_bits(bits_per_symbol / 2 - 1), d_code(&code),
      d_matcher(std::make_shared<const distribution_matcher>(amplitudes)), d_amplitudes(amplitudes),
      d_extra(checked(bits_per_symbol, code))
{
    const size_t levels = size_t(1) << d_amplitude_bits, rails = 2 * symbols();
    if (amplitudes.size() != levels || d_matcher->length() != rails)
        throw std::invalid_argument("amplitude shaping: " + std::to_string(amplitudes.size()) +
                                    " amplitudes of sum " + std::to_string(d_matcher->length()) + ", use " +
                                    std::to_string(levels) + " of sum " + std::to_string(rails));
    if (kind == matcher_kind::ess) {
        std::vector<uint32_t> energy;
        for (uint32_t a = 0; a < levels; a++)
            energy.push_back(a * (a + 1) / 2); // ((2 a + 1)^2 - 1) / 8
        d_matcher = sphere_matcher::of(d_matcher->pmf(), rails, energy);
        d_amplitudes = quantize_composition(d_matcher->pmf(), rails);
    }
    // Level n from below is labelled n ^ (n >> 1) (qam.h); the upper half has the amplitudes in order.
    d_label.resize(levels);
    d_amplitude.resize(levels);
    for (size_t a = 0; a < levels; a++) {
        const size_t level = levels + a;
        d_label[a] = uint8_t((level ^ level >> 1) & (levels - 1));
        d_amplitude[d_label[a]] = uint8_t(a);
    }
    // Where the word's bits go: the first information bits are amplitude bits, the others and the parity
    // signs.
    const size_t half = size_t(d_width / 2);
    std::vector<uint32_t> amplitude_bits, signs;
    for (size_t r = 0; r < rails; r++)
        signs.push_back(uint32_t(r * half));
    for (size_t b = half - 1; b > 0; b--) // the last label bit first
        for (size_t r = 0; r < rails; r++)
            amplitude_bits.push_back(uint32_t(r * half + b));
    d_place.resize(code.n());
    auto information = random_permutation(code.k(), place_seed);
    std::stable_partition(information.begin(), information.end(),
                          [&](uint32_t i) { return i < code.heavy(); });
    const auto sign_order = random_permutation(signs.size(), place_seed + 1);
    for (size_t i = 0; i < code.k(); i++)
        d_place[information[i]] = i < amplitude_bits.size() ? amplitude_bits[i]
                                                            : signs[sign_order[i - amplitude_bits.size()]];
    for (size_t i = 0; i < code.parity(); i++)
        d_place[code.k() + i] = signs[sign_order[d_extra + i]];
}

void pas_code::encode(const uint8_t* bits, uint8_t* labels) const
{
    const size_t half = size_t(d_width / 2), rails = 2 * symbols();
    std::vector<uint8_t> amplitudes(rails), word(d_code->n());
    d_matcher->match(bits, amplitudes.data());
    for (size_t r = 0; r < rails; r++)
        for (int b = 0; b < d_amplitude_bits; b++)
            labels[r * half + 1 + size_t(b)] = d_label[amplitudes[r]] >> (d_amplitude_bits - 1 - b) & 1;
    // The extra bits go to the signs that information bits of the code have; which ones, the places say.
    const uint8_t* extra = bits + d_matcher->bits();
    size_t taken = 0;
    for (size_t i = 0; i < d_code->k(); i++) {
        const size_t at = d_place[i];
        if (at % half == 0)
            labels[at] = extra[taken++] & 1;
        word[i] = labels[at];
    }
    d_code->encode(word.data(), word.data() + d_code->k());
    for (size_t i = d_code->k(); i < d_code->n(); i++)
        labels[d_place[i]] = word[i];
}

bool pas_code::decode(const float* llr, uint8_t* bits, size_t iterations) const
{
    const size_t half = size_t(d_width / 2), rails = 2 * symbols();
    std::vector<float> word(d_code->n());
    for (size_t i = 0; i < word.size(); i++)
        word[i] = llr[d_place[i]];
    std::vector<uint8_t> information(d_code->k()), labels(d_code->n()), amplitudes(rails);
    const bool found = d_code->decode(word.data(), information.data(), iterations) > 0;
    uint8_t* extra = bits + d_matcher->bits();
    for (size_t i = 0; i < information.size(); i++) {
        const size_t at = d_place[i];
        labels[at] = information[i];
        if (at % half == 0)
            *extra++ = information[i];
    }
    for (size_t r = 0; r < rails; r++) {
        unsigned label = 0;
        for (int b = 0; b < d_amplitude_bits; b++)
            label = 2 * label + labels[r * half + 1 + size_t(b)];
        amplitudes[r] = d_amplitude[label];
    }
    return d_matcher->dematch(amplitudes.data(), bits) && found;
}

} // namespace gr::diffusion::dsp
