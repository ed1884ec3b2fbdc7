/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <gnuradio/diffusion/model.h>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion::engine {

//! The state of a link that a shaped pmf is made for.
struct link_state {
    double snr_db = 0;          //!< in steps of 0.1 dB
    bool hardware = false;      //!< PA, phase noise and ADC are part of the link
    double phase_noise_deg = 0; //!< RMS, in steps of 0.5 degrees
    int adc_bits = 0;           //!< per rail
};

/*! The pmf of a shaper's diffusion model: its posterior where the sample says nothing (infinite noise).
 *
 * Every state of the link has an index, the 16-bit number that a header carries; what follows from the
 * index is computed in double with engine/exact_math.h, so that both ends of a link get the same bits.
 */
class DIFFUSION_API shaping_prior
{
public:
    //! \throws model_error if the model is no shaper, or not of the kind film_mlp without hidden layers
    explicit shaping_prior(model::sptr source);

    const model& source() const { return *d_model; }
    size_t symbols() const { return d_class_of.size(); }
    //! Symbols of one class have the same probability.
    const std::vector<uint8_t>& class_of() const { return d_class_of; }
    const std::vector<uint32_t>& class_size() const { return d_class_size; }
    bool knows_hardware() const { return d_hardware; }

    //! Number of link states: indices are 0 to states() - 1.
    uint32_t states() const;
    //! The index of a plain AWGN link; the SNR is rounded to 0.1 dB and held to the trained range.
    uint32_t index(double snr_db) const;
    //! The index of any link state. \throws std::invalid_argument for hardware the model does not know
    uint32_t index(const link_state& state) const;
    //! \throws std::invalid_argument if there is no such index
    link_state state(uint32_t index) const;

    //! Probability of each class, sum 1.
    std::vector<double> class_pmf(uint32_t index) const;
    /*! What the unit-power points of the constellation are multiplied by: 1 / sqrt(sum p |c|^2) for an
     *  AWGN link (unit mean power), the drive into the amplifier (saturation amplitude 1) with hardware. */
    double amplitude(uint32_t index) const;

private:
    std::vector<double> hidden(uint32_t index) const;
    double row(const std::vector<double>& weights, double bias, size_t at,
               const std::vector<double>& h) const;
    bool takes_second(uint32_t index, const std::vector<double>& h) const;

    model::sptr d_model;
    std::vector<uint8_t> d_class_of;
    std::vector<uint32_t> d_class_size;
    std::vector<double> d_class_energy; // mean |c|^2
    int d_snr_low, d_snr_high;          // tenths of a dB
    bool d_hardware = false;
    int d_hw_snr_low = 0, d_hw_snr_high = 0; // tenths of a dB
    int d_phase_low = 0, d_phase_high = 0;   // half degrees
    int d_bits_low = 0, d_bits_high = 0;
    // Conditioner: c -> width -> one logit a class; weights row-major.
    size_t d_inputs = 0, d_width = 0;
    std::vector<double> d_mean, d_scale, d_w0, d_b0, d_w1, d_b1, d_drive;
    // Second answer for links with hardware: logits of the classes, log drive, preference; or empty.
    std::vector<double> d_w2, d_b2;
};

} // namespace gr::diffusion::engine
