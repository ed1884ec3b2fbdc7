/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "step_budget.h"
#include <algorithm>

namespace gr::diffusion::dsp {

void step_budget::set_on(bool on)
{
    d_on = on;
    d_behind = d_ahead = 0;
    if (!on)
        d_steps = d_wanted;
}

size_t step_budget::allow(double input, double output, double busy, size_t wanted)
{
    wanted = std::max<size_t>(wanted, 1);
    if (wanted != d_wanted) { // set anew, or another model
        d_steps = d_wanted = wanted;
        d_behind = d_ahead = 0;
    }
    if (!d_on)
        return d_steps = d_wanted;
    const bool behind = busy >= 0.9 || (input >= 0.75 && output <= 0.5);
    const bool ahead = !behind && ((input <= 0.5 && busy <= 0.4) || output > 0.75);
    d_behind = behind ? d_behind + 1 : 0;
    d_ahead = ahead ? d_ahead + 1 : 0;
    if (d_behind >= patience && d_steps > 1) {
        d_steps = std::max<size_t>(1, d_steps / 2);
        d_lowered++;
        d_behind = 0;
    } else if (d_ahead >= confidence && d_steps < d_wanted) {
        d_steps = std::min(d_wanted, 2 * d_steps);
        d_ahead = 0;
    }
    return d_steps;
}

} // namespace gr::diffusion::dsp
