/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <algorithm>
#include <array>
#include <complex>
#include <cstddef>
#include <vector>

namespace gr::diffusion::dsp {

/*! What a fit to recorded frames knows of the two radios of a multicarrier link, and how to undo it.
 *
 * Receiver: r = s + b s* + d (IQ image, DC), undone sample by sample. Transmitter: t + c_0 t + c_1 t* + c_2
 * t|t|^2 + c_3 t|t|^4 + c_4 t*|t|^2 for samples t of unit mean power (IQ image, amplifier); a receiver that
 * knows or has decided the carriers takes the difference away. Immutable. */
class DIFFUSION_API waveform_correction
{
public:
    static constexpr size_t n_terms = 5, n_numbers = 4 + 2 * n_terms;
    using cf = std::complex<float>;

    //! \param numbers b, d, c_0 .. c_4 as pairs of re and im. \throws std::invalid_argument
    explicit waveform_correction(const std::vector<double>& numbers);

    //! out = (in - d - b (in - d)*) / (1 - |b|^2), n samples; out may be in.
    void condition(const cf* in, cf* out, size_t n) const;
    //! What the transmitter adds to a sample of unit mean power.
    cf distortion(cf t) const
    {
        const float p = std::min(std::norm(t), largest);
        return t * (d_terms[0] + p * (d_terms[2] + p * d_terms[3])) +
               std::conj(t) * (d_terms[1] + p * d_terms[4]);
    }
    bool has_distortion() const { return d_distorts; }

private:
    static constexpr float largest = 16; // 12 dB over the mean: beyond, the polynomial knows nothing

    cf d_image, d_dc;
    std::array<cf, n_terms> d_terms;
    bool d_distorts;
};

} // namespace gr::diffusion::dsp
