/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sequence_net.h"
#include "model_data.h"
#include "vectorise.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::engine {

namespace {

constexpr size_t level_width = 16, lanes = 8;

const network_kind registered("envelope_taps", [](const model& m) {
    sequence_net denoiser(m, "denoiser");
    sequence_net amplifier(m, "amplifier");
});

json_reader network_of(const model& m)
{
    if (m.task() != "sequence")
        throw model_error(m.path() + ": task is '" + m.task() +
                          "'; the network kind envelope_taps is for 'sequence'");
    return m.data().reader("network");
}

//! sum over k of (a[k] + j b[k]) (re[k] + j im[k]), in lanes so that it vectorises.
DIFFUSION_VECTORISE void filter(const float* __restrict a, const float* __restrict b,
                                const float* __restrict re, const float* __restrict im, size_t taps,
                                float* __restrict out)
{
    float x[lanes] = {}, y[lanes] = {};
    size_t k = 0;
    for (; k + lanes <= taps; k += lanes)
        for (size_t l = 0; l < lanes; l++) {
            x[l] += a[k + l] * re[k + l] - b[k + l] * im[k + l];
            y[l] += a[k + l] * im[k + l] + b[k + l] * re[k + l];
        }
    for (; k < taps; k++) {
        x[0] += a[k] * re[k] - b[k] * im[k];
        y[0] += a[k] * im[k] + b[k] * re[k];
    }
    out[0] = out[1] = 0;
    for (size_t l = 0; l < lanes; l++) {
        out[0] += x[l];
        out[1] += y[l];
    }
}

} // namespace

sequence_net::sequence_net(const model& file, const std::string& part, size_t longest)
    : d_noisy(part == "denoiser")
{
    if (part != "denoiser" && part != "amplifier")
        throw std::invalid_argument("part is '" + part + "', use denoiser or amplifier");
    const json_reader network = network_of(file);
    d_reach = network.count("reach", 1, 256);
    d_width = network.count("width", 1, 512);
    d_taps = 2 * d_reach + 1;
    d_margin = std::max(d_reach, 2 * (kernel / 2));
    const auto tensor = [&](const std::string& name,
                            const std::vector<size_t>& shape) -> const std::vector<float>& {
        return file.data().tensor(part + "." + name, shape);
    };
    const size_t in[3] = { inputs, d_width, d_width }, across[3] = { kernel, kernel, 1 };
    for (size_t i = 0; i < 3; i++) {
        const std::string name = "conv." + std::to_string(i);
        const auto w = windows(tensor(name + ".weight", { d_width, in[i], across[i] }), d_width, in[i],
                               across[i]);
        d_conv[i] = packed_dense(across[i] * in[i], d_width, w.data(),
                                 tensor(name + ".bias", { d_width }).data(), activation::silu);
    }
    d_gate = packed_dense(d_width, 2 * d_taps, tensor("gate.weight", { 2 * d_taps, d_width, 1 }).data(),
                          tensor("gate.bias", { 2 * d_taps }).data(), activation::none);
    d_level0 = tensor("level.0.weight", { level_width, 1 });
    d_bias0 = tensor("level.0.bias", { level_width });
    d_level1 = tensor("level.1.weight", { 2 * d_taps, level_width });
    d_bias1 = tensor("level.1.bias", { 2 * d_taps });
    d_fixed.resize(2 * d_taps);
    d_out.resize(chunk * 2 * d_taps);
    set_noise_var(1);
    reserve(longest);
}

void sequence_net::set_noise_var(double noise_var)
{
    d_level = d_noisy ? float((-10 * std::log10(std::max(noise_var, 1e-12)) - 25) / 10) : 0.f;
    float hidden[level_width];
    for (size_t i = 0; i < level_width; i++) {
        const float h = d_level0[i] * d_level + d_bias0[i];
        hidden[i] = h / (1 + std::exp(-h));
    }
    for (size_t o = 0; o < 2 * d_taps; o++) {
        d_fixed[o] = d_bias1[o];
        for (size_t i = 0; i < level_width; i++)
            d_fixed[o] += d_level1[o * level_width + i] * hidden[i];
    }
}

void sequence_net::reserve(size_t n)
{
    const size_t rows = n + kernel - 1;
    if (d_re.size() >= n + 2 * d_reach)
        return;
    d_features.resize(rows * inputs);
    d_a.resize(rows * d_width);
    d_b.resize(rows * d_width);
    d_re.resize(n + 2 * d_reach);
    d_im.resize(n + 2 * d_reach);
}

void sequence_net::run(const std::complex<float>* in, size_t n, std::complex<float>* out)
{
    if (n == 0)
        return;
    reserve(n);
    constexpr size_t pad = kernel / 2;
    const auto zero_ends = [&](std::vector<float>& v, size_t channels) { // as torch pads every layer's input
        std::fill_n(v.begin(), pad * channels, 0.f);
        std::fill_n(v.begin() + long((pad + n) * channels), pad * channels, 0.f);
    };
    zero_ends(d_features, inputs);
    zero_ends(d_a, d_width);
    for (size_t i = 0; i < n; i++) {
        const float power = std::norm(in[i]);
        float* f = &d_features[(pad + i) * inputs];
        f[0] = std::sqrt(power);
        f[1] = power;
        f[2] = d_level;
    }
    d_conv[0].run(d_features.data(), inputs, &d_a[pad * d_width], d_width, n);
    d_conv[1].run(d_a.data(), d_width, d_b.data(), d_width, n);
    d_conv[2].run(d_b.data(), d_width, d_a.data(), d_width, n);

    std::fill(d_re.begin(), d_re.begin() + long(d_reach), 0.f);
    std::fill(d_im.begin(), d_im.begin() + long(d_reach), 0.f);
    std::fill_n(d_re.begin() + long(d_reach + n), d_reach, 0.f);
    std::fill_n(d_im.begin() + long(d_reach + n), d_reach, 0.f);
    for (size_t i = 0; i < n; i++) {
        d_re[d_reach + i] = in[i].real();
        d_im[d_reach + i] = in[i].imag();
    }
    for (size_t at = 0; at < n; at += chunk) {
        const size_t count = std::min(chunk, n - at);
        d_gate.run(&d_a[at * d_width], d_width, d_out.data(), 2 * d_taps, count);
        for (size_t i = 0; i < count; i++) {
            float* taps = &d_out[i * 2 * d_taps];
            for (size_t k = 0; k < 2 * d_taps; k++)
                taps[k] += d_fixed[k];
            float value[2];
            filter(taps, taps + d_taps, &d_re[at + i], &d_im[at + i], d_taps, value);
            out[at + i] = { value[0], value[1] };
        }
    }
}

} // namespace gr::diffusion::engine
