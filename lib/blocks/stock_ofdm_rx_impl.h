/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "dsp/stock_receiver.h"
#include "buffer_fill.h"
#include "dsp/step_budget.h"
#include <gnuradio/diffusion/stock_ofdm_rx.h>
#include <deque>

namespace gr::diffusion {

class stock_ofdm_rx_impl : public stock_ofdm_rx
{
public:
    stock_ofdm_rx_impl(const dsp::stock_settings& settings,
                       const dsp::sync_settings& sync,
                       const std::string& estimator,
                       const std::string& demapper,
                       const std::string& estimator_model,
                       const std::string& demapper_model,
                       const std::string& length_tag_key,
                       const std::string& num_tag_key);

    void forecast(int noutput_items, gr_vector_int& ninput_items_required) override;
    int general_work(int noutput_items,
                     gr_vector_int& ninput_items,
                     gr_vector_const_void_star& input_items,
                     gr_vector_void_star& output_items) override;

    void set_estimator(const std::string& estimator) override
    {
        set_channel_stage(estimator, d_estimator_model);
    }
    void set_demapper(const std::string& demapper) override
    {
        set_demapper_stage(demapper, d_demapper_model);
    }
    void set_estimator_model(const std::string& model) override { set_channel_stage(d_estimator, model); }
    void set_demapper_model(const std::string& model) override { set_demapper_stage(d_demapper, model); }
    void set_max_passes(int passes) override;
    void set_compute_budget(bool on) override;
    bool compute_budget() const override;
    std::map<std::string, uint64_t> budget() const override;
    std::string estimator() const override;
    std::string demapper() const override;
    std::map<std::string, uint64_t> counters() const override;

private:
    mutable between_calls d_between;
    struct output {
        std::vector<uint8_t> items; // of either port, as bytes
        size_t at = 0;              // items that are out
        pmt::pmt_t tags;            // of the first item, a dictionary
    };

    void set_channel_stage(const std::string& name, const std::string& model);
    void set_demapper_stage(const std::string& name, const std::string& model);
    bool input_done();
    bool pending() const { return !d_pending[0].empty() || !d_pending[1].empty(); }
    void receive(const gr_complex* in, int n, bool flush);
    void report(const dsp::stock_frame& frame);
    int drain(int port, size_t item_size, void* out, int space);
    void warn_of_bad_samples();

    const pmt::pmt_t d_length_key, d_num_key, d_pdus, d_metrics, d_all;
    dsp::stock_receiver d_receiver;
    std::string d_estimator, d_demapper, d_estimator_model, d_demapper_model;
    std::vector<dsp::stock_frame> d_frames;
    std::deque<output> d_pending[2];
    dsp::step_budget d_budget;
    work_watch d_watch;
    uint64_t d_received = 0; // samples given to the receiver
    uint64_t d_origin = 0;   // number of the receiver's sample 0
    bool d_flushed = false;
    uint64_t d_warn_at = 1;
};

} // namespace gr::diffusion
