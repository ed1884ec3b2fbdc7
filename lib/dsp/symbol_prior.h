/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <vector>

namespace gr::diffusion::dsp {

//! What a receiver knows of a shaped constellation.
struct DIFFUSION_API symbol_prior {
    std::vector<double> log_pmf; //!< log probability of each point; empty: all are equally likely
    double amplitude = 1;        //!< what the sender multiplies the unit-power points by

    bool uniform() const { return log_pmf.empty(); }

    /*! \param pmf one probability >= 0 a point, scaled to sum 1; empty: equally likely
     *  \param points the constellation, unit power
     *  \param amplitude of the points as sent; 0: such that E|x|^2 = 1 under the pmf
     *  \throws std::invalid_argument naming what is wrong */
    static symbol_prior make(const std::vector<double>& pmf, const std::vector<std::complex<float>>& points,
                             double amplitude = 0);
};

} // namespace gr::diffusion::dsp
