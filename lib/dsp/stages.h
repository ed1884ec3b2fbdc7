/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "channel_stage.h"
#include "demapper_stage.h"

namespace gr::diffusion::dsp {

/*! Stages by name, for receivers whose stages change while they run.
 *
 * "ls" and "lmmse" are channel_stage.h's. "nomp", "sbl" and "diffusion" are pilot_estimator's, given all
 * known symbols of the frame; they take one noise variance for all carriers, so the first looks at a frame,
 * with the preamble only and carriers of unequal quality, are the LMMSE's.
 *  \param name "ls", "lmmse", "nomp", "sbl" or "diffusion"
 *  \param model of the diffusion stage: a shipped name or a file; empty: ce-ofdm<fft_len>
 *  \throws std::invalid_argument for another name, or a model that cannot be used */
DIFFUSION_API std::shared_ptr<channel_stage>
make_channel_stage(const std::string& name, int fft_len, int cp_len, const std::string& model = "");

/*! \param name "min-distance", "map" or "diffusion"
 *  \param model as above, used for frames of its own constellation, the others get the shipped model of
 *         theirs; empty: always the shipped ones (rx-bpsk to rx-qam256). The shipped ones are loaded when a
 *         frame needs them; where one cannot be used, frames are demapped by MAP. */
DIFFUSION_API std::shared_ptr<demapper_stage> make_demapper_stage(const std::string& name,
                                                                  const std::string& model = "");

} // namespace gr::diffusion::dsp
