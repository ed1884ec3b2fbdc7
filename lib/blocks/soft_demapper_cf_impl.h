/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "receiver_stage.h"
#include <gnuradio/diffusion/soft_demapper_cf.h>

namespace gr::diffusion {

class soft_demapper_cf_impl : public soft_demapper_cf
{
public:
    soft_demapper_cf_impl(const std::string& model, double noise_var, const std::string& mode,
                          bool guard = true);

    int work(int noutput_items,
             gr_vector_const_void_star& input_items,
             gr_vector_void_star& output_items) override;

    void set_model(const std::string& model) override;
    void set_noise_var(double noise_var) override;
    void set_mode(const std::string& mode) override;
    void set_fit(const std::vector<double>& state) override;
    void set_prior(const std::vector<double>& pmf) override;
    void set_shaper(const std::string& model) override;
    std::string model() const override;
    std::string mode() const override;
    bool uses_table() const override;
    uint64_t without_table() const override;
    int bits_per_symbol() const override;
    double noise_var() const override;
    std::string noise_source() const override;
    bool fitted() const override;
    uint64_t symbols() const override { return d_stage.symbols(); }
    uint64_t bad_samples() const override { return d_stage.bad_samples(); }
    uint64_t refused() const override { return d_stage.refused(); }
    void set_guard(bool on) override;
    bool guard() const override;
    std::string guard_reason() const override;
    uint64_t guard_alarms() const override { return d_stage.guard().alarms(); }
    uint64_t guarded_symbols() const override { return d_stage.guard().guarded(); }

private:
    mutable receiver_stage d_stage; // getters ask it, too
    std::vector<gr::tag_t> d_tags;
};

} // namespace gr::diffusion
