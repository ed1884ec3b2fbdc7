/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(sequence_denoiser_cc.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include <gnuradio/diffusion/sequence_denoiser_cc.h>

namespace py = pybind11;

void bind_sequence_denoiser_cc(py::module& m)
{
    using block = gr::diffusion::sequence_denoiser_cc;
    py::class_<block, gr::sync_block, gr::block, gr::basic_block, std::shared_ptr<block>>(
        m, "sequence_denoiser_cc",
        "Undoes an amplifier with memory: received waveform in, denoised waveform out.")
        .def(py::init(&block::make), py::arg("model") = "seq-dpa200", py::arg("noise_var") = 1e-3,
             py::arg("gain") = 1.0)
        .def("set_model", &block::set_model, py::arg("model"))
        .def("set_noise_var", &block::set_noise_var, py::arg("noise_var"))
        .def("set_gain", &block::set_gain, py::arg("gain"))
        .def("model", &block::model)
        .def("noise_var", &block::noise_var)
        .def("gain", &block::gain)
        .def("delay_samples", &block::delay_samples, "Samples between a sample and what came of it.")
        .def("bad_samples", &block::bad_samples)
        .def("refused", &block::refused, "Tags and messages refused, since the start.");
}
