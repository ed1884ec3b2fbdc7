/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "random.h"
#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

//! Additive white noise of a stated power (E|n|^2 per complex sample), Gaussian or Laplacian per rail.
class DIFFUSION_API awgn
{
public:
    /*! \param noise_power E|n|^2, 0 or more
     *  \param law "gaussian" or "laplacian" (each rail of variance noise_power / 2) */
    explicit awgn(double noise_power = 0, const std::string& law = "gaussian", uint64_t seed = 0);
    void set_noise_power(double noise_power);
    double noise_power() const { return d_noise_power; }
    //! n samples; in and out may be the same.
    void process(const std::complex<float>* in, std::complex<float>* out, size_t n);

private:
    double laplacian();

    double d_noise_power = 0, d_rail_scale = 0;
    bool d_laplacian = false;
    random_source d_random;
};

/*! Tapped delay line: y[n] = sum over k of h_k x[n - k].
 *
 * The taps are given, or drawn complex Gaussian from a power-delay profile (Rayleigh), anew with every
 * redraw(). With a Doppler spread, drawn taps fade with Clarke's spectrum: each is a sum of 16 sinusoids
 * of random angle and phase, so that its autocorrelation is close to p_k J0(2 pi f_d n); it is updated
 * at least 200 times a period of f_d. */
class DIFFUSION_API multipath
{
public:
    static constexpr size_t max_taps = 4096;

    //! Static taps h_k, k = 0, 1, ... samples.
    explicit multipath(std::vector<std::complex<float>> taps = { 1 });
    /*! Rayleigh taps.
     *  \param powers mean powers E|h_k|^2 (taken as they are: let them sum to 1 for a channel of mean
     *         power 1)
     *  \param doppler maximum Doppler shift in cycles a sample, 0 (frozen until redraw) to 0.01 */
    static multipath rayleigh(std::vector<double> powers, double doppler = 0, uint64_t seed = 0);

    //! Draws the taps anew. Static taps stay.
    void redraw();
    //! Static taps in place of what was; past samples stay.
    void set_taps(std::vector<std::complex<float>> taps);
    //! Taps of the next sample.
    const std::vector<std::complex<float>>& taps() const { return d_taps; }
    //! n samples; in and out may be the same. The memory goes on from call to call.
    void process(const std::complex<float>* in, std::complex<float>* out, size_t n);
    //! The fading goes on for n samples that nobody needs; past samples stay.
    void advance(uint64_t n);
    //! Forgets past samples.
    void reset();

private:
    void update_fading();

    static constexpr int sinusoids = 16;
    struct ray {
        double step, phase; //!< radians a sample, radians
    };
    std::vector<std::complex<float>> d_taps;
    std::vector<double> d_powers; //!< empty: static
    double d_doppler = 0;
    random_source d_random;
    std::vector<ray> d_rays;
    uint64_t d_time = 0;
    uint64_t d_interval = 0; //!< samples between updates of the taps, 0: never
    std::vector<std::complex<float>> d_line;
};

} // namespace gr::diffusion::dsp
