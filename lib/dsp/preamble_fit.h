/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "ofdm_geometry.h"
#include <memory>

namespace gr::diffusion::dsp {

/*! Signal power and noise variance of a found preamble.
 *
 * On the active carriers both symbols together are 2K observations of a channel of cp_len taps; least
 * squares leaves 2K - cp_len dimensions that hold noise only. sigma^2 is their mean energy (unbiased),
 * the signal power what the fit holds beyond its own share of noise. The delay window starts a quarter
 * of the prefix before the offset, so that an offset that is a little late does no harm.
 */
class DIFFUSION_API preamble_fit
{
public:
    explicit preamble_fit(const ofdm_geometry& geometry);
    ~preamble_fit();

    struct result {
        double noise_var = 0; //!< E|n|^2 per time sample
        double power = 0;     //!< preamble power per time sample, without the noise
    };
    /*! \param preamble preamble_len samples from the frame's offset on
     *  \param cfo carrier frequency offset in subcarriers, removed before the fit */
    result operator()(const std::complex<float>* preamble, double cfo);

private:
    class impl;
    std::unique_ptr<impl> d_impl;
};

//! Samples by which receivers start their DFT early, into the cyclic prefix.
inline int timing_backoff(const ofdm_geometry& geometry) { return geometry.cp_len / 4; }

} // namespace gr::diffusion::dsp
