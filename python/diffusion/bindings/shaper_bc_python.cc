/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(shaper_bc.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include <pybind11/pybind11.h>
#include <gnuradio/diffusion/shaper_bc.h>

namespace py = pybind11;

void bind_shaper_bc(py::module& m)
{
    using block = gr::diffusion::shaper_bc;
    py::class_<block, gr::block, gr::basic_block, std::shared_ptr<block>>(
        m, "shaper_bc", "Bits to shaped constellation symbols; the pmf follows the link's SNR.")
        .def(py::init(&block::make),
             py::arg("model"),
             py::arg("snr_db") = 15,
             py::arg("block_length") = 1024,
             py::arg("adc_bits") = 0,
             py::arg("phase_noise_deg") = 0,
             py::arg("length_tag_name") = "",
             py::arg("matcher") = "ccdm")
        .def("set_snr_db", &block::set_snr_db, py::arg("snr_db"))
        .def("set_hardware", &block::set_hardware, py::arg("adc_bits"), py::arg("phase_noise_deg"))
        .def("snr_db", &block::snr_db)
        .def("index", &block::index, "Composition index of the next block.")
        .def("rate", &block::rate, "Bits per symbol of the next block.")
        .def("blocks", &block::blocks, "Blocks sent so far.");
}
