/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "channel_stage.h"
#include "demapper_stage.h"

namespace gr::diffusion::dsp {

/*! Stages by name, for receivers whose stages change while they run.
 *  \param name "ls", "lmmse" or "diffusion"
 *  \param model model of the diffusion stage: a shipped name or a file; empty: the default for fft_len
 *  \throws std::invalid_argument for another name, std::runtime_error for a model that cannot be used */
DIFFUSION_API std::shared_ptr<channel_stage>
make_channel_stage(const std::string& name, int fft_len, int cp_len, const std::string& model = "");

/*! \param name "min-distance", "map" or "diffusion"
 *  \param model as above; empty: the shipped receiver of each constellation */
DIFFUSION_API std::shared_ptr<demapper_stage> make_demapper_stage(const std::string& name,
                                                                  const std::string& model = "");

} // namespace gr::diffusion::dsp
