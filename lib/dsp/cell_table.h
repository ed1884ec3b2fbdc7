/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "link_law.h"
#include <cstdint>

namespace gr::diffusion::dsp {

/*! Symbol estimates and soft bits behind a converter: one of each per cell, from p(cell | symbol) of a
 * link_law.
 *
 * prepare() tabulates the rails; a cell's own values are made when it is first seen. Nothing is allocated
 * after the constructor and the first prepare() of a law. */
class DIFFUSION_API cell_table
{
public:
    //! Laws of finer converters are not tabulated; a Gaussian with the step's variance is as good there.
    static constexpr size_t most_half = 32;
    static bool takes(const link_law& law) { return law.valid() && law.half >= 1 && law.half <= most_half; }

    explicit cell_table(std::vector<std::complex<float>> points);

    //! \param log_pmf log probability of each symbol; empty: all alike
    void prepare(const link_law& law, double noise_var, const std::vector<double>& log_pmf = {});

    /*! Estimate and bits of one observation; either may be null. False, and nothing written, if it lies off
     *  the converter's grid or where no symbol could have put it. */
    bool look_up(std::complex<float> y, std::complex<float>* x_hat, float* llr);

    //! log p(cell | symbol) (M values, -inf where 0) of an observation's cell. \throws std::invalid_argument
    //! off the grid
    void log_likelihood(std::complex<float> y, double* out);

private:
    bool find(std::complex<float> y, int& re, int& im) const;
    void likelihood(int re, int im);
    void make(size_t cell, int re, int im);

    std::vector<std::complex<float>> d_points;
    size_t d_bits = 0, d_width = 0;
    size_t d_nodes = 0, d_levels = 0;
    double d_step = 0;
    float d_per_step = 0;
    std::vector<double> d_rail[2];  // nodes x levels x M, the first weighted
    std::vector<double> d_p;        // of the cell in work
    std::vector<float> d_values;    // levels^2 x (2 + bits)
    std::vector<uint32_t> d_made;   // prepare() that made the cell; its top bit: no symbol could
    uint32_t d_epoch = 0;
};

} // namespace gr::diffusion::dsp
