/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <array>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

/*! Centroids as a function of few parameters of a radio: IQ gain (log) and phase (rad), DC (re, im), PA
 *  back-off (dB), smoothness (log) and AM-PM (rad), gain (log) and rotation (rad) of what comes out, its
 *  power renormalised. */
class radio_curve
{
public:
    static constexpr size_t n = 9;
    using parameters = std::array<double, n>;

    //! Where radios lie, and how far they spread (standard deviations); gain and rotation as an AGC leaves
    //! them.
    static const parameters typical, spread;
    //! Held to what a radio can be.
    static parameters held(parameters p);

    explicit radio_curve(const std::vector<std::complex<float>>& points) : d_points(points) {}

    //! Rails (2 M): real and imaginary part of each centroid in turn.
    std::vector<double> at(const parameters& p) const;

private:
    std::vector<std::complex<float>> d_points;
};

} // namespace gr::diffusion::dsp
