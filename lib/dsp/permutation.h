/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gr::diffusion::dsp {

//! The interleaver: a permutation of n that both ends draw from the same seed.
DIFFUSION_API std::vector<uint32_t> random_permutation(size_t n, uint64_t seed);

} // namespace gr::diffusion::dsp
