/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <complex>
#include <vector>

namespace gr::diffusion::dsp {

/*! Numerology of an OFDM waveform: carriers, pilots and the two known preamble symbols.
 *
 * Carriers are numbered from the centre: 0 is DC, -fft_len/2 .. fft_len/2 - 1 the range. Vectors of
 * fft_len values are "shifted": element i is carrier i - fft_len/2. As in gr-digital, lists of carriers
 * and pilots may hold several sets; OFDM symbol i (counted from the header, behind the preamble) uses
 * set i modulo their number. In the time domain a symbol is the unnormalised inverse DFT with its last
 * cp_len samples in front: x[n] = sum_k X[k] exp(j 2 pi k n / fft_len).
 *
 * Preamble: sync_word1 occupies every second carrier (so that its two halves are equal up to sign),
 * sync_word2 all of them; both are known in full.
 */
struct DIFFUSION_API ofdm_geometry {
    int fft_len = 64;
    int cp_len = 16;
    std::vector<std::vector<int>> occupied_carriers;
    std::vector<std::vector<int>> pilot_carriers;
    std::vector<std::vector<std::complex<float>>> pilot_symbols;
    std::vector<std::complex<float>> sync_word1; //!< shifted, fft_len values
    std::vector<std::complex<float>> sync_word2; //!< shifted, fft_len values

    //! What digital.ofdm_tx and digital.ofdm_rx of GNU Radio 3.10 use when nothing is said.
    static ofdm_geometry stock();

    /*! Puts carriers given as 0 .. fft_len - 1 into the centred numbering and checks everything.
     *  \throws std::invalid_argument naming the value and the remedy */
    void normalise();

    int symbol_len() const { return fft_len + cp_len; }
    int preamble_len() const { return 2 * symbol_len(); }
    //! Index of a carrier in a shifted vector.
    int index(int carrier) const { return carrier + fft_len / 2; }
    //! All carriers that the preamble, data or pilots ever use, ascending.
    std::vector<int> active_carriers() const;
    //! Data carriers of OFDM symbol i behind the preamble.
    const std::vector<int>& data_set(size_t i) const
    {
        return occupied_carriers[i % occupied_carriers.size()];
    }
    const std::vector<int>& pilot_set(size_t i) const { return pilot_carriers[i % pilot_carriers.size()]; }
    const std::vector<std::complex<float>>& pilot_values(size_t i) const
    {
        return pilot_symbols[i % pilot_symbols.size()];
    }
};

//! One OFDM symbol in time, cyclic prefix first: symbol_len() samples from a shifted vector.
DIFFUSION_API std::vector<std::complex<float>>
modulate_symbol(const ofdm_geometry& geometry, const std::vector<std::complex<float>>& shifted);

} // namespace gr::diffusion::dsp
