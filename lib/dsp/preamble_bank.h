/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "ofdm_geometry.h"

namespace gr::diffusion::dsp {

/*! Matched filters for the two preamble symbols on a grid of CFO hypotheses: stage 2 of frame_sync,
 * which documents the statistics. */
class preamble_bank
{
public:
    static constexpr int steps_per_carrier = 8; //!< grid: 1/8 subcarrier

    preamble_bank(const ofdm_geometry& geometry, double max_cfo);

    int first() const { return -d_last; }
    int last() const { return d_last; }
    size_t size() const { return size_t(2 * d_last + 1); }
    static double cfo(int grid) { return double(grid) / steps_per_carrier; }

    //! c1[t], c2[t] for t = 0 .. delays - 1 at grid point \p grid; reads delays - 1 + preamble_len samples.
    void correlate(int grid, const std::complex<float>* y, size_t delays,
                   std::complex<float>* c1, std::complex<float>* c2);

    double energy1() const { return d_energy1; }
    double energy2() const { return d_energy2; }
    //! Largest eigenvalue of the Gram matrix of the normalised symbols at cp_len delays.
    double lambda() const { return d_lambda; }

private:
    void find_lambda(const std::vector<std::complex<float>>& s1, const std::vector<std::complex<float>>& s2,
                     int cp);

    int d_symbol_len, d_last;
    double d_energy1 = 0, d_energy2 = 0, d_lambda = 1;
    std::vector<std::vector<float>> d_templates; // a grid point: both symbols, rotated; Re, then Im
    std::vector<float> d_work;
};

} // namespace gr::diffusion::dsp
