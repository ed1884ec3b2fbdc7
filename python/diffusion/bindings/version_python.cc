/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <pybind11/pybind11.h>

void bind_version(pybind11::module& m)
{
    m.def("version", [] { return DIFFUSION_VERSION; }, "Version of the compiled library.");
}
