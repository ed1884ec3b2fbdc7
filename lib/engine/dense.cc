/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dense.h"
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::engine {

const std::vector<std::string>& activation_names()
{
    static const std::vector<std::string> names{ "none", "relu", "silu", "softplus", "tanh" };
    return names;
}

activation activation_of(const std::string& name)
{
    for (size_t i = 0; i < activation_names().size(); i++)
        if (name == activation_names()[i])
            return activation(i);
    throw std::invalid_argument("activation '" + name + "' is unknown, use none, relu, silu, softplus or tanh");
}

namespace {

float apply(activation act, float x)
{
    switch (act) {
    case activation::relu:
        return x > 0 ? x : 0;
    case activation::silu:
        return x / (1 + std::exp(-x));
    case activation::softplus:
        return std::fmax(x, 0.0f) + std::log1p(std::exp(-std::fabs(x)));
    case activation::tanh:
        return std::tanh(x);
    default:
        return x;
    }
}

} // namespace

packed_dense::packed_dense(size_t n_in, size_t n_out, const float* weight, const float* bias, activation act)
    : d_in(n_in), d_out(n_out), d_act(act), d_weight(weight, weight + n_in * n_out), d_bias(n_out)
{
    if (bias)
        d_bias.assign(bias, bias + n_out);
}

void packed_dense::run(const float* in, size_t in_stride, float* out, size_t out_stride, size_t rows) const
{
    for (size_t i = 0; i < rows; i++)
        for (size_t n = 0; n < d_out; n++) {
            float sum = d_bias[n];
            for (size_t k = 0; k < d_in; k++)
                sum = std::fma(in[i * in_stride + k], d_weight[n * d_in + k], sum);
            out[i * out_stride + n] = apply(d_act, sum);
        }
}

} // namespace gr::diffusion::engine
