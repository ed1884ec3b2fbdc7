/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sphere_trellis.h"
#include "engine/exact_math.h"
#include <algorithm>
#include <mutex>

namespace gr::diffusion::dsp {

namespace {

constexpr uint32_t mantissa_end = uint32_t(1) << 24;

} // namespace

std::shared_ptr<const sphere_trellis> sphere_trellis::get(const std::vector<sphere_group>& groups, size_t n,
                                                          size_t cost)
{
    // All AWGN states of a constellation have one trellis: it stays while anybody uses it, the latest longer.
    static std::mutex mutex;
    static std::shared_ptr<const sphere_trellis> latest;
    static std::vector<std::weak_ptr<const sphere_trellis>> made;
    const std::lock_guard<std::mutex> lock(mutex);
    made.erase(std::remove_if(made.begin(), made.end(), [](const auto& t) { return t.expired(); }),
               made.end());
    for (const auto& weak : made)
        if (auto t = weak.lock(); t && t->d_groups == groups && t->d_length >= n && t->d_width > cost)
            return latest = t;
    std::shared_ptr<const sphere_trellis> t(new sphere_trellis(groups, n, cost));
    made.push_back(t);
    return latest = t;
}

sphere_trellis::sphere_trellis(const std::vector<sphere_group>& groups, size_t n, size_t cost)
    : d_groups(groups), d_length(n), d_width(cost + 1), d_counts((n + 1) * (cost + 1))
{
    for (size_t c = 0; c < d_width; c++)
        d_counts[c] = { mantissa_end >> 1, -23 };
    for (size_t i = 1; i <= n; i++)
        for (size_t c = 0; c < d_width; c++) {
            count& now = d_counts[i * d_width + c];
            // The cheapest branch is the largest, or next to it: the exponent rises from there until all fit.
            now.exponent = at(i - 1, c).exponent;
            for (;; now.exponent++) {
                uint64_t sum = 0;
                bool fits = true;
                for (size_t g = 0; g < d_groups.size() && d_groups[g].cost <= c; g++) {
                    const count& child = at(i - 1, c - d_groups[g].cost);
                    fits &= child.exponent <= now.exponent;
                    if (fits)
                        sum += uint64_t(branch(now, i, c, g)) * d_groups[g].size;
                }
                if (fits && sum < mantissa_end) {
                    now.mantissa = uint32_t(sum);
                    break;
                }
            }
        }
}

double sphere_trellis::log2_count(size_t n, size_t cost) const
{
    const count& c = at(n, cost);
    return engine::exact::log2(double(c.mantissa)) + double(c.exponent);
}

double sphere_trellis::mean_cost(size_t n, size_t cost) const
{
    const count& of = at(n, cost);
    double sum = 0;
    for (size_t g = 0; g < d_groups.size(); g++)
        sum += double(branch(of, n, cost, g)) * d_groups[g].size * d_groups[g].cost;
    return sum / double(of.mantissa);
}

} // namespace gr::diffusion::dsp
