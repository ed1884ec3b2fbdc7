/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "split_matrix.h"
#include <gnuradio/diffusion/api.h>
#include <array>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::engine {

//! Columns and rows of a planar array; antenna index = column * rows + row. A linear array has one row.
using array_shape = std::array<size_t, 2>;

/*! Refuses pilots that nobody could use.
 * \param pilots row-major transmitters x count, of any scale
 * \returns their energy. \throws std::invalid_argument saying what is wrong */
DIFFUSION_API double check_pilots(const std::vector<std::complex<float>>& pilots, size_t transmitters);

/*! Conditions a Gaussian belief about a MIMO channel's beams on its pilots, exactly.
 *
 * y = H P + n, H = F_r^H G conj(F_t) with the unitary Fourier matrices of the arrays. Each receive beam r is
 * a problem of its own, (F_r y)_r = Phi g_r + n with Phi = (conj(F_t) P)^T; belief g ~ CN(mu, diag(gamma)):
 *
 *     S = Phi diag(gamma_r) Phi^H + sigma^2 I,  z = Phi^H S^-1 (y_r - Phi mu_r),  q = diag(Phi^H S^-1 Phi)
 *     m = mu + gamma z,  v = gamma - gamma^2 q
 *
 * as delay_guide does it for delays. In double precision. Orthogonal pilots (P P^H a multiple of I) need no
 * matrix. P is normalised to columns of unit mean power. Memory is taken in the constructor and in
 * set_pilots() only.
 */
class DIFFUSION_API beam_guide
{
public:
    //! \param turn the beams look this part of a beam's width beside those of the Fourier matrices, along
    //!        every axis
    beam_guide(array_shape rx, array_shape tx, double turn = 0);

    size_t receivers() const { return d_nr; }
    size_t transmitters() const { return d_nt; }
    size_t beams() const { return d_nr * d_nt; }
    size_t count() const { return d_count; }
    bool orthogonal() const { return d_orthogonal; }
    //! sqrt of the mean power of P's columns: h of P is h of the normalised P divided by it.
    double level() const { return d_level; }

    /*! \param pilots row-major transmitters x count
     *  \throws std::invalid_argument if a value is not finite, all are zero or their number is no multiple */
    void set_pilots(const std::vector<std::complex<float>>& pilots);

    /*! \param y row-major receivers x count
     *  \param scale y is divided by it
     *  \param noise_var variance of the noise after that, > 0 */
    void observe(const std::complex<float>* y, double scale, double noise_var);

    /*! Posterior of the belief, of the pilots last observed.
     * \param mu beams values, real parts then imaginary parts, or null for zero
     * \param gamma beams variances, > 0 */
    void run(const float* mu, const float* gamma);

    //! Results of run(), beams values each, receive beam by receive beam (m and z: real, then imaginary).
    const float* m() const { return d_m.data(); }
    const float* z() const { return d_z.data(); }
    const float* q() const { return d_q.data(); }
    const float* v() const { return d_v.data(); }

    //! factor * F_r^H m conj(F_t): receivers x transmitters
    void response(float factor, std::complex<float>* h);

private:
    using matrix = split_matrix;
    static matrix fourier(array_shape shape, double turn);
    void one_beam(size_t r, const float* mu, const float* gamma);

    size_t d_nr, d_nt, d_count = 0;
    matrix d_f_rx, d_f_rx_back, d_f_tx_conj;
    matrix d_phi, d_phi_h;       // count x nt, and its adjoint
    matrix d_y, d_rotated;       // observation; after F_r
    matrix d_seen;               // orthogonal: Phi^H y / power
    matrix d_rows, d_mid, d_out; // work
    double d_level = 1, d_power = 1, d_noise = 1;
    bool d_orthogonal = false;
    std::vector<float> d_m, d_z, d_q, d_v;
};

} // namespace gr::diffusion::engine
