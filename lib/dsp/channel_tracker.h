/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

/*! The channel of every OFDM symbol of a frame from what is known anywhere in the frame: the Wiener filter
 * over delay and time.
 *
 * Taps at 0 .. taps - 1 samples are independent, Gaussian, with mean powers p_l. A tap's course over the
 * symbols has Clarke's autocorrelation J0(2 pi f d) at a distance of d symbols, f cycles a symbol being the
 * largest Doppler shift; it is written in the eigenvectors of that matrix (Karhunen and Loeve), of which
 * some 2 f S + 3 matter for S symbols. So a frame of 27 symbols with Doppler of 5% of the subcarrier
 * spacing has up to 7 unknowns a tap, a still one has 1; those of which the noise leaves nothing to be
 * learned are left out. Long frames are cut into overlapping windows of 32 symbols.
 *
 * An object serves one thread. Bases are kept for the next frame of the same length. */
class DIFFUSION_API channel_tracker
{
public:
    //! \param taps delays, at most fft_len
    channel_tracker(int fft_len, int taps);

    //! A new frame of so many symbols, nothing known.
    void clear(size_t symbols);
    /*! Adds an observation y = x h + n. \p carrier: index in a shifted vector (DC is fft_len / 2);
     *  \p noise_var: E|n|^2, > 0; what a soft x leaves open belongs in it. */
    void add(size_t symbol, size_t carrier, std::complex<float> x, std::complex<float> y, double noise_var);

    /*! Log likelihood of this Doppler (cycles a symbol) in the first 32 symbols, up to a constant, the
     * common scale of noise and channel being unknown. From the eight strongest taps: what the others hold
     * counts as noise. Another ramp under the same profile and Doppler costs little: the matrix does not
     * change.
     * \param profile mean powers of the taps
     * \param ramp cycles a symbol that the whole channel turns besides: the synchroniser took a moving path
     * for a CFO */
    double likelihood(const std::vector<double>& profile, double doppler, double ramp);

    /*! The estimate, its ramp included. \returns false, and nothing else, if numbers are beyond all sense
     *  \param h, error symbols x fft_len: channel and its error variance */
    bool estimate(const std::vector<double>& profile, double doppler, double ramp,
                  std::vector<std::complex<float>>& h, std::vector<float>& error);

    //! Noise variance over the one that add() was told, under the latest likelihood().
    double noise_scale() const { return d_noise_scale; }
    //! Posterior mean power of each tap over the latest frame.
    const std::vector<double>& powers() const { return d_powers; }

private:
    struct basis {
        size_t symbols;
        double doppler;
        size_t count;
        std::vector<double> u; // symbols x count
    };
    //! Which unknowns there are, and I + D F^H W F D of them; or its factor, while nothing of it changes.
    struct system {
        double doppler = 0;
        bool factored = false;
        size_t n = 0;
        double log_det = 0;
        std::vector<size_t> taps, first, count; // active taps, each one's first unknown and how many it has
        std::vector<double> root;               // of the taps' power
        std::vector<double> re, im;             // n x n, upper triangle
    };
    const basis& basis_for(size_t symbols, double doppler);
    void prepare(system& to, const std::vector<double>& profile, const basis& b, size_t first, size_t most);
    void right_side(const system& of, const basis& b, double ramp, size_t first);
    bool window(const std::vector<double>& profile, double doppler, double ramp, size_t first, size_t count,
                size_t from, size_t to,
                std::complex<float>* h, float* error);

    size_t d_n, d_taps, d_symbols = 0;
    double d_noise_scale = 1;
    std::vector<double> d_re, d_im;       // exp(-2 pi j k l / n), [l][carrier]
    std::vector<double> d_t_re, d_t_im;   // [symbol][lag]: sum of w conj(f_kl)
    std::vector<double> d_b_re, d_b_im;   // [symbol][tap]: sum of conj(f_kl) v
    std::vector<double> d_energy, d_known; // [symbol]: sum of |y|^2 / noise_var, observations
    std::vector<basis> d_bases;
    system d_system;
    std::vector<system> d_factored;       // of likelihood(), for d_profile and what is known now
    size_t d_factors = 0;                 // those of them that count
    std::vector<double> d_profile;
    std::vector<double> d_scratch, d_x_re, d_x_im, d_lag;
    std::vector<double> d_powers;
};

} // namespace gr::diffusion::dsp
