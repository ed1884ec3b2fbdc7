/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

//! Of the symmetric matrix a (n x n): columns of v, by cyclic Jacobi rotations; a keeps the eigenvalues on
//! its diagonal.
void eigenvectors(std::vector<double>& a, std::vector<double>& v, size_t n);

} // namespace gr::diffusion::dsp
