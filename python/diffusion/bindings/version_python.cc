/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "engine/panel.h"
#include <pybind11/pybind11.h>

void bind_version(pybind11::module& m)
{
    m.def("version", [] { return DIFFUSION_VERSION; }, "Version of the compiled library.");
    m.def(
        "simd_target", [] { return gr::diffusion::engine::kernels().target; },
        "Instruction set that the engine runs on, chosen at run time ($GR_DIFFUSION_SIMD overrides).");
}
