/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "receiver_stage.h"
#include "command.h"
#include "shaping_tag.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion {

namespace {

constexpr double smallest = 1e-6, largest = 1e3; // noise variances beyond are held to these
constexpr double enough_change = 0.02;           // of an estimate, relative, before the network follows

size_t check_steps(int steps)
{
    if (steps < 0 || steps > int(engine::receiver::max_steps))
        throw std::invalid_argument("steps is " + std::to_string(steps) +
                                    ", use 0 (the model's default) to " +
                                    std::to_string(engine::receiver::max_steps));
    return size_t(steps);
}

double check_noise_var(double noise_var)
{
    if (noise_var == 0 || !std::isfinite(noise_var))
        throw std::invalid_argument("noise_var is " + std::to_string(noise_var) +
                                    ", use a positive variance E|n|^2, or -1 for tags or an estimate");
    return noise_var;
}

} // namespace

receiver_stage::receiver_stage(const std::string& model, double noise_var, size_t steps,
                               gr::logger_ptr logger, bool soft_bits)
    : d_logger(logger), d_guard(std::move(logger)), d_steps(check_steps(int(steps))), d_soft_bits(soft_bits)
{
    check_noise_var(noise_var);
    auto receiver = load(model, d_steps, 0);
    take(receiver, model);
    set_noise_var(noise_var);
}

//! \param bits a symbol that it must have; 0: any
std::unique_ptr<dsp::fitted_receiver> receiver_stage::load(const std::string& model, size_t steps,
                                                           int bits) const
{
    auto next = std::make_unique<dsp::fitted_receiver>(engine::model::load(model), steps);
    if (bits && next->bits_per_symbol() != bits)
        throw std::invalid_argument("model '" + model + "' has " + std::to_string(next->bits_per_symbol()) +
                                    " bits a symbol, this flowgraph runs with " + std::to_string(bits));
    return next;
}

//! Leaves the old receiver in \p receiver: the end of its table's thread is waited for where it is thrown
//! away.
void receiver_stage::take(std::unique_ptr<dsp::fitted_receiver>& receiver, const std::string& model)
{
    if (receiver->path() == dsp::receiver_path::noise) { // it knows its level, unless told
        if (const double told = d_given > 0 ? d_given : d_tagged; told > 0)
            receiver->set_noise_var(std::clamp(told, smallest, largest));
    } else if (d_receiver)
        receiver->set_noise_var(d_receiver->noise_var());
    if (d_receiver) {
        if (receiver->get_model().constellation() == d_receiver->get_model().constellation())
            receiver->set_prior(d_receiver->prior());
        else
            d_composition = -1; // of other points: the next tag brings a prior that fits
    }
    receiver->set_mode(dsp::receiver_mode_of(d_mode), d_soft_bits, false);
    auto estimator = std::make_unique<dsp::noise_estimator>(receiver->law(), receiver->prior());
    if (d_receiver)
        d_without_table += d_receiver->without_table();
    d_receiver.swap(receiver);
    d_wanted = d_receiver->steps();
    d_estimator = std::move(estimator);
    d_guard.follow(*d_receiver);
    d_model = model;
}

void receiver_stage::set_model(const std::string& model, bool same_bits)
{
    const auto [steps, bits] = ask([&] { return std::pair(d_steps, d_receiver->bits_per_symbol()); });
    auto receiver = load(model, steps, same_bits ? bits : 0);
    ask([&] { take(receiver, model); });
}

void receiver_stage::set_noise_var(double noise_var)
{
    d_given = check_noise_var(noise_var);
    if (d_given > 0)
        apply_noise_var(d_given);
    else
        d_estimator->reset();
}

void receiver_stage::ask_noise_var(double noise_var) { d_asked = check_noise_var(noise_var); }

void receiver_stage::settle()
{
    if (d_asked.load(std::memory_order_relaxed) == nothing)
        return;
    if (const double asked = d_asked.exchange(nothing); asked != nothing)
        set_noise_var(asked);
}

void receiver_stage::set_steps(int steps)
{
    d_receiver->set_steps(check_steps(steps));
    d_steps = size_t(steps);
    d_wanted = d_receiver->steps();
}

bool receiver_stage::use_steps(size_t steps)
{
    if (d_receiver->uses_table())
        steps = d_wanted;
    if (steps == d_receiver->steps())
        return false;
    d_receiver->limit_steps(steps);
    return true;
}

void receiver_stage::set_mode(const std::string& mode, bool wait)
{
    use_steps(d_wanted); // a table is made with the steps wanted
    d_receiver->set_mode(dsp::receiver_mode_of(mode), d_soft_bits, wait);
    d_mode = mode;
}

void receiver_stage::set_fit(const std::vector<double>& state)
{
    d_receiver->set_state(state);
    if (const double told = d_given > 0 ? d_given : d_tagged; told > 0)
        apply_noise_var(told);
    d_guard.follow(*d_receiver);
    d_estimator = std::make_unique<dsp::noise_estimator>(d_receiver->law(), d_receiver->prior());
}

void receiver_stage::take_prior(dsp::symbol_prior prior)
{
    d_receiver->set_prior(std::move(prior));
    d_estimator->set_law(d_receiver->law(), d_receiver->prior());
}

void receiver_stage::set_prior(const std::vector<double>& pmf)
{
    take_prior(dsp::symbol_prior::make(pmf, d_receiver->get_model().constellation()));
    d_composition = -1;
}

void receiver_stage::set_shaper(const std::string& model)
{
    auto next = model.empty() ? nullptr : std::make_unique<engine::shaping_prior>(engine::model::load(model));
    if (next && next->symbols() != d_receiver->get_model().constellation().size())
        throw std::invalid_argument("shaper '" + model + "' has " + std::to_string(next->symbols()) +
                                    " points, the receiver " +
                                    std::to_string(d_receiver->get_model().constellation().size()));
    d_shaper = std::move(next);
    d_composition = -1;
}

void receiver_stage::apply_shaping(const pmt::pmt_t& value)
{
    shaping_tag tag;
    if (!shaping_tag::from_pmt(value, tag))
        return refuse("tag shaping is no tuple of composition index, bits and packet bits");
    if (int64_t(tag.index) == d_composition)
        return;
    if (tag.index >= d_shaper->states())
        return refuse("tag shaping names composition " + std::to_string(tag.index) +
                      ", the shaper has 0 to " + std::to_string(d_shaper->states() - 1));
    const auto of_class = d_shaper->class_pmf(uint32_t(tag.index));
    std::vector<double> pmf;
    for (uint8_t k : d_shaper->class_of())
        pmf.push_back(of_class[k] / d_shaper->class_size()[k]);
    try {
        take_prior(dsp::symbol_prior::make(pmf, d_receiver->get_model().constellation(),
                                           d_shaper->amplitude(uint32_t(tag.index))));
        d_composition = int64_t(tag.index);
    } catch (const std::exception& e) {
        refuse(e.what());
    }
}

const char* receiver_stage::noise_source() const
{
    return d_given > 0 ? "given" : d_tagged > 0 ? "tag" : "estimate";
}

void receiver_stage::apply_noise_var(double noise_var)
{
    d_receiver->set_noise_var(std::clamp(noise_var, smallest, largest));
}

void receiver_stage::refuse(const std::string& why)
{
    d_refused++;
    const auto now = std::chrono::steady_clock::now();
    if (now < d_next_log)
        return;
    d_next_log = now + std::chrono::seconds(1);
    d_logger->warn("{} ({} refused so far)", why, d_refused.load());
}

void receiver_stage::apply_tag(const gr::tag_t& tag)
{
    static const pmt::pmt_t noise_key = pmt::intern("noise_var"), snr_key = pmt::intern("snr");
    if (d_shaper && pmt::eqv(tag.key, shaping_tag::key()))
        return apply_shaping(tag.value);
    const bool is_snr = pmt::eqv(tag.key, snr_key);
    if (!is_snr && !pmt::eqv(tag.key, noise_key))
        return;
    if (!pmt::is_real(tag.value) && !pmt::is_integer(tag.value))
        return refuse("tag " + pmt::symbol_to_string(tag.key) +
                      " is no number: " + pmt::write_string(tag.value));
    const double value = pmt::to_double(tag.value);
    const double noise_var = is_snr ? std::pow(10, -value / 10) : value;
    if (!(noise_var > 0) || !std::isfinite(noise_var))
        return refuse("tag " + pmt::symbol_to_string(tag.key) + " is " + std::to_string(value) +
                      ", which is no noise level");
    d_tagged = noise_var;
    if (d_given <= 0)
        apply_noise_var(noise_var);
}

void receiver_stage::run(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n)
{
    if (n == 0)
        return;
    // A learned noise law knows its own level, and the estimator knows Gaussian noise only.
    const bool learned = d_receiver->path() == dsp::receiver_path::noise;
    if (!learned && d_given <= 0 && d_tagged <= 0 && d_estimator->feed(y, n)) {
        const double estimate = d_estimator->estimate();
        if (std::abs(estimate - noise_var()) > enough_change * noise_var())
            apply_noise_var(estimate);
    }
    uint64_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad += !(std::isfinite(y[i].real()) && std::isfinite(y[i].imag()));
    d_bad_samples += bad;
    if (d_guard.watch(y, n, *d_receiver, d_given > 0 || d_tagged > 0))
        d_guard.fall_back(y, x_hat, llr, n);
    else
        d_receiver->process(y, x_hat, llr, n);
    d_symbols += n;
}

void receiver_stage::process(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n,
                             uint64_t first, std::vector<gr::tag_t>& tags)
{
    std::sort(tags.begin(), tags.end(), gr::tag_t::offset_compare);
    size_t done = 0;
    d_marks.clear();
    const size_t bits = size_t(d_receiver->bits_per_symbol());
    auto run_to = [&](size_t end) {
        run(y + done, x_hat ? x_hat + done : nullptr, llr ? llr + done * bits : nullptr, end - done);
        if (end > done && d_guard.alarm() != d_marked) {
            d_marked = d_guard.alarm();
            d_marks.emplace_back(first + done, d_guard.reason());
        }
        done = end;
    };
    for (const auto& tag : tags) {
        if (tag.offset < first + done || tag.offset >= first + n)
            continue;
        const size_t at = size_t(tag.offset - first);
        if (at > done)
            run_to(at);
        apply_tag(tag);
    }
    run_to(n);
}

void receiver_stage::command(const pmt::pmt_t& message, bool same_bits, dsp::step_budget* budget)
{
    // A model and a fit that come together are taken together or not at all.
    std::string model;
    std::vector<double> fit;
    bool has_model = false, has_fit = false;
    for_each_setting(d_logger, message, [&](const std::string& key, const pmt::pmt_t& value) {
        try {
            if (key == "model") {
                model = pmt::symbol_to_string(value);
                has_model = true;
            } else if (key == "fit") {
                fit = pmt::f64vector_elements(value);
                has_fit = true;
            } else if (key == "prior")
                set_prior(pmt::is_null(value) ? std::vector<double>() : pmt::f64vector_elements(value));
            else if (key == "shaper")
                set_shaper(pmt::symbol_to_string(value));
            else if (key == "noise_var")
                set_noise_var(pmt::to_double(value));
            else if (key == "snr")
                set_noise_var(std::pow(10, -pmt::to_double(value) / 10));
            else if (key == "steps")
                set_steps(to_int(value));
            else if (key == "mode")
                set_mode(pmt::symbol_to_string(value));
            else if (key == "guard")
                d_guard.set_on(pmt::to_bool(value));
            else if (key == "compute_budget" && budget)
                budget->set_on(pmt::to_bool(value));
            else
                throw std::invalid_argument(
                    "'" + key + "' is none of model, fit, prior, shaper, noise_var, snr, steps, mode, guard" +
                    (budget ? ", compute_budget" : ""));
        } catch (...) {
            d_refused++;
            throw; // logged by for_each_setting
        }
    });
    if (!pmt::is_dict(message) && !(pmt::is_pair(message) && pmt::is_symbol(pmt::car(message))))
        d_refused++;
    try {
        if (has_model) {
            auto next = load(model, d_steps, same_bits ? d_receiver->bits_per_symbol() : 0);
            if (has_fit)
                next->set_state(fit);
            take(next, model);
        } else if (has_fit)
            set_fit(fit);
    } catch (const std::exception& e) {
        refuse(std::string("model kept: ") + e.what());
    }
}

} // namespace gr::diffusion
