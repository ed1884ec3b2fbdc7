/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "transmitter.h"
#include <SoapySDR/Constants.h>
#include <SoapySDR/Errors.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <thread>

namespace gr::diffusion::soapy {

namespace {
constexpr size_t piece = 4096;
constexpr size_t max_events = 64;
// A burst without a time goes out this much later than asked for: what follows has time to arrive.
constexpr int64_t lead_ns = 10000000;
// After so many samples of exact silence another burst begins, for programs that send a stream with gaps.
constexpr int gap = 64;
} // namespace

transmitter::transmitter(std::shared_ptr<medium> m) : d_medium(std::move(m)), d_converter(12, 1.0)
{
    d_air = d_medium->claim_air();
    if (d_air < 0)
        throw std::runtime_error("virtual radio: all 8 transmitters of this medium are taken; close one or "
                                 "choose another medium");
}

transmitter::~transmitter()
{
    stop();
    d_medium->release_air(d_air);
}

//! The first sample at or after a time; rounding must not make it the next one.
int64_t transmitter::index_at(int64_t ns) const
{
    return int64_t(std::ceil(double(ns) * 1e-9 * true_rate() - 1e-4));
}

int64_t transmitter::now_ns() const
{
    if (!d_medium->fast())
        return d_medium->clock_ns();
    const int64_t latest = d_medium->latest_listener_ns(); // the fast medium's time is its listeners'
    return latest > 0 || d_medium->lockstep() ? latest : d_medium->clock_ns();
}

//! Index up to which samples may be written now.
int64_t transmitter::limit() const
{
    const int64_t buffer = std::min<int64_t>(int64_t(d_settings.buffer_ms * 1e-3 * true_rate()) + 1,
                                             medium::ring_size / 4);
    if (!d_medium->fast())
        return index_at(d_medium->clock_ns()) + buffer;
    int64_t slowest = -1;
    for (int i = 0; i < medium::max_listeners; i++) {
        const auto& who = d_medium->listening(i);
        if (!who.active.load() || !d_medium->listener_alive(i))
            continue;
        const int64_t time = who.time_ns.load();
        slowest = slowest < 0 ? time : std::min(slowest, time);
    }
    if (slowest < 0) // nobody listens: nothing is lost, because nothing goes out
        return d_next;
    return index_at(slowest) + int64_t(medium::ring_size / 4);
}

void transmitter::publish(bool restart)
{
    auto& air = d_medium->on_air(d_air);
    air.version.fetch_add(1);
    if (restart || air.rate.load() != true_rate()) {
        d_next = index_at(now_ns() + lead_ns);
        air.first = d_next;
        air.head = d_next;
        d_in_burst = false;
    }
    air.rate = true_rate();
    air.frequency = d_settings.frequency * (1 + d_settings.clock_ppm * 1e-6) + d_settings.cfo_hz;
    air.version.fetch_add(1);
}

void transmitter::publish_way()
{
    auto& air = d_medium->on_air(d_air);
    const auto& way = d_settings.way;
    if (way == d_published)
        return;
    d_published = way;
    air.version.fetch_add(1);
    air.path_loss_db = way.path_loss_db;
    air.delay_ns = way.delay_ns;
    air.doppler_hz = way.doppler_hz;
    air.tap_count = uint32_t(way.taps.size());
    for (size_t i = 0; i < way.taps.size(); i++) {
        air.taps[2 * i] = way.taps[i].real();
        air.taps[2 * i + 1] = way.taps[i].imag();
    }
    air.profile_count = uint32_t(way.profile.size());
    for (size_t i = 0; i < way.profile.size(); i++)
        air.profile[i] = float(way.profile[i]);
    air.way_version.fetch_add(1);
    air.version.fetch_add(1);
}

void transmitter::start()
{
    std::lock_guard<std::mutex> lock(d_mutex);
    if (d_active)
        return;
    auto& air = d_medium->on_air(d_air);
    const int64_t now = index_at(now_ns());
    // What an earlier stream left on its way goes out first, if it is still due.
    const int64_t head = air.head.load();
    const bool due = d_medium->lockstep() ? head > 0 && head >= now : head > now;
    const bool tail = air.rate.load() == true_rate() && due && head < now + int64_t(medium::ring_size / 2);
    d_next = head;
    publish(!tail);
    d_in_burst = d_dropping = false;
    air.between = 1;
    air.active = 1;
    d_active = true;
}

void transmitter::stop()
{
    std::lock_guard<std::mutex> lock(d_mutex);
    d_medium->on_air(d_air).active = 0;
    d_active = d_in_burst = false;
}

void transmitter::set(const transmitter_settings& settings)
{
    std::lock_guard<std::mutex> lock(d_mutex);
    d_settings = settings;
    if (d_settings.bits > 0)
        d_converter.set_bits(d_settings.bits);
    d_impairments.set("sample_rate", settings.rate);
    publish_way();
    if (d_active)
        publish(false);
}

transmitter_settings transmitter::settings() const
{
    std::lock_guard<std::mutex> lock(d_mutex);
    return d_settings;
}

void transmitter::silence(int64_t from, int64_t to)
{
    from = std::max(from, to - int64_t(medium::ring_size));
    auto* ring = d_medium->ring(d_air);
    for (int64_t k = from; k < to; k++)
        ring[size_t(k) % medium::ring_size] = 0;
}

void transmitter::begin_burst(std::optional<int64_t> time_ns)
{
    auto& air = d_medium->on_air(d_air);
    const int64_t head = air.head, now = now_ns();
    if (time_ns && index_at(*time_ns) < std::max(head, index_at(now))) {
        report(SOAPY_SDR_TIME_ERROR, 0, *time_ns);
        d_dropping = true;
        return;
    }
    if (time_ns)
        d_next = index_at(*time_ns);
    else if (d_medium->lockstep() && index_at(now) <= head)
        d_next = head; // the same whatever the listeners have read meanwhile
    else
        d_next = std::max(head, index_at(now + lead_ns));
    d_in_burst = true;
    d_silent = gap;
}

int transmitter::write(const std::complex<float>* x,
                       size_t n,
                       bool end_of_burst,
                       std::optional<int64_t> time_ns,
                       long timeout_us)
{
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(timeout_us);
    std::unique_lock<std::mutex> lock(d_mutex);
    if (!d_active)
        return SOAPY_SDR_STREAM_ERROR;
    auto& air = d_medium->on_air(d_air);
    if (!d_in_burst && !d_dropping)
        begin_burst(time_ns);
    if (d_dropping) { // a burst whose time had passed is lost whole, as on a real radio
        d_dropping = !end_of_burst;
        return int(n);
    }
    if (!d_medium->fast() && d_next == air.head.load() && !air.between.load() &&
        d_next < index_at(d_medium->clock_ns())) {
        d_underflows++;
        report(SOAPY_SDR_UNDERFLOW, 0, d_medium->clock_ns());
        d_next = index_at(d_medium->clock_ns() + lead_ns);
    }
    // Enough room that calls stay large; less if the caller has less.
    const int64_t wanted = std::min<int64_t>(n, 1024);
    // The room is looked at after the clock: a thread that was kept waiting still gets what there is.
    for (bool late = timeout_us <= 0; limit() - d_next < wanted;
         late = std::chrono::steady_clock::now() >= deadline) {
        if (late)
            return SOAPY_SDR_TIMEOUT;
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(200));
        lock.lock();
        if (!d_active)
            return SOAPY_SDR_STREAM_ERROR;
    }
    const size_t m = std::min<int64_t>({ int64_t(n), limit() - d_next, int64_t(medium::ring_size / 4) });
    if (const int64_t head = air.head.load(); head < d_next)
        silence(head, d_next);
    put(x, m);
    air.between = 0;
    if (end_of_burst && m == n) {
        // Silence that a receiver's look-ahead may read needs no filling: beyond head nothing is read.
        d_in_burst = false;
        air.between = 1;
        report(0, SOAPY_SDR_END_BURST, int64_t(double(d_next) / true_rate() * 1e9));
    }
    return int(m);
}

//! Notes where bursts begin among the next n samples.
void transmitter::mark_bursts(const std::complex<float>* x, size_t n)
{
    auto& air = d_medium->on_air(d_air);
    for (size_t i = 0; i < n; i++) {
        if (x[i] == 0.0f) {
            d_silent++;
            continue;
        }
        if (d_silent >= gap) {
            const uint64_t k = air.bursts.load(std::memory_order_relaxed);
            air.burst_at[k % air::max_marks] = d_next + int64_t(i);
            air.bursts.store(k + 1, std::memory_order_release);
        }
        d_silent = 0;
    }
}

void transmitter::put(const std::complex<float>* x, size_t n)
{
    auto& air = d_medium->on_air(d_air);
    auto* ring = d_medium->ring(d_air);
    const float gain = float(std::pow(10.0, (d_settings.gain_db - 30) / 20));
    while (n > 0) {
        const size_t at = size_t(d_next) % medium::ring_size;
        const size_t m = std::min({ n, piece, medium::ring_size - at });
        std::complex<float>* out = ring + at;
        mark_bursts(x, m);
        if (d_settings.bits > 0) {
            d_converter.process(x, out, m);
            d_clipped = d_converter.clipped();
        } else {
            std::copy_n(x, m, out);
        }
        if (gain != 1)
            for (size_t i = 0; i < m; i++)
                out[i] *= gain;
        d_impairments.process(out, out, m);
        d_next += int64_t(m);
        air.head.store(d_next, std::memory_order_release);
        x += m;
        n -= m;
    }
}

void transmitter::report(int code, int flags, int64_t time_ns)
{
    {
        std::lock_guard<std::mutex> lock(d_event_mutex);
        if (d_events.size() >= max_events) // nobody asks for them
            d_events.pop_front();
        d_events.push_back({ code, flags, time_ns });
    }
    d_event_signal.notify_all();
}

std::optional<transmitter::event> transmitter::wait_event(long timeout_us)
{
    std::unique_lock<std::mutex> lock(d_event_mutex);
    if (!d_event_signal.wait_for(
            lock, std::chrono::microseconds(timeout_us), [&] { return !d_events.empty(); }))
        return std::nullopt;
    const event e = d_events.front();
    d_events.pop_front();
    return e;
}

} // namespace gr::diffusion::soapy
