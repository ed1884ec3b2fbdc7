/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <vector>

namespace gr::diffusion::engine {

/*! Fourier transform of a power-of-two length in double precision, real and imaginary parts apart
 * (Stockham's autosort form, which needs no bit reversal). The engine's own, because FFTW's planner is
 * neither thread-safe nor free of allocations. One object serves one thread. */
class DIFFUSION_API small_fft
{
public:
    //! \param n a power of two, 2 to 65536. \throws std::invalid_argument
    explicit small_fft(size_t n);
    size_t size() const { return d_n; }

    //! X_k = sum_l x_l exp(-2 pi j k l / n), in place.
    void forward(double* re, double* im);
    //! x_l = sum_k X_k exp(+2 pi j k l / n), in place, not divided by n.
    void backward(double* re, double* im) { forward(im, re); }

private:
    size_t d_n;
    std::vector<double> d_cos, d_sin, d_re, d_im;
};

} // namespace gr::diffusion::engine
