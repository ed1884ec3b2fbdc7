/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "trellis_posterior.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {

constexpr int constraint = 7;
constexpr float largest = 50; // LLR

} // namespace

void trellis_posterior(const float* llr, size_t bits, const std::vector<uint8_t>& pattern, float* posterior)
{
    constexpr size_t states = size_t(1) << (constraint - 1);
    const size_t steps = bits + constraint - 1;
    std::vector<float> in(2 * steps), out(2 * steps);
    for (size_t i = 0, at = 0; i < in.size(); i++)
        if (pattern[i % pattern.size()])
            in[i] = std::clamp(std::isnan(llr[at]) ? 0.0f : llr[at], -largest, largest), at++;
    // As gr-fec's encoder has it: the newest bit is the register's lowest.
    const auto parity = [](unsigned v) { return __builtin_parity(v); };
    uint8_t symbol[2 * states]; // of the register with 7 bits: what it sends
    for (unsigned r = 0; r < 2 * states; r++)
        symbol[r] = uint8_t(parity(r & 79) | parity(r & 109) << 1);
    const auto worth = [&](size_t step, unsigned r) {
        return (symbol[r] & 1 ? in[2 * step] : 0) + (symbol[r] & 2 ? in[2 * step + 1] : 0);
    };
    std::vector<float> forward((steps + 1) * states, -1e30f), next(states), last(states, -1e30f);
    forward[0] = 0;
    for (size_t t = 0; t < steps; t++)
        for (unsigned s = 0; s < states; s++)
            for (unsigned bit = 0; bit < (t < bits ? 2u : 1u); bit++) {
                const unsigned r = 2 * s + bit;
                float& to = forward[(t + 1) * states + (r & (states - 1))];
                to = std::max(to, forward[t * states + s] + worth(t, r));
            }
    last[0] = 0;
    for (size_t t = steps; t-- > 0;) {
        float best[2][2] = { { -1e30f, -1e30f }, { -1e30f, -1e30f } };
        std::fill(next.begin(), next.end(), -1e30f);
        for (unsigned s = 0; s < states; s++)
            for (unsigned bit = 0; bit < (t < bits ? 2u : 1u); bit++) {
                const unsigned r = 2 * s + bit;
                const float after = worth(t, r) + last[r & (states - 1)],
                            whole = forward[t * states + s] + after;
                next[s] = std::max(next[s], after);
                for (int i = 0; i < 2; i++)
                    best[i][symbol[r] >> i & 1] = std::max(best[i][symbol[r] >> i & 1], whole);
            }
        last.swap(next);
        for (int i = 0; i < 2; i++)
            out[2 * t + size_t(i)] = std::clamp(best[i][1] - best[i][0], -largest, largest);
    }
    for (size_t i = 0, at = 0; i < out.size(); i++)
        if (pattern[i % pattern.size()])
            posterior[at++] = out[i];
}

} // namespace gr::diffusion::dsp
