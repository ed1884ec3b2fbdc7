/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <cstddef>

namespace gr::diffusion::dsp {

//! Symmetric (T real) or Hermitian (T complex) positive definite system of N unknowns: Cholesky in place.
template <typename T, size_t N>
struct positive_definite {
    T a[N][N] = {}; //!< the lower triangle is read; factor() puts L there

    //! Returns log det.
    double factor()
    {
        double log_det = 0;
        for (size_t j = 0; j < N; j++) {
            for (size_t i = j; i < N; i++) {
                T sum = a[i][j];
                for (size_t k = 0; k < j; k++)
                    sum -= a[i][k] * conjugate(a[j][k]);
                a[i][j] = i == j ? T(std::sqrt(std::max(std::real(sum), 1e-300))) : sum / std::real(a[j][j]);
            }
            log_det += 2 * std::log(std::real(a[j][j]));
        }
        return log_det;
    }

    //! L z = b, in place.
    void forward(std::array<T, N>& b) const
    {
        for (size_t i = 0; i < N; i++) {
            for (size_t k = 0; k < i; k++)
                b[i] -= a[i][k] * b[k];
            b[i] /= std::real(a[i][i]);
        }
    }

    void solve(std::array<T, N>& b) const
    {
        forward(b);
        for (size_t i = N; i-- > 0;) {
            for (size_t k = i + 1; k < N; k++)
                b[i] -= conjugate(a[k][i]) * b[k];
            b[i] /= std::real(a[i][i]);
        }
    }

private:
    static double conjugate(double v) { return v; }
    static std::complex<double> conjugate(std::complex<double> v) { return std::conj(v); }
};

} // namespace gr::diffusion::dsp
