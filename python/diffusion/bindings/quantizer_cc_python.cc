/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(quantizer_cc.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include "dsp/quantizer.h"
#include <gnuradio/diffusion/quantizer_cc.h>

namespace py = pybind11;

void bind_quantizer_cc(py::module& m)
{
    using block = gr::diffusion::quantizer_cc;
    py::class_<block, gr::sync_block, gr::block, gr::basic_block, std::shared_ptr<block>>(
        m, "quantizer_cc", "DAC or ADC: uniform mid-rise quantizer of both rails, 1 to 16 bits.")
        .def(py::init(&block::make),
             py::arg("bits"),
             py::arg("full_scale") = 1.0,
             py::arg("dither") = false,
             py::arg("seed") = 0)
        .def("set_bits", &block::set_bits, py::arg("bits"))
        .def("set_full_scale", &block::set_full_scale, py::arg("full_scale"))
        .def("set_dither", &block::set_dither, py::arg("dither"))
        .def("bits", &block::bits)
        .def("full_scale", &block::full_scale)
        .def("dither", &block::dither)
        .def("clipped", &block::clipped, "Rails that were beyond full scale, since the start.");

    using dsp = gr::diffusion::dsp::quantizer;
    py::class_<dsp>(m, "quantizer", "The quantizer without a flowgraph: complex64 in, complex64 out.")
        .def(py::init<int, double, bool, uint64_t>(),
             py::arg("bits"),
             py::arg("full_scale") = 1.0,
             py::arg("dither") = false,
             py::arg("seed") = 0)
        .def("__call__",
             [](dsp& self, const complex_array& x) {
                 return map_array(x, [&](const std::complex<float>* in, std::complex<float>* out, size_t n) {
                     self.process(in, out, n);
                 });
             },
             py::arg("x"))
        .def_property_readonly("bits", &dsp::bits)
        .def_property_readonly("full_scale", &dsp::full_scale)
        .def_property_readonly("clipped", &dsp::clipped);
}
