/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(soft_demapper_cf.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include "receiver_methods.h"
#include <gnuradio/sync_interpolator.h>
#include <gnuradio/diffusion/soft_demapper_cf.h>

namespace py = pybind11;

void bind_soft_demapper_cf(py::module& m)
{
    using block = gr::diffusion::soft_demapper_cf;
    py::class_<block,
               gr::sync_interpolator,
               gr::sync_block,
               gr::block,
               gr::basic_block,
               std::shared_ptr<block>>
        c(m, "soft_demapper_cf", "Soft demapper: equalised symbols in, LLRs out (positive: bit 1), MSB first.");
    c.def(py::init(&block::make), py::arg("model"), py::arg("noise_var") = -1.0, py::arg("mode") = "exact",
          py::arg("guard") = true)
        .def("bits_per_symbol", &block::bits_per_symbol);
    with_receiver_methods(c);
}
