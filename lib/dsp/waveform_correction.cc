/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "waveform_correction.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

waveform_correction::waveform_correction(const std::vector<double>& v)
{
    if (v.size() != n_numbers)
        throw std::invalid_argument("waveform correction refused: it has " + std::to_string(v.size()) +
                                    " numbers, this version takes " + std::to_string(n_numbers));
    for (double x : v)
        if (!(std::abs(x) < 10))
            throw std::invalid_argument("waveform correction refused: it holds " + std::to_string(x));
    auto at = [&v](size_t i) { return cf(float(v[2 * i]), float(v[2 * i + 1])); };
    d_image = at(0);
    d_dc = at(1);
    if (std::abs(d_image) > 0.5f)
        throw std::invalid_argument("waveform correction refused: an image of " +
                                    std::to_string(std::abs(d_image)) + " is no radio's");
    for (size_t i = 0; i < n_terms; i++)
        d_terms[i] = at(2 + i);
    d_distorts = std::any_of(d_terms.begin(), d_terms.end(), [](cf c) { return c != cf(0); });
}

void waveform_correction::condition(const cf* in, cf* out, size_t n) const
{
    const float scale = 1 / (1 - std::norm(d_image));
    for (size_t i = 0; i < n; i++) {
        const cf s = in[i] - d_dc;
        out[i] = scale * (s - d_image * std::conj(s));
    }
}

} // namespace gr::diffusion::dsp
