/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

/*! Newtonized orthogonal matching pursuit for the delays of a channel (Mamandipoor, Ramasamy and
 * Madhow, "Newtonized orthogonal matching pursuit: frequency estimation over the continuum", 2016).
 *
 * Paths are found one by one on a delay grid, refined by Newton steps in the continuum, cyclically
 * together with those found before, and their gains fitted jointly (with the noise as ridge, so that
 * two paths which few pilots can't tell apart do not blow up). It stops when what is left looks like
 * noise (false alarm rate 1%) or at half as many paths as pilots.
 */
class nomp
{
public:
    explicit nomp(size_t carriers);
    void set_pilots(const std::vector<int>& pilots);
    void run(const std::complex<float>* y, float noise_var, std::complex<float>* h, float* err_var);

private:
    using cdouble = std::complex<double>;
    //! exp(-2 pi j (p - carriers/2) delay / carriers) at the pilots
    void atom(double delay, cdouble* a) const;
    double search(const std::vector<cdouble>& residual) const;
    void newton(size_t path);
    void fit(const std::complex<float>* y, double ridge);

    size_t d_carriers, d_most = 1;
    std::vector<int> d_pilots;
    std::vector<cdouble> d_grid; // [grid delay][pilot], conjugate atoms
    std::vector<double> d_delay;
    std::vector<cdouble> d_gain, d_atoms, d_residual, d_trial, d_right;
    std::vector<double> d_re, d_im, d_scratch;
};

} // namespace gr::diffusion::dsp
