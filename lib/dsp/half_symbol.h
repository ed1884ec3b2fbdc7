/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

//! Zeroes samples that are no number or so large (1e15) that sums of their squares would not stay finite.
//! \returns how many
size_t zero_bad_samples(float* x, size_t n);

/*! Correlation of a stream with itself half a symbol later (Schmidl and Cox), summed over a window, by
 * running sums that start afresh in every block, so that an outlier's rounding error ends with it. */
class half_symbol_correlation
{
public:
    //! \param half lag; \param lags terms of a sum
    half_symbol_correlation(size_t half, size_t lags) : d_half(half), d_lags(lags) {}

    //! Fills squared_coherence() for starts at y[0] .. y[count - 1]; y has count + lags + 2 half samples.
    void process(const std::complex<float>* y, size_t count);
    const std::vector<double>& squared_coherence() const { return d_metric; }
    //! The sum that starts at y[t].
    std::complex<double> at(size_t t) const
    {
        return { d_re[t + d_lags] - d_re[t], d_im[t + d_lags] - d_im[t] };
    }

private:
    size_t d_half, d_lags;
    std::vector<double> d_re, d_im, d_energy, d_metric;
};

} // namespace gr::diffusion::dsp
