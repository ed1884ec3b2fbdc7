/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(stock_ofdm_rx.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include <gnuradio/diffusion/stock_ofdm_rx.h>

namespace py = pybind11;

void bind_stock_ofdm_rx(py::module& m)
{
    using block = gr::diffusion::stock_ofdm_rx;
    using waveform = gr::diffusion::stock_ofdm_waveform;
    py::class_<waveform>(m, "stock_ofdm_waveform", "What digital.ofdm_tx was built with; empty: its default.")
        .def(py::init<>())
        .def_readwrite("fft_len", &waveform::fft_len)
        .def_readwrite("cp_len", &waveform::cp_len)
        .def_readwrite("occupied_carriers", &waveform::occupied_carriers)
        .def_readwrite("pilot_carriers", &waveform::pilot_carriers)
        .def_readwrite("pilot_symbols", &waveform::pilot_symbols)
        .def_readwrite("bps_header", &waveform::bps_header)
        .def_readwrite("bps_payload", &waveform::bps_payload)
        .def_readwrite("sync_word1", &waveform::sync_word1)
        .def_readwrite("sync_word2", &waveform::sync_word2)
        .def_readwrite("scramble_bits", &waveform::scramble_bits);
    py::class_<block, gr::block, gr::basic_block, std::shared_ptr<block>>(
        m, "stock_ofdm_rx", "Receives what digital.ofdm_tx sends: the core of ofdm_rx(waveform=\"stock\").")
        .def(py::init(&block::make), py::arg("estimator") = "lmmse", py::arg("demapper") = "map",
             py::arg("estimator_model") = "", py::arg("demapper_model") = "", py::arg("max_cfo") = 2.0,
             py::arg("length_tag_key") = "packet_length", py::arg("num_tag_key") = "packet_num",
             py::arg("waveform") = waveform())
        .def("set_estimator", &block::set_estimator, py::arg("estimator"))
        .def("set_demapper", &block::set_demapper, py::arg("demapper"))
        .def("set_estimator_model", &block::set_estimator_model, py::arg("model"))
        .def("set_demapper_model", &block::set_demapper_model, py::arg("model"))
        .def("set_max_passes", &block::set_max_passes, py::arg("passes"))
        .def("set_compute_budget", &block::set_compute_budget, py::arg("on"),
             "Fewer steps of the diffusion estimator while the block is behind, never below 1.")
        .def("compute_budget", &block::compute_budget)
        .def("budget", &block::budget, "steps (in use), steps_wanted, lowered (times), reduced (frames)")
        .def("estimator", &block::estimator)
        .def("demapper", &block::demapper)
        .def("counters", &block::counters,
             "detected, ok, header_failed, payload_failed, truncated, bad_samples");
}
