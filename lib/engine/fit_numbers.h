/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/model.h>
#include <string>
#include <vector>

namespace gr::diffusion::engine {

/*! What a fit to a recording left in a model file (object "fit" of its description): "state", the numbers of
 *  Receiver.state(), or "waveform", those of a multicarrier link's radios. Empty if there are none.
 *  \throws model_error */
DIFFUSION_API std::vector<double> fit_numbers(const model& m, const std::string& key);

} // namespace gr::diffusion::engine
