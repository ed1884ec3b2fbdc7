/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gr::diffusion::dsp {

/*! LLRs of the coded bits of the terminated k = 7 code (79, 109) after decoding: max-log BCJR (Robertson,
 *  Villebrun and Hoeher, 1995). \p bits: information bits; \p pattern: of the puncturing; punctured bits get
 *  no LLR. */
void trellis_posterior(const float* llr, size_t bits, const std::vector<uint8_t>& pattern, float* posterior);

} // namespace gr::diffusion::dsp
