/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>

namespace gr::diffusion::dsp {

/*! The grid of a mid-rise quantizer, as seen in samples: rails at (k + 1/2) step, held to +-top. */
struct DIFFUSION_API adc_grid {
    double step = 0; //!< distance of two levels, 0 if the samples lie on no grid
    double top = 0;  //!< largest level seen

    /*! Finds the grid in n samples. Samples that were rotated, filtered or equalised lie on none; so do
     * those of a converter too fine to matter (more than 512 levels a rail) or too few samples. */
    static adc_grid detect(const std::complex<float>* y, size_t n);
};

} // namespace gr::diffusion::dsp
