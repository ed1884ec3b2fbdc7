/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "file_maker.h"
#include <array>
#include <cmath>

//! A film_mlp of random weights: m points (square QAM labels do not matter here), posterior with skip or 2
//! outputs.
inline file_maker receiver_file(size_t m, bool posterior, std::vector<size_t> hidden,
                                const std::string& act = "silu", const std::string& features = "iq2",
                                size_t embedded = 0)
{
    using nlohmann::json;
    std::mt19937 random(5);
    file_maker file;
    const size_t outputs = posterior ? m : 2;
    size_t n_in = features == "iq" ? 2 : 5, total = 0;
    std::vector<size_t> widths = hidden;
    widths.push_back(outputs);
    for (size_t l = 0; l < widths.size(); l++) {
        const std::string name = "layers." + std::to_string(l);
        file.add(name + ".weight", { widths[l], n_in }, random, 1 / std::sqrt(float(n_in)));
        file.add(name + ".bias", { widths[l] }, random, 0.1f);
        total += 2 * widths[l];
        n_in = widths[l];
    }
    json condition;
    if (embedded) {
        condition = { { "kind", "embedding" }, { "steps", embedded } };
        file.add("embedding.weight", { embedded, total }, random, 0.1f);
    } else {
        condition = { { "kind", "mlp" }, { "inputs", 3 }, { "hidden", 8 } };
        file.add("conditioner.0.weight", { 8, 3 }, random, 0.5f);
        file.add("conditioner.0.bias", { 8 }, random, 0.1f);
        file.add("conditioner.1.weight", { total, 8 }, random, 0.1f);
        file.add("conditioner.1.bias", { total }, random, 0.1f);
    }
    std::vector<std::array<double, 2>> points;
    const size_t side = m == 2 ? 2 : size_t(std::lround(std::sqrt(double(m))));
    double power = 0;
    for (size_t i = 0; i < m; i++) {
        points.push_back({ { 2.0 * double(i % side) - double(side - 1),
                             m == 2 ? 0.0 : 2.0 * double(i / side) - double(side - 1) } });
        power += points[i][0] * points[i][0] + points[i][1] * points[i][1];
    }
    for (auto& p : points)
        for (double& rail : p)
            rail /= std::sqrt(power / double(m));
    const std::string skip = posterior ? "gaussian" : "none", type = posterior ? "posterior" : "epsilon";
    file.description = { { "format", 1 },
                         { "name", "test" },
                         { "task", "receiver" },
                         { "network",
                           { { "kind", "film_mlp" },
                             { "features", features },
                             { "hidden", hidden },
                             { "outputs", outputs },
                             { "activation", act },
                             { "condition", condition },
                             { "skip", skip } } },
                         { "prediction_type", type },
                         { "schedule", { { "kind", "continuous" } } },
                         { "snr_db", { -10, 40 } },
                         { "constellation", { { "name", "test" }, { "points", points } } },
                         { "normalisation",
                           { { "input_scale", "vp" },
                             { "condition_mean", { 10, 0, 0 } },
                             { "condition_scale", { 10, 1, 1 } } } } };
    if (embedded)
        file.description["schedule"] = { { "num_train_timesteps", embedded }, { "beta_schedule", "linear" },
                                         { "beta_start", 1e-3 },              { "beta_end", 0.2 } };
    return file;
}
