/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/shaper.h"

namespace py = pybind11;
namespace dsp = gr::diffusion::dsp;
namespace engine = gr::diffusion::engine;

namespace {

py::array_t<double> array_of(const std::vector<double>& v)
{
    return py::array_t<double>(py::ssize_t(v.size()), v.data());
}

py::array_t<double> pmf(const dsp::shaper& self, uint32_t index)
{
    const auto of_class = self.prior().class_pmf(index);
    std::vector<double> p;
    for (uint8_t k : self.prior().class_of())
        p.push_back(of_class[k] / self.prior().class_size()[k]);
    return array_of(p);
}

} // namespace

void bind_shaper_core(py::module& m)
{
    using core = dsp::shaper;
    py::class_<core, std::shared_ptr<core>>(
        m, "shaper_core",
        "A shaper model and its codes of one block length; Shaper is the friendly face of it.")
        .def(py::init([](const std::string& model, size_t length, const std::string& matcher) {
                 return std::make_shared<core>(model, length, dsp::matcher_from_name(matcher));
             }),
             py::arg("model"), py::arg("block_length"), py::arg("matcher") = "ccdm")
        .def_property_readonly("matcher", [](const core& self) { return dsp::matcher_name(self.kind()); })
        .def_property_readonly("block_length", &core::block_length)
        .def_property_readonly("name", [](const core& self) { return self.prior().source().name(); })
        .def_property_readonly("snr_db", [](const core& self) { return self.prior().source().snr_db(); })
        .def_property_readonly("knows_hardware",
                               [](const core& self) { return self.prior().knows_hardware(); })
        .def_property_readonly(
            "states", [](const core& self) { return self.prior().states(); },
            "Number of composition indices.")
        .def_property_readonly(
            "class_of",
            [](const core& self) {
                const auto& c = self.prior().class_of();
                return py::array_t<uint8_t>(py::ssize_t(c.size()), c.data());
            },
            "Class of each symbol, uint8 (M,); members of a class are equally likely.")
        .def_property_readonly(
            "constellation",
            [](const core& self) {
                const auto& c = self.prior().source().constellation();
                return py::array_t<std::complex<float>>(py::ssize_t(c.size()), c.data());
            },
            "Unit-power points, complex64 (M,).")
        .def(
            "index",
            [](const core& self, double snr_db, py::object phase_noise_deg, py::object adc_bits) {
                if (phase_noise_deg.is_none() && adc_bits.is_none())
                    return self.prior().index(snr_db);
                return self.prior().index(engine::link_state{
                    snr_db, true, phase_noise_deg.is_none() ? 0.0 : phase_noise_deg.cast<double>(),
                    adc_bits.is_none() ? 6 : adc_bits.cast<int>() });
            },
            py::arg("snr_db"), py::arg("phase_noise_deg") = py::none(), py::arg("adc_bits") = py::none(),
            "Composition index of a link state: what a header carries.")
        .def(
            "state",
            [](const core& self, uint32_t index) {
                const auto s = self.prior().state(index);
                py::dict out;
                out["snr_db"] = s.snr_db;
                if (s.hardware) {
                    out["phase_noise_deg"] = s.phase_noise_deg;
                    out["adc_bits"] = s.adc_bits;
                }
                return out;
            },
            py::arg("index"))
        .def("pmf", &pmf, py::arg("index"), "The model's pmf, float64 (M,).")
        .def(
            "code",
            [](const core& self, uint32_t index) {
                const auto link = self.at(index);
                return std::shared_ptr<dsp::shaping_code>(link, const_cast<dsp::shaping_code*>(&link->code));
            },
            py::arg("index"))
        .def("code_of_length", &core::code, py::arg("index"), py::arg("length"))
        .def(
            "amplitude", [](const core& self, uint32_t index) { return self.at(index)->amplitude; },
            py::arg("index"))
        .def(
            "points",
            [](const core& self, uint32_t index) {
                const auto link = self.at(index);
                const auto& c = link->points;
                return py::array_t<std::complex<float>>(py::ssize_t(c.size()), c.data());
            },
            py::arg("index"), "The points as they are sent, complex64 (M,).")
        .def(
            "decide",
            [](const core& self, uint32_t index, const complex_array& y) {
                const auto link = self.at(index);
                py::array_t<uint8_t> out(y.size());
                self.decide(*link, y.data(), out.mutable_data(), size_t(y.size()));
                return out;
            },
            py::arg("index"), py::arg("y"), "Indices of the nearest points, uint8 (n,).");
}
