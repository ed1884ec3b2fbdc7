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

void path::configure(const path_settings& settings, double rate)
{
    if (!settings.profile.empty()) {
        const double doppler = std::min(0.01, settings.doppler_hz / rate);
        d_multipath = dsp::multipath::rayleigh(settings.profile, doppler, d_seed);
        d_flat = false;
    } else {
        d_multipath.set_taps(settings.taps);
        d_flat = settings.taps.size() == 1 && settings.taps[0] == 1.0f;
    }
    d_tail = 0;
}

double path::position(int64_t sample, double rate, const path_settings& settings) const
{
    const double air_rate = d_medium.on_air(d_air).rate.load();
    // Split, so that the product keeps its fraction however long the medium has run.
    const double whole = std::floor(double(sample) / rate), rest = double(sample) - whole * rate;
    return whole * air_rate + rest * (air_rate / rate) - settings.delay_ns * 1e-9 * air_rate;
}

int64_t path::horizon(double rate, const path_settings& settings) const
{
    const auto& air = d_medium.on_air(d_air);
    const double air_rate = air.rate.load();
    if (!(air_rate > 0))
        return 0;
    const double step = air_rate / rate;
    const double ahead = step == 1 ? 0 : std::ceil(16 * std::max(1.0, step)) + 2;
    const double last =
        double(air.head.load(std::memory_order_acquire)) - ahead + settings.delay_ns * 1e-9 * air_rate;
    return int64_t(std::floor(last / step));
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
    if (first != d_next || version != d_version) { // a jump, or a new stream
        d_position = position(first, rate, settings);
        if (step == 1)
            d_position = std::round(d_position); // equal rates share their grid
    }
    d_version = version;
    d_next = first + int64_t(n);
    const double at = d_position;
    d_position += double(n) * step;

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
    if (!d_flat)
        d_multipath.process(d_signal.data(), d_signal.data(), n);

    const float gain = float(std::pow(10.0, -settings.path_loss_db / 20));
    if (offset == 0) {
        d_phase = 0;
        for (size_t i = 0; i < n; i++)
            out[i] += gain * d_signal[i];
        return;
    }
    const double turn = 2 * pi * std::fmod(offset / rate, 1.0);
    for (size_t i = 0; i < n; i++) {
        const double phase = d_phase + turn * double(i);
        out[i] += gain * d_signal[i] * std::complex<float>(float(std::cos(phase)), float(std::sin(phase)));
    }
    d_phase = std::remainder(d_phase + turn * double(n), 2 * pi);
}

} // namespace gr::diffusion::soapy
