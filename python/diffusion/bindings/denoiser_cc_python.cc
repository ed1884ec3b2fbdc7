/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(denoiser_cc.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include <gnuradio/diffusion/denoiser_cc.h>

namespace py = pybind11;

void bind_denoiser_cc(py::module& m)
{
    using block = gr::diffusion::denoiser_cc;
    py::class_<block, gr::sync_block, gr::block, gr::basic_block,
               std::shared_ptr<block>>(m, "denoiser_cc",
                                       "Denoising receiver: equalised symbols in, denoised symbols out.")
        .def(py::init(&block::make), py::arg("model"), py::arg("noise_var") = -1.0, py::arg("steps") = 0,
             py::arg("mode") = "auto", py::arg("compute_budget") = false, py::arg("guard") = true)
        .def("set_model", &block::set_model, py::arg("model"))
        .def("set_noise_var", &block::set_noise_var, py::arg("noise_var"))
        .def("set_steps", &block::set_steps, py::arg("steps"))
        .def("set_mode", &block::set_mode, py::arg("mode"))
        .def("set_prior", &block::set_prior, py::arg("pmf"),
             "Probabilities of the points, or [] if equally likely.")
        .def("set_shaper", &block::set_shaper, py::arg("model"),
             "Shaper model whose compositions the tags 'shaping' name, or ''.")
        .def("set_fit", &block::set_fit, py::arg("state"), "A fit: Receiver.state().")
        .def("set_compute_budget", &block::set_compute_budget, py::arg("on"),
             "Fewer steps while the block is behind, never below 1.")
        .def("compute_budget", &block::compute_budget)
        .def("budget", &block::budget, "steps (in use), steps_wanted, lowered (times), reduced (symbols)")
        .def("model", &block::model)
        .def("noise_var", &block::noise_var, "The noise variance in use, however it came.")
        .def("noise_source", &block::noise_source, "'given', 'tag' or 'estimate'")
        .def("steps", &block::steps)
        .def("mode", &block::mode)
        .def("uses_table", &block::uses_table, "Whether symbols come from the lookup table now.")
        .def("without_table", &block::without_table,
             "Symbols of the exact network while a table was asked for but not ready, or (auto) not good "
             "enough.")
        .def("fitted", &block::fitted)
        .def("set_guard", &block::set_guard, py::arg("on"))
        .def("guard", &block::guard, "Whether the input is watched.")
        .def("guard_reason", &block::guard_reason,
             "Why the classical path is in use: dead, level, noise, shape, unused points, range; '': it is "
             "not.")
        .def("guard_alarms", &block::guard_alarms, "Alarms since the start.")
        .def("guarded_symbols", &block::guarded_symbols, "Symbols that took the classical path.")
        .def("symbols", &block::symbols)
        .def("bad_samples", &block::bad_samples)
        .def("refused", &block::refused, "Tags and messages refused, since the start.");
}
