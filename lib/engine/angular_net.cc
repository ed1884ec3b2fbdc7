/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "angular_net.h"
#include "model_data.h"
#include "scalar_math.h"
#include "vectorise.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace gr::diffusion::engine {

namespace {

constexpr size_t n_features = 12, n_gates = 9, n_outputs = 2 + 2 * n_gates, n_near = 9;
constexpr float log_min = -16, log_max = 6;

const network_kind registered("angular_unrolled", [](const model& m) { angular_net check(m); });

json_reader network_of(const model& m)
{
    const json_reader network = m.data().reader("network");
    if (m.task() != "estimator")
        throw model_error(m.path() + ": task is '" + m.task() +
                          "'; the network kind angular_unrolled is for 'estimator'");
    return network;
}

array_shape shape_of(const model& m, const char* key)
{
    const json_reader network = network_of(m);
    const auto values = network.numbers(key, 1, 64, 2);
    if (values.size() != 2 || values[0] != std::floor(values[0]) || values[1] != std::floor(values[1]))
        network.wrong(key, "must be [columns, rows] of the array");
    const array_shape shape{ size_t(values[0]), size_t(values[1]) };
    if (shape[0] * shape[1] > 256)
        network.wrong(key, "must not have more than 256 antennas");
    return shape;
}

DIFFUSION_VECTORISE void level_columns(size_t n, const float* __restrict log_gamma,
                                       const float* __restrict v_in, const float* __restrict q,
                                       const float* __restrict m, const float* __restrict z,
                                       float* __restrict log_power, float* __restrict log_v,
                                       float* __restrict columns)
{
    const float* const mi = m + n;
    const float* const zi = z + n;
    for (size_t l = 0; l < n; l++) {
        const float v = (v_in[l] > 0 ? v_in[l] : 0) + 1e-9f;
        const float power = m[l] * m[l] + mi[l] * mi[l] + 1e-9f;
        float significance = z[l] * z[l] + zi[l] * zi[l];
        significance = significance > 1e-9f ? significance : 1e-9f;
        significance /= q[l] > 1e-9f ? q[l] : 1e-9f;
        log_power[l] = log_positive(power);
        log_v[l] = log_positive(v);
        columns[l] = log_gamma[l] * 0.3f + 1;
        columns[n + l] = log_v[l] * 0.3f + 1;
        columns[2 * n + l] = log_power[l] * 0.3f + 1;
        columns[3 * n + l] = log_positive(significance + 1e-4f) * 0.5f;
    }
}

//! m times the conjugate of its neighbour \p before along one axis, normalised.
DIFFUSION_VECTORISE void pair_columns(size_t n, const float* __restrict m, const uint32_t* __restrict before,
                                      float* __restrict re_out, float* __restrict im_out)
{
    const float* const mi = m + n;
    for (size_t l = 0; l < n; l++) {
        const uint32_t b = before[l];
        const float re = m[l] * m[b] + mi[l] * mi[b], im = mi[l] * m[b] - m[l] * mi[b];
        const float inverse = 1 / std::sqrt(re * re + im * im + 1e-12f);
        re_out[l] = re * inverse;
        im_out[l] = im * inverse;
    }
}

DIFFUSION_VECTORISE void update_gamma(size_t n, const float* __restrict log_power,
                                      const float* __restrict log_v, const float* __restrict change,
                                      const float* __restrict slope, float* __restrict log_gamma,
                                      float* __restrict gamma)
{
    for (size_t l = 0; l < n; l++) {
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

DIFFUSION_VECTORISE void add_gated(size_t n, const float* __restrict m, const uint32_t* __restrict from,
                                   const float* __restrict g_re, const float* __restrict g_im,
                                   float* __restrict mu)
{
    for (size_t l = 0; l < n; l++) {
        const float re = m[from[l]], im = m[n + from[l]];
        mu[l] += g_re[l] * re - g_im[l] * im;
        mu[n + l] += g_re[l] * im + g_im[l] * re;
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

} // namespace

angular_net::angular_net(const model& file)
    : d_rx(shape_of(file, "rx")), d_tx(shape_of(file, "tx"))
{
    const model_data& data = file.data();
    const json_reader network = network_of(file);
    d_width = network.count("width", 1, 256);
    const size_t views = network.has("views") ? network.count("views", 1, 16) : 1;
    for (size_t i = 0; i < views; i++)
        d_views.emplace_back(d_rx, d_tx, double(i) / double(views));
    const size_t steps = network.count("steps", 1, 64), w = d_width;
    const size_t nr = receivers(), nt = transmitters(), n = nr * nt;
    if (n > 16384)
        network.wrong("tx", "must not make more than 16384 antenna pairs with rx");
    d_prior = data.tensor("prior", { nr, nt });
    for (float& p : d_prior)
        p = std::min(std::max(p, log_min), log_max);
    d_spread = data.tensor("spread.weight", { 1, 3 });
    d_spread.push_back(data.tensor("spread.bias", { 1 })[0]);
    for (size_t i = 0; i < steps; i++) {
        const std::string s = "steps." + std::to_string(i) + ".";
        auto get = [&](const char* name, const std::vector<size_t>& shape) -> const std::vector<float>& {
            return data.tensor(s + name, shape);
        };
        auto conv = [&](const char* weight, const char* bias, const std::vector<size_t>& shape) {
            return packed_dense(shape[1] * n_near, w, windows(get(weight, shape), w, shape[1], n_near).data(),
                                get(bias, { w }).data(), activation::silu);
        };
        step made;
        made.conv1 = conv("conv1.weight", "conv1.bias", { w, n_features, 1, 3, 3 });
        made.conv2 = conv("conv2.weight", "conv2.bias", { w, w, 3, 3, 1 });
        made.conv3 = conv("conv3.weight", "conv3.bias", { w, w, 1, 3, 3 });
        made.film = packed_dense(w + 2, 2 * w, get("film.weight", { 2 * w, w + 2 }).data(),
                                 get("film.bias", { 2 * w }).data(), activation::none);
        made.out = packed_dense(w, n_outputs, get("out.weight", { n_outputs, w }).data(),
                                get("out.bias", { n_outputs }).data(), activation::none);
        d_steps.push_back(std::move(made));
    }

    auto beam = [&](size_t r0, size_t r1, size_t t0, size_t t1) {
        return uint32_t((((r0 % d_rx[0]) * d_rx[1] + r1 % d_rx[1]) * d_tx[0] + t0 % d_tx[0]) * d_tx[1] +
                        t1 % d_tx[1]);
    };
    d_near_tx.resize(n * n_near);
    d_near_rx.resize(n * n_near);
    d_around.resize(n * n_gates);
    for (size_t r0 = 0; r0 < d_rx[0]; r0++)
        for (size_t r1 = 0; r1 < d_rx[1]; r1++)
            for (size_t t0 = 0; t0 < d_tx[0]; t0++)
                for (size_t t1 = 0; t1 < d_tx[1]; t1++) {
                    const size_t at = beam(r0, r1, t0, t1);
                    for (size_t j = 0; j < n_near; j++) { // -1, 0, 1 as size_t, modulo the axis
                        const size_t a = j / 3, b = j % 3;
                        d_near_tx[at * n_near + j] =
                            beam(r0, r1, t0 + d_tx[0] + a - 1, t1 + d_tx[1] + b - 1);
                        d_near_rx[at * n_near + j] =
                            beam(r0 + d_rx[0] + a - 1, r1 + d_rx[1] + b - 1, t0, t1);
                    }
                    const uint32_t around[n_gates] = { uint32_t(at),
                                                       beam(r0 + d_rx[0] - 1, r1, t0, t1),
                                                       beam(r0 + 1, r1, t0, t1),
                                                       beam(r0, r1 + d_rx[1] - 1, t0, t1),
                                                       beam(r0, r1 + 1, t0, t1),
                                                       beam(r0, r1, t0 + d_tx[0] - 1, t1),
                                                       beam(r0, r1, t0 + 1, t1),
                                                       beam(r0, r1, t0, t1 + d_tx[1] - 1),
                                                       beam(r0, r1, t0, t1 + 1) };
                    for (size_t j = 0; j < n_gates; j++)
                        d_around[j * n + at] = around[j];
                }
    for (auto* v : { &d_log_gamma, &d_gamma, &d_log_power, &d_log_v })
        v->resize(n);
    d_columns.resize(n * std::max(n_features, n_outputs));
    d_x.resize(n * n_features);
    d_window.resize(nt * n_near * std::max(n_features, w));
    d_a.resize(n * w);
    d_b.resize(n * w);
    d_o.resize(n * n_outputs);
    d_mu.resize(2 * n);
    d_modulation.resize(3 * w + 2);
    d_h.resize((views - 1) * n);
}

void angular_net::set_pilots(const std::vector<std::complex<float>>& pilots)
{
    for (beam_guide& view : d_views)
        view.set_pilots(pilots);
}

size_t angular_net::estimate(const std::complex<float>* y, size_t frames, float noise_var,
                             std::complex<float>* h, float* err_var)
{
    const size_t in = receivers() * count(), out = receivers() * transmitters();
    size_t invalid = 0;
    for (size_t i = 0; i < frames; i++)
        if (!one(y + i * in, noise_var, h + i * out, err_var + i)) {
            std::fill_n(h + i * out, out, std::complex<float>(0));
            err_var[i] = std::numeric_limits<float>::infinity();
            invalid++;
        }
    return invalid;
}

bool angular_net::one(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var)
{
    const size_t values = receivers() * count(), n = d_gamma.size();
    double power = 0;
    for (size_t i = 0; i < values; i++)
        power += std::norm(std::complex<double>(y[i]));
    if (!std::isfinite(power) || !std::isfinite(noise_var) || !(noise_var >= 0))
        return false;
    power = std::max(power / double(values), 1e-30);
    const double scale = std::sqrt(power);
    const double noise = std::min(std::max(double(noise_var) / power, 1e-5), 4.0);
    double var = look(d_views[0], y, scale, noise, h);
    const size_t others = d_views.size() - 1;
    for (size_t i = 0; i < others; i++)
        var += look(d_views[i + 1], y, scale, noise, &d_h[i * n]);
    var /= double(others + 1);
    *err_var = float(var);
    if (others == 0)
        return true;
    // The mean's error is the mean error less the spread around the mean (Krogh and Vedelsby, 1995), exactly;
    // the believed one not below that of independent errors.
    double spread = 0;
    const float share = 1 / float(others + 1);
    for (size_t l = 0; l < n; l++) {
        std::complex<float> mean = h[l];
        float square = std::norm(mean);
        for (size_t i = 0; i < others; i++) {
            mean += d_h[i * n + l];
            square += std::norm(d_h[i * n + l]);
        }
        mean *= share;
        spread += std::max(square * share - std::norm(mean), 0.f);
        h[l] = mean;
    }
    *err_var = float(std::max(var - spread / double(n), var * double(share)));
    return true;
}

//! One view's estimate and the variance of its error.
float angular_net::look(beam_guide& view, const std::complex<float>* y, double scale, double noise,
                        std::complex<float>* h)
{
    const size_t n = d_gamma.size();
    const float fill = float(std::log(double(count()) / double(transmitters())));
    const float condition[2] = { float(std::log(noise) * 0.3 + 1), fill };
    view.observe(y, scale, noise);

    d_log_gamma = d_prior;
    for (size_t l = 0; l < n; l++)
        d_gamma[l] = std::exp(d_log_gamma[l]);
    const float* mu = nullptr;
    for (const step& s : d_steps) {
        view.run(mu, d_gamma.data());
        features(view);
        next_belief(s, condition, view.m());
        mu = d_mu.data();
    }
    view.run(mu, d_gamma.data());
    const float back = float(scale / view.level());
    view.response(back, h);
    double base = 0;
    for (size_t l = 0; l < n; l++)
        base += std::max(view.v()[l], 0.f) + 1e-9f;
    base /= double(n);
    const double fit = d_spread[3] + 0.3 * (d_spread[0] * std::log(base) + d_spread[1] * std::log(noise) +
                                            double(d_spread[2]) * double(fill));
    return float(base * std::exp(fit)) * back * back;
}

void angular_net::features(const beam_guide& view)
{
    const size_t n = d_gamma.size();
    level_columns(n, d_log_gamma.data(), view.v(), view.q(), view.m(), view.z(), d_log_power.data(),
                  d_log_v.data(), d_columns.data());
    for (size_t axis = 0; axis < 4; axis++)
        pair_columns(n, view.m(), &d_around[(1 + 2 * axis) * n], &d_columns[(4 + 2 * axis) * n],
                     &d_columns[(5 + 2 * axis) * n]);
    for (size_t l = 0; l < n; l++)
        for (size_t f = 0; f < n_features; f++)
            d_x[l * n_features + f] = d_columns[f * n + l];
}

//! A 3 x 3 convolution over the beams of one end: windows gathered for a receive beam at a time, then dense.
void angular_net::convolve(const packed_dense& layer, const std::vector<uint32_t>& near, const float* in,
                           float* out)
{
    const size_t nt = transmitters(), channels = layer.n_in() / n_near;
    for (size_t r = 0; r < receivers(); r++) {
        float* to = d_window.data();
        const uint32_t* from = &near[r * nt * n_near];
        for (size_t i = 0; i < nt * n_near; i++, to += channels)
            std::copy_n(in + from[i] * channels, channels, to);
        layer.run(d_window.data(), layer.n_in(), out + r * nt * d_width, d_width, nt);
    }
}

void angular_net::next_belief(const step& s, const float* condition, const float* m)
{
    const size_t n = d_gamma.size(), w = d_width;
    convolve(s.conv1, d_near_tx, d_x.data(), d_a.data());
    float* const pooled = d_modulation.data() + 2 * w;
    column_means(d_a.data(), n, w, pooled);
    pooled[w] = condition[0];
    pooled[w + 1] = condition[1];
    s.film.run(pooled, w + 2, d_modulation.data(), 2 * w, 1);
    modulate(d_a.data(), n, w, d_modulation.data(), d_modulation.data() + w);
    convolve(s.conv2, d_near_rx, d_a.data(), d_b.data());
    convolve(s.conv3, d_near_tx, d_b.data(), d_a.data());
    s.out.run(d_a.data(), w, d_o.data(), n_outputs, n);
    for (size_t o = 0; o < n_outputs; o++)
        for (size_t l = 0; l < n; l++)
            d_columns[o * n + l] = d_o[l * n_outputs + o];
    update_gamma(n, d_log_power.data(), d_log_v.data(), &d_columns[0], &d_columns[n], d_log_gamma.data(),
                 d_gamma.data());
    std::fill(d_mu.begin(), d_mu.end(), 0.f);
    for (size_t j = 0; j < n_gates; j++)
        add_gated(n, m, &d_around[j * n], &d_columns[(2 + j) * n], &d_columns[(2 + n_gates + j) * n],
                  d_mu.data());
}

} // namespace gr::diffusion::engine
