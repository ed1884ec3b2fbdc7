/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "dsp/impairments.h"
#include "dsp/quantizer.h"
#include "medium.h"
#include "path.h"
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

namespace gr::diffusion::soapy {

//! Settings of a transmitter that may change while it runs.
struct transmitter_settings {
    double rate = 1e6;       //!< samples/s, as the user set it
    double frequency = 1e9;  //!< Hz
    double gain_db = 30;     //!< 30: full scale leaves at 0 dBm
    double clock_ppm = 0;    //!< error of the radio's clock: its rate and carrier
    double cfo_hz = 0;       //!< carrier error beyond the clock's
    double buffer_ms = 100;  //!< how far ahead of the air samples are taken
    int bits = 12;           //!< of the DAC, 0: a perfect one
    path_settings way = { 0, 0, {}, {}, 0, 0, false }; //!< of its own, besides what each receiver has for all
};

/*! One transmit stream: DAC, impairments and gain, then onto the air in time.
 *
 * Real time: samples are taken until buffer_ms ahead of the clock, then write() waits. When the air
 * catches up with the last sample inside a burst, that is an underflow: silence goes out, the samples
 * that come next are sent as soon as possible. Fast and lockstep: write() waits for the slowest listener
 * instead, and for a listener if there is none; in lockstep bursts without a time follow each other at
 * once. */
class transmitter
{
public:
    struct event {
        int code;        //!< SOAPY_SDR_UNDERFLOW, SOAPY_SDR_TIME_ERROR, or 0 for a burst that ended
        int flags;
        int64_t time_ns;
    };

    explicit transmitter(std::shared_ptr<medium> medium);
    ~transmitter();

    void start();
    void stop();

    /*! Takes up to n samples. \param time_ns when the first is to go out, if it begins a burst
     *  \return number taken, or a negative SOAPY_SDR code */
    int write(const std::complex<float>* x,
              size_t n,
              bool end_of_burst,
              std::optional<int64_t> time_ns,
              long timeout_us);

    //! Next event, if one comes within the time.
    std::optional<event> wait_event(long timeout_us);

    void set(const transmitter_settings& settings);
    transmitter_settings settings() const;
    //! Locked access to the impairment chain: f(dsp::impairments&).
    template <typename F>
    auto with_impairments(F&& f)
    {
        std::lock_guard<std::mutex> lock(d_mutex);
        return f(d_impairments);
    }
    //! Numbers of the first and the next sample, at this radio's rate in the medium's time.
    int64_t first() const { return d_medium->on_air(d_air).first.load(); }
    int64_t next() const { return d_medium->on_air(d_air).head.load(); }
    uint64_t underflows() const { return d_underflows; }
    uint64_t clipped() const { return d_clipped; }

private:
    double true_rate() const { return d_settings.rate * (1 + d_settings.clock_ppm * 1e-6); }
    int64_t index_at(int64_t ns) const;
    int64_t now_ns() const;
    int64_t limit() const;
    void publish(bool restart);
    void publish_way();
    void begin_burst(std::optional<int64_t> time_ns);
    void mark_bursts(const std::complex<float>* x, size_t n);
    void put(const std::complex<float>* x, size_t n);
    void silence(int64_t from, int64_t to);
    void report(int code, int flags, int64_t time_ns);

    std::shared_ptr<medium> d_medium;
    mutable std::mutex d_mutex;
    transmitter_settings d_settings;
    path_settings d_published = { 0, 0, {}, {}, 0, 0, false };
    dsp::impairments d_impairments;
    dsp::quantizer d_converter;
    int d_air = -1;
    int64_t d_next = 0;      //!< index of the next sample
    int64_t d_silent = 0;    //!< samples of exact silence up to it
    bool d_active = false, d_in_burst = false, d_dropping = false;
    std::atomic<uint64_t> d_underflows{ 0 }, d_clipped{ 0 };
    std::mutex d_event_mutex;
    std::condition_variable d_event_signal;
    std::deque<event> d_events;
};

} // namespace gr::diffusion::soapy
