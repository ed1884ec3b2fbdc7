/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "half_symbol.h"
#include "engine/vectorise.h"
#include <cmath>

namespace gr::diffusion::dsp {

size_t zero_bad_samples(float* x, size_t n)
{
    unsigned bad = 0;
    for (size_t i = 0; i < 2 * n; i++)
        bad += !(std::abs(x[i]) < 1e15f);
    if (!bad)
        return 0;
    bad = 0;
    for (size_t i = 0; i < n; i++)
        if (!(std::abs(x[2 * i]) < 1e15f && std::abs(x[2 * i + 1]) < 1e15f)) {
            x[2 * i] = x[2 * i + 1] = 0;
            bad++;
        }
    return bad;
}

namespace {

//! Terms of the sums of stage 1: y_{i + half} conj(y_i) and |y_i|^2.
DIFFUSION_VECTORISE void lag_products(const float* __restrict y, size_t half, size_t n, double* __restrict re,
                                      double* __restrict im, double* __restrict energy)
{
    for (size_t i = 0; i < n; i++) {
        const double a = y[2 * i], b = y[2 * i + 1], c = y[2 * (i + half)], d = y[2 * (i + half) + 1];
        re[i] = c * a + d * b;
        im[i] = d * a - c * b;
        energy[i] = a * a + b * b;
    }
}

//! Three running sums at once, in place: entry i becomes the sum of those before it.
void running_sums(double* a, double* b, double* c, size_t n)
{
    double sum_a = 0, sum_b = 0, sum_c = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = a[i], y = b[i], z = c[i];
        a[i] = sum_a;
        b[i] = sum_b;
        c[i] = sum_c;
        sum_a += x;
        sum_b += y;
        sum_c += z;
    }
}

//! Squared coherence at each sample from the running sums.
DIFFUSION_VECTORISE void coherence(const double* __restrict re, const double* __restrict im,
                                   const double* __restrict energy, size_t lags, size_t half, size_t n,
                                   double* __restrict metric)
{
    for (size_t t = 0; t < n; t++) {
        const double a = re[t + lags] - re[t], b = im[t + lags] - im[t];
        const double scale = (energy[t + lags] - energy[t]) * (energy[t + lags + half] - energy[t + half]);
        metric[t] = scale > 0 ? (a * a + b * b) / scale : 0;
    }
}

} // namespace

void half_symbol_correlation::process(const std::complex<float>* y, size_t count)
{
    const size_t n = count + d_lags + d_half;
    for (auto* v : { &d_re, &d_im, &d_energy })
        v->resize(n + 1);
    d_metric.resize(count);
    lag_products(reinterpret_cast<const float*>(y), d_half, n, d_re.data(), d_im.data(), d_energy.data());
    running_sums(d_re.data(), d_im.data(), d_energy.data(), n + 1);
    coherence(d_re.data(), d_im.data(), d_energy.data(), d_lags, d_half, count, d_metric.data());
}

} // namespace gr::diffusion::dsp
