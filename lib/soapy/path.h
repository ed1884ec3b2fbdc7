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
    bool burst_fading = false; //!< Rayleigh taps are drawn anew where a burst begins

    bool operator==(const path_settings& other) const
    {
        return path_loss_db == other.path_loss_db && noise_dbm == other.noise_dbm &&
               delay_ns == other.delay_ns && same_fading(other);
    }
    bool same_fading(const path_settings& other) const
    {
        return taps == other.taps && profile == other.profile && doppler_hz == other.doppler_hz &&
               burst_fading == other.burst_fading;
    }
};

/*! What arrives at a receiver from one ring: resampled, delayed, faded, and moved in frequency.
 *
 * The receiver's path loss and delay and the transmitter's own add up; a transmitter's own taps or profile
 * take the place of the receiver's. Nothing depends on how the samples are cut into calls. */
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

    //! Takes the settings' taps or profile, or the transmitter's own. Drawn taps begin anew.
    void configure(const path_settings& settings, double rate);

    //! First receiver sample at `rate` that cannot be computed yet.
    int64_t horizon(double rate, const path_settings& settings) const;

private:
    void take_way();
    void fade(size_t n, double at, double step, const path_settings& settings);
    double position(int64_t sample, double rate, const path_settings& settings) const;

    const medium& d_medium;
    int d_air;
    uint64_t d_seed;
    dsp::interpolator d_interpolator;
    dsp::multipath d_multipath;
    bool d_flat = true, d_tuned = false;
    size_t d_tail = 0;        //!< samples of echo still to come after the signal's end
    double d_offset = 0;      //!< frequency offset, Hz
    double d_cycles = 0;      //!< of the frequency offset at the receiver's sample d_since
    int64_t d_since = 0;
    int64_t d_next = -1;      //!< receiver sample that continues the last call
    int64_t d_base = 0;       //!< receiver sample that lies at d_position in the ring
    double d_position = 0;
    uint32_t d_version = 0, d_generation = 0, d_way_version = 0;
    int64_t d_faded = 0;      //!< receiver sample up to which the fading has gone
    uint64_t d_drawn = 0;     //!< bursts whose taps have been drawn
    path_settings d_way = { 0, 0, {}, {}, 0, 0, false }; //!< the transmitter's own
    std::vector<std::complex<float>> d_window, d_signal;
};

} // namespace gr::diffusion::soapy
