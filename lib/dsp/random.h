/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <cmath>
#include <complex>
#include <cstdint>

namespace gr::diffusion::dsp {

/*! Seeded random numbers for simulation: xoshiro256++ (Blackman and Vigna, 2019), the same sequence
 * on every platform, so that training, tests and blocks can share a seed. */
class random_source
{
public:
    explicit random_source(uint64_t seed = 0) { reseed(seed); }

    void reseed(uint64_t seed)
    {
        for (auto& word : d_state) { // splitmix64 spreads any seed, 0 included, over the state
            seed += 0x9e3779b97f4a7c15ull;
            uint64_t z = seed;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
            word = z ^ (z >> 31);
        }
        d_spare_valid = false;
    }

    uint64_t bits()
    {
        const uint64_t result = rotate(d_state[0] + d_state[3], 23) + d_state[0];
        const uint64_t t = d_state[1] << 17;
        d_state[2] ^= d_state[0];
        d_state[3] ^= d_state[1];
        d_state[1] ^= d_state[2];
        d_state[0] ^= d_state[3];
        d_state[2] ^= t;
        d_state[3] = rotate(d_state[3], 45);
        return result;
    }

    //! Uniform in [0, 1).
    double uniform() { return double(bits() >> 11) * 0x1p-53; }

    //! Real Gaussian, zero mean, unit variance (polar method of Marsaglia).
    double normal()
    {
        if (d_spare_valid) {
            d_spare_valid = false;
            return d_spare;
        }
        double u, v, s;
        do {
            u = 2 * uniform() - 1;
            v = 2 * uniform() - 1;
            s = u * u + v * v;
        } while (s >= 1 || s == 0);
        const double scale = std::sqrt(-2 * std::log(s) / s);
        d_spare = v * scale;
        d_spare_valid = true;
        return u * scale;
    }

    //! Circular complex Gaussian with E|z|^2 = \p variance.
    std::complex<float> complex_normal(double variance = 1)
    {
        const double s = std::sqrt(variance / 2);
        const double re = normal() * s;
        return { float(re), float(normal() * s) };
    }

private:
    static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

    uint64_t d_state[4];
    double d_spare = 0;
    bool d_spare_valid = false;
};

} // namespace gr::diffusion::dsp
