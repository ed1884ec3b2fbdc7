/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

/*! A band-limited signal between its samples: Kaiser-windowed sinc, 256 phases with linear interpolation
 * between them. For a step > 1 (a lower output rate) the cut-off falls with it, against aliases. In the
 * lower 80% of the narrower band the error is below -60 dB. */
class DIFFUSION_API interpolator
{
public:
    //! \param step input samples per output sample, 1/64 to 64
    explicit interpolator(double step = 1);

    double step() const { return d_step; }
    //! Input samples needed before floor(position), and (plus one) after it.
    size_t half() const { return d_half; }

    /*! out[i] = x(position + i step), i < n. x[0] is the sample at position 0; samples from
     * floor(position) - half() to floor(position + (n - 1) step) + half() + 1 are read. */
    void process(const std::complex<float>* x, double position, std::complex<float>* out, size_t n) const;

private:
    static constexpr int phases = 256;
    double d_step;
    size_t d_half;
    std::vector<float> d_taps; //!< (phases + 1) rows of 2 half
};

} // namespace gr::diffusion::dsp
