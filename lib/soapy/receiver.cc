/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "receiver.h"
#include <SoapySDR/Errors.h>
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <thread>

namespace gr::diffusion::soapy {

namespace {
constexpr size_t piece = 4096;
constexpr double agc_target_db = -12; // dBFS: 12 dB for an OFDM signal's peaks
constexpr float dc_step = 1.0f / 8192; //!< of the average that automatic DC removal takes off
constexpr size_t agc_block = 256;
} // namespace

receiver::receiver(std::shared_ptr<medium> m, uint64_t seed)
    : d_medium(std::move(m)), d_noise(0, "gaussian", seed ^ 0x6e6f69736500ull), d_converter(12, 1.0)
{
    for (int i = 0; i < medium::max_air; i++)
        d_paths.emplace_back(*d_medium, i, seed);
    d_listener = d_medium->claim_listener();
    if (d_listener < 0)
        throw std::runtime_error("virtual radio: all 16 receivers of this medium are taken; close one or "
                                 "choose another medium");
}

receiver::~receiver()
{
    stop();
    d_medium->release_listener(d_listener);
}

//! The first sample at or after a time; rounding must not make it the next one.
int64_t receiver::index_at(int64_t ns) const
{
    return int64_t(std::ceil(double(ns) * 1e-9 * true_rate() - 1e-4));
}
int64_t receiver::time_of(int64_t index) const
{
    return int64_t(std::floor(double(index) / true_rate() * 1e9));
}

void receiver::start(std::optional<int64_t> time_ns, size_t count)
{
    std::lock_guard<std::mutex> lock(d_mutex);
    int64_t now = d_medium->clock_ns();
    if (d_medium->fast()) { // from what is sent next; in lockstep from the beginning, if nothing was sent yet
        now = 0;
        for (int i = 0; i < medium::max_air; i++) {
            const auto& air = d_medium->on_air(i);
            const bool sent = !d_medium->lockstep() || air.head.load() > air.first.load();
            if (air.active.load() && air.rate.load() > 0 && sent)
                now = std::max(now, int64_t(double(air.head.load()) / air.rate.load() * 1e9));
        }
        now = std::max(now, d_medium->latest_listener_ns());
        if (now == 0 && !d_medium->lockstep())
            now = d_medium->clock_ns();
    }
    d_next = index_at(time_ns ? std::max(*time_ns, now) : now);
    d_left = int64_t(count);
    d_finite = count > 0;
    d_wall = std::chrono::steady_clock::now();
    auto& mine = d_medium->listening(d_listener);
    mine.time_ns = time_of(d_next);
    mine.active = 1;
    d_active = true;
}

void receiver::stop()
{
    std::lock_guard<std::mutex> lock(d_mutex);
    d_medium->listening(d_listener).active = 0;
    d_active = false;
}

void receiver::set(const receiver_settings& settings)
{
    std::lock_guard<std::mutex> lock(d_mutex);
    if (!settings.remove_dc)
        d_dc = 0;
    const bool rate_changed =
        settings.rate != d_settings.rate || settings.clock_ppm != d_settings.clock_ppm;
    const auto &old = d_settings.path, &now = settings.path;
    const bool path_changed = rate_changed || !d_configured || !old.same_fading(now);
    const int64_t time = time_of(d_next);
    d_settings = settings;
    if (rate_changed)
        d_next = index_at(time);
    d_noise.set_noise_power(std::pow(10.0, settings.path.noise_dbm / 10));
    if (d_settings.bits > 0)
        d_converter.set_bits(d_settings.bits);
    d_impairments.set("sample_rate", settings.rate);
    if (!settings.agc)
        d_agc_gain = settings.gain_db;
    if (path_changed) // else a change of gain would start the fading anew
        for (auto& p : d_paths)
            p.configure(settings.path, true_rate());
    d_configured = true;
}

receiver_settings receiver::settings() const
{
    std::lock_guard<std::mutex> lock(d_mutex);
    return d_settings;
}

int receiver::transmitters() const
{
    int count = 0;
    for (int i = 0; i < medium::max_air; i++)
        count += d_medium->on_air(i).active.load() && d_medium->air_alive(i);
    return count;
}

int64_t receiver::fast_horizon()
{
    constexpr int64_t none = std::numeric_limits<int64_t>::max();
    int64_t due = none, tail = 0;
    for (int i = 0; i < medium::max_air; i++) {
        const auto& air = d_medium->on_air(i);
        const int64_t until = d_paths[i].horizon(true_rate(), d_settings.path);
        if (air.active.load() && !air.between.load() && d_medium->air_alive(i))
            due = std::min(due, until);
        else
            tail = std::max(tail, until);
    }
    if (due != none)
        return std::max(due, d_next);
    if (tail > d_next) // what is left of streams that ended
        return tail;
    if (d_medium->lockstep())
        return d_next;
    // Silence, in real time.
    const auto now = std::chrono::steady_clock::now();
    const double waited = std::chrono::duration<double>(now - d_wall).count();
    return d_next + int64_t(waited * true_rate());
}

//! Index up to which samples can be read now.
int64_t receiver::horizon()
{
    if (d_medium->fast())
        return fast_horizon();
    // A resampled transmitter is looked at a little ahead of time, and has sent that long ago.
    return int64_t(std::floor(double(d_medium->clock_ns()) * 1e-9 * true_rate()));
}

receiver::chunk receiver::read(std::complex<float>* out, size_t n, long timeout_us)
{
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(timeout_us);
    std::unique_lock<std::mutex> lock(d_mutex);
    // Nothing comes from a stream that is not on: SoapyRemote's server reads from the moment a stream is set
    // up, and passes any error on to its client as fast as the network goes.
    while (!d_active || (d_finite && d_left == 0)) {
        if (std::chrono::steady_clock::now() >= deadline)
            return { SOAPY_SDR_TIMEOUT, 0, false };
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(500));
        lock.lock();
    }
    if (d_finite)
        n = std::min<size_t>(n, size_t(d_left));
    const int64_t buffer = std::min<int64_t>(int64_t(d_settings.buffer_ms * 1e-3 * true_rate()) + int64_t(n),
                                             medium::ring_size / 2);
    const int64_t wanted = int64_t(std::min(n, piece));
    while (true) {
        const bool late = std::chrono::steady_clock::now() >= deadline; // before what is ready then
        const int64_t ready = horizon() - d_next;
        if (!d_medium->fast() && ready > buffer) {
            d_overflows++;
            const int64_t lost = d_next;
            d_next = horizon();
            return { SOAPY_SDR_OVERFLOW, time_of(lost), false };
        }
        if (ready >= wanted || (late && ready > 0)) {
            n = size_t(std::min<int64_t>(int64_t(n), ready));
            break;
        }
        lock.unlock();
        if (late)
            return { SOAPY_SDR_TIMEOUT, 0, false };
        std::this_thread::sleep_for(std::chrono::microseconds(d_medium->fast() ? 50 : 200));
        lock.lock();
        if (!d_active)
            return { SOAPY_SDR_TIMEOUT, 0, false };
    }
    chunk result{ int(n), time_of(d_next), false };
    for (size_t done = 0; done < n; done += piece)
        compute(out + done, std::min(piece, n - done));
    d_wall = std::chrono::steady_clock::now();
    d_medium->listening(d_listener).time_ns = time_of(d_next);
    if (d_finite) {
        d_left -= int64_t(n);
        result.end = d_left == 0;
    }
    return result;
}

void receiver::compute(std::complex<float>* out, size_t n)
{
    std::fill_n(out, n, 0);
    for (auto& p : d_paths)
        p.add(d_next, n, true_rate(), true_frequency(), d_settings.path, out);
    d_next += int64_t(n);
    d_noise.process(out, out, n);
    front_end(out, n);
}

void receiver::front_end(std::complex<float>* out, size_t n)
{
    double power = 0;
    for (size_t i = 0; i < n; i++)
        power += std::norm(out[i]);
    d_rssi = 10 * std::log10(std::max(power / double(n), 1e-20));
    if (d_settings.agc) {
        double gain_db = d_agc_gain;
        for (size_t start = 0; start < n;) {
            const size_t m = std::min(agc_block - d_agc_count, n - start); // blocks go on from call to call
            const float gain = float(std::pow(10.0, gain_db / 20));
            for (size_t i = start; i < start + m; i++) {
                out[i] *= gain;
                d_agc_level += std::norm(out[i]);
            }
            start += m;
            d_agc_count += m;
            if (d_agc_count < agc_block)
                break;
            const double error = agc_target_db -
                                 10 * std::log10(std::max(d_agc_level / double(agc_block), 1e-20));
            d_agc_count = 0;
            d_agc_level = 0;
            // Down fast (an overload costs everything), up slowly.
            gain_db += std::clamp(error, -6.0, 1.0) * (error < 0 ? 0.5 : 0.1);
            gain_db = std::clamp(gain_db, 0.0, 80.0);
        }
        d_agc_gain = gain_db;
    } else {
        const float gain = float(std::pow(10.0, d_settings.gain_db / 20));
        for (size_t i = 0; i < n; i++)
            out[i] *= gain;
    }
    d_impairments.process(out, out, n);
    if (d_settings.bits > 0) {
        d_converter.process(out, out, n);
        d_clipped = d_converter.clipped();
    }
    if (d_settings.remove_dc)
        for (size_t i = 0; i < n; i++) {
            d_dc += dc_step * (out[i] - d_dc);
            out[i] -= d_dc;
        }
}

} // namespace gr::diffusion::soapy
