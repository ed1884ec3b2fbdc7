/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "dsp/fitted_receiver.h"
#include "dsp/input_guard.h"
#include "dsp/noise_estimator.h"
#include <gnuradio/logger.h>
#include <pmt/pmt.h>
#include <atomic>
#include <functional>
#include <memory>
#include <string>

namespace gr::diffusion {

/*! Watches what a receiver is given, and stands in for it while that is nothing it was made for: symbols then
 * pass as they came, soft bits are the ideal constellation's in Gaussian noise of the variance measured. */
class guard_stage
{
public:
    explicit guard_stage(gr::logger_ptr logger) : d_logger(std::move(logger)) {}

    //! Of the receiver from now on; its past is forgotten.
    void follow(const dsp::fitted_receiver& receiver);
    void set_on(bool on);
    bool on() const { return d_on; }
    //! Called with a dictionary when an alarm begins or ends.
    void set_listener(std::function<void(const pmt::pmt_t&)> listener) { d_listener = std::move(listener); }

    /*! n symbols that came at noise_var. \p said: not an own estimate. Returns whether to fall back. A shaped
     *  constellation is not watched: its law is another for every composition. */
    bool watch(const std::complex<float>* y, size_t n, const dsp::fitted_receiver& receiver, bool said);
    void fall_back(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n);

    bool alarm() const { return d_alarm; }
    std::string reason() const { return d_alarm ? d_guard->report().reason : ""; }
    uint64_t alarms() const { return d_alarms; }
    uint64_t guarded() const { return d_guarded; }

private:
    void tell();

    gr::logger_ptr d_logger;
    std::unique_ptr<dsp::input_guard> d_guard;
    std::unique_ptr<dsp::fitted_receiver> d_classical;
    std::unique_ptr<dsp::noise_estimator> d_noise;
    std::function<void(const pmt::pmt_t&)> d_listener;
    std::pair<double, double> d_range;
    bool d_on = true;
    std::atomic<bool> d_alarm{ false };
    std::atomic<uint64_t> d_alarms{ 0 }, d_guarded{ 0 };
    std::string d_reason; // that raised the alarm
};

} // namespace gr::diffusion
