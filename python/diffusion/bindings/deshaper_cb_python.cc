/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(deshaper_cb.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include <pybind11/pybind11.h>
#include <gnuradio/diffusion/deshaper_cb.h>

namespace py = pybind11;

void bind_deshaper_cb(py::module& m)
{
    using block = gr::diffusion::deshaper_cb;
    py::class_<block, gr::block, gr::basic_block, std::shared_ptr<block>>(
        m, "deshaper_cb", "Shaped constellation symbols back to the bits that shaper_bc took in.")
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
        .def("blocks", &block::blocks, "Blocks decoded so far.")
        .def("bad_blocks", &block::bad_blocks, "Blocks that cannot have been sent so.")
        .def("bad_tags", &block::bad_tags, "Blocks dropped because their tag makes no sense.")
        .def("cut_blocks", &block::cut_blocks, "Blocks dropped because the next tag came too early.")
        .def("bad_samples", &block::bad_samples, "Samples that were NaN or infinite.");
}
