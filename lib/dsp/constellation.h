/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

//! "bpsk", "qpsk", "qam16", "qam64", "qam256".
DIFFUSION_API const std::vector<std::string>& constellation_names();

/*! Unit-power Gray constellation of that name; points[i] is labelled by the bits of i, most significant
 * first.
 *
 * BPSK and QPSK have the points and labels of digital.constellation_bpsk and constellation_qpsk, square QAM
 * those of digital.qam_constellation with Gray code: the first half of the bits is the I rail, the second
 * half the Q rail, amplitudes rising with the Gray code's count.
 * \throws std::invalid_argument listing the names */
DIFFUSION_API std::vector<std::complex<float>> constellation(const std::string& name);

//! Index of the point nearest to y.
DIFFUSION_API size_t nearest_point(const std::vector<std::complex<float>>& points, std::complex<float> y);

} // namespace gr::diffusion::dsp
