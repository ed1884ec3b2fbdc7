/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "link_law.h"
#include <array>
#include <complex>
#include <vector>

namespace gr::diffusion::dsp {

/*! How often the levels of a converter should occur on each rail, and how far from it a block of samples is.
 * The law before the converter says it: symbols equally likely, a Gaussian on each rail about each.
 * Neighbouring levels are taken together until a bin holds at least 1/16. */
class cell_test
{
public:
    //! No law (not valid()): distance() is 0 from then on.
    void prepare(const link_law& law, double noise_var);
    //! Chi-square distance per sample, mean of the two rails; of n samples as expected about (bins - 1) / n.
    double distance(const std::complex<float>* y, size_t n) const;

private:
    struct rail {
        std::vector<unsigned char> bin; // of each level
        std::vector<double> expected;   // of each bin
    };

    double distance(const rail& r, const float* values, size_t n) const;

    std::array<rail, 2> d_rails;
    double d_step = 0;
    size_t d_half = 0;
};

} // namespace gr::diffusion::dsp
