/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::engine {

//! Complex matrix, row-major, real and imaginary parts apart (so that plain loops vectorise).
struct DIFFUSION_API split_matrix {
    size_t rows = 0, cols = 0;
    std::vector<double> re, im;
    split_matrix() = default;
    split_matrix(size_t r, size_t c) : rows(r), cols(c), re(r * c), im(r * c) {}
    void set(size_t i, const std::complex<double>& x) { re[i] = x.real(), im[i] = x.imag(); }
    std::complex<double> at(size_t i) const { return { re[i], im[i] }; }
};

//! out = a b; out has their size already.
DIFFUSION_API void multiply(const split_matrix& a, const split_matrix& b, split_matrix& out);

//! row += (fr + j fi) (pr + j pi), complex rows of n. Inlined into the vectorised clones of its callers.
inline __attribute__((always_inline)) void add_row(double fr, double fi, const double* __restrict pr,
                                                   const double* __restrict pi, double* __restrict re,
                                                   double* __restrict im, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        re[j] += fr * pr[j] - fi * pi[j];
        im[j] += fr * pi[j] + fi * pr[j];
    }
}

} // namespace gr::diffusion::engine
