/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "symbol_law.h"
#include "symbol_prior.h"
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

/*! Noise variance of unknown symbols of a known constellation: maximum likelihood under a Gaussian mixture
 * with one variance (expectation maximisation, Dempster et al. 1977), over blocks of symbols.
 *
 * Feed it what arrives; estimate() is E|n|^2 in the sense of symbol_law: for a fitted law its fit's noise
 * variance plus what the total error has grown. Allocates in its constructor and in set_law() only. */
class DIFFUSION_API noise_estimator
{
public:
    static constexpr size_t block = 512;      //!< symbols of one estimate
    static constexpr size_t stride = 8192;    //!< symbols from one estimate to the next, once it has settled
    static constexpr double smallest = 1e-5, largest = 100;

    explicit noise_estimator(const symbol_law& law, const symbol_prior& prior = {});
    void set_law(const symbol_law& law, const symbol_prior& prior = {});
    //! Forgets the past, e.g. after a tag that says that the link is another.
    void reset();

    //! n symbols. Returns whether there is a new estimate.
    bool feed(const std::complex<float>* y, size_t n);
    //! E|n|^2; before the first whole block an estimate from what there is.
    double estimate() const { return d_estimate; }

private:
    void update();

    std::vector<std::complex<float>> d_centroids;
    std::vector<float> d_weights; // of the mixture, up to a factor
    double d_offset = 0; // estimate = mixture variance + offset
    std::vector<std::complex<float>> d_block;
    size_t d_skip = 0, d_blocks = 0;
    double d_mixture = 0, d_estimate = 0.1;
};

} // namespace gr::diffusion::dsp
