/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(native_ofdm_rx.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include <gnuradio/diffusion/native_ofdm_rx.h>
#include <gnuradio/diffusion/native_ofdm_tx.h>

namespace py = pybind11;

void bind_native_ofdm(py::module& m)
{
    using tx = gr::diffusion::native_ofdm_tx;
    py::class_<tx, gr::block, gr::basic_block, std::shared_ptr<tx>>(
        m, "native_ofdm_tx",
        "Transmitter of the native burst OFDM waveform: PDUs or tagged bytes in, samples out.")
        .def(py::init(&tx::make), py::arg("modulation") = "qpsk", py::arg("fec") = "cc-1/2",
             py::arg("transmission") = "burst", py::arg("amplitude") = 1.0, py::arg("guard") = -1,
             py::arg("fft_len") = 64, py::arg("cp_len") = 16, py::arg("max_payload") = 4096,
             py::arg("length_tag_key") = "packet_len")
        .def("set_modulation", &tx::set_modulation, py::arg("modulation"))
        .def("set_fec", &tx::set_fec, py::arg("fec"))
        .def("set_amplitude", &tx::set_amplitude, py::arg("amplitude"))
        .def("set_shaping_snr_db", &tx::set_shaping_snr_db, py::arg("snr_db"))
        .def("set_pilots", &tx::set_pilots, py::arg("pilots"))
        .def("pilots", &tx::pilots, "Of the payload's symbols: full, half or quarter.")
        .def("shaping", &tx::shaping, "Composition index of the next frame, or -1.")
        .def("modulation", &tx::modulation)
        .def("fec", &tx::fec)
        .def("amplitude", &tx::amplitude)
        .def("sent", &tx::sent, "Frames sent.")
        .def("dropped", &tx::dropped, "Packets that could not be sent.");

    using rx = gr::diffusion::native_ofdm_rx;
    py::class_<rx, gr::block, gr::basic_block, std::shared_ptr<rx>>(
        m, "native_ofdm_rx",
        "Receiver of the native burst OFDM waveform: samples in; bytes, symbols, PDUs, metrics out.")
        .def(py::init(&rx::make), py::arg("estimator") = "lmmse", py::arg("demapper") = "map",
             py::arg("estimator_model") = "", py::arg("demapper_model") = "", py::arg("fft_len") = 64,
             py::arg("cp_len") = 16, py::arg("max_payload") = 4096, py::arg("max_cfo") = 2.0,
             py::arg("length_tag_key") = "packet_len")
        .def("set_estimator", &rx::set_estimator, py::arg("estimator"))
        .def("set_demapper", &rx::set_demapper, py::arg("demapper"))
        .def("set_estimator_model", &rx::set_estimator_model, py::arg("model"))
        .def("set_demapper_model", &rx::set_demapper_model, py::arg("model"))
        .def("set_compute_budget", &rx::set_compute_budget, py::arg("on"),
             "Fewer steps of the diffusion estimator while the block is behind, never below 1.")
        .def("compute_budget", &rx::compute_budget)
        .def("budget", &rx::budget, "steps (in use), steps_wanted, lowered (times), reduced (frames)")
        .def("set_data_aided_rounds", &rx::set_data_aided_rounds, py::arg("rounds"),
             "0 to 3, for frames whose CRC fails: the decoder's beliefs become further pilots.")
        .def("data_aided_rounds", &rx::data_aided_rounds)
        .def("set_time_tracking", &rx::set_time_tracking, py::arg("on"),
             "Whether channels that move within a frame are followed.")
        .def("time_tracking", &rx::time_tracking)
        .def("estimator", &rx::estimator)
        .def("demapper", &rx::demapper)
        .def("counters", &rx::counters, "detected, ok, header_failed, payload_failed, missed, truncated");
}
