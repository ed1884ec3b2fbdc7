/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(mimo_channel_estimator.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include <gnuradio/diffusion/mimo_channel_estimator.h>

namespace py = pybind11;

void bind_mimo_channel_estimator(py::module& m)
{
    using block = gr::diffusion::mimo_channel_estimator;
    py::class_<block, gr::sync_block, gr::block, gr::basic_block,
               std::shared_ptr<block>>(m, "mimo_channel_estimator",
                                       "MIMO channel from pilots: vectors of Nr x Np observations in, Nr x "
                                       "Nt channels and error variances out.")
        .def(py::init(&block::make), py::arg("model"), py::arg("pilots"), py::arg("noise_var"),
             py::arg("method") = "diffusion")
        .def("set_model", &block::set_model, py::arg("model"))
        .def("set_method", &block::set_method, py::arg("method"), "diffusion, ls, nomp or sbl")
        .def("set_pilots", &block::set_pilots, py::arg("pilots"))
        .def("set_noise_var", &block::set_noise_var, py::arg("noise_var"))
        .def("model", &block::model)
        .def("method", &block::method)
        .def("noise_var", &block::noise_var)
        .def("receivers", &block::receivers)
        .def("transmitters", &block::transmitters)
        .def("frames", &block::frames, "Estimates so far.")
        .def("invalid_frames", &block::invalid_frames, "Input vectors that held a NaN or Inf.");
}
