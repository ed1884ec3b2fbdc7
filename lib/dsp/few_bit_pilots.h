/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "adc_grid.h"

namespace gr::diffusion::dsp {

/*! Pilots seen through a converter of few bits, made fit for an estimator that knows additive noise only.
 *
 * Bussgang's theorem: what a quantizer makes of a Gaussian signal s is Q(s) = g s + d with d uncorrelated
 * with s. So Q(s) / g is s with noise of variance E|d|^2 / g^2 on top. g and d follow from the standard
 * deviation of a rail in steps of the converter, and that from the mean square of its output. One bit leaves
 * no scale at all: the channel is then taken to have the mean power that the caller names.
 */
class DIFFUSION_API few_bit_pilots
{
public:
    //! Looks for a converter of at most 5 bits in n observations (all of one converter).
    few_bit_pilots(const std::complex<float>* y, size_t n);

    //! Levels of a rail, 2 to 32; 0: no such converter was found, apply() then changes nothing.
    size_t levels() const { return d_levels; }
    //! Distance of two levels.
    double step() const { return d_step; }

    /*! One frame.
     * \param y n observations, replaced by estimates of what went into the converter
     * \param noise_var E|n|^2 at the converter's input
     * \param power E|signal|^2 there without noise, used with one bit only
     * \returns variance of noise and distortion together */
    float apply(std::complex<float>* y, size_t n, float noise_var, float power = 1) const;

    //! E[Q(s)^2] of a rail with standard deviation 1, and g = E[Q(s) s], for this step.
    static double mean_square(double step, size_t levels);
    static double gain(double step, size_t levels);

private:
    size_t d_levels = 0;
    double d_step = 0;
};

} // namespace gr::diffusion::dsp
