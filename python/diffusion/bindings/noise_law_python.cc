/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/noise_law.h"

namespace py = pybind11;
using gr::diffusion::dsp::noise_component;
using gr::diffusion::dsp::noise_law;
using double_array = py::array_t<double, py::array::c_style | py::array::forcecast>;
using complex_double = py::array_t<std::complex<double>, py::array::c_style | py::array::forcecast>;

namespace {

std::vector<noise_component> components(const double_array& rows)
{
    if (rows.ndim() != 2 || rows.shape(1) != 6)
        throw py::value_error("components are rows of weight, re, im, var_re, var_im, covariance");
    std::vector<noise_component> out;
    for (py::ssize_t i = 0; i < rows.shape(0); i++) {
        const double* v = rows.data(i, 0);
        out.push_back({ v[0], v[1], v[2], v[3], v[4], v[5] });
    }
    return out;
}

//! f(n) elementwise into a new array of the same shape.
template <typename T, typename F>
py::array_t<T> map(const complex_double& n, F&& f)
{
    py::array_t<T> out(std::vector<py::ssize_t>(n.shape(), n.shape() + n.ndim()));
    const auto* from = n.data();
    auto* to = out.mutable_data();
    for (py::ssize_t i = 0; i < n.size(); i++)
        to[i] = f(from[i]);
    return out;
}

} // namespace

void bind_noise_law(py::module& m)
{
    py::class_<noise_law>(m, "noise_law", "Additive noise as a Gaussian mixture; see diffusion.NoiseLaw.")
        .def_static(
            "rails",
            [](const double_array& re, const double_array& im) {
                return noise_law::rails(components(re), components(im));
            },
            py::arg("re"), py::arg("im"))
        .def_static(
            "plane", [](const double_array& c) { return noise_law::plane(components(c)); },
            py::arg("components"))
        .def_static(
            "from_state",
            [](const double_array& s) { return noise_law::from_state({ s.data(), s.data() + s.size() }); },
            py::arg("state"))
        .def("state",
             [](const noise_law& self) {
                 const auto s = self.state();
                 return py::array_t<double>(s.size(), s.data());
             })
        .def_property_readonly("variance", &noise_law::variance)
        .def_property_readonly("form",
                               [](const noise_law& self) {
                                   return self.shape() == noise_law::form::rails ? "rails" : "plane";
                               })
        .def("diffused", &noise_law::diffused, py::arg("level"), "The law of n + w, E|w|^2 = level.")
        .def(
            "log_density",
            [](const noise_law& self, const complex_double& n) {
                return map<double>(n, [&](auto v) { return self.log_density(v); });
            },
            py::arg("n"))
        .def(
            "score",
            [](const noise_law& self, const complex_double& n) {
                return map<std::complex<double>>(n, [&](auto v) { return self.score(v); });
            },
            py::arg("n"), "Gradient of log_density, d/dRe + j d/dIm.")
        .def(
            "relative",
            [](const noise_law& self, const complex_double& n) {
                noise_law law = self;
                law.prepare();
                return map<double>(n, [&](auto v) { return law.relative(float(v.real()), float(v.imag())); });
            },
            py::arg("n"), "log_density as the running receiver looks it up.");
}
