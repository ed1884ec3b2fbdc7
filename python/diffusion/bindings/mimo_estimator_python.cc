/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dsp/mimo_estimator.h"
#include "numpy_io.h"
#include <cmath>

namespace py = pybind11;
using gr::diffusion::dsp::mimo_estimator;

void bind_mimo_estimator(py::module& m)
{
    m.def("mimo_estimator_methods", &gr::diffusion::dsp::mimo_estimator_methods,
          "ls, nomp, sbl, diffusion, auto");

    py::class_<
        mimo_estimator>(m, "mimo_estimator",
                        "MIMO channel from pilots, by the method named: ls, nomp, sbl, diffusion or auto; "
                        "the model says what the arrays are.")
        .def(py::init([](const std::string& model, const std::string& method) {
                 return gr::diffusion::dsp::make_mimo_estimator(method, model);
             }),
             py::arg("model"), py::arg("method") = "diffusion")
        .def_property_readonly("receivers", &mimo_estimator::receivers)
        .def_property_readonly("transmitters", &mimo_estimator::transmitters)
        .def_property_readonly("count", &mimo_estimator::count, "pilots, Np")
        .def(
            "set_pilots",
            [](mimo_estimator& self, const complex_array& p) {
                if (p.ndim() != 2 || size_t(p.shape(0)) != self.transmitters())
                    throw std::invalid_argument("pilots must be (Nt, Np) with Nt = " +
                                                std::to_string(self.transmitters()));
                self.set_pilots({ p.data(), p.data() + p.size() });
            },
            py::arg("pilots"), "(Nt, Np) complex64")
        .def(
            "__call__",
            [](mimo_estimator& self, const complex_array& y, float noise_var) {
                if (self.count() == 0)
                    throw std::invalid_argument("no pilots yet: call set_pilots first");
                if (y.ndim() != 3 || size_t(y.shape(1)) != self.receivers() ||
                    size_t(y.shape(2)) != self.count())
                    throw std::invalid_argument("y must be (frames, " + std::to_string(self.receivers()) +
                                                ", " + std::to_string(self.count()) + ")");
                if (!(noise_var >= 0) || !std::isfinite(noise_var))
                    throw std::invalid_argument("noise_var is " + std::to_string(noise_var) +
                                                ", use a finite variance >= 0");
                const py::ssize_t frames = y.shape(0);
                complex_array h({ frames, py::ssize_t(self.receivers()), py::ssize_t(self.transmitters()) });
                float_array err_var(std::vector<py::ssize_t>{ frames });
                const auto* in = y.data();
                auto* out = h.mutable_data();
                auto* err = err_var.mutable_data();
                {
                    py::gil_scoped_release release;
                    self.estimate(in, frames, noise_var, out, err);
                }
                return py::make_tuple(h, err_var);
            },
            py::arg("y"), py::arg("noise_var"),
            "(frames, Nr, Np) complex64 -> h (frames, Nr, Nt) complex64, err_var (frames,) float32.");
}
