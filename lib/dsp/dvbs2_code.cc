/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dvbs2_code.h"
#include "engine/vectorise.h"
#include "dvbs2_tables.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {

constexpr int lane_count = 360;
constexpr auto thinned_rate = "4/5", thinned_from = "2/3";
constexpr float largest = 60; // of a message: certainty, and still far from where float loses 1

//! log((1 + e^(a+b)) / (e^a + e^b)), its correction term log(1 + e^-x) as max(5/8 - x/4, 0).
inline float box_plus(float a, float b)
{
    const float least = std::min(std::fabs(a), std::fabs(b));
    const float sum = std::max(0.625f - 0.25f * std::fabs(a + b), 0.0f);
    const float difference = std::max(0.625f - 0.25f * std::fabs(a - b), 0.0f);
    return std::copysign(least, a) * std::copysign(1.0f, b) + sum - difference;
}

/*! One layer: what each check tells each of its bits, from what the others tell it.
 *  in, out: edges x 360; forward, backward: scratch of the same size. */
DIFFUSION_VECTORISE
void check_layer(const float* __restrict in, float* __restrict out, float* __restrict forward,
                 float* __restrict backward, int edges)
{
    std::memcpy(forward, in, lane_count * sizeof(float));
    for (int e = 1; e < edges; e++)
        for (int i = 0; i < lane_count; i++)
            forward[e * lane_count + i] = box_plus(forward[(e - 1) * lane_count + i], in[e * lane_count + i]);
    std::memcpy(backward + (edges - 1) * lane_count, in + (edges - 1) * lane_count,
                lane_count * sizeof(float));
    for (int e = edges - 2; e >= 0; e--)
        for (int i = 0; i < lane_count; i++)
            backward[e * lane_count + i] = box_plus(backward[(e + 1) * lane_count + i],
                                                    in[e * lane_count + i]);
    std::memcpy(out, backward + lane_count, lane_count * sizeof(float));
    for (int e = 1; e < edges - 1; e++)
        for (int i = 0; i < lane_count; i++)
            out[e * lane_count + i] = box_plus(forward[(e - 1) * lane_count + i],
                                               backward[(e + 1) * lane_count + i]);
    std::memcpy(out + (edges - 1) * lane_count, forward + (edges - 2) * lane_count,
                lane_count * sizeof(float));
}

//! a = value - old, by lane, where the lanes of value are turned by shift.
DIFFUSION_VECTORISE
void gather(const float* __restrict value, const float* __restrict old, float* __restrict a, int shift)
{
    const float* turned = value + (shift ? lane_count - shift : 0);
    for (int i = 0; i < shift; i++)
        a[i] = turned[i] - old[i];
    for (int i = shift; i < lane_count; i++)
        a[i] = value[i - shift] - old[i];
}

DIFFUSION_VECTORISE
void scatter(float* __restrict value, float* __restrict old, const float* __restrict fresh, int shift)
{
    float* turned = value + (shift ? lane_count - shift : 0);
    for (int i = 0; i < shift; i++)
        turned[i] = std::min(std::max(turned[i] + fresh[i] - old[i], -4 * largest), 4 * largest);
    for (int i = shift; i < lane_count; i++)
        value[i - shift] = std::min(std::max(value[i - shift] + fresh[i] - old[i], -4 * largest),
                                    4 * largest);
    for (int i = 0; i < lane_count; i++)
        old[i] = fresh[i];
}

struct messages {
    std::vector<float> value, old, in, out, forward, backward;
};

} // namespace

const std::vector<std::string>& dvbs2_code::rates()
{
    static const std::vector<std::string> names = [] {
        std::vector<std::string> out;
        for (const auto& table : dvbs2_tables())
            out.push_back(table.rate);
        out.push_back(thinned_rate); // last: the numbers of the others are in frame headers
        return out;
    }();
    return names;
}

const dvbs2_code& dvbs2_code::get(const std::string& rate)
{
    static const std::vector<std::unique_ptr<const dvbs2_code>> codes = [] {
        std::vector<std::unique_ptr<const dvbs2_code>> out;
        std::unique_ptr<const dvbs2_code> thinned;
        for (size_t i = 0; i < dvbs2_tables().size(); i++) {
            out.emplace_back(new dvbs2_code(rates()[i], i, 1));
            if (rates()[i] == thinned_from)
                thinned.reset(new dvbs2_code(thinned_rate, i, 2));
        }
        out.push_back(std::move(thinned));
        return out;
    }();
    for (const auto& code : codes)
        if (code->rate() == rate)
            return *code;
    std::string list;
    for (const auto& name : rates())
        list += (list.empty() ? "" : ", ") + name;
    throw std::invalid_argument("LDPC code rate is '" + rate + "', use one of " + list);
}

dvbs2_code::dvbs2_code(const std::string& rate, size_t number, size_t thinning)
    : d_rate(rate), d_table(number), d_thinning(thinning), d_heavy(0)
{
    const auto& table = dvbs2_tables()[number];
    d_k = table.k;
    d_layers = (whole - d_k) / lanes;
    for (const auto& group : table.checks)
        d_heavy += group.size() > 3 ? lanes : 0;
    d_edges.resize(d_layers);
    for (size_t group = 0; group < table.checks.size(); group++)
        for (uint16_t check : table.checks[group])
            d_edges[check % d_layers].push_back({ uint16_t(group), uint16_t(check / d_layers) });
    const size_t first = d_k / lanes; // parity bit g + q i is lane i of group first + g
    for (size_t g = 0; g < d_layers; g++) {
        d_edges[g].push_back({ uint16_t(first + g), 0 });
        d_edges[g].push_back({ uint16_t(first + (g ? g - 1 : d_layers - 1)), uint16_t(g ? 0 : 1) });
        d_edge_count += d_edges[g].size();
        d_widest = std::max(d_widest, d_edges[g].size());
    }
}

void dvbs2_code::encode(const uint8_t* bits, uint8_t* parity) const
{
    const auto& table = dvbs2_tables()[d_table];
    const size_t m = whole - d_k;
    static thread_local std::vector<uint8_t> sums;
    sums.assign(m, 0);
    for (size_t i = 0; i < d_k; i++)
        if (bits[i] & 1)
            for (size_t check : table.checks[i / lanes])
                sums[(check + i % lanes * d_layers) % m] ^= 1;
    for (size_t j = 1; j < m; j++)
        sums[j] ^= sums[j - 1];
    for (size_t j = d_thinning - 1; j < m; j += d_thinning)
        *parity++ = sums[j];
}

size_t dvbs2_code::decode(const float* llr, uint8_t* bits, size_t iterations) const
{
    static thread_local messages w;
    w.value.assign(whole, 0); // what is not sent is not known
    w.old.assign(d_edge_count * lanes, 0);
    for (auto* scratch : { &w.in, &w.out, &w.forward, &w.backward })
        scratch->resize(d_widest * lanes);
    // Inside, positive means 0.
    auto held = [](float x) {
        return std::isfinite(x) ? std::clamp(-x, -largest, largest)
               : std::isnan(x)  ? 0.0f
               : x > 0          ? -largest
                                : largest;
    };
    for (size_t i = 0; i < d_k; i++)
        w.value[i] = held(llr[i]);
    for (size_t j = d_thinning - 1, i = d_k; j < whole - d_k; j += d_thinning, i++)
        w.value[d_k + j % d_layers * lanes + j / d_layers] = held(llr[i]);

    auto is_word = [&] {
        uint8_t odd[lanes];
        for (size_t g = 0; g < d_layers; g++) {
            std::memset(odd, 0, sizeof odd);
            for (size_t e = 0; e < d_edges[g].size(); e++) {
                const float* v = &w.value[d_edges[g][e].group * lanes];
                const size_t shift = d_edges[g][e].shift;
                // Check 0 of all has no previous parity bit.
                const size_t from = g == 0 && e + 1 == d_edges[g].size() ? 1 : 0;
                for (size_t i = from; i < lanes; i++)
                    odd[i] ^= v[i < shift ? i + lanes - shift : i - shift] < 0;
            }
            for (uint8_t o : odd)
                if (o)
                    return false;
        }
        return true;
    };

    size_t used = 0;
    for (size_t turn = 1; turn <= iterations && !used; turn++) {
        float* old = w.old.data();
        for (size_t g = 0; g < d_layers; g++) {
            const auto& edges = d_edges[g];
            const int count = int(edges.size());
            for (int e = 0; e < count; e++)
                gather(&w.value[edges[e].group * lanes], old + e * lane_count, &w.in[e * lane_count],
                       edges[e].shift);
            if (g == 0)
                w.in[(count - 1) * lane_count] = largest; // no such bit: a certain 0
            check_layer(w.in.data(), w.out.data(), w.forward.data(), w.backward.data(), count);
            if (g == 0)
                w.out[(count - 1) * lane_count] = 0; // and nothing is told to the bit in that lane
            for (int e = 0; e < count; e++)
                scatter(&w.value[edges[e].group * lanes], old + e * lane_count, &w.out[e * lane_count],
                        edges[e].shift);
            old += count * lane_count;
        }
        if (is_word())
            used = turn;
    }
    for (size_t i = 0; i < d_k; i++)
        bits[i] = w.value[i] < 0;
    return used;
}

} // namespace gr::diffusion::dsp
