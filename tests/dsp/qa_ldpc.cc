/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dsp/ldpc.h"
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>

using namespace gr::diffusion::dsp;

namespace {

struct file {
    explicit file(const std::string& text) : name("qa_ldpc.alist") { std::ofstream(name) << text; }
    ~file() { std::remove(name.c_str()); }
    std::string name;
};

// Hamming (7, 4): checks {0 1 2 4}, {0 1 3 5}, {0 2 3 6}.
const std::string hamming =
    "7 3\n3 4\n3 2 2 2 1 1 1\n4 4 4\n1 2 3\n1 2\n1 3\n2 3\n1\n2\n3\n1 2 3 5\n1 2 4 6\n1 3 4 7\n";

std::shared_ptr<const ldpc_code> load(const std::string& text) { return ldpc_code::load(file(text).name); }

//! log P(1)/P(0) of the most likely values bit by bit, by adding up all words.
std::vector<double> marginals(const std::vector<std::vector<uint8_t>>& words, const std::vector<float>& llr)
{
    std::vector<double> one(llr.size(), 0), zero(llr.size(), 0);
    for (const auto& word : words) {
        double p = 1;
        for (size_t b = 0; b < llr.size(); b++)
            p *= std::exp(word[b] ? llr[b] : 0.0f);
        for (size_t b = 0; b < llr.size(); b++)
            (word[b] ? one : zero)[b] += p;
    }
    for (size_t b = 0; b < llr.size(); b++)
        one[b] = std::log(one[b] / zero[b]);
    return one;
}

std::vector<std::vector<uint8_t>> all_words()
{
    const auto code = load(hamming);
    const ldpc_encoder encoder(*code, { 0, 1, 2, 3 });
    std::vector<std::vector<uint8_t>> words;
    for (int i = 0; i < 16; i++) {
        const uint8_t information[4] = { uint8_t(i & 1), uint8_t(i >> 1 & 1), uint8_t(i >> 2 & 1),
                                         uint8_t(i >> 3) };
        words.emplace_back(7);
        encoder.encode(information, words.back().data());
        for (int b = 0; b < 4; b++)
            BOOST_TEST(words.back()[size_t(b)] == information[b]);
        BOOST_TEST(code->is_word(words.back().data()));
    }
    return words;
}

} // namespace

BOOST_AUTO_TEST_CASE(words_fulfil_the_checks)
{
    const auto words = all_words();
    auto broken = words[5];
    broken[2] ^= 1;
    BOOST_TEST(!load(hamming)->is_word(broken.data()));
}

BOOST_AUTO_TEST_CASE(layers_share_no_bit)
{
    const auto code = load("4 2\n1 2\n1 1 1 1\n2 2\n1\n1\n2\n2\n1 2\n3 4\n");
    BOOST_TEST(code->layers().size() == 1u);
    BOOST_TEST(load(hamming)->layers().size() == 3u);
}

BOOST_AUTO_TEST_CASE(every_single_error_is_corrected)
{
    ldpc_decoder decoder(load(hamming));
    std::vector<uint8_t> decided(7);
    for (const auto& word : all_words())
        for (size_t wrong = 0; wrong < 8; wrong++) {
            std::vector<float> llr(7);
            for (size_t b = 0; b < 7; b++)
                llr[b] = (word[b] ? 4.0f : -4.0f) * (b == wrong ? -0.2f : 1.0f);
            BOOST_TEST(decoder.decode(llr.data(), decided.data()));
            BOOST_TEST(decided == word, boost::test_tools::per_element());
            BOOST_TEST((decoder.iterations() == 0) == (wrong == 7)); // a word as it is costs no iteration
        }
}

//! On a tree the sum-product algorithm gives the exact marginals: one check of four bits.
BOOST_AUTO_TEST_CASE(check_node_is_exact)
{
    const auto code = load("4 1\n1 4\n1 1 1 1\n4\n1\n1\n1\n1\n1 2 3 4\n");
    std::vector<std::vector<uint8_t>> words;
    for (int i = 0; i < 16; i++)
        if (__builtin_popcount(unsigned(i)) % 2 == 0)
            words.push_back({ uint8_t(i & 1), uint8_t(i >> 1 & 1), uint8_t(i >> 2 & 1), uint8_t(i >> 3) });
    ldpc_decoder decoder(code, 1);
    for (const auto& llr :
         { std::vector<float>{ 3, -2, 1.5f, 0.1f }, { 0.2f, 0.3f, -0.4f, -0.01f }, { -9, 8, 2, 5 } }) {
        std::vector<uint8_t> decided(4);
        decoder.decode(llr.data(), decided.data());
        const auto exact = marginals(words, llr);
        for (size_t b = 0; b < 4; b++)
            BOOST_TEST(decided[b] == (exact[b] > 0));
    }
}

BOOST_AUTO_TEST_CASE(what_is_no_code_is_refused)
{
    BOOST_CHECK_THROW(ldpc_code::load("no_such.alist"), std::runtime_error);
    for (const char* text : { "", "seven", "7 3\n3 4\n3 2", "7 9\n1 1\n", "2 1\n1 2\n1 1\n2\n5\n1\n1 2\n",
                              "3 1\n1 3\n1 1 1\n2\n1\n1\n1\n1 2 3\n", "7 -3\n" })
        BOOST_CHECK_THROW(load(text), std::runtime_error);
    BOOST_CHECK_THROW(ldpc_encoder(*load(hamming), { 0, 1, 2 }), std::runtime_error);
    BOOST_CHECK_THROW(ldpc_encoder(*load(hamming), { 0, 1, 2, 4 }), std::runtime_error); // a word of its own
}
