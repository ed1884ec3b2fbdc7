/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/noise_estimator.h"
#include "dsp/fitted_receiver.h"

namespace py = pybind11;
using namespace gr::diffusion;
using dsp::fitted_receiver;
using double_array = py::array_t<double, py::array::c_style | py::array::forcecast>;

void bind_fitted_receiver(py::module& m)
{
    py::class_<fitted_receiver>(m, "fitted_receiver",
                                "Engine behind Receiver, denoiser_cc and soft_demapper_cf.")
        .def(py::init([](const std::string& model, size_t steps) {
                 return fitted_receiver(engine::model::load(model), steps);
             }),
             py::arg("model"), py::arg("steps") = 0)
        .def_property_readonly("name", [](const fitted_receiver& self) { return self.get_model().name(); })
        .def_property_readonly("path", [](const fitted_receiver& self) { return self.get_model().path(); })
        .def_property_readonly("snr_db",
                               [](const fitted_receiver& self) { return self.get_model().snr_db(); })
        .def_property_readonly("bits_per_symbol", &fitted_receiver::bits_per_symbol)
        .def_property_readonly("constellation",
                               [](const fitted_receiver& self) {
                                   const auto& p = self.get_model().constellation();
                                   return py::array_t<std::complex<float>>(p.size(), p.data());
                               })
        .def_property_readonly("law", [](const fitted_receiver& self) { return self.law(); })
        .def_property_readonly("path_name",
                               [](const fitted_receiver& self) {
                                   return self.path() == dsp::receiver_path::network    ? "network"
                                          : self.path() == dsp::receiver_path::gaussian ? "gaussian"
                                          : self.path() == dsp::receiver_path::cells    ? "cells"
                                                                                        : "noise";
                               })
        .def_property("steps", &fitted_receiver::steps, &fitted_receiver::set_steps)
        .def(
            "set_law",
            [](fitted_receiver& self, const dsp::symbol_law& law, const std::string& path) {
                self.set_law(law, dsp::receiver_path_of(path));
            },
            py::arg("law"), py::arg("path") = "network",
            "path: network, gaussian or cells (law.cells_known).")
        .def("set_noise_law", &fitted_receiver::set_noise_law, py::arg("noise"))
        .def_property_readonly("uses_noise_law",
                               [](const fitted_receiver& self) {
                                   return self.path() == dsp::receiver_path::noise;
                               })
        .def_property_readonly("noise", [](const fitted_receiver& self) { return self.noise(); })
        .def_property_readonly("noise_var", &fitted_receiver::noise_var)
        .def("state",
             [](const fitted_receiver& self) {
                 const auto s = self.state();
                 return py::array_t<double>(s.size(), s.data());
             })
        .def(
            "set_state",
            [](fitted_receiver& self, const double_array& s) {
                self.set_state({ s.data(), s.data() + s.size() });
            },
            py::arg("state"))
        .def(
            "set_prior",
            [](fitted_receiver& self, const std::vector<double>& pmf, double amplitude) {
                self.set_prior(dsp::symbol_prior::make(pmf, self.get_model().constellation(), amplitude));
                return self.prior().amplitude;
            },
            py::arg("pmf"), py::arg("amplitude") = 0.0, "Returns the amplitude of the points.")
        .def(
            "estimate_noise_var",
            [](const fitted_receiver& self, const complex_array& y) {
                dsp::noise_estimator estimator(self.law(), self.prior());
                estimator.feed(y.data(), size_t(y.size()));
                return estimator.estimate();
            },
            py::arg("y"), "As the function of that name, under law and prior in use.")
        .def(
            "__call__",
            [](fitted_receiver& self, const complex_array& y, double noise_var) {
                const auto n = y.size();
                complex_array x(n);
                float_array llr({ n, py::ssize_t(self.bits_per_symbol()) });
                auto* x_out = x.mutable_data();
                auto* llr_out = llr.mutable_data();
                py::gil_scoped_release release;
                self.set_noise_var(noise_var);
                self.process(y.data(), x_out, llr_out, size_t(n));
                py::gil_scoped_acquire acquire;
                return py::make_tuple(x, llr);
            },
            py::arg("y"), py::arg("noise_var"),
            "(x_hat complex64 (n,), llr float32 (n, bits)); one thread at a time.")
        .def(
            "network",
            [](fitted_receiver& self, const complex_array& y, double noise_var) {
                self.set_noise_var(noise_var);
                float_array out({ y.size(), py::ssize_t(self.sampler().outputs()) });
                self.sampler().network(y.data(), out.mutable_data(), size_t(y.size()));
                return out;
            },
            py::arg("y"), py::arg("noise_var"), "The network's output (n, outputs), for tests and studies.");

    m.def("estimate_noise_var",
          [](const dsp::symbol_law& law, const complex_array& y) {
              dsp::noise_estimator estimator(law);
              estimator.feed(y.data(), size_t(y.size()));
              return estimator.estimate();
          },
          py::arg("law"), py::arg("y"),
          "E|n|^2 of unknown symbols of a known constellation: maximum likelihood over blocks of 512.");
}
