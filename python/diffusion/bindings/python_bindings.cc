/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bindings_list.h"

PYBIND11_MODULE(diffusion_python, m)
{
    // gr::sync_block and its bases must be known to pybind11 before any of ours is registered.
    pybind11::module::import("gnuradio.gr");
    bind_all(m);
}
