/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gr::diffusion::dsp {

/*! Square QAM of unit mean power, Gray, points()[i] labelled by the bits of i, most significant first:
 * the first half of the bits choose the I level, the second half the Q level, each by the
 * binary-reflected Gray code with the all-zero label at the most negative level. BPSK lies on I; QPSK has
 * Q first, as digital.constellation_qpsk has it.
 * LLRs are positive for bit 1, as digital.constellation_soft_decoder_cf has them. */
class DIFFUSION_API qam
{
public:
    //! \param bits bits per symbol: 1 (BPSK), 2, 4, 6 or 8. \throws std::invalid_argument
    explicit qam(int bits);

    /*! Shaped: points scaled to unit mean power under the prior, which soft() adds: its LLRs are posterior.
     *  \param amplitudes probability of each amplitude of a rail, smallest first, in any scale;
     *         2^(bits / 2 - 1) of them, bits 4, 6 or 8 \throws std::invalid_argument */
    qam(int bits, const std::vector<double>& amplitudes);

    int bits() const { return d_bits; }
    bool shaped() const { return d_entropy < d_bits; }
    //! Log probability of a label, up to a constant.
    float log_prior(size_t label) const
    {
        return d_log_prior[label >> rail_bits()] + d_log_prior[label & (d_levels.size() - 1)];
    }
    //! Bits that a symbol's choice is worth: bits(), less if shaped.
    double entropy() const { return d_entropy; }
    const std::vector<std::complex<float>>& points() const { return d_points; }

    //! n labels from bits() * n bits (one a byte).
    void map(const uint8_t* bits, std::complex<float>* symbols, size_t n) const;
    //! Labels of the nearest points.
    void decide(const std::complex<float>* y, uint8_t* labels, size_t n) const;

    /*! Exact bitwise log-MAP in circular Gaussian noise of variance noise_var[i] = E|n|^2 for symbol i.
     * The rails are independent, so this costs sqrt(M) distances a rail, not M. \p llr: bits() * n. */
    void soft(const std::complex<float>* y, const float* noise_var, float* llr, size_t n) const;
    /*! What a hard receiver knows: the bits of the nearest point, all equally sure. The one reliability
     * is the log-odds of the Gray bit error rate at the mean noise variance. */
    void hard(const std::complex<float>* y, const float* noise_var, float* llr, size_t n) const;

private:
    int rail_bits() const { return d_bits == 1 ? 1 : d_bits / 2; }
    void soft_rails(const float* y, const float* noise_var, float* llr, size_t n) const;
    int nearest_level(float y) const;

    int d_bits;
    std::vector<float> d_levels;   // by label
    std::vector<int> d_ascending;  // label of the n-th level from below
    float d_lowest, d_spacing;
    std::vector<float> d_log_prior; // by label; 0 where all are equally likely
    double d_entropy;
    std::vector<std::complex<float>> d_points;
};

//! The constellation of bits bits a symbol (made once). \throws std::invalid_argument
DIFFUSION_API const qam& qam_of(int bits);

} // namespace gr::diffusion::dsp
