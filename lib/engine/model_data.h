/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "json_reader.h"
#include "safetensors.h"
#include <gnuradio/diffusion/model.h>

namespace gr::diffusion::engine {

//! The parsed file, for the engine's own parts only (it needs the JSON library).
struct model_data {
    std::string path;
    safetensors file;
    nlohmann::json description;

    std::string name, task, kind;
    prediction prediction_type = prediction::sample;
    std::pair<double, double> snr_db;
    std::vector<std::complex<float>> constellation;

    //! The description's top level, or one of its objects, read with checks.
    json_reader reader() const { return { description, path }; }
    json_reader reader(const std::string& key) const { return reader().object(key); }

    //! The tensor of that name and exact shape. \throws model_error
    const std::vector<float>& tensor(const std::string& name, const std::vector<size_t>& shape) const;
};

/*! Registers a kind of network: one static object in lib/engine/KIND.cc. \p check builds the network
 * once (and throws model_error if that cannot be done), so that a model that loads is one that runs. */
class network_kind
{
public:
    network_kind(const char* name, void (*check)(const model&));
};

} // namespace gr::diffusion::engine
