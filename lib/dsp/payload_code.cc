/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "payload_code.h"
#include "random.h"
#include <gnuradio/constants.h>
#include <gnuradio/fec/cc_decoder.h>
#include <gnuradio/fec/cc_encoder.h>
#include <gnuradio/fec/ldpc_decoder.h>
#include <gnuradio/fec/ldpc_encoder.h>
#include <algorithm>
#include <cmath>
#include <mutex>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {

constexpr int constraint = 7;
constexpr size_t ldpc_n = 1800, ldpc_k = 902;

const std::vector<std::string> names = { "none", "cc-1/2", "cc-2/3", "cc-3/4", "ldpc-1/2" };

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

/*! The LDPC pair and where its code words carry information bits. Building it costs a Gaussian
 * elimination (about 0.1 s each), so every payload_code of the process shares one. gr-fec's objects
 * keep state while they work, hence the lock; it is held for one code word, never for one sample. */
class ldpc_pair
{
public:
    static ldpc_pair& get()
    {
        static ldpc_pair pair;
        return pair;
    }

    void encode(const uint8_t* information, uint8_t* word)
    {
        std::lock_guard<std::mutex> lock(d_mutex);
        d_encoder->generic_work(const_cast<uint8_t*>(information), word);
    }

    void decode(const float* llr, uint8_t* information)
    {
        std::lock_guard<std::mutex> lock(d_mutex);
        d_decoder->generic_work(const_cast<float*>(llr), information);
    }

    //! Where information bit i is in the code word.
    const std::vector<size_t>& position() const { return d_position; }

private:
    ldpc_pair()
    {
        const std::string file = gr::prefix() + "/share/gnuradio/fec/ldpc/n_1800_k_0902_gap_28.alist";
        try {
            d_encoder = gr::fec::ldpc_encoder::make(file);
            d_decoder = gr::fec::ldpc_decoder::make(file, 1.0f, 40);
        } catch (const std::exception& e) {
            throw std::runtime_error("ldpc-1/2: GNU Radio's " + file + " cannot be used (" + e.what() +
                                     "); reinstall gnuradio, or use cc-1/2");
        }
        if (d_encoder->get_input_size() != int(ldpc_k) || d_encoder->get_output_size() != int(ldpc_n))
            throw std::runtime_error("ldpc-1/2: " + file + " is not the (1800, 902) code; use cc-1/2");
        find_positions();
    }

    //! The code is systematic up to a permutation gr-fec keeps to itself: with 64 random words every
    //! bit has a signature, and an information bit's is found again where it was put.
    void find_positions()
    {
        random_source random(64);
        std::vector<uint8_t> information(ldpc_k), word(ldpc_n);
        std::vector<uint64_t> wanted(ldpc_k), found(ldpc_n);
        for (int w = 0; w < 64; w++) {
            for (auto& bit : information)
                bit = random.bits() >> 63;
            encode(information.data(), word.data());
            for (size_t i = 0; i < ldpc_k; i++)
                wanted[i] = 2 * wanted[i] + information[i];
            for (size_t i = 0; i < ldpc_n; i++)
                found[i] = 2 * found[i] + word[i];
        }
        for (size_t i = 0; i < ldpc_k; i++) {
            const auto where = std::find(found.begin(), found.end(), wanted[i]);
            if (where == found.end())
                throw std::runtime_error("ldpc-1/2: gr-fec's encoder is not systematic; use cc-1/2");
            d_position.push_back(where - found.begin());
        }
    }

    std::mutex d_mutex;
    gr::fec::generic_encoder::sptr d_encoder;
    gr::fec::generic_decoder::sptr d_decoder;
    std::vector<size_t> d_position;
};

/* gr-fec's belief propagation works in a scale of its own: it decodes best with 1.4 to 2 times the true
 * LLR at sigma = 1 and not at all with the LLR itself. An LLR of exactly 0, or one beyond about 20, ends
 * in a NaN inside, so erasures become almost 0 and certainty is bounded. */
constexpr float ldpc_gain = 1.8f, ldpc_limit = 15, ldpc_least = 0.01f;

float to_ldpc(float llr)
{
    const float x = std::clamp(ldpc_gain * llr, -ldpc_limit, ldpc_limit);
    return std::abs(x) < ldpc_least ? std::copysign(ldpc_least, x) : x;
}

size_t ldpc_words(size_t information_bits) { return (information_bits + ldpc_k - 1) / ldpc_k; }

} // namespace

fec fec_from_name(const std::string& name)
{
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
        throw std::invalid_argument("fec is '" + name + "'; use none, cc-1/2, cc-2/3, cc-3/4 or ldpc-1/2");
    return fec(found - names.begin());
}

const char* fec_name(fec code) { return names.at(size_t(code)).c_str(); }
const std::vector<std::string>& fec_names() { return names; }

size_t payload_code::coded_bits(fec code, size_t n)
{
    if (n == 0 || code == fec::none)
        return n;
    if (convolutional(code))
        return kept(code, 2 * (n + constraint - 1));
    return n + ldpc_words(n) * (ldpc_n - ldpc_k);
}

struct payload_code::impl {
    fec code;
    size_t n, coded;
    gr::fec::generic_encoder::sptr encoder; // convolutional only
    gr::fec::generic_decoder::sptr decoder;
    std::vector<uint8_t> word, information;
    std::vector<float> llr;
};

payload_code::payload_code(fec code, size_t information_bits) : d_impl(std::make_unique<impl>())
{
    if (size_t(code) >= names.size())
        throw std::invalid_argument("fec number " + std::to_string(int(code)) + " is not known; use 0 to 4");
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
        ldpc_pair::get();
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

//! Marks the code word's bits that are zero by agreement.
std::vector<uint8_t> shortened(size_t bits)
{
    std::vector<uint8_t> absent(ldpc_n, 0);
    for (size_t i = bits; i < ldpc_k; i++)
        absent[ldpc_pair::get().position()[i]] = 1;
    return absent;
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
        for_each_word(d.n, [&](size_t from, size_t n, size_t to) {
            std::fill(d.information.begin(), d.information.end(), 0);
            std::copy_n(bits + from, n, d.information.begin());
            ldpc_pair::get().encode(d.information.data(), d.word.data());
            const auto absent = shortened(n);
            for (size_t i = 0; i < ldpc_n; i++)
                if (!absent[i])
                    coded[to++] = d.word[i];
        });
    }
}

void payload_code::decode(const float* llr, uint8_t* bits)
{
    auto& d = *d_impl;
    if (d.n == 0)
        return;
    if (d.code == fec::none) {
        for (size_t i = 0; i < d.n; i++)
            bits[i] = llr[i] > 0;
    } else if (convolutional(d.code)) {
        // The Viterbi kernel takes bytes, 128 = erasure; the mean reliability goes to a quarter of the
        // range, where neither rounding nor clipping costs anything that can be measured.
        double mean = 0;
        for (size_t i = 0; i < d.coded; i++)
            mean += std::min(std::abs(llr[i]), 50.0f);
        const float gain = float(32 / std::max(mean / d.coded, 1e-6));
        const auto& pattern = puncturing(d.code);
        const size_t mother = 2 * (d.n + constraint - 1);
        for (size_t i = 0; i < mother; i++)
            d.word[i] = pattern[i % pattern.size()]
                            ? uint8_t(std::clamp(128 + std::lround(gain * std::clamp(*llr++, -50.0f, 50.0f)), 0l, 255l))
                            : 128;
        d.decoder->generic_work(d.word.data(), d.information.data());
        std::copy_n(d.information.begin(), d.n, bits);
    } else {
        for_each_word(d.n, [&](size_t to, size_t n, size_t from) {
            const auto absent = shortened(n);
            for (size_t i = 0; i < ldpc_n; i++)
                d.llr[i] = absent[i] ? -ldpc_limit : to_ldpc(llr[from++]);
            ldpc_pair::get().decode(d.llr.data(), d.information.data());
            std::copy_n(d.information.begin(), n, bits + to);
        });
    }
}

} // namespace gr::diffusion::dsp
