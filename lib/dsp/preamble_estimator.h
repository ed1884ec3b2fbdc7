/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "pilot_estimator.h"

namespace gr::diffusion::dsp {

/*! Channel and coarse frequency offset from the preamble of an OFDM frame: what
 * digital.ofdm_chanest_vcvc does, with any pilot_estimator behind it.
 *
 * The preamble is one or two known symbols in the frequency domain, DC in the middle. The offset in
 * whole carriers (even ones) is found by Schmidl and Cox's differential correlation of the two symbols
 * (1997), or with one symbol by the pattern of its changes. The carriers where the reference symbol is
 * not zero are the pilots.
 *
 * Method "ls" gives exactly what the stock block gives: nothing where the reference is zero, except
 * that a single symbol on every second carrier is held over the carrier that follows. The others
 * estimate every carrier from the first used to the last; beyond those the result is zero.
 */
class DIFFUSION_API preamble_estimator
{
public:
    using cfloat = std::complex<float>;

    /*! \param sync_symbol1 first known symbol; its length is the FFT length, 8 to 4096
     *  \param sync_symbol2 second one, or empty
     *  \param max_carr_offset largest offset searched, in carriers; -1: all that fit
     *  \param force_one_sync_symbol the frame has one symbol although two are given
     *  \throws std::invalid_argument naming the value */
    preamble_estimator(const std::vector<cfloat>& sync_symbol1, const std::vector<cfloat>& sync_symbol2,
                       int max_carr_offset = -1, bool force_one_sync_symbol = false);

    size_t fft_len() const { return d_sync1.size(); }
    //! Symbols of preamble in front of each frame, 1 or 2.
    int symbols() const { return d_symbols; }

    /*! Another estimator, made by make_pilot_estimator() for fft_len() carriers; null: "ls" as the
     * stock block has it. Takes the reference's carriers as pilots; allocates, so prepare() it first. */
    void use(std::unique_ptr<pilot_estimator>& estimator) { d_estimator.swap(estimator); }
    //! Steps of the estimator, and those it was trained for; 1 where there are none.
    size_t steps() const { return d_estimator ? d_estimator->steps() : 1; }
    size_t trained_steps() const { return d_estimator ? d_estimator->trained_steps() : 1; }
    void set_steps(size_t steps)
    {
        if (d_estimator)
            d_estimator->set_steps(steps);
    }
    //! Sets an estimator up for the pilots of this preamble.
    void prepare(pilot_estimator& estimator) const { estimator.set_pilots(d_pilots); }

    //! Variance of the noise on one carrier of the received symbols; < 0: estimated from each preamble.
    void set_noise_var(float noise_var) { d_noise_var = noise_var; }

    struct result {
        int carr_offset = 0;        //!< carriers
        float noise_var = 0;        //!< E|n|^2 on a carrier of the received symbols
        float snr_db = 0;           //!< mean channel power on the pilots x reference power / noise_var
        bool valid = true;          //!< false: the preamble held a NaN or Inf; taps are 1
        std::vector<cfloat> taps;   //!< fft_len values, frequency-corrected like the stock block's
        std::vector<float> err_var; //!< E|taps - truth|^2
    };

    //! \param in symbols() x fft_len() values \returns a result that lives until the next call
    const result& estimate(const cfloat* in);

private:
    int find_offset(const cfloat* first, const cfloat* second);
    float estimate_noise(const cfloat* in, int offset) const;
    void stock_taps();

    std::vector<cfloat> d_sync1, d_reference, d_correlation;
    std::vector<float> d_known_changes, d_changes;
    std::vector<int> d_pilots;
    std::vector<char> d_silent1, d_silent_reference; // carriers that carry noise alone
    int d_symbols = 1, d_first = 0, d_last = 0, d_lowest = 0, d_highest = 0;
    bool d_hold = false;
    float d_noise_var = -1;
    double d_reference_power = 1, d_inverse_power = 1;
    std::unique_ptr<pilot_estimator> d_estimator;
    std::vector<cfloat> d_ls;
    result d_result;
};

} // namespace gr::diffusion::dsp
