/* SPDX-License-Identifier: GPL-3.0-or-later */
// Sphere shaping: whatever goes in comes back, counts are those of exact integers, limits are kept.
#include "dsp/sphere_matcher.h"
#include "dsp/sphere_trellis.h"
#include "dsp/shaping_code.h"
#include "matcher_cases.h"
#include <boost/test/unit_test.hpp>
#include <algorithm>
#include <cmath>
#include <random>

using namespace gr::diffusion::dsp;

namespace {

void check(const sphere_matcher& m, std::mt19937& random, int more = 2)
{
    std::vector<bytes> all = { bytes(m.bits(), 0), bytes(m.bits(), 1), bytes(m.bits(), 0) };
    if (m.bits())
        all[2].back() = 1;
    for (int i = 0; i < more; i++) {
        all.emplace_back(m.bits());
        for (auto& b : all.back())
            b = random() & 1;
    }
    bytes symbols(m.length()), back(m.bits());
    for (const bytes& bits : all) {
        m.match(bits.data(), symbols.data());
        uint64_t cost = 0;
        for (auto s : symbols) {
            BOOST_REQUIRE_NE(m.costs().at(s), sphere_costs::never);
            cost += m.costs()[s];
        }
        if (m.spheres() == 1)
            BOOST_REQUIRE_LE(cost, m.limit());
        std::fill(back.begin(), back.end(), uint8_t(9));
        BOOST_REQUIRE(m.dematch(symbols.data(), back.data()));
        BOOST_REQUIRE(back == bits);
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(every_kind_of_pmf_and_length_comes_back)
{
    std::mt19937 random(1);
    for (int kind = 0; kind < 6; kind++)
        for (size_t m : { 1, 2, 3, 16, 64, 256 })
            for (size_t n : { 1, 2, 64, 127, 300 })
                check(*sphere_matcher::of(make_pmf(kind, m, random), n), random);
    for (size_t n : { 511, 1024, 4095, 8192 })
        for (int kind : { 1, 2, 5 })
            check(*sphere_matcher::of(make_pmf(kind, 8, random), n), random, 1);
}

BOOST_AUTO_TEST_CASE(every_length_comes_back)
{
    std::mt19937 random(2);
    const std::vector<uint32_t> energies = { 0, 1, 1, 2, 3, 3, 4, 4, 6, 6, 7, 7, 9, 9, 9, 12 };
    // One trellis for all: the reach of the largest.
    const auto keep = sphere_trellis::get(
        { { 0, 1 }, { 1, 2 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 6, 2 }, { 7, 2 }, { 9, 3 }, { 12, 1 } }, 700,
        4000);
    for (size_t n = 64; n <= 8192; n += n < 1024 ? 1 : 13)
        check(sphere_matcher(energies, 2.0 + double(n % 5) / 2, n), random, 1);
}

BOOST_AUTO_TEST_CASE(small_blocks_exhaustively)
{
    for (const auto& costs :
         { std::vector<uint32_t>{ 0, 1, 3, 6 }, { 0, 0, 5, sphere_costs::never, 2 }, { 2, 0 } })
        for (double mean : { 0.0, 0.4, 1.0, 1.7, 3.0 }) {
            const sphere_matcher m(costs, mean, 7);
            every_input_comes_back(m, 7);
        }
}

BOOST_AUTO_TEST_CASE(counts_are_those_of_exact_integers)
{
    const std::vector<sphere_group> groups = { { 0, 1 }, { 1, 2 }, { 3, 1 } };
    const auto trellis = sphere_trellis::get(groups, 30, 60);
    std::vector<std::vector<uint64_t>> exact(31, std::vector<uint64_t>(61, 1)); // 4^30 fits
    for (size_t n = 1; n <= 30; n++)
        for (size_t c = 0; c <= 60; c++) {
            exact[n][c] = 0;
            for (const auto& g : groups)
                if (g.cost <= c)
                    exact[n][c] += g.size * exact[n - 1][c - g.cost];
            const double count = std::exp2(trellis->log2_count(n, c));
            BOOST_REQUIRE_LE(count, double(exact[n][c]) * (1 + 1e-9)); // rounded down, never up
            BOOST_REQUIRE_GT(count, double(exact[n][c]) * (1 - 1e-4));
        }
}

BOOST_AUTO_TEST_CASE(any_symbols_give_some_bits_and_say_so)
{
    std::mt19937 random(4);
    const sphere_matcher m({ 0, 1, 3, 6 }, 0.5, 100);
    bytes symbols(100), bits(m.bits());
    for (int trial = 0; trial < 500; trial++) {
        for (auto& s : symbols)
            s = trial % 2 ? random() % 4 : random() % 256;
        BOOST_TEST(!m.dematch(symbols.data(), bits.data()));
        for (auto b : bits)
            BOOST_REQUIRE(b <= 1);
    }
}

BOOST_AUTO_TEST_CASE(bad_settings_are_named)
{
    BOOST_CHECK_THROW(sphere_matcher({}, 1, 64), std::invalid_argument);
    BOOST_CHECK_THROW(sphere_matcher({ 1, 2 }, 1, 64), std::invalid_argument);
    BOOST_CHECK_THROW(sphere_matcher({ 0, 70000 }, 1, 64), std::invalid_argument);
    BOOST_CHECK_THROW(sphere_matcher({ 0, 1 }, -1, 64), std::invalid_argument);
    BOOST_CHECK_THROW(sphere_matcher({ 0, 1 }, NAN, 64), std::invalid_argument);
    BOOST_CHECK_THROW(sphere_matcher({ 0, 1 }, 1, 0), std::invalid_argument);
    BOOST_CHECK_THROW(sphere_matcher({ 0, 1 }, 1, 8193), std::invalid_argument);
    BOOST_CHECK_THROW(sphere_costs::of({ 0, 0 }), std::invalid_argument);
    BOOST_CHECK_THROW(sphere_costs::of({ 1, -1 }), std::invalid_argument);
    BOOST_CHECK_THROW(sphere_costs::of({ 1, 1 }, { 1 }), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(shaped_blocks_come_back)
{
    std::mt19937 random(5);
    const bytes class_of = { 0, 1, 1, 0, 2, 0, 0, 2, 3, 4, 4, 4, 4, 2, 2, 5 };
    for (size_t n : { 64, 1000, 8192 }) {
        const auto code = shaping_code::sphere(class_of, { 5, 1, 3, 0.5, 2, 0.1 }, n);
        for (int trial = 0; trial < 4; trial++) {
            bytes bits(code.bits()), symbols(n), back(code.bits());
            for (auto& b : bits)
                b = trial < 2 ? uint8_t(trial) : uint8_t(random() & 1);
            code.encode(bits.data(), symbols.data());
            BOOST_REQUIRE(code.decode(symbols.data(), back.data()));
            BOOST_REQUIRE(back == bits);
            symbols[0] = 200;
            BOOST_REQUIRE(!code.decode(symbols.data(), back.data()));
        }
    }
    BOOST_CHECK_THROW(shaping_code::sphere({ 0, 0, 0 }, { 1 }, 64), std::invalid_argument);
}
