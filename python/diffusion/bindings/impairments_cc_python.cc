/* SPDX-License-Identifier: GPL-3.0-or-later */
/* BINDTOOL_GEN_AUTOMATIC(0) */
/* BINDTOOL_HEADER_FILE(impairments_cc.h) */
/* BINDTOOL_HEADER_FILE_HASH(0) */
#include "numpy_io.h"
#include "dsp/impairments.h"
#include <gnuradio/diffusion/impairments_cc.h>
#include <string>

namespace py = pybind11;

namespace {

template <typename T>
void set_all(T& object, const py::kwargs& settings)
{
    for (const auto& item : settings) {
        const auto key = py::cast<std::string>(item.first);
        if (py::isinstance<py::str>(item.second))
            object.set(key, py::cast<std::string>(item.second));
        else
            object.set(key, py::cast<double>(item.second));
    }
}

const char* settings_doc =
    "Keyword arguments are settings on top of the preset: iq_gain_db, iq_phase_deg, dc, pa (off, rapp, "
    "saleh, "
    "or coefficients of `fit pa`), backoff_db, smoothness, am_pm (radians), phase_noise_deg, linewidth_hz, "
    "cfo_hz, kappa_tx, kappa_rx, output_gain_db, signal_power, order (tx or rx).";

} // namespace

void bind_impairments_cc(py::module& m)
{
    using block = gr::diffusion::impairments_cc;
    using points = std::vector<std::complex<float>>;
    py::class_<block, gr::sync_block, gr::block, gr::basic_block, std::shared_ptr<block>>
        b(m, "impairments_cc",
          "What a radio does to a signal: IQ imbalance, DC, PA, phase noise, CFO, residual EVM.");
    b.def(py::init(
              [](const std::string& preset, double sample_rate, uint64_t seed, const py::kwargs& settings) {
                  auto made = block::make(preset, sample_rate, seed);
                  set_all(*made, settings);
                  return made;
              }),
          py::arg("preset") = "off", py::arg("sample_rate") = 1.0, py::arg("seed") = 0, settings_doc)
        .def("set_preset", &block::set_preset, py::arg("preset"))
        .def("set", py::overload_cast<const std::string&, double>(&block::set), py::arg("key"),
             py::arg("value"))
        .def("set", py::overload_cast<const std::string&, const std::string&>(&block::set), py::arg("key"),
             py::arg("value"))
        .def("get", &block::get, py::arg("key"))
        .def("pa", &block::pa)
        .def("set_pa", &block::set_pa, py::arg("pa"))
        .def("renormalise", &block::renormalise, py::arg("points"))
        .def("not_finite", &block::not_finite, "Samples that were NaN or infinite, since the start.");
    b.def("set_sample_rate", &block::set_sample_rate, py::arg("hz"))
        .def("set_iq_gain_db", &block::set_iq_gain_db, py::arg("db"))
        .def("set_iq_phase_deg", &block::set_iq_phase_deg, py::arg("deg"))
        .def("set_dc", &block::set_dc, py::arg("dc"))
        .def("set_backoff_db", &block::set_backoff_db, py::arg("db"))
        .def("set_smoothness", &block::set_smoothness, py::arg("p"))
        .def("set_am_pm", &block::set_am_pm, py::arg("rad"))
        .def("set_phase_noise_deg", &block::set_phase_noise_deg, py::arg("deg"))
        .def("set_linewidth_hz", &block::set_linewidth_hz, py::arg("hz"))
        .def("set_cfo_hz", &block::set_cfo_hz, py::arg("hz"))
        .def("set_kappa_tx", &block::set_kappa_tx, py::arg("kappa"))
        .def("set_kappa_rx", &block::set_kappa_rx, py::arg("kappa"));

    using dsp = gr::diffusion::dsp::impairments;
    py::class_<dsp>(m, "impairments", "The impairments without a flowgraph: complex64 in, complex64 out.")
        .def(py::init([](const std::string& preset, double sample_rate, uint64_t seed,
                         const py::kwargs& settings) {
                 dsp made(preset, sample_rate, seed);
                 set_all(made, settings);
                 return made;
             }),
             py::arg("preset") = "off", py::arg("sample_rate") = 1.0, py::arg("seed") = 0, settings_doc)
        .def_property_readonly_static("preset_names", [](const py::object&) { return dsp::preset_names(); })
        .def_property_readonly_static("setting_names", [](const py::object&) { return dsp::setting_names(); })
        .def("set_preset", &dsp::set_preset, py::arg("preset"))
        .def("set", py::overload_cast<const std::string&, double>(&dsp::set), py::arg("key"),
             py::arg("value"))
        .def("set", py::overload_cast<const std::string&, const std::string&>(&dsp::set), py::arg("key"),
             py::arg("value"))
        .def("get", &dsp::get, py::arg("key"))
        .def_property_readonly("pa", [](const dsp& self) { return self.settings().pa; })
        .def("renormalise", &dsp::renormalise, py::arg("points"),
             "Sets output_gain_db so that these points keep their mean power through IQ, DC and PA.")
        .def(
            "warp",
            [](const dsp& self, const complex_array& x) {
                const points result = self.warp(points(x.data(), x.data() + x.size()));
                return py::array_t<std::complex<float>>(result.size(), result.data());
            },
            py::arg("points"),
            "IQ imbalance, DC, PA and output gain only: where the points of a constellation end up.")
        .def("reset", &dsp::reset, py::arg("seed"), "All random sequences anew, no past samples.")
        .def_property_readonly("not_finite", &dsp::not_finite)
        .def(
            "__call__",
            [](dsp& self, const complex_array& x) {
                return map_array(x, [&](const std::complex<float>* in, std::complex<float>* out, size_t n) {
                    self.process(in, out, n);
                });
            },
            py::arg("x"));
}
