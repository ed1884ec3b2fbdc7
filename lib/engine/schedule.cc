/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <gnuradio/diffusion/sampler.h>
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::engine {

namespace {

constexpr size_t most_steps = 100000;

std::vector<double> betas_of(const noise_schedule::config& c)
{
    const size_t n = c.num_train_timesteps;
    if (n < 1 || n > most_steps)
        throw std::invalid_argument("schedule: num_train_timesteps is " + std::to_string(n) + ", use 1 to " +
                                    std::to_string(most_steps));
    if (!c.trained_betas.empty()) {
        if (c.trained_betas.size() != n)
            throw std::invalid_argument("schedule: " + std::to_string(c.trained_betas.size()) +
                                        " trained_betas for num_train_timesteps " + std::to_string(n) +
                                        "; give one a step");
        return c.trained_betas;
    }
    std::vector<double> betas(n);
    auto ramp = [&](double a, double b, size_t i) {
        return n == 1 ? a : a + (b - a) * double(i) / double(n - 1);
    };
    // Nichol and Dhariwal 2021, eq. 17, with its cap of 0.999.
    auto cosine = [&](size_t i) {
        const double angle = (double(i) / double(n) + 0.008) / 1.008 * M_PI / 2;
        return std::cos(angle) * std::cos(angle);
    };
    for (size_t i = 0; i < n; i++) {
        if (c.beta_schedule == "linear")
            betas[i] = ramp(c.beta_start, c.beta_end, i);
        else if (c.beta_schedule == "scaled_linear")
            betas[i] = std::pow(ramp(std::sqrt(c.beta_start), std::sqrt(c.beta_end), i), 2);
        else if (c.beta_schedule == "squaredcos_cap_v2")
            betas[i] = std::min(1 - cosine(i + 1) / cosine(i), 0.999);
        else
            throw std::invalid_argument("schedule: beta_schedule '" + c.beta_schedule +
                                        "' is none of linear, scaled_linear, squaredcos_cap_v2");
    }
    return betas;
}

//! x_0 = state * x_t + output * (network output).
step_weights clean_weights(prediction type, double abar)
{
    switch (type) {
    case prediction::epsilon:
        return { 1 / std::sqrt(abar), -std::sqrt((1 - abar) / abar), 0 };
    case prediction::v_prediction:
        return { std::sqrt(abar), -std::sqrt(1 - abar), 0 };
    default:
        return { 0, 1, 0 };
    }
}

} // namespace

noise_schedule::noise_schedule(const config& c)
{
    double abar = 1;
    for (double beta : betas_of(c)) {
        if (!(beta > 0 && beta < 1))
            throw std::invalid_argument(
                "schedule: a beta is " + std::to_string(beta) +
                ", every one must lie between 0 and 1; check beta_start and beta_end");
        d_abar.push_back(abar *= 1 - beta);
    }
}

size_t noise_schedule::matched_step(double noise_var) const
{
    size_t best = 0;
    double distance = HUGE_VAL;
    for (size_t t = 0; t < steps(); t++) {
        const double d = std::abs(std::log(this->noise_var(t)) - std::log(noise_var));
        if (d < distance) {
            distance = d;
            best = t;
        }
    }
    return best;
}

std::vector<size_t> noise_schedule::ladder(size_t t_start, size_t steps) const
{
    steps = std::max<size_t>(1, std::min(steps, t_start + 1));
    std::vector<size_t> out(steps);
    for (size_t k = 0; k < steps; k++)
        out[k] = t_start - (t_start + 1) * k / steps;
    return out;
}

step_weights ddim_weights(prediction type, double abar, double abar_prev)
{
    const step_weights x0 = clean_weights(type, abar);
    // next = sqrt(abar_prev) x_0 + sqrt(1 - abar_prev) e, e = (x_t - sqrt(abar) x_0) / sqrt(1 - abar)
    const double direction = std::sqrt((1 - abar_prev) / (1 - abar));
    const double clean = std::sqrt(abar_prev) - direction * std::sqrt(abar);
    return { direction + clean * x0.state, clean * x0.output, 0 };
}

step_weights ddpm_weights(prediction type, double abar, double abar_prev)
{
    const step_weights x0 = clean_weights(type, abar);
    const double alpha = abar / abar_prev;
    const double clean = std::sqrt(abar_prev) * (1 - alpha) / (1 - abar);
    const double state = std::sqrt(alpha) * (1 - abar_prev) / (1 - abar);
    const double variance = std::max((1 - abar_prev) / (1 - abar) * (1 - alpha), 1e-20);
    return { state + clean * x0.state, clean * x0.output, abar_prev < 1 ? std::sqrt(variance) : 0 };
}

} // namespace gr::diffusion::engine
