/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "dsp/channel.h"
#include "dsp/interpolator.h"
#include "medium.h"
#include <complex>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion::soapy {

//! The way from transmitters to a receiver.
struct path_settings {
    double path_loss_db = 50;
    double noise_dbm = -90;                             //!< at the antenna, in the whole sampling bandwidth
    std::vector<std::complex<float>> taps = { { 1, 0 } }; //!< static, at the receiver's rate
    std::vector<double> profile;                        //!< mean powers of Rayleigh taps instead, if any
    double doppler_hz = 0;                              //!< of the Rayleigh taps, 0: frozen
    double delay_ns = 0;
};

//! What arrives at a receiver from one ring: resampled, delayed, faded, and moved in frequency.
class path
{
public:
    path(const medium& medium, int air, uint64_t seed);

    /*! Adds the samples first ... first + n - 1 of the receiver, which runs at rate (samples/s by the
     * medium's clock) tuned to frequency (Hz), to out; n at most 4096. */
    void add(int64_t first,
             size_t n,
             double rate,
             double frequency,
             const path_settings& settings,
             std::complex<float>* out);

    //! Takes the settings' taps or profile.
    void configure(const path_settings& settings, double rate);

    //! First receiver sample at `rate` that cannot be computed yet, and whether anything is to come.
    int64_t horizon(double rate, const path_settings& settings) const;

private:
    double position(int64_t sample, double rate, const path_settings& settings) const;

    const medium& d_medium;
    int d_air;
    uint64_t d_seed;
    dsp::interpolator d_interpolator;
    dsp::multipath d_multipath;
    bool d_flat = true;
    size_t d_tail = 0;        //!< samples of echo still to come after the signal's end
    double d_phase = 0;       //!< of the frequency offset, radians
    int64_t d_next = -1;      //!< receiver sample that continues the last call
    double d_position = 0;    //!< of that sample in the ring
    uint32_t d_version = 0;
    std::vector<std::complex<float>> d_window, d_signal;
};

} // namespace gr::diffusion::soapy
