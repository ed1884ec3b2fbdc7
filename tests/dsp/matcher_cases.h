/* SPDX-License-Identifier: GPL-3.0-or-later */
// What both matchers are tried on: pmfs of all kinds, and small blocks to the last input.
#pragma once
#include <boost/test/unit_test.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

using bytes = std::vector<uint8_t>;

inline std::vector<double> make_pmf(int kind, size_t m, std::mt19937& random)
{
    std::vector<double> p(m);
    std::exponential_distribution<double> exponential;
    for (size_t i = 0; i < m; i++)
        switch (kind) {
        case 0: p[i] = 1; break;                                        // uniform
        case 1: p[i] = std::exp(-0.002 * double(i) * double(i)); break; // Maxwell-Boltzmann
        case 2: p[i] = exponential(random); break;                      // anything
        case 3: p[i] = random() % 2 ? exponential(random) : 0; break;   // with holes
        case 4: p[i] = i == m / 2 ? 1 : 1e-4; break;                    // nearly one symbol
        default: p[i] = std::pow(0.5, double(i)); break;                // dyadic
        }
    if (*std::max_element(p.begin(), p.end()) == 0)
        p[0] = 1;
    return p;
}

//! Every input one way and back, no two alike.
template <class Matcher>
void every_input_comes_back(const Matcher& m, size_t length)
{
    std::map<bytes, size_t> seen;
    for (size_t value = 0; value < (size_t(1) << m.bits()); value++) {
        bytes bits(m.bits()), symbols(length), back(m.bits());
        for (size_t i = 0; i < bits.size(); i++)
            bits[i] = value >> (bits.size() - 1 - i) & 1;
        m.match(bits.data(), symbols.data());
        BOOST_REQUIRE(seen.emplace(symbols, value).second);
        BOOST_REQUIRE(m.dematch(symbols.data(), back.data()));
        BOOST_REQUIRE(back == bits);
    }
}
