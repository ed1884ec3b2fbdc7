/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "simd.h"
#include <hwy/targets.h>
#include <cstdlib>
#include <string>

namespace gr::diffusion::engine {

void choose_simd_target()
{
#if HWY_TARGETS & (HWY_TARGETS - 1) // else there is one instruction set in this build
    static const bool done = [] {
        const char* wanted = std::getenv("GR_DIFFUSION_SIMD");
        if (!wanted || !*wanted)
            return true;
        // A lower bit is a better target: switch off all that are better than the one asked for.
        const int64_t supported = hwy::SupportedTargets();
        for (int bit = 0; bit < 62; bit++) {
            const int64_t target = int64_t(1) << bit;
            if ((supported & target) && std::string(hwy::TargetName(target)) == wanted) {
                hwy::DisableTargets(target - 1);
                break;
            }
        }
        return true;
    }();
    (void)done;
#endif
}

} // namespace gr::diffusion::engine
