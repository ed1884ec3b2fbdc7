/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "distribution_matcher.h"
#include "arithmetic_coder.h"
#include "engine/exact_math.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

namespace {

// A cut among N <= 2^13 symbols is off by less than N out of 2^55 (arithmetic_coder.h).
// log2 of how much wider than 1/multinomial an interval can get: a cut that ends with the last symbol
// present widens it by at most N^2 / (2^55 c), c its remaining count; over all symbols and counts
// 2^26 / 2^55 * 256 * (1 + ln 8192) < 2^-17. The rest of 2^-15 covers the rounding of the logarithms.
constexpr double widening = 0x1p-15;

double log2_factorial(uint32_t n)
{
    static const std::vector<double> table = [] {
        std::vector<double> sums(distribution_matcher::max_length + 1, 0.0);
        for (size_t i = 2; i < sums.size(); i++)
            sums[i] = sums[i - 1] + engine::exact::log2(double(i));
        return sums;
    }();
    return table[n];
}

} // namespace

std::vector<uint32_t> quantize_composition(const std::vector<double>& pmf, size_t n)
{
    if (pmf.empty() || pmf.size() > distribution_matcher::max_alphabet)
        throw std::invalid_argument("quantize_composition: pmf has " + std::to_string(pmf.size()) +
                                    " entries, use 1 to 256");
    if (n < 1 || n > 65535)
        throw std::invalid_argument("quantize_composition: block length is " + std::to_string(n) +
                                    ", use 1 to 65535");
    double sum = 0;
    for (double p : pmf) {
        if (!(p >= 0) || !std::isfinite(p))
            throw std::invalid_argument("quantize_composition: pmf holds " + std::to_string(p) +
                                        ", probabilities must be finite and not negative");
        sum += p;
    }
    if (!(sum > 0) || !std::isfinite(sum))
        throw std::invalid_argument("quantize_composition: pmf sums to " + std::to_string(sum) +
                                    ", at least one probability must be positive");
    const size_t m = pmf.size();
    std::vector<double> log_p(m);
    std::vector<uint32_t> c(m);
    size_t total = 0;
    for (size_t i = 0; i < m; i++) {
        log_p[i] = engine::exact::log(pmf[i] / sum);
        c[i] = uint32_t(std::min(std::floor(pmf[i] / sum * double(n)), double(n - total)));
        total += c[i];
    }
    // n D = sum c log c - c log p + constant: what one unit more, or less, changes.
    auto x_log_x = [](double x) { return x > 0 ? x * engine::exact::log(x) : 0.0; };
    auto more = [&](size_t i) { return x_log_x(c[i] + 1.0) - x_log_x(c[i]) - log_p[i]; };
    auto less = [&](size_t i) { return x_log_x(c[i]) - x_log_x(c[i] - 1.0) - log_p[i]; };
    const double never = std::numeric_limits<double>::infinity();
    std::vector<double> up(m), down(m);
    for (size_t i = 0; i < m; i++) {
        up[i] = pmf[i] > 0 ? more(i) : never;
        down[i] = c[i] ? less(i) : -never;
    }
    auto move = [&](size_t i, int by) {
        c[i] += by;
        up[i] = more(i);
        down[i] = c[i] ? less(i) : -never;
    };
    while (true) {
        const size_t gain = std::min_element(up.begin(), up.end()) - up.begin();
        if (total < n) {
            move(gain, +1);
            total++;
            continue;
        }
        const size_t lose = std::max_element(down.begin(), down.end()) - down.begin();
        if (!(up[gain] < down[lose] - 1e-12)) // a tie, not a gain: must not swap for ever
            return c;
        move(lose, -1);
        move(gain, +1);
    }
}

/* What is left of every symbol, as a binary tree over the alphabet: one walk from the root finds a
 * symbol, or its place in the cumulative counts, and takes one of it away. */
struct distribution_matcher::counts {
    uint16_t left[max_alphabet];     // by tree node, from 1
    uint16_t remaining[max_alphabet]; // by symbol
    const int depth;

    explicit counts(const distribution_matcher& of) : depth(of.d_depth)
    {
        std::memcpy(left, of.d_tree.data(), of.d_tree.size() * sizeof(uint16_t));
        for (size_t s = 0; s < of.d_composition.size(); s++)
            remaining[s] = uint16_t(of.d_composition[s]);
    }

    //! Symbol in whose share of the cumulative counts \p position lies; position becomes its start.
    unsigned take_at(uint32_t& position)
    {
        unsigned node = 1;
        uint32_t start = 0, rest = position;
        for (int level = 0; level < depth; level++) {
            const uint32_t half = left[node];
            const uint32_t right = rest >= half;
            left[node] = uint16_t(half - (right ^ 1));
            rest -= half & (0 - right);
            start += half & (0 - right);
            node = 2 * node + right;
        }
        position = start;
        return node - (1u << depth);
    }

    //! Start of symbol s in the cumulative counts.
    uint32_t take(unsigned s)
    {
        uint32_t start = 0;
        unsigned node = 1;
        for (int level = depth - 1; level >= 0; level--) {
            const uint32_t right = s >> level & 1;
            const uint32_t half = left[node];
            left[node] = uint16_t(half - (right ^ 1));
            start += half & (0 - right);
            node = 2 * node + right;
        }
        return start;
    }
};

distribution_matcher::distribution_matcher(const std::vector<uint32_t>& composition)
    : d_composition(composition)
{
    if (composition.empty() || composition.size() > max_alphabet)
        throw std::invalid_argument("distribution_matcher: composition has " +
                                    std::to_string(composition.size()) + " symbols, use 1 to 256");
    uint64_t sum = 0;
    for (uint32_t c : composition)
        sum += c;
    if (sum < 1 || sum > max_length)
        throw std::invalid_argument("distribution_matcher: composition sums to " + std::to_string(sum) +
                                    ", use a block length of 1 to 8192");
    d_length = sum;
    d_log2_sequences = log2_factorial(uint32_t(sum));
    uint32_t largest = 0;
    size_t present = 0;
    for (uint32_t c : composition) {
        d_log2_sequences -= log2_factorial(c);
        largest = std::max(largest, c);
        present += c > 0;
    }
    // One odd symbol among n - 1 equal ones: every cut is free of remainders, so no margin is needed
    // (and n = 2^m, the only multinomial that is a power of two, keeps all its bits).
    if (present == 2 && largest == sum - 1)
        while ((uint64_t(2) << d_bits) <= sum)
            d_bits++;
    else
        d_bits = size_t(std::max(0.0, std::floor(d_log2_sequences - widening)));

    while ((size_t(1) << d_depth) < composition.size())
        d_depth++;
    const size_t leaves = size_t(1) << d_depth;
    std::vector<uint32_t> total(2 * leaves, 0);
    std::copy(composition.begin(), composition.end(), total.begin() + leaves);
    d_tree.assign(leaves, 0);
    for (size_t node = leaves - 1; node > 0; node--) {
        d_tree[node] = uint16_t(total[2 * node]);
        total[node] = total[2 * node] + total[2 * node + 1];
    }
}

std::vector<double> distribution_matcher::pmf() const
{
    std::vector<double> p;
    for (uint32_t c : d_composition)
        p.push_back(double(c) / double(d_length));
    return p;
}

void distribution_matcher::match(const uint8_t* bits, uint8_t* symbols) const
{
    counts left(*this);
    interval_finder interval(bits, d_bits);
    for (uint32_t n = uint32_t(d_length); n > 0; n--, symbols++) {
        uint32_t position = interval.position(n);
        const unsigned s = left.take_at(position);
        const uint32_t count = left.remaining[s]--;
        *symbols = uint8_t(s);
        interval.take(position, count, n);
    }
}

bool distribution_matcher::dematch(const uint8_t* symbols, uint8_t* bits) const
{
    counts left(*this);
    interval_builder<max_length> interval;
    bool good = true;
    for (uint32_t n = uint32_t(d_length); n > 0; n--, symbols++) {
        unsigned s = *symbols;
        if (s >= d_composition.size() || left.remaining[s] == 0) {
            good = false;
            // The nearest symbol that is still to come.
            const int size = int(d_composition.size());
            const int from = std::min(int(s), size - 1);
            for (int step = 0; step <= size; step++) {
                if (from - step >= 0 && left.remaining[from - step]) {
                    s = from - step;
                    break;
                }
                if (from + step < size && left.remaining[from + step]) {
                    s = from + step;
                    break;
                }
            }
        }
        const uint32_t position = left.take(s);
        interval.take(position, left.remaining[s]--, n);
    }
    return interval.round_up(d_bits, bits) && good;
}

} // namespace gr::diffusion::dsp
