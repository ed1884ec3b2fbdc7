/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "small_fft.h"
#include "toeplitz.h"
#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::engine {

/*! Conditions a Gaussian belief about a channel's delays on the pilots of one OFDM symbol, exactly.
 *
 * The channel on carrier k is h_k = sum_l exp(-2 pi j (k - carriers/2) l / taps) g_l; the belief is
 * g ~ CN(mu, diag(gamma)), the pilots are y_i = h_{p_i} + n_i with noise of variance sigma^2:
 *
 *     S = F_p diag(gamma) F_p^H + sigma^2 I,   alpha = S^-1 (y - F_p mu)
 *     z = F_p^H alpha,  q = diag(F_p^H S^-1 F_p),  m = mu + gamma z,  v = gamma - gamma^2 q
 *
 * (Tipping, Sparse Bayesian learning, 2001; z and q are the quality and sparsity factors of Tipping and
 * Faul, 2003). S is Toeplitz in the pilots' positions, so its entries are a Fourier transform of gamma
 * at lags. In double precision: at 35 dB S is too ill-conditioned for float.
 *
 * Memory is taken in the constructor and in set_pilots() only.
 */
class DIFFUSION_API delay_guide
{
public:
    //! \param carriers 2 to 4096
    //! \param taps points of the delay grid, a power of two, not fewer than carriers
    delay_guide(size_t carriers, size_t taps);

    /*! \param pilots indices of carriers, distinct, at least one
     *  \throws std::invalid_argument naming the index */
    void set_pilots(const std::vector<int>& pilots);
    const std::vector<int>& pilots() const { return d_pilots; }
    size_t carriers() const { return d_carriers; }
    size_t taps() const { return d_taps; }

    /*! Posterior of the belief.
     * \param y pilots().size() received / known pilots, already in the scale of gamma
     * \param mu taps values, real parts then imaginary parts (2 x taps), or null for zero
     * \param gamma taps variances, > 0
     * \param noise_var sigma^2 > 0 */
    void run(const std::complex<double>* y, const float* mu, const float* gamma, double noise_var);

    //! Results of run(), taps values each (m and z: real parts then imaginary parts).
    const float* m() const { return d_m.data(); }
    const float* z() const { return d_z.data(); }
    const float* q() const { return d_q.data(); }

    //! h = F m of the last run(), carriers values.
    void response(std::complex<float>* h);

    //! Posterior variance of h per carrier for the belief of the last run().
    void variance(float* err_var);

private:
    size_t bin(size_t k) const;
    void transform(const float* x);
    void find_spacing();
    bool invert(double noise_var);

    size_t d_carriers, d_taps;
    small_fft d_fft;
    std::vector<int> d_pilots;
    std::vector<size_t> d_bins;
    std::vector<double> d_lag_re, d_lag_im; // sum_l gamma_l exp(-2 pi j lag l / taps)
    std::vector<double> d_inv_re, d_inv_im; // S, then its inverse, row-major
    toeplitz_inverse d_even;   // for evenly spaced pilots with few gaps
    size_t d_even_size = 0;    // 0: the pilots are not
    size_t d_spacing = 1;
    double d_noise = 0;        // on the diagonal of S
    std::vector<size_t> d_others; // carriers that are no pilots
    std::vector<size_t> d_place;  // of each pilot among the evenly spaced ones
    std::vector<double> d_columns;
    std::vector<double> d_t;
    std::vector<double> d_re, d_im, d_residual, d_scratch, d_sums;
    std::vector<float> d_m, d_z, d_q;
};

/*! Inverts a Hermitian positive definite matrix in place (Cholesky: the error grows with the condition
 * number, not with its square as Gauss-Jordan's does).
 * \param re, im row-major n x n; the upper triangle is read, both are written
 * \param scratch 2 n^2 values
 * \returns false if the matrix is not positive definite (its contents are then undefined) */
DIFFUSION_API bool invert_hermitian(double* re, double* im, size_t n, double* scratch);

} // namespace gr::diffusion::engine
