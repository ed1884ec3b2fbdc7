/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "dsp/native_receiver.h"
#include "buffer_fill.h"
#include "dsp/step_budget.h"
#include "rate_limited.h"
#include <gnuradio/diffusion/native_ofdm_rx.h>
#include <deque>

namespace gr::diffusion {

class native_ofdm_rx_impl : public native_ofdm_rx
{
public:
    native_ofdm_rx_impl(const std::string& estimator, const std::string& demapper,
                        const std::string& estimator_model, const std::string& demapper_model, int fft_len,
                        int cp_len, int max_payload, double max_cfo, const std::string& length_tag_key);

    void forecast(int noutput_items, gr_vector_int& ninput_items_required) override;
    int general_work(int noutput_items, gr_vector_int& ninput_items, gr_vector_const_void_star& input_items,
                     gr_vector_void_star& output_items) override;

    void set_estimator(const std::string& estimator) override;
    void set_demapper(const std::string& demapper) override;
    void set_estimator_model(const std::string& model) override;
    void set_demapper_model(const std::string& model) override;
    void set_compute_budget(bool on) override;
    bool compute_budget() const override;
    std::map<std::string, uint64_t> budget() const override;
    void set_data_aided_rounds(int rounds) override;
    int data_aided_rounds() const override;
    void set_time_tracking(bool on) override;
    bool time_tracking() const override;
    std::string estimator() const override;
    std::string demapper() const override;
    std::map<std::string, uint64_t> counters() const override;

private:
    mutable between_calls d_between;
    struct output {
        std::vector<uint8_t> items; // of either port, as bytes
        size_t at = 0;              // items that are out
        pmt::pmt_t metadata;        // tags of the first item
    };

    bool input_done();
    void receive(const gr_complex* in, int n, bool flush);
    void report(const dsp::native_frame& frame);
    int drain(int port, size_t item_size, void* out, int space);
    pmt::pmt_t metrics(const dsp::native_frame& frame) const;

    const int d_fft_len, d_cp_len;
    const pmt::pmt_t d_length_key;
    dsp::native_receiver d_receiver;
    dsp::receiver_counters d_counters;
    std::string d_estimator, d_demapper, d_estimator_model, d_demapper_model;
    std::vector<dsp::native_frame> d_frames;
    std::deque<output> d_pending[2];
    dsp::step_budget d_budget;
    work_watch d_watch;
    uint64_t d_received = 0; // samples given to the receiver
    uint64_t d_origin = 0;   // number of the receiver's sample 0
    bool d_flushed = false;
    rate_limited d_log_limit;
};

} // namespace gr::diffusion
