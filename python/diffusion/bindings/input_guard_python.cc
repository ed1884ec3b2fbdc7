/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/input_guard.h"

namespace py = pybind11;
using namespace gr::diffusion;

namespace {

py::dict to_dict(const dsp::input_report& r)
{
    py::dict d;
    d["reason"] = r.reason;
    d["power"] = r.power;
    d["noise"] = r.noise;
    d["shape"] = r.shape;
    d["pooled"] = r.pooled;
    d["unused"] = r.unused;
    d["lead"] = r.lead;
    d["rival"] = r.rival;
    d["rival_gain_db"] = r.rival_gain_db;
    return d;
}

} // namespace

void bind_input_guard(py::module& m)
{
    using guard = dsp::input_guard;
    py::class_<guard>(m, "input_guard", "Tells input that a receiver was not made for; what the blocks use.")
        .def(py::init<const dsp::symbol_law&, std::pair<double, double>>(), py::arg("law"), py::arg("snr_db"))
        .def_property_readonly_static("block", [](py::object) { return guard::block; }, "Symbols of a test.")
        .def("set_noise_var", &guard::set_noise_var, py::arg("noise_var"), py::arg("said") = true,
             "E|n|^2 of what follows; said: not the receiver's own estimate.")
        .def("feed",
             [](guard& self, const complex_array& y) { return self.feed(y.data(), size_t(y.size())); },
             py::arg("y"), "Whether alarm changed.")
        .def("test",
             [](guard& self, const complex_array& y) {
                 if (y.size() < 1 || size_t(y.size()) > guard::block)
                     throw std::invalid_argument("test: give 1 to " + std::to_string(guard::block) + " symbols");
                 return to_dict(self.test(y.data(), size_t(y.size())));
             },
             py::arg("y"), "One block judged by itself: reason ('' if nothing is wrong), power, noise, shape, unused.")
        .def("set_sparing", &guard::set_sparing, py::arg("sparing"),
             "Whether tests spare time once the first are good; else one in 4096 symbols.")
        .def("reset", &guard::reset)
        .def_property_readonly("alarm", &guard::alarm)
        .def_property_readonly("report", [](const guard& self) { return to_dict(self.report()); })
        .def_property_readonly("alarms", &guard::alarms)
        .def_property_readonly("tests", &guard::tests);
}
