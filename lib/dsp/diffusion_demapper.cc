/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "diffusion_demapper.h"
#include "engine/fit_numbers.h"
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
    fitted_receiver check(loaded); // refuses what is no receiver, or holds a fit that is none
    if (const auto fit = engine::fit_numbers(*loaded, "waveform"); !fit.empty())
        try {
            d_correction = std::make_shared<waveform_correction>(fit);
        } catch (const std::invalid_argument& e) {
            throw engine::model_error(loaded->path() + ": " + e.what());
        }
    constellation& own = d_constellations[loaded->bits_per_symbol()];
    own.holds_fit = !engine::fit_numbers(*loaded, "state").empty();
    own.model = std::move(loaded);
}

void diffusion_demapper::demap(const qam& c, const cf* y, const float* noise_var, float* llr, size_t n)
{
    d_note.clear();
    d_guarded = false;
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

    if (d_guard_on && !own->shaped && watch(*own, y, start.data())) {
        d_guarded = true;
        d_note = "demapped by MAP: guard: " + own->guard->report().reason;
        return c.soft(y, noise_var, llr, n);
    }

    const bool fitted = !own->shaped && own->holds_fit;
    for (size_t g = 0; g < levels; g++) {
        const unsigned* const order = d_order.data() + start[g];
        const size_t count = start[g + 1] - start[g];
        if (count == 0)
            continue;
        const double level = std::pow(10.0, (int(g) + lowest_db) / 10.0);
        if (fitted && !own->fitted[g]) {
            own->fitted[g] = std::make_unique<fitted_receiver>(own->model);
            own->fitted[g]->set_noise_var(level);
        } else if (!fitted && !own->level[g]) {
            own->level[g] = std::make_unique<engine::receiver>(own->model);
            prepare(*own->level[g], *own, level);
        }
        d_y.resize(count);
        d_llr.resize(count * bits);
        for (size_t i = 0; i < count; i++)
            d_y[i] = y[order[i]] / own->amplitude;
        if (fitted)
            own->fitted[g]->process(d_y.data(), nullptr, d_llr.data(), count);
        else
            own->level[g]->llr(d_y.data(), d_llr.data(), count);
        for (size_t i = 0; i < count; i++) {
            const float scale = float(level) / noise_var[order[i]];
            for (size_t b = 0; b < bits; b++)
                llr[order[i] * bits + b] = scale * d_llr[i * bits + b];
        }
    }
}

//! The guard sees the symbols of the noise level that most have; whether it says not to trust the model.
bool diffusion_demapper::watch(constellation& own, const cf* y, const unsigned* start)
{
    size_t most = 0;
    for (size_t g = 1; g < levels; g++)
        if (start[g + 1] - start[g] > start[most + 1] - start[most])
            most = g;
    const size_t count = start[most + 1] - start[most];
    if (count == 0)
        return own.guard && own.guard->alarm();
    if (!own.guard) {
        const fitted_receiver fit(own.model);
        const auto range = fit.path() == receiver_path::network ? own.model->snr_db()
                                                                : std::make_pair(-200.0, 200.0);
        own.guard = std::make_unique<input_guard>(fit.law(), range);
        own.guard->set_gaussian(fit.path() != receiver_path::noise);
    }
    d_y.resize(count);
    for (size_t i = 0; i < count; i++)
        d_y[i] = y[d_order[start[most] + i]];
    own.guard->set_noise_var(std::pow(10.0, (int(most) + lowest_db) / 10.0), true);
    own.guard->feed(d_y.data(), count);
    return own.guard->alarm();
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
        const std::string name = bits == 1   ? "rx-bpsk"
                                 : bits == 2 ? "rx-qpsk"
                                             : "rx-qam" + std::to_string(1 << bits);
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
