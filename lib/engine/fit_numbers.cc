/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fit_numbers.h"
#include "model_data.h"

namespace gr::diffusion::engine {

std::vector<double> fit_numbers(const model& m, const std::string& key)
{
    const json_reader top = m.data().reader();
    if (!top.has("fit"))
        return {};
    const json_reader fit = top.object("fit");
    return fit.has(key) ? fit.numbers(key, -1e12, 1e12, 1 << 18) : std::vector<double>();
}

} // namespace gr::diffusion::engine
