/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "small_fft.h"
#include "vectorise.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::engine {

namespace {

// One stage: n/2 butterflies in groups of `s` that share a twiddle factor.
inline __attribute__((always_inline)) void stage(size_t half, size_t s, const double* __restrict c,
                                                 const double* __restrict d, const double* __restrict xr,
                                                 const double* __restrict xi, double* __restrict yr,
                                                 double* __restrict yi)
{
    for (size_t p = 0; p < half; p += s) {
        const double wr = c[p], wi = -d[p];
        for (size_t q = 0; q < s; q++) {
            const double ar = xr[p + q], ai = xi[p + q], br = xr[p + q + half], bi = xi[p + q + half];
            const double tr = ar - br, ti = ai - bi;
            yr[2 * p + q] = ar + br;
            yi[2 * p + q] = ai + bi;
            yr[2 * p + q + s] = tr * wr - ti * wi;
            yi[2 * p + q + s] = tr * wi + ti * wr;
        }
    }
}

DIFFUSION_VECTORISE void all_stages(size_t n, const double* c, const double* d, double* re, double* im,
                                    double* tr, double* ti)
{
    double *xr = re, *xi = im, *yr = tr, *yi = ti;
    for (size_t s = 1; s < n; s *= 2) {
        stage(n / 2, s, c, d, xr, xi, yr, yi);
        std::swap(xr, yr);
        std::swap(xi, yi);
    }
    if (xr != re) {
        std::copy_n(xr, n, re);
        std::copy_n(xi, n, im);
    }
}

} // namespace

small_fft::small_fft(size_t n) : d_n(n)
{
    if (n < 2 || n > 65536 || (n & (n - 1)) != 0)
        throw std::invalid_argument("small_fft: the length is " + std::to_string(n) +
                                    ", use a power of two, 2 to 65536");
    d_cos.resize(n / 2);
    d_sin.resize(n / 2);
    d_re.resize(n);
    d_im.resize(n);
    for (size_t i = 0; i < n / 2; i++) {
        d_cos[i] = std::cos(2 * M_PI * double(i) / double(n));
        d_sin[i] = std::sin(2 * M_PI * double(i) / double(n));
    }
}

void small_fft::forward(double* re, double* im)
{
    all_stages(d_n, d_cos.data(), d_sin.data(), re, im, d_re.data(), d_im.data());
}

} // namespace gr::diffusion::engine
