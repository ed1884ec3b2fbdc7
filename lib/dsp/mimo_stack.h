/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "mimo_estimator.h"
#include "random.h"
#include <functional>

namespace gr::diffusion::dsp {

/*! Two estimators, a and b, and the weight between them that the pilots themselves ask for: h = h_a + w
 * (h_b - h_a).
 *
 * Stacked regression (Breiman, 1996): both estimate from a part of what was observed, and w is the least
 * squares fit to the part they have not seen. Fewer pilots than transmit antennas: every eighth pilot is kept
 * back. Otherwise a pilot kept back would ask for a direction that nobody looked at, so every observation is
 * split into two that are independent, y + t n' and y - n'/t with n' drawn from the noise's law, t = 1/2
 * (data fission: Leiner et al., 2023); the first is 1 dB noisier than y.
 *
 * An array's errors belong to the array: evidence is gathered over the frames since set_pilots(), the older
 * the fainter, and is the prior of the frame at hand. Before any, w = 1/2. No truth, no threshold.
 */
class mimo_stack final : public mimo_estimator
{
public:
    using maker = std::function<std::unique_ptr<mimo_estimator>()>;
    //! \param a the estimator whose error variance can be trusted on any array; b the other
    mimo_stack(engine::array_shape rx, engine::array_shape tx, const maker& a, const maker& b);

protected:
    void prepare(const std::vector<std::complex<float>>& pilots) override;
    float one(const std::complex<float>* y, float noise_var, std::complex<float>* h) override;

private:
    struct evidence {
        double match = 0, weight = 0;
    };
    evidence trial(const std::complex<float>* y, float noise_var);

    std::unique_ptr<mimo_estimator> d_a, d_b, d_trial_a, d_trial_b;
    bool d_split = false;
    std::vector<size_t> d_kept, d_back; //!< pilots of the trial, and those it is judged by
    std::vector<std::complex<float>> d_pilots, d_y, d_trial_y, d_judge, d_ha, d_hb;
    evidence d_past;
    random_source d_random;
};

} // namespace gr::diffusion::dsp
