/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "dsp/channel.h"
#include "dsp/impairments.h"
#include "dsp/quantizer.h"
#include "medium.h"
#include "path.h"
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace gr::diffusion::soapy {

//! Settings of a receiver that may change while it runs.
struct receiver_settings {
    double rate = 1e6;      //!< samples/s, as the user set it
    double frequency = 1e9; //!< Hz
    double gain_db = 50;    //!< 0 dBm at the antenna becomes this many dBFS
    bool agc = false;
    bool remove_dc = false; //!< behind the ADC, as drivers do
    double clock_ppm = 0;
    double cfo_hz = 0;
    double buffer_ms = 250; //!< how far the reader may fall behind before samples are lost
    int bits = 12;          //!< of the ADC, 0: a perfect one
    path_settings path;
};

/*! One receive stream: all transmitters on the air, each over its own path, noise, gain or AGC,
 * impairments, ADC.
 *
 * Real time: a sample can be read once its time has come; a reader that falls behind loses samples
 * (overflow). Fast: as soon as every transmitter that is on the air has sent it; with none, in real time.
 * Lockstep: likewise; with none, nothing can be read. */
class receiver
{
public:
    struct chunk {
        int count = 0;       //!< samples, or a negative SOAPY_SDR code
        int64_t time_ns = 0; //!< of the first
        bool end = false;    //!< the last of a finite acquisition
    };

    receiver(std::shared_ptr<medium> medium, uint64_t seed);
    ~receiver();

    //! \param time_ns when to start, \param count how many samples (0: until stopped)
    void start(std::optional<int64_t> time_ns, size_t count);
    void stop();
    chunk read(std::complex<float>* out, size_t n, long timeout_us);

    void set(const receiver_settings& settings);
    receiver_settings settings() const;
    template <typename F>
    auto with_impairments(F&& f)
    {
        std::lock_guard<std::mutex> lock(d_mutex);
        return f(d_impairments);
    }
    uint64_t overflows() const { return d_overflows; }
    uint64_t clipped() const { return d_clipped; }
    //! Power at the antenna, noise included, dBm; of the last samples read.
    double rssi_dbm() const { return d_rssi; }
    double agc_gain_db() const { return d_agc_gain; }
    //! Transmitters whose stream is on.
    int transmitters() const;

private:
    double true_rate() const { return d_settings.rate * (1 + d_settings.clock_ppm * 1e-6); }
    double true_frequency() const
    {
        return d_settings.frequency * (1 + d_settings.clock_ppm * 1e-6) + d_settings.cfo_hz;
    }
    int64_t index_at(int64_t ns) const;
    int64_t time_of(int64_t index) const;
    int64_t horizon();
    int64_t fast_horizon();
    void compute(std::complex<float>* out, size_t n);
    void front_end(std::complex<float>* out, size_t n);

    std::shared_ptr<medium> d_medium;
    mutable std::mutex d_mutex;
    receiver_settings d_settings;
    std::vector<path> d_paths;
    dsp::awgn d_noise;
    dsp::impairments d_impairments;
    dsp::quantizer d_converter;
    int d_listener = -1;
    int64_t d_next = 0; //!< index of the next sample
    int64_t d_left = 0; //!< of a finite acquisition
    size_t d_agc_count = 0; //!< samples of the block whose level the AGC is measuring
    double d_agc_level = 0;
    std::complex<float> d_dc = 0;
    bool d_active = false, d_finite = false, d_configured = false;
    std::chrono::steady_clock::time_point d_wall; //!< up to when silence has been paced
    std::atomic<uint64_t> d_overflows{ 0 }, d_clipped{ 0 };
    std::atomic<double> d_rssi{ -200 }, d_agc_gain{ 50 };
};

} // namespace gr::diffusion::soapy
