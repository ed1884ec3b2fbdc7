/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <utility>
#include <vector>

namespace gr::diffusion::engine {

/*! Inverse of a Hermitian positive definite Toeplitz matrix, some of whose rows and columns are left out:
 * the covariance of evenly spaced pilots with a few gaps, such as the used carriers of an OFDM symbol
 * around DC. n^2 (2 + gaps / 2) operations, where a general inverse takes n^3 / 2.
 *
 * First column by the Levinson-Durbin recursion, the others by Gohberg and Semencul's formula (1972),
 * rows left out by Schur complements. */
class DIFFUSION_API toeplitz_inverse
{
public:
    /*! \param n size of the whole matrix
     *  \param gaps its rows and columns that are left out, ascending */
    void resize(size_t n, const std::vector<size_t>& gaps);

    /*! \param t_re,t_im first column of the whole matrix, n values
     *  \param re,im the inverse, row by row, (n - gaps) squared values; what lies left of the diagonal (the
     *  other half's conjugate) is not written
     *  \returns false if the matrix is not positive definite in double precision */
    bool run(const double* t_re, const double* t_im, double* re, double* im);

private:
    bool first_column(const double* t_re, const double* t_im);

    size_t d_n = 0, d_stride = 0;
    std::vector<size_t> d_gaps;
    std::vector<std::pair<size_t, size_t>> d_kept;  // runs of rows: first, end
    std::vector<double> d_a, d_reverse, d_t, d_all; // real parts, then imaginary parts
};

} // namespace gr::diffusion::engine
