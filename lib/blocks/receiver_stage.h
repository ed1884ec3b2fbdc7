/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "between_calls.h"
#include "dsp/noise_estimator.h"
#include "dsp/fitted_receiver.h"
#include "dsp/step_budget.h"
#include "guard_stage.h"
#include "engine/shaping_prior.h"
#include <gnuradio/logger.h>
#include <gnuradio/tags.h>
#include <pmt/pmt.h>
#include <atomic>
#include <chrono>
#include <complex>
#include <memory>
#include <string>
#include <vector>

namespace gr::diffusion {

/*! What denoiser_cc and soft_demapper_cf share: the receiver in use, where its noise level comes from, and
 * what messages and tags may do to it. The block's thread keeps a `call` during its work; other threads go
 * through ask(), set_model() and ask_noise_var(). */
class receiver_stage
{
public:
    class call
    {
    public:
        explicit call(receiver_stage& stage) : d_call(stage.d_between) { stage.settle(); }

    private:
        const between_calls::call d_call;
    };

    //! \p f between two calls of work, see between_calls. What it uses of the stage is settled.
    template <typename F>
    auto ask(F&& f)
    {
        return d_between.ask([&] {
            settle();
            return f();
        });
    }

    //! In mode "exact": call set_mode() for another.
    receiver_stage(const std::string& model, double noise_var, size_t steps, gr::logger_ptr logger,
                   bool soft_bits = false);

    /*! n symbols with the tags that lie among them (any order, any keys). \p first: offset of y[0]. */
    void process(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n,
                 uint64_t first, std::vector<gr::tag_t>& tags);

    //! A command message; \p budget: what its "compute_budget" switches, if the block has one. \p same_bits:
    //! refuse models of another number of bits a symbol.
    void command(const pmt::pmt_t& message, bool same_bits, dsp::step_budget* budget = nullptr);

    //! From any thread: the file is read there.
    void set_model(const std::string& model, bool same_bits);
    void set_noise_var(double noise_var);
    //! As set_noise_var(), from any thread and at once: the next call or ask() takes it over.
    void ask_noise_var(double noise_var);
    void set_steps(int steps);
    //! \param wait for the table, before the flowgraph runs; in a running one it is made beside the stream
    void set_mode(const std::string& mode, bool wait = false);
    void set_fit(const std::vector<double>& state);
    //! Probabilities of the points (any scale), or none: equally likely.
    void set_prior(const std::vector<double>& pmf);
    //! Shaper model whose composition indices the tags "shaping" carry; "": the tags mean nothing here.
    void set_shaper(const std::string& model);

    //! Steps asked for (0: the model's), whatever a budget makes of them.
    size_t wanted_steps() const { return d_wanted; }
    /*! Fewer steps than wanted, from the next sample on. \returns whether that is a change; a table's cost
     *  does not depend on the steps, so then they stay. */
    bool use_steps(size_t steps);
    //! Watch the input, and fall back to the classical path when it is nothing the model was made for.
    guard_stage& guard() { return d_guard; }
    const guard_stage& guard() const { return d_guard; }
    //! Where in the stream the last call of process() went over to the classical path (with the reason) or
    //! back ("").
    const std::vector<std::pair<uint64_t, std::string>>& marks() const { return d_marks; }

    const dsp::fitted_receiver& receiver() const { return *d_receiver; }
    const std::string& model() const { return d_receiver->get_model().name(); }
    const std::string& mode() const { return d_mode; }
    double noise_var() const { return d_receiver->noise_var(); }
    const char* noise_source() const;
    //! Symbols of the exact network while a table was asked for; of all models so far.
    uint64_t without_table() const { return d_without_table + d_receiver->without_table(); }
    uint64_t symbols() const { return d_symbols; }
    uint64_t bad_samples() const { return d_bad_samples; }
    uint64_t refused() const { return d_refused; }

private:
    void settle();
    void run(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n);
    void apply_tag(const gr::tag_t& tag);
    void apply_noise_var(double noise_var);
    void apply_shaping(const pmt::pmt_t& value);
    void take_prior(dsp::symbol_prior prior);
    void refuse(const std::string& why);
    std::unique_ptr<dsp::fitted_receiver> load(const std::string& model, size_t steps, int bits) const;
    void take(std::unique_ptr<dsp::fitted_receiver>& receiver, const std::string& model);

    between_calls d_between;
    gr::logger_ptr d_logger;
    guard_stage d_guard;
    std::vector<std::pair<uint64_t, std::string>> d_marks;
    bool d_marked = false; // whether the newest mark is an alarm
    std::unique_ptr<dsp::fitted_receiver> d_receiver;
    std::unique_ptr<dsp::noise_estimator> d_estimator;
    std::unique_ptr<engine::shaping_prior> d_shaper;
    int64_t d_composition = -1; // that the prior is of
    std::string d_model, d_mode = "exact";
    double d_given = -1, d_tagged = -1;
    static constexpr double nothing = 0; // no noise variance that may be asked for
    std::atomic<double> d_asked{ nothing };
    size_t d_steps, d_wanted = 1;
    bool d_soft_bits; // what a table holds
    uint64_t d_without_table = 0; // of receivers that are gone
    std::atomic<uint64_t> d_symbols{ 0 }, d_bad_samples{ 0 }, d_refused{ 0 };
    std::chrono::steady_clock::time_point d_next_log{};
};

} // namespace gr::diffusion
