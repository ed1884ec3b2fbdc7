/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

//! One irregular repeat-accumulate code of 16200 bits: the parity checks of the first bit of each group
//! of 360.
struct dvbs2_table {
    std::string rate;
    size_t k;
    std::vector<std::vector<uint16_t>> checks;
};

const std::vector<dvbs2_table>& dvbs2_tables();

} // namespace gr::diffusion::dsp
