/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "pas_code.h"
#include "payload_code.h"
#include "qam.h"
#include <gnuradio/diffusion/api.h>
#include <memory>
#include <string>

namespace gr::diffusion::dsp {

/*! A shaped payload: amplitude-shaped code words and the constellation they are sent on. Both ends derive it
 * from three fields of a frame's header: bits per symbol, code, composition index.
 *
 * The index is that of the shaper model ps-qam16, ps-qam64 or ps-qam256, an SNR in steps of 0.1 dB whose pmf
 * the amplitudes have. */
class DIFFUSION_API shaped_payload
{
public:
    static constexpr uint32_t max_index = 1023; //!< what the header holds

    /*! Made once for each combination.
     *  \throws std::invalid_argument for a combination that cannot be, model_error if the model is missing */
    static std::shared_ptr<const shaped_payload> get(int bits_per_symbol, fec code, uint32_t index);

    //! Codes that shaping does well with at that many bits a symbol, the best first (docs/shaper.md,
    //! measured).
    static std::vector<fec> codes(int bits_per_symbol);

    struct mode {
        fec code;
        uint32_t index;
        double rate; //!< payload bits a symbol
    };
    /*! The first of codes() that comes near what a link bears which is margin_db worse than its SNR, log2(1 +
     *  SNR / margin) bits a symbol, and of its compositions the one of the highest rate that is at most that;
     *  if no code has one, the lowest rate of all. 1 dB is what the code needs in AWGN. \throws
     *  std::invalid_argument, model_error */
    static mode mode_for(int bits_per_symbol, double snr_db, double margin_db);

    const pas_code& code() const { return d_code; }
    const qam& constellation() const { return d_constellation; }
    //! Words that n payload bits take; the rest of the last one is padding.
    size_t words(size_t payload_bits) const { return (payload_bits + d_code.bits() - 1) / d_code.bits(); }
    size_t symbols(size_t payload_bits) const { return words(payload_bits) * d_code.symbols(); }

    //! n bits to the bits of symbols(n) labels, symbols interleaved; and back.
    void encode(const uint8_t* bits, size_t n, uint8_t* labels) const;
    bool decode(const float* llr, size_t n, uint8_t* bits) const;

private:
    shaped_payload(pas_code code, qam constellation)
        : d_code(std::move(code)), d_constellation(std::move(constellation))
    {
    }
    pas_code d_code;
    qam d_constellation;
};

} // namespace gr::diffusion::dsp
