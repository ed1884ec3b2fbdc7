/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion_demapper.h"
#include "engine/scalar_math.h"
#include <array>
#include <cmath>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;

diffusion_demapper::diffusion_demapper(const std::string& model)
{
    if (model.empty())
        return;
    auto loaded = engine::model::load(model);
    engine::receiver check(loaded); // refuses what is no receiver
    d_constellations[loaded->bits_per_symbol()].model = std::move(loaded);
}

void diffusion_demapper::demap(const qam& c, const cf* y, const float* noise_var, float* llr, size_t n)
{
    d_note.clear();
    constellation* const own = of(c);
    if (!own)
        return c.soft(y, noise_var, llr, n);

    const size_t bits = size_t(c.bits());
    constexpr size_t other = levels; // symbols that MAP decides
    std::array<unsigned, levels + 2> start{};
    d_group.resize(n);
    for (size_t i = 0; i < n; i++) {
        const float v = noise_var[i];
        size_t group = other;
        if (v > 1e-7f && v < 1e3f && std::isfinite(y[i].real()) && std::isfinite(y[i].imag())) {
            const int db = int(std::lrint(engine::log_positive(v) * 4.342944819f)); // 10 / ln 10
            if (db >= lowest_db && db <= highest_db)
                group = size_t(db - lowest_db);
        }
        if (group == other)
            c.soft(y + i, noise_var + i, llr + i * bits, 1);
        d_group[i] = (unsigned char)group;
        start[group + 1]++;
    }
    for (size_t g = 1; g < start.size(); g++)
        start[g] += start[g - 1];
    d_order.resize(n);
    auto next = start;
    for (size_t i = 0; i < n; i++)
        d_order[next[d_group[i]]++] = unsigned(i);

    for (size_t g = 0; g < levels; g++) {
        const unsigned* const order = d_order.data() + start[g];
        const size_t count = start[g + 1] - start[g];
        if (count == 0)
            continue;
        const double level = std::pow(10.0, (int(g) + lowest_db) / 10.0);
        if (!own->level[g]) {
            own->level[g] = std::make_unique<engine::receiver>(own->model);
            prepare(*own->level[g], *own, level);
        }
        d_y.resize(count);
        d_llr.resize(count * bits);
        for (size_t i = 0; i < count; i++)
            d_y[i] = y[order[i]] / own->amplitude;
        own->level[g]->llr(d_y.data(), d_llr.data(), count);
        for (size_t i = 0; i < count; i++) {
            const float scale = float(level) / noise_var[order[i]];
            for (size_t b = 0; b < bits; b++)
                llr[order[i] * bits + b] = scale * d_llr[i * bits + b];
        }
    }
}

void diffusion_demapper::prepare(engine::receiver& receiver, const constellation& own, double noise_var)
{
    if (!own.shaped)
        return receiver.set_noise_var(noise_var);
    // In units of the unit-power points that the model knows; the prior joins the likelihood of each.
    const auto& points = own.model->constellation();
    const double v = noise_var / (double(own.amplitude) * double(own.amplitude));
    std::vector<double> q2(5 * points.size(), 0), q1(points.size());
    for (size_t i = 0; i < points.size(); i++) {
        q2[5 * i] = 2 * double(points[i].real()) / v;
        q2[5 * i + 1] = 2 * double(points[i].imag()) / v;
        q2[5 * i + 2] = q2[5 * i + 3] = -1 / v;
        q1[i] = double(own.shaped->log_prior(i)) - double(std::norm(points[i])) / v;
    }
    receiver.set_link(v, nullptr, q2.data(), q1.data());
}

diffusion_demapper::constellation* diffusion_demapper::of(const qam& c)
{
    const int bits = c.bits();
    constellation& own = d_constellations[bits];
    if (!own.model && own.missing.empty()) {
        const std::string name = bits == 1 ? "rx-bpsk" : bits == 2 ? "rx-qpsk" : "rx-qam" + std::to_string(1 << bits);
        try {
            auto loaded = engine::model::load(name);
            engine::receiver check(loaded);
            own.model = std::move(loaded);
        } catch (const std::exception& e) {
            own.missing = name + ": " + e.what(); // so that it is not searched for with every frame
        }
    }
    if (own.model && own.missing.empty()) {
        // A model of other points or labels would give other bits.
        const auto& points = own.model->constellation();
        const qam* const shaped = c.shaped() ? &c : nullptr;
        if (own.shaped != shaped) {
            own.shaped = shaped;
            for (auto& level : own.level)
                level.reset();
        }
        own.amplitude = shaped ? std::abs(c.points()[0] / points[0]) : 1;
        bool same = points.size() == c.points().size();
        for (size_t i = 0; same && i < points.size(); i++)
            same = std::abs(points[i] * own.amplitude - c.points()[i]) < 1e-3f;
        if (!same)
            own.missing = "model " + own.model->name() + " has other points or labels";
    }
    if (own.missing.empty())
        return &own;
    d_note = "demapped by MAP: " + own.missing;
    return nullptr;
}

} // namespace gr::diffusion::dsp
