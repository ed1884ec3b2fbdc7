/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fitted_receiver.h"
#include "engine/fit_numbers.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {

constexpr float largest_llr = 87;
constexpr float largest_sample = 1e4f;

engine::model::sptr check(engine::model::sptr m)
{
    if (m->task() != "receiver")
        throw engine::model_error(m->path() + ": it is a model of task '" + m->task() + "', not a receiver");
    if (m->constellation().empty())
        throw engine::model_error(m->path() + ": a receiver needs a constellation");
    return m;
}

} // namespace

fitted_receiver::fitted_receiver(engine::model::sptr m, size_t steps)
    : d_model(check(std::move(m))), d_receiver(d_model), d_default_steps(d_receiver.steps()),
      d_law(get_model().constellation()), d_cells(get_model().constellation()),
      d_bits(get_model().bits_per_symbol())
{
    const size_t points = get_model().constellation().size();
    if (d_receiver.conditions() > symbol_law::n_context)
        throw engine::model_error(get_model().path() + ": its network wants " +
                                  std::to_string(d_receiver.conditions()) + " conditions, this version has " +
                                  std::to_string(symbol_law::n_context));
    d_q2.resize(5 * points);
    d_q1.resize(points);
    d_p2.resize(5 * points);
    d_p1.resize(points);
    d_logit.resize(points);
    d_centroid.resize(points);
    d_context.resize(symbol_law::n_context);
    set_steps(steps);
    if (const auto fit = engine::fit_numbers(get_model(), "state"); !fit.empty())
        try {
            set_state(fit);
        } catch (const std::invalid_argument& e) {
            throw engine::model_error(get_model().path() + ": " + e.what());
        }
}

receiver_mode receiver_mode_of(const std::string& name)
{
    if (name == "exact")
        return receiver_mode::exact;
    if (name == "table")
        return receiver_mode::table;
    if (name == "auto")
        return receiver_mode::automatic;
    throw std::invalid_argument("mode '" + name + "' is none of exact, table, auto");
}

receiver_path receiver_path_of(const std::string& name)
{
    if (name == "network")
        return receiver_path::network;
    if (name == "gaussian")
        return receiver_path::gaussian;
    if (name == "cells")
        return receiver_path::cells;
    throw std::invalid_argument("path '" + name + "' is none of network, gaussian, cells");
}

void fitted_receiver::set_mode(receiver_mode mode, bool soft_bits, bool wait)
{
    if (mode == receiver_mode::exact)
        d_table.reset();
    else if (!d_table || d_soft_table != soft_bits) {
        engine::tabulated_receiver::config c;
        c.noise_var = d_noise_var / (d_prior.amplitude * d_prior.amplitude);
        c.symbols = !soft_bits;
        c.soft_bits = d_soft_table = soft_bits;
        c.deferred = true; // apply() says for what link
        d_table = std::make_unique<engine::tabulated_receiver>(d_model, d_receiver.steps(), c);
    }
    d_mode = mode;
    apply();
    if (d_table && wait)
        d_table->wait();
}

void fitted_receiver::set_steps(size_t steps)
{
    d_receiver.set_steps(steps ? steps : d_default_steps);
    if (d_table)
        d_table->set_steps(d_receiver.steps());
    apply(); // the engine has forgotten the link
}

void fitted_receiver::limit_steps(size_t steps)
{
    d_receiver.set_steps(steps);
    apply();
}

bool fitted_receiver::uses_table() const
{
    return d_table && d_path == receiver_path::network && d_table->available() &&
           (d_mode == receiver_mode::table || d_table->usable());
}

void fitted_receiver::set_law(symbol_law law, receiver_path path)
{
    if (law.points() != get_model().constellation())
        throw std::invalid_argument("the fitted law's constellation is not that of " + get_model().name());
    if (path == receiver_path::noise)
        throw std::invalid_argument("path noise comes with a noise law");
    if (path == receiver_path::cells && !cell_table::takes(law.link()))
        throw std::invalid_argument(
            "the fitted law has no converter of 1 to 6 bits before it; use its Gaussians");
    std::swap(d_law, law);
    std::swap(d_path, path);
    try {
        apply();
    } catch (...) { // keep the last good one
        std::swap(d_law, law);
        std::swap(d_path, path);
        throw;
    }
}

void fitted_receiver::set_noise_law(noise_law noise)
{
    noise.prepare();
    d_noise = std::move(noise);
    d_path = receiver_path::noise;
    d_noise_var = d_noise.variance();
    apply();
}

std::vector<double> fitted_receiver::state() const
{
    auto s = d_law.state();
    if (d_path == receiver_path::noise) {
        const auto noise = d_noise.state();
        s.insert(s.begin(), noise.begin(), noise.end());
        s.insert(s.begin(), { double(d_path), double(noise.size()) });
    } else
        s.insert(s.begin(), double(d_path));
    return s;
}

void fitted_receiver::set_state(const std::vector<double>& s)
{
    const bool known = !s.empty() && (s[0] == 0 || s[0] == 1 || s[0] == 2 || s[0] == 3);
    const bool noise = known && s[0] == double(receiver_path::noise);
    if (!known ||
        (noise && !(s.size() > 2 && s[1] >= 1 && s[1] < double(s.size() - 1) && s[1] == std::floor(s[1]))))
        throw std::invalid_argument("fitted state refused: not a fitted state of this version");
    const auto law = s.begin() + (noise ? 2 + std::ptrdiff_t(s[1]) : 1);
    auto fresh = symbol_law::from_state(get_model().constellation(), { law, s.end() });
    if (!noise)
        return set_law(std::move(fresh), receiver_path(int(s[0])));
    auto noise_of_state = noise_law::from_state({ s.begin() + 2, law });
    set_law(std::move(fresh), receiver_path::gaussian);
    set_noise_law(std::move(noise_of_state));
}

void fitted_receiver::set_prior(symbol_prior prior)
{
    if (!prior.uniform() && prior.log_pmf.size() != get_model().constellation().size())
        throw std::invalid_argument("prior has " + std::to_string(prior.log_pmf.size()) + " points, " +
                                    get_model().name() + " has " +
                                    std::to_string(get_model().constellation().size()));
    const bool same = d_prior.log_pmf == prior.log_pmf && d_prior.amplitude == prior.amplitude;
    d_prior = std::move(prior);
    if (!same)
        apply();
}

void fitted_receiver::set_noise_var(double noise_var)
{
    if (noise_var == d_noise_var)
        return;
    const double before = d_noise_var;
    d_noise_var = noise_var;
    try {
        apply();
    } catch (...) {
        d_noise_var = before;
        throw;
    }
}

void fitted_receiver::apply()
{
    if (d_path == receiver_path::noise) {
        // Where the symbols lie does not depend on the noise level.
        const auto law = d_law.at(d_noise_var);
        for (size_t i = 0; i < law.size(); i++)
            d_centroid[i] = { float(law[i].re), float(law[i].im) };
        d_noise_scale = float(d_prior.amplitude * std::sqrt(d_noise.variance() / d_noise_var));
        return;
    }
    // Everything below works in units of the unit-power points.
    const double noise_var = d_noise_var / (d_prior.amplitude * d_prior.amplitude);
    d_law.coefficients(noise_var, d_q2.data(), d_q1.data());
    for (size_t i = 0; i < d_prior.log_pmf.size(); i++)
        d_q1[i] += d_prior.log_pmf[i];
    if (d_path != receiver_path::network) {
        if (d_path == receiver_path::cells)
            d_cells.prepare(d_law.link(), noise_var, d_prior.log_pmf);
        std::copy(d_q2.begin(), d_q2.end(), d_p2.begin());
        std::copy(d_q1.begin(), d_q1.end(), d_p1.begin());
        return;
    }
    const auto context = d_law.context(noise_var);
    std::copy(context.begin(), context.end(), d_context.begin());
    const float* conditions = d_receiver.conditions() ? d_context.data() : nullptr;
    d_receiver.set_link(noise_var, conditions, d_q2.data(), d_q1.data());
    if (d_table)
        d_table->set_link(noise_var, conditions, d_q2.data(), d_q1.data());
}

void fitted_receiver::process(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n)
{
    const float amplitude = float(d_prior.amplitude);
    if (amplitude != 1) {
        d_scaled.resize(n);
        for (size_t i = 0; i < n; i++)
            d_scaled[i] = y[i] / amplitude;
        y = d_scaled.data();
    }
    run(y, x_hat, llr, n);
    if (x_hat && amplitude != 1)
        for (size_t i = 0; i < n; i++)
            x_hat[i] *= amplitude;
}

void fitted_receiver::run(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n)
{
    if (d_path == receiver_path::cells) {
        for (size_t i = 0; i < n; i++)
            if (!d_cells.look_up(y[i], x_hat ? x_hat + i : nullptr, llr ? llr + i * d_bits : nullptr))
                classical(y + i, x_hat ? x_hat + i : nullptr, llr ? llr + i * d_bits : nullptr, 1);
    } else if (d_path != receiver_path::network)
        classical(y, x_hat, llr, n);
    else if (!((d_soft_table ? !x_hat : !llr) && uses_table() && d_table->process(y, x_hat, llr, n))) {
        d_receiver.process(y, x_hat, llr, n);
        d_without_table += d_table ? n : 0;
    }
}

void fitted_receiver::gaussian_logits(float re, float im)
{
    for (size_t k = 0; k < d_logit.size(); k++) {
        const float* q = &d_p2[5 * k];
        d_logit[k] = d_p1[k] + re * (q[0] + q[2] * re + q[4] * im) + im * (q[1] + q[3] * im);
    }
}

void fitted_receiver::noise_logits(float re, float im)
{
    for (size_t k = 0; k < d_logit.size(); k++)
        d_logit[k] = d_noise.relative((re - d_centroid[k].real()) * d_noise_scale,
                                      (im - d_centroid[k].imag()) * d_noise_scale) +
                     (d_prior.uniform() ? 0.0f : float(d_prior.log_pmf[k]));
}

void fitted_receiver::classical(const std::complex<float>* y, std::complex<float>* x_hat, float* llr,
                                size_t n)
{
    const auto& points = get_model().constellation();
    const size_t m = points.size();
    auto held = [](float v) {
        return std::isfinite(v) ? std::clamp(v, -largest_sample, largest_sample) : 0.0f;
    };
    for (size_t i = 0; i < n; i++) {
        const float re = held(y[i].real()), im = held(y[i].imag());
        if (d_path == receiver_path::noise)
            noise_logits(re, im);
        else
            gaussian_logits(re, im);
        const float top = *std::max_element(d_logit.begin(), d_logit.end());
        float sum = 0;
        std::complex<float> mean = 0;
        float one[16] = {}, zero[16] = {};
        for (size_t k = 0; k < m; k++) {
            const float p = std::exp(d_logit[k] - top);
            sum += p;
            mean += p * points[k];
            if (llr)
                for (int b = 0; b < d_bits; b++)
                    ((k >> (d_bits - 1 - b)) & 1 ? one : zero)[b] += p;
        }
        if (x_hat)
            x_hat[i] = mean / sum;
        if (llr)
            for (int b = 0; b < d_bits; b++)
                llr[i * d_bits + b] = std::clamp(std::log(std::max(one[b], 1e-38f)) -
                                                     std::log(std::max(zero[b], 1e-38f)),
                                                 -largest_llr, largest_llr);
    }
}

} // namespace gr::diffusion::dsp
