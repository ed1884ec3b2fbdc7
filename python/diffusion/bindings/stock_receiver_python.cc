/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/stages.h"
#include "dsp/stock_receiver.h"

namespace py = pybind11;
using namespace gr::diffusion::dsp;

namespace {

template <typename T>
py::array_t<T> array(const std::vector<T>& v)
{
    return py::array_t<T>(py::ssize_t(v.size()), v.data());
}

stock_settings settings(const ofdm_geometry& g, int bps_header, int bps_payload, bool scramble,
                        int header_flips)
{
    stock_settings s;
    s.geometry = g;
    s.bps_header = bps_header;
    s.bps_payload = bps_payload;
    s.scramble = scramble;
    s.header_flips = header_flips;
    return s;
}

} // namespace

void bind_stock_receiver(py::module& m)
{
    py::class_<stock_frame>(m, "stock_frame", "One packet of digital.ofdm_tx as it was received.")
        .def_readonly("sync", &stock_frame::sync)
        .def_readonly("header_ok", &stock_frame::header_ok)
        .def_readonly("payload_ok", &stock_frame::payload_ok)
        .def_readonly("bits_per_symbol", &stock_frame::bits_per_symbol)
        .def_readonly("passes", &stock_frame::passes)
        .def_readonly("cfo", &stock_frame::cfo)
        .def_readonly("noise_var", &stock_frame::noise_var)
        .def_readonly("snr_db", &stock_frame::snr_db)
        .def_property_readonly("length", [](const stock_frame& f) { return f.header.length; })
        .def_property_readonly("number", [](const stock_frame& f) { return f.header.number; })
        .def_property_readonly("flipped", [](const stock_frame& f) { return f.header.flipped; })
        .def_property_readonly("payload", [](const stock_frame& f) {
            return py::bytes(reinterpret_cast<const char*>(f.payload.data()), f.payload.size());
        })
        .def_property_readonly("channel", [](const stock_frame& f) { return array(f.channel); })
        .def_property_readonly("channel_error", [](const stock_frame& f) { return array(f.channel_error); })
        .def_property_readonly("symbols", [](const stock_frame& f) { return array(f.symbols); })
        .def_property_readonly("symbol_noise", [](const stock_frame& f) { return array(f.symbol_noise); })
        .def_property_readonly("llr", [](const stock_frame& f) { return array(f.llr); });

    py::class_<stock_counters>(m, "stock_counters")
        .def_readonly("detected", &stock_counters::detected)
        .def_readonly("header_failed", &stock_counters::header_failed)
        .def_readonly("payload_failed", &stock_counters::payload_failed)
        .def_readonly("ok", &stock_counters::ok)
        .def_readonly("truncated", &stock_counters::truncated);

    py::class_<stock_receiver>(
        m, "stock_receiver",
        "Receives what digital.ofdm_tx sends, without a flowgraph: complex64 in, packets out.")
        .def(py::init([](const ofdm_geometry& g, int bps_header, int bps_payload, bool scramble,
                         int header_flips, const std::string& est, const std::string& dem, int max_passes,
                         double max_cfo, double false_alarm_rate) {
                 auto r = std::make_unique<stock_receiver>(settings(g, bps_header, bps_payload, scramble,
                                                                    header_flips),
                                                           sync_settings{ max_cfo, false_alarm_rate });
                 r->demodulator().set_estimator(make_channel_stage(est, g.fft_len, g.cp_len));
                 r->demodulator().set_demapper(make_demapper_stage(dem));
                 r->demodulator().set_max_passes(max_passes);
                 return r;
             }),
             py::arg("geometry") = ofdm_geometry::stock(), py::arg("bps_header") = 1,
             py::arg("bps_payload") = 0, py::arg("scramble") = false, py::arg("header_flips") = 8,
             py::arg("estimator") = "lmmse", py::arg("demapper") = "map", py::arg("max_passes") = 3,
             py::arg("max_cfo") = 2.0, py::arg("false_alarm_rate") = 1e-12)
        .def(
            "__call__",
            [](stock_receiver& self, const complex_array& x) {
                std::vector<stock_frame> frames;
                {
                    py::gil_scoped_release release;
                    self.process(x.data(), size_t(x.size()), frames);
                }
                return frames;
            },
            py::arg("x"), "Takes samples of any number; returns the frames that became complete.")
        .def("flush",
             [](stock_receiver& self) {
                 std::vector<stock_frame> frames;
                 self.flush(frames);
                 return frames;
             })
        .def("reset", &stock_receiver::reset)
        .def(
            "demodulate",
            [](stock_receiver& self, const complex_array& x, double cfo, double noise_var, double power) {
                auto& d = self.demodulator();
                const size_t symbol = size_t(d.geometry().symbol_len());
                if (size_t(x.size()) < d.front_len() + symbol)
                    throw std::invalid_argument("demodulate: " + std::to_string(x.size()) +
                                                " samples, give at least " +
                                                std::to_string(d.front_len() + symbol));
                sync_frame sync;
                sync.cfo = cfo;
                sync.noise_var = noise_var;
                sync.power = power;
                auto frame = d.front(x.data(), sync);
                if (frame.header_ok) {
                    const int bits = d.guess_bits(x.data(), frame);
                    if (d.frame_len(frame.header, bits) <= size_t(x.size()))
                        d.payload(x.data(), frame, bits);
                }
                return frame;
            },
            py::arg("x"), py::arg("cfo"), py::arg("noise_var"), py::arg("power"),
            "One packet that starts at x[0], with the synchronisation given instead of found.")
        .def_property_readonly("counters", &stock_receiver::counters);
}
