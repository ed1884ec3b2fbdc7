/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(denoiser_cc.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include "receiver_methods.h"
#include <gnuradio/diffusion/denoiser_cc.h>

namespace py = pybind11;

void bind_denoiser_cc(py::module& m)
{
    using block = gr::diffusion::denoiser_cc;
    py::class_<block, gr::sync_block, gr::block, gr::basic_block, std::shared_ptr<block>> c(
        m, "denoiser_cc", "Denoising receiver: equalised symbols in, denoised symbols out.");
    c.def(py::init(&block::make),
          py::arg("model"),
          py::arg("noise_var") = -1.0,
          py::arg("steps") = 0,
          py::arg("mode") = "auto",
          py::arg("compute_budget") = false,
          py::arg("guard") = true)
        .def("set_steps", &block::set_steps, py::arg("steps"))
        .def("steps", &block::steps)
        .def("set_compute_budget", &block::set_compute_budget, py::arg("on"),
             "Fewer steps while the block is behind, never below 1.")
        .def("compute_budget", &block::compute_budget)
        .def("budget", &block::budget, "steps (in use), steps_wanted, lowered (times), reduced (symbols)");
    with_receiver_methods(c);
}
