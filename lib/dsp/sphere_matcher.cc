/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sphere_matcher.h"
#include "arithmetic_coder.h"
#include "engine/exact_math.h"
#include "sphere_trellis.h"
#include <algorithm>
#include <map>

namespace gr::diffusion::dsp {

namespace {

constexpr double widening = 0x1p-8;     // bits of log2 that the coder's rounding may take of a block
constexpr double largest_trellis = 1.5e6; // states of a sphere's trellis, 12 MB
constexpr size_t largest_sphere = 1024;

std::vector<double> normalised(const std::vector<double>& pmf)
{
    if (pmf.empty() || pmf.size() > block_matcher::max_alphabet)
        throw std::invalid_argument("sphere shaping: pmf has " + std::to_string(pmf.size()) +
                                    " entries, use 1 to 256");
    double sum = 0;
    for (double p : pmf) {
        if (!(p >= 0) || !std::isfinite(p))
            throw std::invalid_argument("sphere shaping: pmf holds " + std::to_string(p) +
                                        ", probabilities must be finite and not negative");
        sum += p;
    }
    if (!(sum > 0) || !std::isfinite(sum))
        throw std::invalid_argument("sphere shaping: pmf sums to " + std::to_string(sum) +
                                    ", at least one probability must be positive");
    std::vector<double> p(pmf);
    for (double& x : p)
        x /= sum;
    return p;
}

double mean_of(const std::vector<uint32_t>& costs, const std::vector<double>& p)
{
    double sum = 0;
    for (size_t i = 0; i < costs.size(); i++)
        if (p[i] > 0)
            sum += p[i] * double(costs[i]);
    return sum;
}

} // namespace

std::vector<uint32_t> sphere_costs::of(const std::vector<double>& pmf, const std::vector<uint32_t>& energy)
{
    const auto p = normalised(pmf);
    if (!energy.empty()) {
        if (energy.size() != p.size())
            throw std::invalid_argument("sphere shaping: " + std::to_string(energy.size()) +
                                        " energies for " + std::to_string(p.size()) + " symbols");
        std::vector<uint32_t> costs(energy);
        const uint32_t least = *std::min_element(costs.begin(), costs.end());
        for (auto& c : costs)
            c -= least;
        return costs;
    }
    const double top = engine::exact::log(*std::max_element(p.begin(), p.end()));
    std::vector<uint32_t> costs;
    for (double x : p)
        costs.push_back(x > 0 ? uint32_t(std::lround(8 * (top - engine::exact::log(x)))) : never);
    return costs;
}

std::shared_ptr<const sphere_matcher> sphere_matcher::of(const std::vector<double>& pmf, size_t length,
                                                         const std::vector<uint32_t>& energy)
{
    const auto costs = sphere_costs::of(pmf, energy);
    return std::make_shared<const sphere_matcher>(costs, mean_of(costs, normalised(pmf)), length);
}

sphere_matcher::sphere_matcher(const std::vector<uint32_t>& costs, double mean_cost, size_t length)
    : d_costs(costs), d_length(length), d_places(costs.size(), { UINT16_MAX, 0 }), d_pmf(costs.size(), 0.0)
{
    if (costs.empty() || costs.size() > max_alphabet)
        throw std::invalid_argument("sphere shaping: " + std::to_string(costs.size()) +
                                    " costs, use 1 to 256");
    if (length < 1 || length > max_length)
        throw std::invalid_argument("sphere shaping: block length is " + std::to_string(length) +
                                    ", use 1 to 8192");
    if (!(mean_cost >= 0))
        throw std::invalid_argument("sphere shaping: mean cost is " + std::to_string(mean_cost) +
                                    ", use 0 or more");
    std::map<uint32_t, std::vector<uint8_t>> by_cost;
    for (size_t s = 0; s < costs.size(); s++) {
        if (costs[s] == sphere_costs::never)
            continue;
        if (costs[s] > 65535)
            throw std::invalid_argument("sphere shaping: cost " + std::to_string(costs[s]) +
                                        ", use 0 to 65535");
        by_cost[costs[s]].push_back(uint8_t(s));
    }
    if (by_cost.empty() || by_cost.begin()->first != 0)
        throw std::invalid_argument("sphere shaping: no symbol of cost 0");
    std::vector<sphere_group> groups;
    double mean = 0, square = 0, symbols = 0;
    for (const auto& [cost, members] : by_cost) {
        for (size_t r = 0; r < members.size(); r++)
            d_places[members[r]] = { uint16_t(groups.size()), uint16_t(r) };
        d_first.push_back(uint16_t(d_members.size()));
        d_members.insert(d_members.end(), members.begin(), members.end());
        groups.push_back({ cost, uint32_t(members.size()) });
        mean += double(cost) * double(members.size());
        square += double(cost) * double(cost) * double(members.size());
        symbols += double(members.size());
    }
    mean /= symbols;
        // The trellis reaches as far as equally likely symbols do; where those cost very much, to twice the
        // wanted mean.
    const double reach = std::min(mean, std::max(2 * mean_cost, 8.0));
    const double spread = std::min(std::sqrt(std::max(0.0, square / symbols - mean * mean)), reach);
    size_t longest = size_t(std::sqrt(largest_trellis / std::max(reach + 1e-9, 1.0)));
    longest = std::min({ longest, largest_sphere, length });
    longest = std::max<size_t>(longest, 1);
    const size_t count = (length + longest - 1) / longest, least = length / count, more = length % count;
    const size_t n = least + (more > 0);
    const double far = std::min(double(n) * double(groups.back().cost),
                                double(n) * reach + 4 * std::sqrt(double(n)) * spread + 8);
    d_trellis = sphere_trellis::get(groups, n, size_t(far));
    // For each size the limit next to the wanted mean, which rises with the limit.
    std::map<size_t, uint32_t> limits;
    for (const size_t size : { least, n }) {
        uint32_t low = 0, high = uint32_t(far);
        while (low < high) {
            const uint32_t middle = (low + high) / 2;
            if (d_trellis->mean_cost(size, middle) < mean_cost)
                low = middle + 1;
            else
                high = middle;
        }
        if (low > 0 &&
            mean_cost - d_trellis->mean_cost(size, low - 1) < d_trellis->mean_cost(size, low) - mean_cost)
            low--;
        limits[size] = low;
    }
    double log2_blocks = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t size = least + (i < more);
        d_spheres.push_back({ uint32_t(size), limits[size] });
        log2_blocks += d_trellis->log2_count(size, limits[size]);
        const auto& root = d_trellis->at(size, limits[size]);
        for (size_t s = 0; s < costs.size(); s++)
            if (costs[s] != sphere_costs::never)
                d_pmf[s] += double(d_trellis->branch(root, size, limits[size], d_places[s].group)) /
                            double(root.mantissa) * double(size) / double(length);
    }
    d_bits = size_t(std::max(0.0, std::floor(log2_blocks - widening)));
}

double sphere_matcher::mean_cost() const { return mean_of(d_costs, d_pmf); }

void sphere_matcher::match(const uint8_t* bits, uint8_t* symbols) const
{
    const sphere_trellis& trellis = *d_trellis;
    interval_finder interval(bits, d_bits);
    for (const sphere& of : d_spheres) {
        uint32_t cost = of.limit;
        for (uint32_t n = of.length; n > 0; n--) {
            const auto& state = trellis.at(n, cost);
            // Groups lie from the top down, the cheapest first: it is likely, and large enough for the
            // coder's remainder.
            const uint32_t total = state.mantissa;
            uint32_t above = total - 1 - interval.position(total), end = total, unit = 0;
            size_t g = 0;
            for (;; g++) {
                unit = trellis.branch(state, n, cost, g);
                const uint32_t all = unit * trellis.groups()[g].size;
                if (above < all)
                    break;
                above -= all;
                end -= all;
            }
            const uint32_t rank = above / unit;
            *symbols++ = d_members[d_first[g] + rank];
            interval.take(end - (rank + 1) * unit, unit, total);
            cost -= trellis.groups()[g].cost;
        }
    }
}

bool sphere_matcher::dematch(const uint8_t* symbols, uint8_t* bits) const
{
    const sphere_trellis& trellis = *d_trellis;
    interval_builder<3 * max_length> interval; // a branch may be one unit of 2^24
    bool good = true;
    for (const sphere& of : d_spheres) {
        uint32_t cost = of.limit;
        for (uint32_t n = of.length; n > 0; n--) {
            const unsigned s = *symbols++;
            const auto& state = trellis.at(n, cost);
            place at = s < d_places.size() ? d_places[s] : place{ UINT16_MAX, 0 };
            if (at.group == UINT16_MAX || trellis.branch(state, n, cost, at.group) == 0) {
                good = false;
                at = { 0, 0 };
            }
            uint32_t end = state.mantissa;
            for (size_t g = 0; g < at.group; g++)
                end -= trellis.branch(state, n, cost, g) * trellis.groups()[g].size;
            const uint32_t unit = trellis.branch(state, n, cost, at.group);
            interval.take(end - (at.rank + 1u) * unit, unit, state.mantissa);
            cost -= trellis.groups()[at.group].cost;
        }
    }
    return interval.round_up(d_bits, bits) && good;
}

} // namespace gr::diffusion::dsp
