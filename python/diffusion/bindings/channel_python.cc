/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/channel.h"
#include "dsp/power_amplifier.h"
#include <tuple>

namespace py = pybind11;

namespace {

using cfloat = std::complex<float>;
using branch_tuple = std::tuple<int, int, std::vector<cfloat>>;

template <typename T>
complex_array run(T& object, const complex_array& x)
{
    return map_array(x, [&](const cfloat* in, cfloat* out, size_t n) { object.process(in, out, n); });
}

} // namespace

void bind_channel(py::module& m)
{
    using namespace gr::diffusion::dsp;

    py::class_<power_amplifier>(m, "power_amplifier", "Power amplifier: complex64 in, complex64 out.")
        .def_static("rapp", &power_amplifier::rapp, py::arg("smoothness") = 2.0, py::arg("saturation") = 1.0,
                    py::arg("am_pm") = 0.0,
                    "r / (1 + u^2p)^(1/2p), phase am_pm u^2/(1 + u^2) rad, u = r / saturation.")
        .def_static("saleh", &power_amplifier::saleh, py::arg("alpha_a") = 2.1587, py::arg("beta_a") = 1.1517,
                    py::arg("alpha_p") = 4.0033, py::arg("beta_p") = 9.1040)
        .def_static(
            "memory_polynomial",
            [](const std::vector<branch_tuple>& branches, double saturation, cfloat gain) {
                std::vector<pa_branch> list;
                for (const auto& [delay, envelope_delay, coefficients] : branches)
                    list.push_back({ delay, envelope_delay, coefficients });
                return power_amplifier::memory_polynomial(std::move(list), saturation, gain);
            },
            py::arg("branches"), py::arg("saturation") = 1.0, py::arg("gain") = cfloat(1),
            "branches: (delay, envelope_delay, coefficients of |x|^0, |x|^1, ...) each.")
        .def_static("load", &power_amplifier::load, py::arg("name"), "A file of `fit pa`, or a shipped name.")
        .def("set_backoff", &power_amplifier::set_backoff, py::arg("db"),
             "Drive for unit-power input, gain 1.")
        .def("clear_backoff", &power_amplifier::clear_backoff, "Back to the amplifier's own units.")
        .def("reset", &power_amplifier::reset)
        .def_property_readonly("has_memory", &power_amplifier::has_memory)
        .def_property_readonly("saturation", &power_amplifier::saturation)
        .def_property_readonly("gain", &power_amplifier::gain)
        .def_property_readonly("branches",
                               [](const power_amplifier& self) {
                                   std::vector<branch_tuple> list;
                                   for (const auto& b : self.branches())
                                       list.emplace_back(b.delay, b.envelope_delay, b.coefficients);
                                   return list;
                               })
        .def("__call__", &run<power_amplifier>, py::arg("x"));

    py::class_<awgn>(m, "awgn", "Additive white noise, Gaussian or Laplacian per rail: complex64 in and out.")
        .def(py::init<double, const std::string&, uint64_t>(),
             py::arg("noise_power"),
             py::arg("law") = "gaussian",
             py::arg("seed") = 0)
        .def_property("noise_power", &awgn::noise_power, &awgn::set_noise_power)
        .def("__call__", &run<awgn>, py::arg("x"));

    py::class_<multipath>(m, "multipath", "Tapped delay line, static or Rayleigh: complex64 in and out.")
        .def(py::init<std::vector<cfloat>>(), py::arg("taps"))
        .def_static("rayleigh",
                    &multipath::rayleigh,
                    py::arg("powers"),
                    py::arg("doppler") = 0.0,
                    py::arg("seed") = 0,
                    "Taps drawn from a power-delay profile; doppler in cycles a sample.")
        .def("redraw", &multipath::redraw)
        .def("set_taps", &multipath::set_taps, py::arg("taps"))
        .def("reset", &multipath::reset)
        .def_property_readonly("taps",
                               [](const multipath& self) {
                                   return py::array_t<cfloat>(self.taps().size(), self.taps().data());
                               })
        .def("__call__", &run<multipath>, py::arg("x"));
}
