/* SPDX-License-Identifier: GPL-3.0-or-later */
// Constant-composition matcher: whatever goes in comes back, for every composition and length tried.
#include "dsp/distribution_matcher.h"
#include "dsp/shaping_code.h"
#include "matcher_cases.h"
#include <boost/test/unit_test.hpp>
#include <algorithm>
#include <cmath>
#include <random>

using gr::diffusion::dsp::distribution_matcher;
using gr::diffusion::dsp::quantize_composition;
using gr::diffusion::dsp::shaping_code;

namespace {

std::vector<bytes> inputs(size_t k, std::mt19937& random)
{
    std::vector<bytes> all = { bytes(k, 0), bytes(k, 1) };
    bytes alternate(k), one_first(k, 0), one_last(k, 0), random_bits(k);
    for (size_t i = 0; i < k; i++) {
        alternate[i] = i & 1;
        random_bits[i] = random() & 1;
    }
    if (k) {
        one_first[0] = 1;
        one_last[k - 1] = 1;
    }
    for (auto& x : { alternate, one_first, one_last, random_bits })
        all.push_back(x);
    return all;
}

void check(const distribution_matcher& m, std::mt19937& random)
{
    BOOST_REQUIRE_LE(double(m.bits()), m.log2_sequences() + 1e-9);
    BOOST_REQUIRE_GT(double(m.bits()), m.log2_sequences() - 1.0001);
    for (const bytes& bits : inputs(m.bits(), random)) {
        bytes symbols(m.length()), back(m.bits(), 9);
        m.match(bits.data(), symbols.data());
        std::vector<uint32_t> counts(m.alphabet(), 0);
        for (auto s : symbols)
            counts.at(s)++;
        BOOST_REQUIRE(counts == m.composition());
        BOOST_REQUIRE(m.dematch(symbols.data(), back.data()));
        BOOST_REQUIRE(back == bits);
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(every_kind_of_pmf_and_length_comes_back)
{
    std::mt19937 random(1);
    for (int kind = 0; kind < 6; kind++)
        for (size_t m : { 1, 2, 3, 4, 10, 16, 36, 64, 255, 256 })
            for (size_t n : { 1, 2, 64, 100, 127, 511, 1024, 4095, 8192 })
                check(distribution_matcher(quantize_composition(make_pmf(kind, m, random), n)), random);
}

BOOST_AUTO_TEST_CASE(every_length_comes_back)
{
    std::mt19937 random(2);
    // Each with another kind of pmf, in turn.
    for (size_t n = 64; n <= 8192; n++)
        check(distribution_matcher(quantize_composition(make_pmf(int(n % 6), 16, random), n)), random);
}

BOOST_AUTO_TEST_CASE(small_blocks_exhaustively)
{
    // Every composition of 10 over 4 symbols.
    for (uint32_t a = 0; a <= 10; a++)
        for (uint32_t b = 0; a + b <= 10; b++)
            for (uint32_t c = 0; a + b + c <= 10; c++) {
                const distribution_matcher m({ a, b, c, 10 - a - b - c });
                every_input_comes_back(m, 10);
            }
}

BOOST_AUTO_TEST_CASE(powers_of_two_keep_their_bits)
{
    std::mt19937 random(3);
    for (uint32_t log = 1; log <= 13; log++)
        for (auto c : { std::vector<uint32_t>{ (1u << log) - 1, 1 }, { 1, 0, (1u << log) - 1 } }) {
            const distribution_matcher m(c);
            BOOST_TEST(m.bits() == log);
            check(m, random);
        }
}

BOOST_AUTO_TEST_CASE(any_symbols_give_some_bits_and_say_so)
{
    std::mt19937 random(4);
    const distribution_matcher m({ 40, 30, 20, 10 });
    bytes symbols(100), bits(m.bits());
    for (int trial = 0; trial < 2000; trial++) {
        for (auto& s : symbols)
            s = trial % 2 ? random() % 4 : random() % 256;
        BOOST_TEST(!m.dematch(symbols.data(), bits.data()));
        for (auto b : bits)
            BOOST_REQUIRE(b <= 1);
    }
}

BOOST_AUTO_TEST_CASE(bad_compositions_are_named)
{
    BOOST_CHECK_THROW(distribution_matcher({}), std::invalid_argument);
    BOOST_CHECK_THROW(distribution_matcher({ 0, 0 }), std::invalid_argument);
    BOOST_CHECK_THROW(distribution_matcher({ 8193 }), std::invalid_argument);
    BOOST_CHECK_THROW(distribution_matcher(std::vector<uint32_t>(257, 1)), std::invalid_argument);
    BOOST_CHECK_THROW(distribution_matcher({ 0xFFFFFFFFu, 2 }), std::invalid_argument);
    BOOST_CHECK_THROW(quantize_composition({}, 64), std::invalid_argument);
    BOOST_CHECK_THROW(quantize_composition({ 0, 0 }, 64), std::invalid_argument);
    BOOST_CHECK_THROW(quantize_composition({ 1, -1 }, 64), std::invalid_argument);
    BOOST_CHECK_THROW(quantize_composition({ 1, NAN }, 64), std::invalid_argument);
    BOOST_CHECK_THROW(quantize_composition({ 1 }, 0), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(shaped_blocks_come_back_and_have_their_pmf)
{
    std::mt19937 random(5);
    const bytes class_of = { 0, 1, 1, 0, 2, 0, 0, 2, 3, 4, 4, 4, 4, 2, 2, 5 };
    for (uint32_t n : { 64, 1000, 8192 }) {
        const shaping_code code(class_of, quantize_composition({ 5, 1, 3, 0.5, 2, 0 }, n));
        for (const bytes& bits : inputs(code.bits(), random)) {
            bytes symbols(n), back(code.bits());
            code.encode(bits.data(), symbols.data());
            BOOST_REQUIRE(code.decode(symbols.data(), back.data()));
            BOOST_REQUIRE(back == bits);
            symbols[0] = 200;
            BOOST_REQUIRE(!code.decode(symbols.data(), back.data()));
        }
    }
    BOOST_CHECK_THROW(shaping_code({ 0, 0, 0 }, { 64 }), std::invalid_argument);
    BOOST_CHECK_THROW(shaping_code({ 0, 2 }, { 32, 32 }), std::invalid_argument);
}
