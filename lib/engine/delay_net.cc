/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "delay_net.h"
#include "model_data.h"
#include "scalar_math.h"
#include "vectorise.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::engine {

namespace {

constexpr size_t n_features = 6;
constexpr float log_min = -16, log_max = 4;

const network_kind registered("delay_unrolled", [](const model& m) { delay_net check(m); });

json_reader network_of(const model& m)
{
    const json_reader network = m.data().reader("network");
    if (m.task() != "estimator")
        throw model_error(m.path() + ": task is '" + m.task() +
                          "'; the network kind delay_unrolled is for 'estimator'");
    return network;
}

delay_guide guide_of(const model& m)
{
    const json_reader network = network_of(m);
    const size_t carriers = network.count("carriers", 2, 4096), taps = network.count("taps", carriers, 8192);
    if ((taps & (taps - 1)) != 0)
        network.wrong("taps", "must be a power of two");
    return delay_guide(carriers, taps);
}

/* The six features of every tap, and log|m|^2 and log v for the update. x points at the first row and
 * has `stride` floats a row. */
DIFFUSION_VECTORISE void feature_columns(size_t taps, const float* __restrict log_gamma,
                                         const float* __restrict gamma, const float* __restrict q,
                                         const float* __restrict m, const float* __restrict z,
                                         float* __restrict log_power, float* __restrict log_v,
                                         float* __restrict columns)
{
    const float* const mi = m + taps;
    const float* const zi = z + taps;
    for (size_t l = 0; l < taps; l++) {
        const float g = gamma[l];
        float v = g - g * g * q[l];
        v = (v > 0 ? v : 0) + 1e-9f;
        const float power = m[l] * m[l] + mi[l] * mi[l] + 1e-9f;
        float significance = z[l] * z[l] + zi[l] * zi[l];
        significance = significance > 1e-9f ? significance : 1e-9f;
        significance /= q[l] > 1e-9f ? q[l] : 1e-9f;
        log_power[l] = log_positive(power);
        log_v[l] = log_positive(v);
        columns[l] = log_gamma[l] * 0.3f + 1;
        columns[taps + l] = log_v[l] * 0.3f + 1;
        columns[2 * taps + l] = log_power[l] * 0.3f + 1;
        columns[3 * taps + l] = log_positive(significance + 1e-4f) * 0.5f;
    }
    for (size_t l = 0; l < taps; l++) { // m_l conj(m_{l-1}), normalised
        const size_t b = l ? l - 1 : taps - 1;
        const float re = m[l] * m[b] + mi[l] * mi[b], im = mi[l] * m[b] - m[l] * mi[b];
        const float inverse = 1 / std::sqrt(re * re + im * im + 1e-12f);
        columns[4 * taps + l] = re * inverse;
        columns[5 * taps + l] = im * inverse;
    }
}

DIFFUSION_VECTORISE void update_gamma(size_t taps, const float* __restrict log_power,
                                      const float* __restrict log_v, const float* __restrict change,
                                      const float* __restrict slope, float* __restrict log_gamma,
                                      float* __restrict gamma)
{
    for (size_t l = 0; l < taps; l++) {
        const float p = log_power[l], v = log_v[l];
        float ratio = p - v;
        const float most = ratio > 0 ? p : v;
        const float less = ratio > 0 ? -ratio : ratio; // log(power + v), from the larger of them
        float g = most + log_positive(1 + exp_bounded(less > -60 ? less : -60));
        ratio = ratio > 8 ? 8 : (ratio < -8 ? -8 : ratio);
        g += change[l] + ratio * slope[l];
        g = g > log_max ? log_max : (g < log_min ? log_min : g);
        log_gamma[l] = g;
        gamma[l] = exp_bounded(g);
    }
}

DIFFUSION_VECTORISE void modulate(float* __restrict a, size_t rows, size_t width,
                                  const float* __restrict scale, const float* __restrict shift)
{
    for (size_t l = 0; l < rows; l++)
        for (size_t c = 0; c < width; c++)
            a[l * width + c] = a[l * width + c] * (1 + scale[c]) + shift[c];
}

DIFFUSION_VECTORISE void column_means(const float* __restrict a, size_t rows, size_t width,
                                      float* __restrict mean)
{
    std::fill_n(mean, width, 0.f);
    for (size_t l = 0; l < rows; l++)
        for (size_t c = 0; c < width; c++)
            mean[c] += a[l * width + c];
    for (size_t c = 0; c < width; c++)
        mean[c] /= float(rows);
}

//! out += g m, complex, real and imaginary parts apart
DIFFUSION_VECTORISE void add_products(size_t n, const float* __restrict g_re, const float* __restrict g_im,
                                      const float* __restrict m_re, const float* __restrict m_im,
                                      float* __restrict out_re, float* __restrict out_im)
{
    for (size_t l = 0; l < n; l++) {
        out_re[l] += g_re[l] * m_re[l] - g_im[l] * m_im[l];
        out_im[l] += g_re[l] * m_im[l] + g_im[l] * m_re[l];
    }
}

} // namespace

delay_net::delay_net(const model& file) : d_guide(guide_of(file))
{
    const model_data& data = file.data();
    const json_reader network = network_of(file);
    const size_t taps = d_guide.taps();
    d_width = network.count("width", 1, 1024);
    d_kernel = network.count("kernel", 1, 63);
    d_embedding = network.count("embedding", 1, 256);
    d_gates = network.count("gates", 1, 63);
    const size_t steps = network.count("steps", 1, 64);
    if (d_kernel % 2 == 0)
        network.wrong("kernel", "must be odd");
    if (d_gates % 2 == 0)
        network.wrong("gates", "must be odd");
    if (taps < d_kernel || taps < d_gates)
        network.wrong("taps", "must not be fewer than kernel and gates");
    d_prior = data.tensor("prior", { taps });
    d_spread = data.tensor("spread.weight", { 1, 4 });
    d_spread.push_back(data.tensor("spread.bias", { 1 })[0]);

    const size_t in = n_features + d_embedding, w = d_width, outputs = 2 + 2 * d_gates;
    for (size_t i = 0; i < steps; i++) {
        const std::string s = "steps." + std::to_string(i) + ".";
        auto get = [&](const char* name, const std::vector<size_t>& shape) -> const std::vector<float>& {
            return data.tensor(s + name, shape);
        };
        step n;
        n.conv1 = packed_dense(in * d_kernel, w,
                               windows(get("conv1.weight", { w, in, d_kernel }), w, in, d_kernel).data(),
                               get("conv1.bias", { w }).data(), activation::silu);
        n.film = packed_dense(w + 2, 2 * w, get("film.weight", { 2 * w, w + 2 }).data(),
                              get("film.bias", { 2 * w }).data(), activation::none);
        n.conv2 = packed_dense(w * d_kernel, w,
                               windows(get("conv2.weight", { w, w, d_kernel }), w, w, d_kernel).data(),
                               get("conv2.bias", { w }).data(), activation::silu);
        n.out = packed_dense(w, outputs, get("out.weight", { outputs, w }).data(),
                             get("out.bias", { outputs }).data(), activation::none);
        const std::vector<float>& embedding = get("embedding", { d_embedding, taps });
        n.x.assign((taps + d_kernel - 1) * in, 0.f);
        for (size_t l = 0; l < taps; l++)
            for (size_t e = 0; e < d_embedding; e++)
                n.x[(l + d_kernel / 2) * in + n_features + e] = embedding[e * taps + l];
        d_steps.push_back(std::move(n));
    }
    d_used = d_steps.size();
    if (network.has("bank"))
        d_bank = std::make_unique<profile_bank>(file, carriers(), taps, network.count("bank", 1, 256), w);
    d_variance.resize(carriers());
    d_log_gamma.resize(taps);
    d_gamma.resize(taps);
    d_mu.resize(2 * taps);
    d_rows.resize(std::max(n_features, outputs) * taps);
    d_a.resize((taps + d_kernel - 1) * w);
    d_b.resize(taps * w);
    d_o.resize(taps * outputs);
    d_modulation.resize(3 * w + 2);
    d_log_power.resize(taps);
    d_log_v.resize(taps);
    std::vector<int> all(d_guide.carriers());
    for (size_t k = 0; k < all.size(); k++)
        all[k] = int(k);
    set_pilots(all);
}

void delay_net::set_pilots(const std::vector<int>& pilots)
{
    d_guide.set_pilots(pilots);
    if (d_bank)
        d_bank->set_pilots(pilots);
    d_y.resize(pilots.size());
    d_believes = false;
}

void delay_net::estimate(const std::complex<float>* y, size_t frames, float noise_var, std::complex<float>* h,
                         float* err_var)
{
    for (size_t i = 0; i < frames; i++)
        one(y + i * d_y.size(), noise_var, h + i * carriers(), err_var ? err_var + i * carriers() : nullptr);
}

//! The frame at unit power in d_y, or in the scale of the frame before; the noise in that scale.
float delay_net::scaled(const std::complex<float>* y, float noise_var)
{
    const size_t count = d_y.size();
    for (size_t i = 0; i < count; i++)
        d_y[i] = std::complex<double>(y[i]) / double(d_scale);
    return float(std::min(std::max(double(noise_var) / (double(d_scale) * double(d_scale)), 1e-5), 4.0));
}

void delay_net::one(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var)
{
    const size_t count = d_y.size(), taps = d_guide.taps();
    double power = 0;
    for (size_t i = 0; i < count; i++)
        power += std::norm(std::complex<double>(y[i]));
    power = std::max(power / double(count), 1e-30);
    d_scale = float(std::sqrt(power));
    const float noise = scaled(y, noise_var);
    const float condition[2] = { std::log(noise) * 0.3f + 1, std::log(float(count)) - 2.5f };

    d_log_gamma = d_prior;
    for (size_t l = 0; l < taps; l++)
        d_gamma[l] = std::exp(d_log_gamma[l]);
    const float* mu = nullptr;
    for (size_t i = 0; i < d_used; i++) {
        step& s = d_steps[i];
        d_guide.run(d_y.data(), mu, d_gamma.data(), noise);
        features(s.x.data(), n_features + d_embedding);
        next_belief(s, condition);
        mu = d_mu.data();
    }
    d_believes = true;
    answer(noise, h, err_var);
}

void delay_net::refine(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var)
{
    if (d_believes && !bank_used())
        answer(scaled(y, noise_var), h, err_var);
    else
        one(y, noise_var, h, err_var);
}

bool delay_net::bank_used() const
{
    return d_bank && d_bank->active() && d_used == d_steps.size(); // its gate knows the last step
}

//! Posterior of the belief at hand.
void delay_net::answer(float noise, std::complex<float>* h, float* err_var)
{
    const size_t n = carriers();
    d_guide.run(d_y.data(), d_mu.data(), d_gamma.data(), noise);
    d_guide.response(h);
    const bool bank = bank_used();
    if (bank || err_var) {
        float* const v = d_variance.data();
        d_guide.variance(v);
        for (size_t k = 0; k < n; k++)
            v[k] = std::max(v[k], 1e-9f);
        if (bank)
            d_bank->mix(d_y.data(), noise, d_modulation.data() + 2 * d_width, h, v);
    }
    for (size_t k = 0; k < n; k++)
        h[k] *= d_scale;
    if (!err_var)
        return;
    double mean = 0, mean_log = 0;
    for (size_t k = 0; k < n; k++) {
        err_var[k] = d_variance[k];
        mean += err_var[k];
        mean_log += std::log(err_var[k]);
    }
    const float fit = d_spread[4] + 0.3f * (d_spread[0] * float(std::log(mean / double(n))) +
                                            d_spread[1] * float(mean_log / double(n)) +
                                            d_spread[2] * std::log(noise) +
                                            d_spread[3] * std::log(float(d_y.size())));
    const float correction = std::exp(fit) * d_scale * d_scale;
    for (size_t k = 0; k < n; k++)
        err_var[k] *= correction;
}

void delay_net::features(float* x, size_t inputs)
{
    const size_t taps = d_guide.taps();
    feature_columns(taps, d_log_gamma.data(), d_gamma.data(), d_guide.q(), d_guide.m(), d_guide.z(),
                    d_log_power.data(), d_log_v.data(), d_rows.data());
    float* row = x + d_kernel / 2 * inputs;
    for (size_t l = 0; l < taps; l++, row += inputs)
        for (size_t f = 0; f < n_features; f++)
            row[f] = d_rows[f * taps + l];
    wrap(x, inputs);
}

//! Fills the margins of a circular buffer of (taps + kernel - 1) rows.
void delay_net::wrap(float* rows, size_t channels) const
{
    const size_t taps = d_guide.taps(), margin = d_kernel / 2;
    std::copy_n(rows + taps * channels, margin * channels, rows);
    std::copy_n(rows + margin * channels, margin * channels, rows + (margin + taps) * channels);
}

void delay_net::next_belief(step& s, const float* condition)
{
    const size_t taps = d_guide.taps(), w = d_width, margin = d_kernel / 2, outputs = 2 + 2 * d_gates;
    float* const a = d_a.data() + margin * w;
    s.conv1.run(s.x.data(), n_features + d_embedding, a, w, taps);
    float* const pooled = d_modulation.data() + 2 * w;
    column_means(a, taps, w, pooled);
    pooled[w] = condition[0];
    pooled[w + 1] = condition[1];
    s.film.run(pooled, w + 2, d_modulation.data(), 2 * w, 1);
    modulate(a, taps, w, d_modulation.data(), d_modulation.data() + w);
    wrap(d_a.data(), w);
    s.conv2.run(d_a.data(), w, d_b.data(), w, taps);
    s.out.run(d_b.data(), w, d_o.data(), outputs, taps);
    for (size_t o = 0; o < outputs; o++)
        for (size_t l = 0; l < taps; l++)
            d_rows[o * taps + l] = d_o[l * outputs + o];
    update_gamma(taps, d_log_power.data(), d_log_v.data(), d_rows.data(), d_rows.data() + taps,
                 d_log_gamma.data(), d_gamma.data());
    // mu_l = sum_j gate_j m_{l + j - gates/2}, around the circle
    const float* const m_re = d_guide.m();
    const float* const m_im = m_re + taps;
    std::fill(d_mu.begin(), d_mu.end(), 0.f);
    for (size_t j = 0; j < d_gates; j++) {
        const float* const g_re = &d_rows[(2 + j) * taps];
        const float* const g_im = &d_rows[(2 + d_gates + j) * taps];
        const size_t shift = (j + taps - d_gates / 2) % taps, rest = taps - shift;
        add_products(rest, g_re, g_im, m_re + shift, m_im + shift, d_mu.data(), d_mu.data() + taps);
        add_products(shift, g_re + rest, g_im + rest, m_re, m_im, d_mu.data() + rest,
                     d_mu.data() + taps + rest);
    }
}

} // namespace gr::diffusion::engine
