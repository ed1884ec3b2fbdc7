/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

namespace gr::diffusion::dsp {

//! A Gaussian rail's cell: its probability, and that by the rail's mean.
struct rail_cell {
    double p, slope;

    /*! \param k cell, from k step to (k + 1) step; those beyond -half and half - 1 are open */
    static rail_cell of(double mean, double deviation, int k, double step, int half);
};

} // namespace gr::diffusion::dsp
