/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mimo_stack.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

using cfloat = std::complex<float>;
using cdouble = std::complex<double>;

namespace {
constexpr double split = 0.5;     // t of the header
constexpr double memory = 0.98;   // of evidence, a frame
constexpr double most_past = 40;  // so that a frame's own evidence always counts for something
constexpr double doubt = 5.5;     // the first weight is 1/2 with a deviation of 0.3: 1 / (2 0.3^2)
} // namespace

mimo_stack::mimo_stack(engine::array_shape rx, engine::array_shape tx, const maker& a, const maker& b)
    : mimo_estimator(rx, tx), d_a(a()), d_b(b()), d_trial_a(a()), d_trial_b(b())
{
    d_ha.resize(receivers() * transmitters());
    d_hb.resize(d_ha.size());
}

void mimo_stack::prepare(const std::vector<cfloat>& pilots)
{
    const size_t nt = transmitters(), count = pilots.size() / nt;
    d_a->set_pilots(pilots);
    d_b->set_pilots(pilots);
    d_pilots = pilots;
    d_past = {};
    d_random.reseed(1);
    d_split = count >= nt || count < 2;
    d_kept.clear();
    d_back.clear();
    const size_t back = d_split ? 0 : std::max<size_t>(1, count / 8);
    for (size_t i = 0; i < count; i++)
        (back && i * back % count < back && d_back.size() < back ? d_back : d_kept).push_back(i);
    if (d_split)
        d_back = d_kept;
    std::vector<cfloat> kept(nt * d_kept.size());
    for (size_t t = 0; t < nt; t++)
        for (size_t i = 0; i < d_kept.size(); i++)
            kept[t * d_kept.size() + i] = pilots[t * count + d_kept[i]];
    d_trial_a->set_pilots(kept);
    d_trial_b->set_pilots(kept);
    d_trial_y.resize(receivers() * d_kept.size());
    d_judge.resize(receivers() * d_back.size());
}

//! What the part not seen says: sums of Re(d^H r) and |d|^2 over its noise, d = (h_b - h_a) P, r = y - h_a P.
mimo_stack::evidence mimo_stack::trial(const cfloat* y, float noise_var)
{
    const size_t nr = receivers(), nt = transmitters(), np = d_pilots.size() / nt;
    const size_t kept = d_kept.size(), back = d_back.size();
    double seen = noise_var, judged = noise_var;
    for (size_t r = 0; r < nr; r++) {
        for (size_t i = 0; i < kept; i++)
            d_trial_y[r * kept + i] = y[r * np + d_kept[i]];
        for (size_t i = 0; i < back; i++)
            d_judge[r * back + i] = y[r * np + d_back[i]];
    }
    if (d_split) {
        for (size_t i = 0; i < d_judge.size(); i++) {
            const cfloat n = d_random.complex_normal(noise_var);
            d_trial_y[i] += float(split) * n;
            d_judge[i] -= n / float(split);
        }
        seen *= 1 + split * split;
        judged *= 1 + 1 / (split * split);
    }
    float unused;
    d_trial_a->estimate(d_trial_y.data(), 1, float(seen), d_ha.data(), &unused);
    d_trial_b->estimate(d_trial_y.data(), 1, float(seen), d_hb.data(), &unused);
    evidence found;
    double left = 0;
    for (size_t r = 0; r < nr; r++)
        for (size_t i = 0; i < back; i++) {
            cdouble difference = 0, rest = d_judge[r * back + i];
            for (size_t t = 0; t < nt; t++) {
                const cdouble p = d_pilots[t * np + d_back[i]];
                rest -= cdouble(d_ha[r * nt + t]) * p;
                difference += cdouble(d_hb[r * nt + t] - d_ha[r * nt + t]) * p;
            }
            found.match += (std::conj(difference) * rest).real();
            found.weight += std::norm(difference);
            left += std::norm(rest);
        }
    // What is left of a channel that neither models is no noise, but as uncertain.
    left -= found.match * found.match / std::max(found.weight, 1e-30);
    const double scale = std::max({ judged, left / double(nr * back), 1e-30 });
    found.match /= scale;
    found.weight /= scale;
    return found;
}

float mimo_stack::one(const cfloat* y, float noise_var, cfloat* h)
{
    const evidence own = trial(y, noise_var);
    const double trust = d_past.weight > most_past ? most_past / d_past.weight : 1;
    const double match = own.match + trust * d_past.match + doubt / 2;
    const double w = std::clamp(match / (own.weight + trust * d_past.weight + doubt), 0.0, 1.0);
    d_past.match = memory * d_past.match + own.match;
    d_past.weight = memory * d_past.weight + own.weight;

    float var_a, var_b;
    d_a->estimate(y, 1, noise_var, d_ha.data(), &var_a);
    d_b->estimate(y, 1, noise_var, d_hb.data(), &var_b);
    double apart = 0;
    for (size_t i = 0; i < d_ha.size(); i++) {
        const cfloat gap = d_hb[i] - d_ha[i];
        apart += std::norm(gap);
        h[i] = d_ha[i] + float(w) * gap;
    }
    // At the best weight the rest is at right angles to the gap, |h_a - h|^2 = |rest|^2 + w^2 |gap|^2; and b,
    // whose belief holds on ideal arrays only, says how good it can get.
    const double least = std::min(double(var_a), double(var_b));
    return float(std::max(var_a - w * w * apart / double(d_ha.size()), least));
}

} // namespace gr::diffusion::dsp
