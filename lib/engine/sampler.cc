/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "film_mlp.h"
#include "model_data.h"
#include <gnuradio/diffusion/sampler.h>
#include <algorithm>
#include <cmath>
#include <optional>

namespace gr::diffusion::engine {

namespace {

constexpr size_t block_panels = 16; // worked on step by step together: small state, weights stay cached
constexpr float largest = 1e4f;

std::optional<noise_schedule> schedule_of(const model_data& data)
{
    const json_reader reader = data.reader("schedule");
    if (reader.has("kind") && reader.choice("kind", { "continuous", "discrete" }) == "continuous")
        return {};
    noise_schedule::config c;
    c.num_train_timesteps = reader.count("num_train_timesteps", 1, 100000);
    c.beta_schedule = reader.string("beta_schedule", c.beta_schedule);
    c.beta_start = reader.number("beta_start", 0, 1, c.beta_start);
    c.beta_end = reader.number("beta_end", 0, 1, c.beta_end);
    if (reader.has("trained_betas"))
        c.trained_betas = reader.numbers("trained_betas", 0, 1, 100000);
    try {
        return noise_schedule(c);
    } catch (const std::invalid_argument& e) {
        throw model_error(data.path + ": " + e.what());
    }
}

uint64_t mixed(uint64_t z) // splitmix64
{
    z += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

//! Complex Gaussian of unit power, a function of where it is used, so that the cut does not matter.
std::complex<float> noise_at(uint64_t seed, uint64_t row, uint64_t step)
{
    const uint64_t bits = mixed(mixed(seed ^ mixed(row)) + step);
    const double u = (double(bits >> 32) + 0.5) * 0x1p-32,
                 phase = double(bits & 0xffffffff) * 0x1p-32 * 2 * M_PI;
    const double radius = std::sqrt(-std::log(u)); // E|e|^2 = 1
    return { float(radius * std::cos(phase)), float(radius * std::sin(phase)) };
}

} // namespace

struct receiver::impl {
    struct level {
        film_level film;
        float state = 0, output = 1, noise = 0; // see step_weights
        uint64_t step = 0;
    };

    explicit impl(engine::model::sptr m)
        : shared(std::move(m)),
          net(*shared),
          schedule(schedule_of(shared->data())),
          points(2 * shared->constellation().size()),
          ideal_q2(5 * shared->constellation().size()),
          ideal_q1(shared->constellation().size()),
          posterior(shared->prediction_type() == prediction::posterior),
          P(kernels().rows),
          state(2 * P * block_panels),
          out(std::max<size_t>({ net.outputs(), shared->constellation().size(), 2 }) * P),
          mean(2 * P),
          ratios(std::max(1, shared->bits_per_symbol()) * P),
          scratch(net.scratch()),
          demap_weight(5 * shared->constellation().size()),
          demap_affine(2 * shared->constellation().size())
    {
        const auto& c = shared->constellation();
        for (size_t i = 0; i < c.size(); i++) {
            points[2 * i] = c[i].real();
            points[2 * i + 1] = c[i].imag();
        }
        demap = panel_layer(0, c.size(), nullptr, activation::none);
        if (net.embedded_steps() && !schedule)
            shared->data().reader().wrong("schedule", "a network with an embedding needs a discrete one");
        if (schedule && net.embedded_steps() && net.embedded_steps() != schedule->steps())
            shared->data()
                .reader("schedule")
                .wrong("num_train_timesteps",
                       "the embedding has " + std::to_string(net.embedded_steps()) + " steps");
        context.resize(net.conditions());
    }

    engine::model::sptr shared;
    film_mlp net;
    std::optional<noise_schedule> schedule;
    std::vector<float> points;
    std::vector<double> ideal_q2, ideal_q1;
    bool posterior;
    size_t P;
    aligned_floats state, out, mean, ratios, scratch, demap_weight, demap_affine;
    panel_layer demap; // no main input: coefficients of the products only
    std::vector<float> context;
    double noise_var = 0.1;
    size_t wanted_steps = 1;
    bool ancestral = false, from_pure_noise = false;
    uint64_t seed = 1, row = 0, bad = 0;
    std::vector<level> levels; // ancestral: one a step, ascending; else in the order of their use
    size_t first = 0, count = 1;
    float start_gain = 1; // state at the start = start_gain * y

    void ideal_law(double nv)
    {
        const auto& c = shared->constellation();
        for (size_t i = 0; i < c.size(); i++) {
            double* q = &ideal_q2[5 * i];
            q[0] = 2 * double(c[i].real()) / nv;
            q[1] = 2 * double(c[i].imag()) / nv;
            q[2] = q[3] = -1 / nv;
            q[4] = 0;
            ideal_q1[i] = -(double(c[i].real()) * c[i].real() + double(c[i].imag()) * c[i].imag()) / nv;
        }
    }

    //! The network at noise variance nv; q2 null: the ideal law.
    void prepare(level& l, double nv, size_t step, const float* given, const double* q2, const double* q1)
    {
        if (!given) {
            std::fill(context.begin(), context.end(), 0.0f);
            if (!context.empty()) {
                const auto [lo, hi] = shared->snr_db();
                context[0] = float(std::clamp(-10 * std::log10(nv), lo, hi));
            }
            given = context.data();
        }
        if (!q2 && net.wants_skip()) {
            ideal_law(nv);
            q2 = ideal_q2.data();
            q1 = ideal_q1.data();
        }
        // A schedule's state is x_t, otherwise it is the observation itself.
        const double unit = schedule ? std::sqrt(1 + nv) : 1;
        const double gain = schedule ? 1 : net.scales_input() ? 1 / std::sqrt(1 + nv) : 1;
        net.prepare(l.film, step, given, gain, unit, q2, q1);
        l.step = step;
    }

    void set_weights(level& l, const step_weights& w)
    {
        l.state = float(w.state);
        l.output = float(w.output);
        l.noise = float(w.noise);
    }

    void make_levels(size_t n)
    {
        while (levels.size() < n)
            levels.push_back({ net.make_level() });
    }

    void prepare_ancestral()
    {
        make_levels(schedule->steps());
        const auto& abar = schedule->alphas_cumprod();
        for (size_t t = 0; t < schedule->steps(); t++) {
            prepare(levels[t], schedule->noise_var(t), t, nullptr, nullptr, nullptr);
            set_weights(levels[t], ddpm_weights(shared->prediction_type(), abar[t], t ? abar[t - 1] : 1));
        }
    }

    void set_link(double nv, const float* given, const double* q2, const double* q1)
    {
        noise_var = nv;
        start_gain = schedule ? float(1 / std::sqrt(1 + nv)) : 1;
        if (!posterior && demap.n_out) {
            ideal_law(nv);
            pack_panel_weight(5, demap.n_out, ideal_q2.data(), demap_weight.data());
            for (size_t i = 0; i < demap.n_out; i++)
                demap_affine[demap.n_out + i] = float(ideal_q1[i]);
        }
        if (ancestral) {
            first = from_pure_noise ? schedule->steps() - 1 : schedule->matched_step(nv);
            count = first + 1;
            return;
        }
        first = 0;
        if (schedule) {
            const size_t start = schedule->matched_step(nv);
            count = std::min(wanted_steps, start + 1);
            const auto& abar = schedule->alphas_cumprod();
            // as noise_schedule::ladder()
            auto rung = [&](size_t k) { return start - (start + 1) * k / count; };
            for (size_t k = 0; k < count; k++) {
                const size_t t = rung(k);
                prepare(levels[k], schedule->noise_var(t), t, k ? nullptr : given, k ? nullptr : q2,
                        k ? nullptr : q1);
                set_weights(levels[k], ddim_weights(shared->prediction_type(), abar[t],
                                                    k + 1 < count ? abar[rung(k + 1)] : 1));
            }
            return;
        }
        count = wanted_steps;
        for (size_t k = 0; k < count; k++) {
            const double left = 1 - double(k) / double(count), next = 1 - double(k + 1) / double(count);
            const double v = nv * left * left, v_next = nv * next * next;
            prepare(levels[k], v, 0, k ? nullptr : given, k ? nullptr : q2, k ? nullptr : q1);
            // DDIM between the same levels; the state is y = x_t / sqrt(abar) instead of x_t.
            const double abar = 1 / (1 + v), abar_next = 1 / (1 + v_next);
            const step_weights w = ddim_weights(shared->prediction_type(), abar, abar_next);
            set_weights(levels[k],
                        { w.state * std::sqrt(abar / abar_next), w.output / std::sqrt(abar_next), 0 });
        }
    }

    float rail(float x)
    {
        if (std::abs(x) <= largest)
            return x;
        return std::isnan(x) || std::isinf(x) ? 0.0f : std::copysign(largest, x);
    }

    size_t vectors(size_t rows) const { return (rows + kernels().lane - 1) / kernels().lane; }

    //! Up to a panel of observations into \p s; the lanes of the last vector beyond them are zero.
    void load(const std::complex<float>* y, size_t rows, float* s)
    {
        for (size_t i = 0; i < rows; i++) {
            const float re = rail(y[i].real()), im = rail(y[i].imag());
            bad += re != y[i].real() || im != y[i].imag();
            s[i] = start_gain * re;
            s[P + i] = start_gain * im;
        }
        for (size_t i = rows; i < vectors(rows) * kernels().lane; i++)
            s[i] = s[P + i] = 0;
    }

    void write_llr(float* posteriors, size_t rows, float* llr)
    {
        const int bits = shared->bits_per_symbol();
        kernels().bit_ratios(posteriors, bits, vectors(rows), ratios.data());
        for (int b = 0; b < bits; b++)
            for (size_t i = 0; i < rows; i++)
                llr[i * bits + b] = ratios[b * P + i];
    }

    //! One panel through level l; \p llr not null: soft bits of the first level.
    void step(const level& l, float* s, size_t rows, uint64_t at, float* llr)
    {
        const panel_kernels& k = kernels();
        const size_t v = vectors(rows), lanes = v * k.lane;
        net.forward(l.film, s, v, out.data(), scratch.data());
        const float* estimate = out.data();
        if (posterior) {
            k.posterior(out.data(), net.outputs(), points.data(), v, mean.data());
            if (llr)
                write_llr(out.data(), rows, llr);
            estimate = mean.data();
        }
        for (size_t rail = 0; rail < 2; rail++)
            for (size_t i = 0; i < lanes; i++)
                s[rail * P + i] = l.state * s[rail * P + i] + l.output * estimate[rail * P + i];
        if (l.noise > 0)
            for (size_t i = 0; i < rows; i++) {
                const auto e = noise_at(seed, at + i, l.step);
                s[i] += l.noise * e.real();
                s[P + i] += l.noise * e.imag();
            }
    }

    void process(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n)
    {
        const flush_denormals guard;
        const panel_kernels& k = kernels();
        const int bits = shared->bits_per_symbol();
        // A posterior's soft bits need the first step only.
        const size_t steps = posterior && !x_hat && !ancestral ? 1 : count;
        for (size_t begin = 0; begin < n; begin += block_panels * P) {
            const size_t size = std::min(n - begin, block_panels * P);
            auto each_panel = [&](auto&& f) {
                for (size_t i = 0; i < size; i += P)
                    f(state.data() + 2 * i, begin + i, std::min(P, size - i));
            };
            each_panel([&](float* s, size_t at, size_t rows) { load(y + at, rows, s); });
            for (size_t j = 0; j < steps; j++) {
                const level& l = ancestral ? levels[first - j] : levels[j];
                const bool soft = llr && posterior && (ancestral ? j + 1 == steps : j == 0);
                each_panel([&](float* s, size_t at, size_t rows) {
                    step(l, s, rows, row + at, soft ? llr + at * bits : nullptr);
                });
            }
            each_panel([&](float* s, size_t at, size_t rows) {
                if (x_hat)
                    for (size_t i = 0; i < rows; i++)
                        x_hat[at + i] = { s[i], s[P + i] };
                if (llr && !posterior) {
                    k.products(s, 1, vectors(rows), scratch.data());
                    k.layer(demap, demap_affine.data(), demap_affine.data() + demap.n_out, scratch.data(),
                            scratch.data(), demap_weight.data(), 5, vectors(rows), out.data());
                    k.posterior(out.data(), demap.n_out, points.data(), vectors(rows), mean.data());
                    write_llr(out.data(), rows, llr + at * bits);
                }
            });
        }
        row += n;
    }
};

receiver::receiver(engine::model::sptr m, size_t steps) : d(std::make_unique<impl>(std::move(m)))
{
    if (steps == 0) {
        const json_reader top = d->shared->data().reader();
        steps = top.has("sampler") ? top.object("sampler").count("steps", 1, max_steps) : 1;
    }
    set_steps(steps);
}

receiver::~receiver() = default;
receiver::receiver(receiver&&) noexcept = default;
receiver& receiver::operator=(receiver&&) noexcept = default;

const model& receiver::get_model() const { return *d->shared; }
double receiver::noise_var() const { return d->noise_var; }
size_t receiver::conditions() const { return d->net.conditions(); }
size_t receiver::steps() const { return d->wanted_steps; }
size_t receiver::outputs() const { return d->net.outputs(); }
uint64_t receiver::bad_samples() const { return d->bad; }

void receiver::set_noise_var(double noise_var) { set_link(noise_var, nullptr, nullptr, nullptr); }

void receiver::set_link(double noise_var, const float* context, const double* q2, const double* q1)
{
    if (!(noise_var > 0) || !std::isfinite(noise_var))
        throw std::invalid_argument("noise_var is " + std::to_string(noise_var) +
                                    ", use a positive variance E|n|^2");
    d->set_link(std::clamp(noise_var, 1e-9, 1e9), context, q2, q1);
}

void receiver::set_steps(size_t steps)
{
    if (steps < 1 || steps > max_steps)
        throw std::invalid_argument("steps is " + std::to_string(steps) + ", use 1 to " +
                                    std::to_string(max_steps));
    d->wanted_steps = steps;
    d->ancestral = false;
    d->make_levels(steps);
    set_noise_var(d->noise_var);
}

void receiver::set_ancestral(bool on, bool from_pure_noise, uint64_t seed)
{
    if (on && !d->schedule)
        throw std::invalid_argument("model '" + d->shared->name() +
                                    "' has a continuous schedule; ancestral sampling needs a discrete one");
    d->ancestral = on;
    d->from_pure_noise = from_pure_noise;
    d->seed = seed;
    d->row = 0;
    if (on)
        d->prepare_ancestral();
    set_noise_var(d->noise_var);
}

void receiver::process(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n)
{
    if (llr && d->shared->constellation().empty())
        throw std::invalid_argument("model '" + d->shared->name() +
                                    "' has no constellation, hence no soft bits");
    d->process(y, x_hat, llr, n);
}

void receiver::denoise(const std::complex<float>* y, std::complex<float>* x_hat, size_t n)
{
    process(y, x_hat, nullptr, n);
}

void receiver::llr(const std::complex<float>* y, float* llr, size_t n) { process(y, nullptr, llr, n); }

void receiver::network(const std::complex<float>* y, float* out, size_t n)
{
    const flush_denormals guard;
    const auto& l = d->levels[d->first];
    for (size_t at = 0; at < n; at += d->P) {
        const size_t rows = std::min(d->P, n - at);
        d->load(y + at, rows, d->state.data());
        d->net.forward(l.film, d->state.data(), d->vectors(rows), d->out.data(), d->scratch.data());
        for (size_t i = 0; i < rows; i++)
            for (size_t o = 0; o < outputs(); o++)
                out[(at + i) * outputs() + o] = d->out[o * d->P + i];
    }
}

} // namespace gr::diffusion::engine
