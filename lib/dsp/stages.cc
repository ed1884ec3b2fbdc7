/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stages.h"
#include <stdexcept>

namespace gr::diffusion::dsp {

std::shared_ptr<channel_stage>
make_channel_stage(const std::string& name, int fft_len, int cp_len, const std::string&)
{
    if (name == "ls")
        return std::make_shared<ls_stage>(fft_len);
    if (name == "lmmse")
        return std::make_shared<lmmse_stage>(fft_len, cp_len + cp_len / 4);
    throw std::invalid_argument("estimator is '" + name + "'; use ls, lmmse or diffusion");
}

std::shared_ptr<demapper_stage> make_demapper_stage(const std::string& name, const std::string&)
{
    if (name == "min-distance")
        return std::make_shared<min_distance_stage>();
    if (name == "map")
        return std::make_shared<map_stage>();
    throw std::invalid_argument("demapper is '" + name + "'; use min-distance, map or diffusion");
}

} // namespace gr::diffusion::dsp
