/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "engine/beam_guide.h"
#include <array>

namespace gr::diffusion::dsp {

/*! Newtonized orthogonal matching pursuit for the plane waves of a MIMO channel (Mamandipoor, Ramasamy and
 * Madhow, "Newtonized orthogonal matching pursuit: frequency estimation over the continuum", 2016, with two
 * frequencies at either end).
 *
 * H = sum_k g_k a(u_k, v_k) b(s_k, t_k)^T over ideal half-wavelength planar arrays. Waves are found one by
 * one on a grid of half a beam, refined in the continuum by Gauss-Newton steps, cyclically together with
 * those found before, and their gains fitted jointly. It stops when what is left looks like noise (false
 * alarm rate 1%), at 40 waves (unless told) or at a quarter as many as there are observations.
 *
 * Memory is taken in the constructor and in set_pilots() only.
 */
class beam_nomp
{
public:
    //! \param most waves at most
    beam_nomp(engine::array_shape rx, engine::array_shape tx, size_t most = 40);

    //! \param pilots row-major transmitters x count
    void set_pilots(const std::vector<std::complex<float>>& pilots);

    /*! \param y receivers x count
     *  \param noise_var E|n|^2 of y
     *  \param h receivers x transmitters
     *  \returns E|h - truth|^2 as the mean over the antenna pairs, if the model of plane waves holds: six
     *  real parameters a wave instead of two, so three times the error of the gains alone */
    float run(const std::complex<float>* y, float noise_var, std::complex<float>* h);

private:
    using cdouble = std::complex<double>;
    //! Receive columns, rows, transmit columns, rows; cycles an element
    using frequencies = std::array<double, 4>;

    struct wave {
        frequencies f{};
        cdouble gain = 0;
        //! Receive response, transmit response, and the pilots' view of it: P^T b
        std::vector<cdouble> a, b, s;
        double norm = 0;              //!< |a|^2 |s|^2
    };

    void respond(wave& w) const;
    cdouble overlap(const wave& w) const;
    void add_to_residual(const wave& w, cdouble factor);
    void search();
    void refine(wave& w);
    void fit(const std::complex<float>* y, double ridge);

    engine::array_shape d_rx, d_tx;
    size_t d_nr, d_nt, d_count = 0, d_limit, d_most = 0;
    std::array<size_t, 4> d_steps; //!< of the grid along each axis
    engine::split_matrix d_grid_rx, d_grid_tx, d_pilots, d_seen, d_half, d_score, d_residual_matrix;
    std::vector<double> d_seen_norm;
    std::vector<cdouble> d_p, d_residual, d_right;
    std::vector<wave> d_waves;
    wave d_trial;
    size_t d_paths = 0;
    std::array<std::vector<cdouble>, 4> d_slope; //!< derivatives of the responses at either end
    std::vector<double> d_re, d_im, d_scratch;
};

} // namespace gr::diffusion::dsp
