/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "dsp/preamble_estimator.h"
#include "buffer_fill.h"
#include "dsp/step_budget.h"
#include <gnuradio/diffusion/ofdm_channel_estimator_vcvc.h>
#include <atomic>

namespace gr::diffusion {

class ofdm_channel_estimator_vcvc_impl : public ofdm_channel_estimator_vcvc
{
public:
    ofdm_channel_estimator_vcvc_impl(const std::string& model, const std::vector<gr_complex>& sync_symbol1,
                                     const std::vector<gr_complex>& sync_symbol2, int n_data_symbols,
                                     int max_carr_offset, bool force_one_sync_symbol,
                                     const std::string& method, float noise_var, bool compute_budget);

    void forecast(int noutput_items, gr_vector_int& ninput_items_required) override;
    int general_work(int noutput_items, gr_vector_int& ninput_items, gr_vector_const_void_star& input_items,
                     gr_vector_void_star& output_items) override;

    void set_method(const std::string& method) override;
    void set_model(const std::string& model) override;
    void set_noise_var(float noise_var) override;
    void set_compute_budget(bool on) override;
    bool compute_budget() const override;
    std::map<std::string, uint64_t> budget() const override;
    std::string method() const override;
    std::string model() const override;
    float noise_var() const override;
    uint64_t frames() const override { return d_frames; }
    uint64_t invalid_frames() const override { return d_invalid; }

private:
    mutable between_calls d_between;
    void change(const std::string& method, const std::string& model);
    void move_tags(uint64_t first, uint64_t to);
    void announce(uint64_t item, const dsp::preamble_estimator::result& result);

    dsp::preamble_estimator d_estimator;
    dsp::step_budget d_budget;
    work_watch d_watch;
    const int d_data_symbols;
    std::string d_method, d_model;
    float d_noise_var = -1;
    std::atomic<uint64_t> d_frames{ 0 }, d_invalid{ 0 };
    uint64_t d_next_warning = 1;
    std::vector<gr::tag_t> d_tags;
};

} // namespace gr::diffusion
