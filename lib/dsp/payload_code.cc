/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload_code.h"
#include "engine/vectorise.h"
#include "dvbs2_code.h"
#include "gnuradio_ldpc.h"
#include "trellis_posterior.h"
#include <gnuradio/fec/cc_decoder.h>
#include <gnuradio/fec/cc_encoder.h>
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {

constexpr int constraint = 7;
constexpr size_t ldpc_n = gnuradio_ldpc::n, ldpc_k = gnuradio_ldpc::k;

const std::vector<std::string>& all_names()
{
    static const std::vector<std::string> names = [] {
        std::vector<std::string> list = { "none", "cc-1/2", "cc-2/3", "cc-3/4", "ldpc-1/2" };
        for (const auto& rate : dvbs2_code::rates())
            list.push_back("dvbs2-" + rate);
        return list;
    }();
    return names;
}

//! Which of the mother code's bits are sent, over one period.
const std::vector<uint8_t>& puncturing(fec code)
{
    static const std::vector<uint8_t> all = { 1, 1 }, two_thirds = { 1, 1, 0, 1 },
                                      three_quarters = { 1, 1, 0, 1, 1, 0 };
    return code == fec::cc_2_3 ? two_thirds : code == fec::cc_3_4 ? three_quarters : all;
}

bool convolutional(fec code) { return code == fec::cc_1_2 || code == fec::cc_2_3 || code == fec::cc_3_4; }

size_t kept(fec code, size_t mother_bits)
{
    const auto& pattern = puncturing(code);
    size_t n = mother_bits / pattern.size() * std::count(pattern.begin(), pattern.end(), 1);
    for (size_t i = 0; i < mother_bits % pattern.size(); i++)
        n += pattern[i];
    return n;
}

constexpr float certain = 100; // the LLR of a bit that is agreed upon; the decoder holds it to its own limit

size_t ldpc_words(size_t information_bits) { return (information_bits + ldpc_k - 1) / ldpc_k; }

} // namespace

fec fec_from_name(const std::string& name)
{
    const auto& names = all_names();
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
        throw std::invalid_argument("fec is '" + name + "'; use none, cc-1/2, cc-2/3, cc-3/4, ldpc-1/2, or " +
                                    names[size_t(fec::first_long)] + " to " + names.back());
    return fec(found - names.begin());
}

const char* fec_name(fec code) { return all_names().at(size_t(code)).c_str(); }
const std::vector<std::string>& fec_names() { return all_names(); }

const dvbs2_code* long_code(fec code)
{
    if (code < fec::first_long || size_t(code) >= all_names().size())
        return nullptr;
    return &dvbs2_code::get(dvbs2_code::rates()[size_t(code) - size_t(fec::first_long)]);
}

namespace {

size_t long_words(const dvbs2_code& code, size_t information_bits)
{
    return (information_bits + code.k() - 1) / code.k();
}

} // namespace

size_t payload_code::coded_bits(fec code, size_t n)
{
    if (n == 0 || code == fec::none)
        return n;
    if (convolutional(code))
        return kept(code, 2 * (n + constraint - 1));
    if (const dvbs2_code* longer = long_code(code))
        return n + long_words(*longer, n) * longer->parity();
    return n + ldpc_words(n) * (ldpc_n - ldpc_k);
}

struct payload_code::impl {
    fec code;
    size_t n, coded;
    gr::fec::generic_encoder::sptr encoder; // convolutional only
    gr::fec::generic_decoder::sptr decoder;
    std::unique_ptr<ldpc_decoder> ldpc;
    std::vector<uint8_t> word, information, sent;
    std::vector<uint8_t> absent; // LDPC: the word's bits that are zero by agreement
    size_t absent_from = SIZE_MAX;
    std::vector<float> llr;

    //! Marks the bits of a word that carries this many information bits.
    void mark_absent(size_t bits_present)
    {
        if (absent_from == bits_present)
            return;
        absent.assign(ldpc_n, 0);
        for (size_t i = bits_present; i < ldpc_k; i++)
            absent[gnuradio_ldpc::get().position()[i]] = 1;
        absent_from = bits_present;
    }
};

payload_code::payload_code(fec code, size_t information_bits) : d_impl(std::make_unique<impl>())
{
    if (size_t(code) >= all_names().size())
        throw std::invalid_argument("fec number " + std::to_string(int(code)) + " is not known; use 0 to " +
                                    std::to_string(all_names().size() - 1));
    auto& d = *d_impl;
    d.code = code;
    d.n = information_bits;
    d.coded = coded_bits(code, information_bits);
    if (d.n == 0)
        return;
    if (convolutional(code)) {
        d.encoder = gr::fec::code::cc_encoder::make(
            int(d.n), constraint, 2, { 79, 109 }, 0, CC_TERMINATED, false);
        d.decoder = gr::fec::code::cc_decoder::make(
            int(d.n), constraint, 2, { 79, 109 }, 0, -1, CC_TERMINATED, false);
        d.word.resize(d.encoder->get_output_size() + 64); // the Viterbi kernel reads past its input
        d.information.resize(d.n + 64);
    } else if (code == fec::ldpc_1_2) {
        d.ldpc = std::make_unique<ldpc_decoder>(gnuradio_ldpc::get().code());
        d.word.resize(ldpc_n);
        d.information.resize(ldpc_k);
        d.llr.resize(ldpc_n);
    }
}

payload_code::~payload_code() = default;
payload_code::payload_code(payload_code&&) noexcept = default;
payload_code& payload_code::operator=(payload_code&&) noexcept = default;
fec payload_code::code() const { return d_impl->code; }
size_t payload_code::information_bits() const { return d_impl->n; }
size_t payload_code::coded_bits() const { return d_impl->coded; }

namespace {

/*! Calls f(first information bit, bits, first coded bit) for every word of a long code; words differ in
 * length by at most one bit. A word's information bits are followed by its parity. */
template <typename F>
void for_each_long_word(const dvbs2_code& code, size_t n, F&& f)
{
    const size_t words = long_words(code, n);
    for (size_t w = 0; w < words; w++) {
        const size_t from = n * w / words;
        f(from, n * (w + 1) / words - from, from + w * code.parity());
    }
}

/*! Calls f(word, first information bit, bits in this word, first coded bit) for every LDPC word. The
 * words differ in length by at most one bit. */
template <typename F>
void for_each_word(size_t n, F&& f)
{
    const size_t words = ldpc_words(n);
    size_t from = 0, coded = 0;
    for (size_t w = 0; w < words; w++) {
        const size_t bits = n * (w + 1) / words - n * w / words;
        f(from, bits, coded);
        from += bits;
        coded += bits + ldpc_n - ldpc_k;
    }
}

} // namespace

void payload_code::encode(const uint8_t* bits, uint8_t* coded)
{
    auto& d = *d_impl;
    if (d.n == 0)
        return;
    if (d.code == fec::none) {
        std::copy_n(bits, d.n, coded);
    } else if (convolutional(d.code)) {
        d.encoder->generic_work(const_cast<uint8_t*>(bits), d.word.data());
        const auto& pattern = puncturing(d.code);
        for (size_t i = 0; i < 2 * (d.n + constraint - 1); i++)
            if (pattern[i % pattern.size()])
                *coded++ = d.word[i];
    } else {
        if (const dvbs2_code* longer = long_code(d.code)) {
            std::vector<uint8_t> information(longer->k());
            for_each_long_word(*longer, d.n, [&](size_t from, size_t n, size_t to) {
                std::fill(information.begin(), information.end(), 0);
                std::copy_n(bits + from, n, information.begin());
                std::copy_n(bits + from, n, coded + to);
                longer->encode(information.data(), coded + to + n);
            });
            return;
        }
        for_each_word(d.n, [&](size_t from, size_t n, size_t to) {
            std::fill(d.information.begin(), d.information.end(), 0);
            std::copy_n(bits + from, n, d.information.begin());
            gnuradio_ldpc::get().encoder().encode(d.information.data(), d.word.data());
            d.mark_absent(n);
            for (size_t i = 0; i < ldpc_n; i++)
                if (!d.absent[i])
                    coded[to++] = d.word[i];
        });
    }
}

namespace {

constexpr float largest = 50; // LLR

DIFFUSION_VECTORISE double sum_of_sizes(const float* __restrict llr, size_t n)
{
    constexpr size_t lanes = 16; // partial sums, so that the compiler may vectorise
    double sum[lanes] = {};
    size_t i = 0;
    for (; i + lanes <= n; i += lanes)
        for (size_t j = 0; j < lanes; j++) {
            const float size = std::fabs(llr[i + j]);
            sum[j] += size < largest ? size : largest;
        }
    for (; i < n; i++)
        sum[0] += std::min(std::fabs(llr[i]), largest);
    double total = 0;
    for (double s : sum)
        total += s;
    return total;
}

//! Bytes as the Viterbi kernel takes them, 128 + gain * llr.
DIFFUSION_VECTORISE void quantise(const float* __restrict llr, float gain, uint8_t* __restrict to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = llr[i] < largest ? llr[i] : largest;
        x = 128.5f + gain * (x > -largest ? x : -largest);
        x = x > 0 ? x : 0; // a NaN becomes 0 here
        to[i] = uint8_t(int(x < 255 ? x : 255));
    }
}

} // namespace

bool payload_code::posterior_costs(fec code) { return convolutional(code); }

void payload_code::decode(const float* llr, uint8_t* bits, float* posterior)
{
    auto& d = *d_impl;
    if (posterior)
        std::copy_n(llr, d.coded, posterior);
    if (d.n == 0)
        return;
    if (d.code == fec::none) {
        for (size_t i = 0; i < d.n; i++)
            bits[i] = llr[i] > 0;
    } else if (convolutional(d.code)) {
        // The Viterbi kernel takes bytes, 128 = erasure; the mean reliability goes to a quarter of the
        // range, where neither rounding nor clipping costs anything that can be measured.
        const double mean = sum_of_sizes(llr, d.coded);
        const float gain = float(32 / std::max(mean / double(d.coded), 1e-6));
        const auto& pattern = puncturing(d.code);
        const size_t mother = 2 * (d.n + constraint - 1);
        if (d.coded == mother)
            quantise(llr, gain, d.word.data(), mother);
        else {
            d.sent.resize(d.coded);
            quantise(llr, gain, d.sent.data(), d.coded);
            const uint8_t* from = d.sent.data();
            for (size_t i = 0, turn = 0; i < mother; i++, turn = turn + 1 == pattern.size() ? 0 : turn + 1)
                d.word[i] = pattern[turn] ? *from++ : 128;
        }
        d.decoder->generic_work(d.word.data(), d.information.data());
        std::copy_n(d.information.begin(), d.n, bits);
        if (posterior)
            trellis_posterior(llr, d.n, pattern, posterior);
    } else {
        if (const dvbs2_code* longer = long_code(d.code)) {
            std::vector<float> word(longer->n());
            std::vector<uint8_t> information(longer->k());
            for_each_long_word(*longer, d.n, [&](size_t to, size_t n, size_t from) {
                std::fill(word.begin(), word.end(), -INFINITY); // what is not sent is 0 by agreement
                std::copy_n(llr + from, n, word.begin());
                std::copy_n(llr + from + n, longer->parity(), word.begin() + long(longer->k()));
                longer->decode(word.data(), information.data());
                std::copy_n(information.begin(), n, bits + to);
            });
            return;
        }
        for_each_word(d.n, [&](size_t to, size_t n, size_t from) {
            d.mark_absent(n);
            const size_t sent = from;
            for (size_t i = 0; i < ldpc_n; i++) {
                d.llr[i] = d.absent[i] ? -certain : llr[from++];
                if (std::isnan(d.llr[i]))
                    d.llr[i] = 0;
            }
            d.ldpc->decode(d.llr.data(), d.word.data());
            const auto& position = gnuradio_ldpc::get().position();
            for (size_t i = 0; i < n; i++)
                bits[to + i] = d.word[position[i]];
            if (posterior)
                for (size_t i = 0, at = sent; i < ldpc_n; i++)
                    if (!d.absent[i])
                        posterior[at++] = d.ldpc->posterior(i);
        });
    }
}

} // namespace gr::diffusion::dsp
