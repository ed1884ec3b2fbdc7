/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "simd.h"
#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstdint>

namespace gr::diffusion::engine {

//! Values of a map at the nodes of a square grid over [-extent, extent]^2.
struct DIFFUSION_API plane_grid {
    plane_grid() = default;
    //! \param channels values of a node: 2, or any number, which is padded to a multiple of 4
    plane_grid(size_t nodes, double extent, size_t channels);

    float* node(size_t row, size_t column) { return values.data() + (row * nodes + column) * stride; }
    //! Where a row (imaginary part) or column (real part) lies.
    double coordinate(size_t i) const { return -extent + 2 * extent * double(i) / double(nodes - 1); }

    /*! Keeps the values as 16-bit floats (relative error 5e-4) where this machine converts them in passing
     *  and 3 to 8 channels make a table as large as the second-level cache; node() is of no use
     *  afterwards. */
    void compact();

    size_t nodes = 0, channels = 0, stride = 0;
    double extent = 1;
    aligned_floats values;
    bool halves = false; //!< values holds 16-bit floats, two in the place of one
};

/*! Bilinear interpolation of n samples, the edge's value beyond the edge, NaN taken as 0.
 *  \param out n x channels \returns how many samples were NaN, infinite or beyond 1e4 in a rail */
DIFFUSION_API uint64_t interpolate(const plane_grid& grid, const std::complex<float>* y, float* out,
                                   size_t n);

} // namespace gr::diffusion::engine
