/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "path.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::soapy {

namespace {
constexpr double pi = 3.14159265358979323846;
}

path::path(const medium& m, int air, uint64_t seed)
    : d_medium(m), d_air(air), d_seed(seed * 1000003 + uint64_t(air))
{
}

//! What the transmitter says of its own way.
void path::take_way()
{
    const auto& air = d_medium.on_air(d_air);
    d_way_version = air.way_version.load(std::memory_order_acquire);
    d_generation = air.generation.load();
    d_way.path_loss_db = air.path_loss_db.load();
    d_way.delay_ns = air.delay_ns.load();
    d_way.doppler_hz = air.doppler_hz.load();
    d_way.taps.resize(std::min(air.tap_count.load(), air.max_taps));
    for (size_t i = 0; i < d_way.taps.size(); i++)
        d_way.taps[i] = { air.taps[2 * i].load(), air.taps[2 * i + 1].load() };
    d_way.profile.resize(std::min(air.profile_count.load(), air.max_taps));
    for (size_t i = 0; i < d_way.profile.size(); i++)
        d_way.profile[i] = air.profile[i].load();
}

void path::configure(const path_settings& settings, double rate)
{
    take_way();
    const bool own = !d_way.taps.empty() || !d_way.profile.empty();
    const path_settings& s = own ? d_way : settings;
    if (!s.profile.empty()) {
        const double doppler = std::clamp(s.doppler_hz / rate, 0.0, 0.01);
        d_multipath = dsp::multipath::rayleigh(s.profile, doppler, d_seed);
        d_flat = false;
    } else {
        d_multipath.set_taps(s.taps);
        d_flat = s.taps.size() == 1 && s.taps[0] == 1.0f;
    }
    d_tail = 0;
    d_drawn = 0;
    d_faded = 0;
}

double path::position(int64_t sample, double rate, const path_settings& settings) const
{
    const double air_rate = d_medium.on_air(d_air).rate.load();
    const double delay = (settings.delay_ns + d_way.delay_ns) * 1e-9 * air_rate;
    if (air_rate == rate) { // equal rates share their grid
        const double near = std::round(delay);
        return double(sample) - (std::abs(delay - near) < 1e-6 ? near : delay);
    }
    // Split, so that the product keeps its fraction however long the medium has run.
    const double whole = std::floor(double(sample) / rate), rest = double(sample) - whole * rate;
    return whole * air_rate + rest * (air_rate / rate) - delay;
}

int64_t path::horizon(double rate, const path_settings& settings) const
{
    const auto& air = d_medium.on_air(d_air);
    const double air_rate = air.rate.load();
    if (!(air_rate > 0))
        return 0;
    const double step = air_rate / rate;
    const double delay = (settings.delay_ns + air.delay_ns.load()) * 1e-9 * air_rate;
    const bool exact = step == 1 && std::abs(delay - std::round(delay)) < 1e-6;
    const double ahead = exact ? -std::round(delay) : std::ceil(16 * std::max(1.0, step)) + 2 - delay;
    const double last = double(air.head.load(std::memory_order_acquire)) - ahead;
    return int64_t(std::floor(last / step));
}

//! Multipath over the next n samples, which lie at `at`, at + step, ... in the ring.
void path::fade(size_t n, double at, double step, const path_settings& settings)
{
    size_t done = 0;
    if (settings.burst_fading) {
        const auto& air = d_medium.on_air(d_air);
        const uint64_t bursts = air.bursts.load(std::memory_order_acquire);
        for (; d_drawn < bursts; d_drawn++) {
            double from = 0; // a burst of long ago has begun
            if (bursts - d_drawn <= air.max_marks)
                from = std::ceil((double(air.burst_at[d_drawn % air.max_marks].load()) - at) / step);
            if (from >= double(n))
                break;
            if (const auto begin = size_t(std::max(from, 0.0)); begin > done) {
                d_multipath.process(d_signal.data() + done, d_signal.data() + done, begin - done);
                done = begin;
            }
            d_multipath.redraw();
        }
    }
    d_multipath.process(d_signal.data() + done, d_signal.data() + done, n - done);
}

void path::add(int64_t first,
               size_t n,
               double rate,
               double frequency,
               const path_settings& settings,
               std::complex<float>* out)
{
    const auto& air = d_medium.on_air(d_air);
    const uint32_t version = air.version.load(std::memory_order_acquire);
    const double air_rate = air.rate.load(), air_frequency = air.frequency.load();
    const int64_t head = air.head.load(std::memory_order_acquire);
    if ((version & 1) || !(air_rate > 0) || !std::isfinite(air_rate) || !std::isfinite(air_frequency))
        return;
    const double step = air_rate / rate;
    if (step < 1.0 / 64 || step > 64)
        return;
    if (air.way_version.load() != d_way_version) { // another owner, or other settings of the same
        const path_settings before = d_way;
        const uint32_t generation = d_generation;
        take_way();
        if (!d_way.same_fading(before) || (generation != d_generation && settings.burst_fading))
            configure(settings, rate);
    }
    if (first != d_next || version != d_version) { // a jump, or a new stream
        d_position = position(first, rate, settings);
        d_base = first;
    }
    d_version = version;
    d_next = first + int64_t(n);
    const double at = d_position + double(first - d_base) * step;

    const double offset = air_frequency - frequency;
    const int64_t oldest = std::max(air.first.load(), head - int64_t(medium::ring_size));
    const bool exact = step == 1 && at == std::floor(at);
    if (!exact && d_interpolator.step() != step)
        d_interpolator = dsp::interpolator(step);
    const int64_t margin = exact ? 0 : int64_t(d_interpolator.half()) + 1;
    const int64_t low = int64_t(std::floor(at)) - margin;
    const int64_t high = int64_t(std::floor(at + double(n - 1) * step)) + margin + 1;
    const bool heard = high > oldest && low < head && std::abs(offset) < (air_rate + rate) / 2;
    if (!heard && d_tail == 0)
        return;

    d_signal.resize(std::max(d_signal.size(), n));
    if (heard) {
        const size_t length = size_t(high - low);
        d_window.resize(std::max(d_window.size(), length));
        const auto* ring = d_medium.ring(d_air);
        for (size_t i = 0; i < length; i++) {
            const int64_t k = low + int64_t(i);
            d_window[i] = k >= oldest && k < head ? ring[size_t(k) % medium::ring_size] : 0;
        }
        if (exact)
            std::copy_n(d_window.begin(), n, d_signal.begin());
        else
            d_interpolator.process(d_window.data(), at - double(low), d_signal.data(), n);
        d_tail = d_flat ? 0 : d_multipath.taps().size();
    } else {
        std::fill_n(d_signal.begin(), n, 0);
        d_tail -= std::min(d_tail, n);
    }
    if (!d_flat) {
        if (first > d_faded) // fading is a matter of time, not of what is heard
            d_multipath.advance(uint64_t(first - d_faded));
        fade(n, at, step, settings);
        d_faded = first + int64_t(n);
    }

    const float gain = float(std::pow(10.0, -(settings.path_loss_db + d_way.path_loss_db) / 20));
    const bool tuned = d_tuned; // from the first sample heard on, as if it had always been so
    d_tuned = true;
    if (offset == 0) {
        d_cycles = d_offset = 0;
        for (size_t i = 0; i < n; i++)
            out[i] += gain * d_signal[i];
        return;
    }
    if (offset != d_offset) { // the phase goes on
        d_cycles = std::fmod(d_cycles + std::fmod(d_offset / rate, 1.0) * double(first - d_since), 1.0);
        d_since = tuned ? first : 0;
        d_offset = offset;
    }
    const double turn = std::fmod(offset / rate, 1.0);
    for (size_t i = 0; i < n; i++) {
        const double phase = 2 * pi * std::fmod(d_cycles + turn * double(first - d_since + int64_t(i)), 1.0);
        out[i] += gain * d_signal[i] * std::complex<float>(float(std::cos(phase)), float(std::sin(phase)));
    }
}

} // namespace gr::diffusion::soapy
