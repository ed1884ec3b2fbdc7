/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "symbol_prior.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

// A point that is never sent: far below every likelihood that single precision can tell, and no infinity.
constexpr double never = -60;

symbol_prior symbol_prior::make(const std::vector<double>& pmf,
                                const std::vector<std::complex<float>>& points, double amplitude)
{
    symbol_prior prior;
    if (pmf.empty())
        return prior;
    if (pmf.size() != points.size())
        throw std::invalid_argument("prior has " + std::to_string(pmf.size()) +
                                    " probabilities, the constellation " + std::to_string(points.size()) +
                                    " points; give one a point");
    double sum = 0, power = 0;
    for (size_t i = 0; i < pmf.size(); i++) {
        if (!(pmf[i] >= 0) || !std::isfinite(pmf[i]))
            throw std::invalid_argument("prior holds " + std::to_string(pmf[i]) +
                                        ", probabilities must be finite and not negative");
        sum += pmf[i];
        power += pmf[i] * double(std::norm(points[i]));
    }
    if (!(sum > 0) || !std::isfinite(sum) || !(power > 0))
        throw std::invalid_argument("prior sums to " + std::to_string(sum) +
                                    ", at least one point other than 0 must have a positive probability");
    if (!(amplitude >= 0) || !(amplitude < 1e6))
        throw std::invalid_argument("prior's amplitude is " + std::to_string(amplitude) +
                                    ", use a positive number, or 0 for unit mean power");
    for (double p : pmf)
        prior.log_pmf.push_back(p > 0 ? std::max(std::log(p / sum), never) : never);
    prior.amplitude = amplitude > 0 ? amplitude : std::sqrt(sum / power);
    return prior;
}

} // namespace gr::diffusion::dsp
