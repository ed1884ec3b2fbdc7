/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <string>

namespace gr::diffusion::dsp {

/*! Path of a shipped data file: \p name itself if it exists; else NAME + \p extension in a folder of
 * $GR_DIFFUSION_MODELS (colon list), then in share/gr-diffusion/models of the installation this
 * library belongs to.
 * \throws std::invalid_argument saying where it was looked for */
DIFFUSION_API std::string find_data_file(const std::string& name, const std::string& extension);

} // namespace gr::diffusion::dsp
