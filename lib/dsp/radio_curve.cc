/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "radio_curve.h"
#include "impairments.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

const radio_curve::parameters radio_curve::typical = { 0, 0, 0, 0, 5.5, 0.8, 0.22, 0, 0 };
const radio_curve::parameters radio_curve::spread = { 0.1, 0.08, 0.05, 0.05, 3, 0.35, 0.15, 0.01, 0.02 };

radio_curve::parameters radio_curve::held(parameters p)
{
    const parameters low = { -0.5, -0.5, -0.5, -0.5, -1, 0.2, -0.5, -2, -4 };
    const parameters high = { 0.5, 0.5, 0.5, 0.5, 15, 1.8, 1, 2, 4 };
    for (size_t k = 0; k < n; k++)
        p[k] = std::clamp(p[k], low[k], high[k]);
    return p;
}

std::vector<double> radio_curve::at(const parameters& p) const
{
    impairments mixer, amplifier;
    mixer.set("iq_gain_db", 20 / std::log(10.0) * p[0]);
    mixer.set("iq_phase_deg", 180 / M_PI * p[1]);
    amplifier.set("pa", "rapp");
    amplifier.set("backoff_db", p[4]);
    amplifier.set("smoothness", std::exp(p[5]));
    amplifier.set("am_pm", p[6]);
    auto x = mixer.warp(d_points);
    for (auto& v : x) // here, not in the mixer: an offset may point anywhere
        v += std::complex<float>(float(p[2]), float(p[3]));
    x = amplifier.warp(x);
    double power = 0;
    for (const auto& v : x)
        power += std::norm(std::complex<double>(v)) / double(x.size());
    const auto gain = std::polar(std::exp(p[7]) / std::sqrt(power), p[8]);
    std::vector<double> rails;
    for (const auto& v : x) {
        const auto c = gain * std::complex<double>(v);
        rails.push_back(c.real());
        rails.push_back(c.imag());
    }
    return rails;
}

} // namespace gr::diffusion::dsp
