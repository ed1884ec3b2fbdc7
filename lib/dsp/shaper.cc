/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shaper.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

shaper::shaper(const std::string& model, size_t block_length, matcher_kind kind)
    : d_prior(engine::model::load(model)), d_length(block_length), d_kind(kind)
{
    if (block_length < min_length || block_length > distribution_matcher::max_length)
        throw std::invalid_argument("shaper: block_length is " + std::to_string(block_length) +
                                    ", use 64 to 8192 symbols");
    const auto& points = d_prior.source().constellation();
    while (size_t(d_levels) * size_t(d_levels) < points.size())
        d_levels++;
    d_low = points[0].real();
    float high = d_low;
    for (const auto& c : points) {
        d_low = std::min(d_low, c.real());
        high = std::max(high, c.real());
    }
    d_step = (high - d_low) / float(d_levels - 1);
    d_grid.assign(size_t(d_levels) * size_t(d_levels), 0);
    std::vector<bool> seen(d_grid.size(), false);
    for (size_t i = 0; i < points.size(); i++) {
        const float row = (points[i].real() - d_low) / d_step, column = (points[i].imag() - d_low) / d_step;
        const long r = std::lround(row), c = std::lround(column);
        const bool fits = std::abs(row - float(r)) < 1e-3f && std::abs(column - float(c)) < 1e-3f && r >= 0 &&
                          c >= 0 && r < d_levels && c < d_levels && !seen[size_t(r * d_levels + c)];
        if (!fits)
            throw engine::model_error(d_prior.source().path() + ": constellation is no square grid");
        seen[size_t(r * d_levels + c)] = true;
        d_grid[size_t(r * d_levels + c)] = uint8_t(i);
    }
    // Levels are odd multiples of half a step: |c|^2 is (8 e + 2) step^2 / 4 with whole e.
    d_class_energy.assign(d_prior.class_size().size(), 0);
    for (size_t i = 0; i < points.size(); i++)
        d_class_energy[d_prior.class_of()[i]] =
            uint32_t(std::max(0L, std::lround((std::norm(points[i]) * 4 / (d_step * d_step) - 2) / 8)));
    for (uint32_t i = 0; i < d_prior.states() && !d_prior.state(i).hardware; i++)
        d_awgn.push_back(make(i));
}

shaping_code shaper::code(uint32_t index, size_t length) const
{
    const auto pmf = d_prior.class_pmf(index);
    if (d_kind == matcher_kind::ess)
        // In AWGN the best pmfs are next to Maxwell-Boltzmann: energies, and one trellis for all.
        return shaping_code::sphere(d_prior.class_of(), pmf, length,
                                    d_prior.state(index).hardware ? std::vector<uint32_t>() : d_class_energy);
    return { d_prior.class_of(), quantize_composition(pmf, length) };
}

std::shared_ptr<const shaped_link> shaper::make(uint32_t index) const
{
    shaping_code code = this->code(index, d_length);
    const auto& points = d_prior.source().constellation();
    double amplitude;
    if (d_prior.state(index).hardware) {
        amplitude = d_prior.amplitude(index);
    } else {
        const auto pmf = code.pmf();
        double power = 0;
        for (size_t i = 0; i < points.size(); i++)
            power += pmf[i] * double(std::norm(points[i]));
        amplitude = 1 / std::sqrt(power);
    }
    if (!(amplitude > 0) || !(amplitude < 1e6))
        throw engine::model_error(d_prior.source().path() + ": the amplitude for composition index " +
                                  std::to_string(index) + " is " + std::to_string(amplitude));
    auto link = std::make_shared<shaped_link>(
        shaped_link{ index, std::move(code), float(amplitude), points });
    for (auto& c : link->points)
        c *= link->amplitude;
    return link;
}

std::shared_ptr<const shaped_link> shaper::at(uint32_t index) const
{
    d_prior.state(index); // refuses what does not exist
    if (index < d_awgn.size())
        return d_awgn[index];
    const std::lock_guard<std::mutex> lock(d_mutex);
    const auto found = std::find_if(d_others.begin(), d_others.end(),
                                    [&](const auto& link) { return link->index == index; });
    if (found != d_others.end()) {
        std::rotate(d_others.begin(), found, found + 1);
    } else {
        d_others.push_front(make(index));
        if (d_others.size() > (d_kind == matcher_kind::ess ? 8 : 32))
            d_others.pop_back();
    }
    return d_others.front();
}

size_t shaper::decide(const shaped_link& link, const std::complex<float>* in, uint8_t* indices,
                      size_t n) const
{
    const float scale = 1 / (d_step * link.amplitude), offset = -d_low / d_step + 0.5f;
    const float top = float(d_levels) - 0.5f;
    size_t bad = 0;
    auto rail = [&](float x) { return int(std::fmin(std::fmax(x * scale + offset, 0.0f), top)); };
    for (size_t i = 0; i < n; i++) {
        float re = in[i].real(), im = in[i].imag();
        if (!std::isfinite(re) || !std::isfinite(im)) {
            re = im = 0;
            bad++;
        }
        indices[i] = d_grid[size_t(rail(re) * d_levels + rail(im))];
    }
    return bad;
}

} // namespace gr::diffusion::dsp
