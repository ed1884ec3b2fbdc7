/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "few_bit_pilots.h"
#include "mimo_estimator.h"
#include "pilot_estimator.h"

namespace gr::diffusion::dsp {

/*! Channel from pilots that a converter of few bits has seen, one model for every number of bits.
 *
 * Expectation propagation (Minka 2001; for quantized linear models Kamilov, Goyal and Rangan, IEEE Trans.
 * Signal Process. 60(12), 2012), with the estimator in the place of the Gaussian prior. An estimator knows
 * additive noise only, so it is given pseudo-observations z of one variance tau: first those of the linear
 * view (few_bit_pilots), then, round by round, those that say together with its own belief what the cell of
 * each observation says: the mean and variance of the belief cut to the cell, the belief itself taken out
 * again. Pseudo-observations move by 0.6 of the way. One bit leaves no scale: estimates are brought to the
 * mean power that the caller names before they meet the cells.
 *
 * Rounds may run away: they end with the first that makes the cells less likely or the channel a fifth
 * stronger.
 *
 * \param view made of all the observations; without a converter the estimator is simply called
 * \param y frames x e.pilots(): observations as the converter gave them
 * \param noise_var of each frame, at the converter's input
 * \param power E|signal|^2 of an observation without noise
 * \param rounds 0: the linear view
 * \param h, err_var frames x carriers */
DIFFUSION_API void few_bit_estimate(pilot_estimator& e, const few_bit_pilots& view,
                                    const std::complex<float>* y, size_t frames, const float* noise_var,
                                    float power, int rounds, std::complex<float>* h, float* err_var);

/*! The same for MIMO: the cells are those of H P.
 * \param y frames x receivers x e.count()
 * \param h frames x receivers x transmitters
 * \param err_var one for each frame, the mean over the antenna pairs */
DIFFUSION_API void few_bit_estimate(mimo_estimator& e, const few_bit_pilots& view,
                                    const std::complex<float>* y, size_t frames, const float* noise_var,
                                    float power, int rounds,
                                    std::complex<float>* h, float* err_var);

/*! Mean and variance of N(mean, var) cut to low .. high (infinite ends allowed). */
struct DIFFUSION_API cut_gaussian {
    double mean, var, log_mass; //!< log_mass: log of the probability of the interval
    static cut_gaussian of(double mean, double var, double low, double high);
};

} // namespace gr::diffusion::dsp
