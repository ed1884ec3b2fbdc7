/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <pybind11/pybind11.h>

//! What denoiser_cc and soft_demapper_cf have in common: model, noise, table, prior, fit, guard, counters.
template <class Class>
Class& with_receiver_methods(Class& c)
{
    namespace py = pybind11;
    using block = typename Class::type;
    return c.def("set_model", &block::set_model, py::arg("model"))
        .def("model", &block::model)
        .def("set_noise_var", &block::set_noise_var, py::arg("noise_var"))
        .def("noise_var", &block::noise_var, "The noise variance in use, however it came.")
        .def("noise_source", &block::noise_source, "'given', 'tag' or 'estimate'")
        .def("set_mode", &block::set_mode, py::arg("mode"))
        .def("mode", &block::mode)
        .def("uses_table", &block::uses_table, "Whether the lookup table is in use now.")
        .def("without_table", &block::without_table,
             "Symbols of the exact network while a table was asked for but not ready, or (auto) not good enough.")
        .def("set_prior", &block::set_prior, py::arg("pmf"), "Probabilities of the points, or [] if equally likely.")
        .def("set_shaper", &block::set_shaper, py::arg("model"),
             "Shaper model whose compositions the tags 'shaping' name, or ''.")
        .def("set_fit", &block::set_fit, py::arg("state"), "A fit: Receiver.state().")
        .def("fitted", &block::fitted)
        .def("set_guard", &block::set_guard, py::arg("on"))
        .def("guard", &block::guard, "Whether the input is watched.")
        .def("guard_reason", &block::guard_reason,
             "Why the classical path is in use: dead, level, noise, shape, unused points, constellation, range; '': it is not.")
        .def("guard_alarms", &block::guard_alarms, "Alarms since the start.")
        .def("guarded_symbols", &block::guarded_symbols, "Symbols that took the classical path.")
        .def("symbols", &block::symbols)
        .def("bad_samples", &block::bad_samples)
        .def("refused", &block::refused, "Tags and messages refused, since the start.");
}
