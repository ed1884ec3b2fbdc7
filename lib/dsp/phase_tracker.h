/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <vector>

namespace gr::diffusion::dsp {

/*! Common phase of the OFDM symbols of a frame, from pilots: residual CFO and phase noise.
 *
 * State [phase, phase step a symbol]; the phase also walks at random (Wiener phase noise). An extended
 * Kalman filter and Rauch-Tung-Striebel smoother (AIAA J. 3(8), 1965), so every symbol is corrected by
 * all pilots of the frame; the walk's variance is the one of a small grid under which the pilots are
 * most likely. */
class DIFFUSION_API phase_tracker
{
public:
    struct track {
        std::vector<double> phase;    //!< radians, at each symbol
        std::vector<double> variance; //!< of it
        double walk_var = 0;          //!< the chosen variance of the walk a symbol
        double step = 0;              //!< mean step a symbol: residual CFO
    };
    /*! \param correlation sum over pilots of conj(h x) y, symbol by symbol; the first is the reference,
     *         whose phase is h's own
     *  \param phase_var variance of each one's angle
     *  \param step_std prior standard deviation of the step, radians a symbol */
    static track run(const std::vector<std::complex<double>>& correlation,
                     const std::vector<double>& phase_var,
                     double step_std);
};

} // namespace gr::diffusion::dsp
