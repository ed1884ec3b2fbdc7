/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/beta_law.h"
#include "dsp/frame_sync.h"

namespace py = pybind11;
using namespace gr::diffusion::dsp;

void bind_frame_sync(py::module& m)
{
    py::class_<ofdm_geometry>(
        m, "ofdm_geometry",
        "Numerology of an OFDM waveform; carriers from the centre, sync words shifted (DC in the middle).")
        .def(py::init<>())
        .def_static("stock", &ofdm_geometry::stock, "The defaults of digital.ofdm_tx.")
        .def_readwrite("fft_len", &ofdm_geometry::fft_len)
        .def_readwrite("cp_len", &ofdm_geometry::cp_len)
        .def_readwrite("occupied_carriers", &ofdm_geometry::occupied_carriers)
        .def_readwrite("pilot_carriers", &ofdm_geometry::pilot_carriers)
        .def_readwrite("pilot_symbols", &ofdm_geometry::pilot_symbols)
        .def_readwrite("sync_word1", &ofdm_geometry::sync_word1)
        .def_readwrite("sync_word2", &ofdm_geometry::sync_word2)
        .def("normalise", &ofdm_geometry::normalise, "Checks everything; ValueError names what is wrong.")
        .def_property_readonly("symbol_len", &ofdm_geometry::symbol_len)
        .def_property_readonly("preamble_len", &ofdm_geometry::preamble_len)
        .def_property_readonly("active_carriers", &ofdm_geometry::active_carriers);
    m.def(
        "modulate_ofdm_symbol",
        [](const ofdm_geometry& g, const complex_array& shifted) {
            if (shifted.size() != g.fft_len)
                throw std::invalid_argument("modulate_ofdm_symbol: " + std::to_string(shifted.size()) +
                                            " values, give fft_len = " + std::to_string(g.fft_len));
            const auto out = modulate_symbol(g, { shifted.data(), shifted.data() + shifted.size() });
            return complex_array(out.size(), out.data());
        },
        py::arg("geometry"), py::arg("shifted"),
        "One symbol in time, cyclic prefix first, from a shifted vector.");

    py::class_<sync_frame>(m, "sync_frame", "A frame that was found.")
        .def_readonly("offset", &sync_frame::offset, "first sample of the preamble")
        .def_readonly("cfo", &sync_frame::cfo, "in subcarrier spacings")
        .def_readonly("snr_db", &sync_frame::snr_db, "preamble power / noise variance, full bandwidth")
        .def_readonly("noise_var", &sync_frame::noise_var)
        .def_readonly("power", &sync_frame::power)
        .def_readonly("metric", &sync_frame::metric, "statistic over threshold, > 1")
        .def("__repr__", [](const sync_frame& f) {
            return "<sync_frame offset=" + std::to_string(f.offset) + " cfo=" + std::to_string(f.cfo) +
                   " snr_db=" + std::to_string(f.snr_db) + " metric=" + std::to_string(f.metric) + ">";
        });

    auto to_list = [](const std::vector<sync_frame>& frames) { return frames; };
    py::class_<
        frame_sync>(m, "frame_sync",
                    "Finds OFDM preambles in a stream: Schmidl-Cox, then a matched search over delay and CFO "
                    "at a threshold with a proven bound on false alarms.")
        .def(py::init([](const ofdm_geometry& g, double max_cfo, double false_alarm_rate,
                         double coarse_pass) {
                 return std::make_unique<frame_sync>(g,
                                                     sync_settings{ max_cfo, false_alarm_rate, coarse_pass });
             }),
             py::arg("geometry") = ofdm_geometry::stock(), py::arg("max_cfo") = 2.0,
             py::arg("false_alarm_rate") = 1e-12, py::arg("coarse_pass") = sync_settings{}.coarse_pass)
        .def(
            "__call__",
            [to_list](frame_sync& self, const complex_array& x) {
                std::vector<sync_frame> frames;
                {
                    py::gil_scoped_release release;
                    self.process(x.data(), size_t(x.size()), frames);
                }
                return to_list(frames);
            },
            py::arg("x"), "Takes complex64 samples of any number; returns the frames that became certain.")
        .def(
            "flush",
            [to_list](frame_sync& self) {
                std::vector<sync_frame> frames;
                self.flush(frames);
                return to_list(frames);
            },
            "End of the stream: the frames that its last samples hold.")
        .def("reset", &frame_sync::reset, py::arg("first") = 0)
        .def(
            "statistics",
            [](const frame_sync& self, const complex_array& x, double cfo) {
                std::vector<double> a, b;
                self.statistics(x.data(), size_t(x.size()), cfo, a, b);
                return py::make_tuple(py::array_t<double>(a.size(), a.data()),
                                      py::array_t<double>(b.size(), b.data()));
            },
            py::arg("x"), py::arg("cfo") = 0.0,
            "The statistics A and B at every delay, for one CFO of the grid.")
        .def_property_readonly("decided", &frame_sync::decided)
        .def_property_readonly("latency", &frame_sync::latency)
        .def_property_readonly("threshold_one_path", &frame_sync::threshold_one_path)
        .def_property_readonly("threshold_multipath", &frame_sync::threshold_multipath)
        .def_property_readonly("threshold_coarse", &frame_sync::threshold_coarse)
        .def_property_readonly("hypotheses", &frame_sync::hypotheses)
        .def_property_readonly("candidates", &frame_sync::candidates)
        .def_property_readonly("bad_samples", &frame_sync::bad_samples,
                               "NaN or infinite samples since the start")
        .def_property_readonly("window", &frame_sync::window);
    m.def("beta_tail", &beta_tail, py::arg("a"), py::arg("b"), py::arg("x"),
          "P(Beta(a, b) > x), integer a and b.");
}
