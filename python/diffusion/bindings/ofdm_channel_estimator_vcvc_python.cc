/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(ofdm_channel_estimator_vcvc.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include <gnuradio/diffusion/ofdm_channel_estimator_vcvc.h>

namespace py = pybind11;

void bind_ofdm_channel_estimator_vcvc(py::module& m)
{
    using block = gr::diffusion::ofdm_channel_estimator_vcvc;
    py::class_<block, gr::block, gr::basic_block, std::shared_ptr<block>>(
        m, "ofdm_channel_estimator_vcvc",
        "Channel and coarse frequency offset of OFDM frames, in place of digital.ofdm_chanest_vcvc: "
        "methods diffusion, ls, lmmse, nomp, sbl.")
        .def(py::init(&block::make), py::arg("model"), py::arg("sync_symbol1"), py::arg("sync_symbol2"),
             py::arg("n_data_symbols"), py::arg("eq_noise_red_len") = 0, py::arg("max_carr_offset") = -1,
             py::arg("force_one_sync_symbol") = false, py::arg("method") = "diffusion",
             py::arg("noise_var") = -1.0f, py::arg("compute_budget") = false)
        .def("set_method", &block::set_method, py::arg("method"))
        .def("set_model", &block::set_model, py::arg("model"))
        .def("set_noise_var", &block::set_noise_var, py::arg("noise_var"))
        .def("set_compute_budget", &block::set_compute_budget, py::arg("on"),
             "Fewer steps while the block is behind, never below 1.")
        .def("compute_budget", &block::compute_budget)
        .def("budget", &block::budget, "steps (in use), steps_wanted, lowered (times), reduced (frames)")
        .def("method", &block::method)
        .def("model", &block::model)
        .def("noise_var", &block::noise_var)
        .def("frames", &block::frames, "Frames so far.")
        .def("invalid_frames", &block::invalid_frames, "Frames whose preamble held a NaN or Inf.");
}
