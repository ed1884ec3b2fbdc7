/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "dsp/mimo_estimator.h"
#include "rate_limited.h"
#include <gnuradio/diffusion/mimo_channel_estimator.h>
#include <atomic>
#include <memory>

namespace gr::diffusion {

class mimo_channel_estimator_impl : public mimo_channel_estimator
{
public:
    using estimator = std::unique_ptr<dsp::mimo_estimator>;

    mimo_channel_estimator_impl(const std::string& model, const std::string& method, estimator made,
                                const std::vector<gr_complex>& pilots, float noise_var);

    static estimator load(const std::string& model, const std::string& method,
                          const std::vector<gr_complex>& pilots);

    int work(int noutput_items, gr_vector_const_void_star& input_items,
             gr_vector_void_star& output_items) override;

    void set_model(const std::string& model) override;
    void set_method(const std::string& method) override;
    void set_pilots(const std::vector<gr_complex>& pilots) override;
    void set_noise_var(float noise_var) override;
    std::string model() const override;
    std::string method() const override;
    float noise_var() const override { return d_noise_var; }
    int receivers() const override { return d_nr; }
    int transmitters() const override { return d_nt; }
    uint64_t frames() const override { return d_frames; }
    uint64_t invalid_frames() const override { return d_invalid; }

private:
    mutable between_calls d_between;
    std::vector<gr_complex> pilots() const;
    void replace(const std::string& model, const std::string& method, const std::vector<gr_complex>& pilots);
    void apply(const gr::tag_t& tag);
    void run(const gr_complex* y, int frames, gr_complex* h, float* err_var);

    estimator d_estimator;
    const int d_nr, d_nt;
    const size_t d_count;
    std::vector<gr_complex> d_pilots;
    std::string d_model, d_method;
    std::atomic<float> d_noise_var{ 1 };
    std::atomic<uint64_t> d_frames{ 0 }, d_invalid{ 0 };
    rate_limited d_limit_tags, d_limit_values;
    std::vector<gr::tag_t> d_tags;
};

} // namespace gr::diffusion
