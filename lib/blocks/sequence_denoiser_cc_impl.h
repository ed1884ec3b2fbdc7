/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "engine/sequence_net.h"
#include <gnuradio/diffusion/sequence_denoiser_cc.h>
#include <atomic>
#include <memory>
#include <vector>

namespace gr::diffusion {

class sequence_denoiser_cc_impl : public sequence_denoiser_cc
{
public:
    sequence_denoiser_cc_impl(const std::string& model, double noise_var, std::complex<double> gain);

    int work(int noutput_items,
             gr_vector_const_void_star& input_items,
             gr_vector_void_star& output_items) override;

    void set_model(const std::string& model) override;
    void set_noise_var(double noise_var) override;
    void set_gain(std::complex<double> gain) override;
    std::string model() const override;
    double noise_var() const override;
    std::complex<double> gain() const override;
    unsigned delay_samples() const override { return d_margin; }
    uint64_t bad_samples() const override { return d_bad; }
    uint64_t refused() const override { return d_refused; }

private:
    static constexpr size_t longest = 2048; // samples at once: activations stay in cache
    // of a sample of a waveform of power 1: what is beyond is no signal
    static constexpr float largest = 1e6F;

    void command(const std::string& key, const pmt::pmt_t& value);
    void run(const gr_complex* in, size_t n, gr_complex* out);

    mutable between_calls d_between; // all below belongs to the block's thread
    std::string d_model;
    std::unique_ptr<engine::sequence_net> d_net;
    unsigned d_margin;
    double d_noise_var = 1e-3;
    std::complex<double> d_gain = 1;
    std::vector<gr_complex> d_scaled, d_result;
    std::vector<gr::tag_t> d_tags;
    std::atomic<uint64_t> d_bad{ 0 }, d_refused{ 0 };
};

} // namespace gr::diffusion
