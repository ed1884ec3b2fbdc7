/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "film_mlp.h"
#include "model_data.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::engine {

namespace {

constexpr size_t max_width = 4096, max_layers = 64, max_steps = 100000;

const network_kind registered("film_mlp", [](const model& m) { film_mlp{ m }; });

double activate(activation act, double x)
{
    switch (act) {
    case activation::relu:
        return std::max(x, 0.0);
    case activation::silu:
        return x / (1 + std::exp(-x));
    case activation::softplus:
        return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
    case activation::tanh:
        return std::tanh(x);
    default:
        return x;
    }
}

} // namespace

film_mlp::film_mlp(const model& m)
{
    const model_data& data = m.data();
    const json_reader network = data.reader("network");
    if (data.kind != "film_mlp")
        network.wrong("kind", "this is no film_mlp");
    d_features = network.choice("features", { "iq", "iq2" }) == "iq" ? 2 : 5;
    d_act = activation_of(network.choice("activation", activation_names()));
    std::vector<size_t> widths = network.counts("hidden", 1, max_width, max_layers);
    widths.push_back(network.count("outputs", 1, max_width));
    const bool posterior = m.prediction_type() == prediction::posterior;
    const size_t needed = posterior ? m.constellation().size() : 2;
    if (widths.back() != needed)
        network.wrong("outputs", "must be " + std::to_string(needed) + " for what it predicts");
    d_gaussian_skip = network.has("skip") && network.choice("skip", { "none", "gaussian" }) == "gaussian";
    if (d_gaussian_skip && !posterior)
        network.wrong("skip", "only a network that predicts posteriors can have it");

    size_t n_in = d_features;
    for (size_t l = 0; l < widths.size(); l++) {
        const std::string name = "layers." + std::to_string(l);
        const bool last = l + 1 == widths.size();
        d_layers.emplace_back(n_in, widths[l], data.tensor(name + ".weight", { widths[l], n_in }).data(),
                              last ? activation::none : d_act);
        d_bias.push_back(data.tensor(name + ".bias", { widths[l] }));
        d_rows += 2 * widths[l];
        d_widest = std::max(d_widest, widths[l]);
        n_in = widths[l];
    }

    std::string kind = "none";
    if (network.has("condition")) {
        const json_reader condition = network.object("condition");
        kind = condition.choice("kind", { "mlp", "embedding", "none" });
        if (kind == "mlp") {
            d_inputs = condition.count("inputs", 1, max_width);
            d_hidden = condition.count("hidden", 1, max_width);
            d_w0 = data.tensor("conditioner.0.weight", { d_hidden, d_inputs });
            d_b0 = data.tensor("conditioner.0.bias", { d_hidden });
            d_w1 = data.tensor("conditioner.1.weight", { d_rows, d_hidden });
            d_b1 = data.tensor("conditioner.1.bias", { d_rows });
        } else if (kind == "embedding") {
            d_embedded = condition.count("steps", 1, max_steps);
            d_embedding = data.tensor("embedding.weight", { d_embedded, d_rows });
        }
    }
    d_mean.assign(d_inputs, 0);
    d_scale.assign(d_inputs, 1);
    if (data.reader().has("normalisation")) {
        const json_reader normal = data.reader("normalisation");
        d_vp_input = normal.has("input_scale") && normal.choice("input_scale", { "none", "vp" }) == "vp";
        for (auto [key, values] :
             { std::pair{ "condition_mean", &d_mean }, std::pair{ "condition_scale", &d_scale } })
            if (d_inputs && normal.has(key)) {
                *values = normal.numbers(key, -1e9, 1e9, d_inputs);
                if (values->size() != d_inputs)
                    normal.wrong(key, "must have one value for each of the " + std::to_string(d_inputs) +
                                          " inputs");
            }
        for (double scale : d_scale)
            if (!(std::abs(scale) > 1e-9))
                normal.wrong("condition_scale", "must not be 0");
    }
}

film_level film_mlp::make_level() const
{
    film_level level;
    level.affine = aligned_floats(d_rows);
    level.skip = aligned_floats(d_gaussian_skip ? 5 * outputs() : 0);
    level.work.resize(d_rows + d_hidden);
    level.matrix.resize(level.skip.size());
    return level;
}

//! The conditioner's row [s_0, t_0, s_1, t_1, ...] into level.work.
void film_mlp::film_row(film_level& level, size_t step, const float* condition) const
{
    double* row = level.work.data();
    std::fill(row, row + d_rows, 0.0);
    if (d_embedded) {
        const float* from = &d_embedding[std::min(step, d_embedded - 1) * d_rows];
        std::copy(from, from + d_rows, row);
    } else if (d_inputs) {
        double* hidden = row + d_rows;
        for (size_t h = 0; h < d_hidden; h++) {
            double sum = d_b0[h];
            for (size_t i = 0; i < d_inputs; i++)
                sum += d_w0[h * d_inputs + i] * ((condition[i] - d_mean[i]) / d_scale[i]);
            hidden[h] = activate(d_act, sum);
        }
        for (size_t r = 0; r < d_rows; r++) {
            double sum = d_b1[r];
            for (size_t h = 0; h < d_hidden; h++)
                sum += d_w1[r * d_hidden + h] * hidden[h];
            row[r] = sum;
        }
    }
}

void film_mlp::prepare(film_level& level,
                       size_t step,
                       const float* condition,
                       double gain,
                       double unit,
                       const double* q2,
                       const double* q1) const
{
    film_row(level, step, condition);
    level.gain = float(gain);
    level.has_skip = d_gaussian_skip && q2;
    const double* row = level.work.data();
    float* affine = level.affine.data();
    for (size_t l = 0; l < d_layers.size(); l++) {
        const size_t n = d_layers[l].n_out;
        const bool last = l + 1 == d_layers.size();
        for (size_t i = 0; i < n; i++) {
            const double scale = 1 + row[i];
            affine[i] = float(scale);
            affine[n + i] = float(scale * d_bias[l][i] + row[n + i] + (last && level.has_skip ? q1[i] : 0));
        }
        row += 2 * n;
        affine += 2 * n;
    }
    if (!level.has_skip)
        return;
    // The kernel has the products of the network's input x = gain * state, the law is one of
    // y = unit * state.
    const double ratio = unit / gain;
    for (size_t i = 0; i < outputs(); i++)
        for (size_t j = 0; j < 5; j++)
            level.matrix[5 * i + j] = q2[5 * i + j] * (j < 2 ? ratio : ratio * ratio);
    pack_panel_weight(5, outputs(), level.matrix.data(), level.skip.data());
}

size_t film_mlp::scratch() const { return (5 + 2 * d_widest) * kernels().rows; }

void film_mlp::forward(const film_level& level, const float* state, size_t vectors, float* out,
                       float* scratch) const
{
    const panel_kernels& k = kernels();
    float* features = scratch;
    float* buffer[2] = { scratch + 5 * k.rows, scratch + (5 + d_widest) * k.rows };
    k.products(state, level.gain, vectors, features); // [Re, Im] are its first two
    const float* x = features;
    const float* affine = level.affine.data();
    for (size_t l = 0; l < d_layers.size(); l++) {
        const panel_layer& layer = d_layers[l];
        const bool last = l + 1 == d_layers.size();
        float* y = last ? out : buffer[l % 2];
        k.layer(layer, affine, affine + layer.n_out, x, features, level.skip.data(),
                last && level.has_skip ? 5 : 0, vectors, y);
        affine += 2 * layer.n_out;
        x = y;
    }
}

} // namespace gr::diffusion::engine
