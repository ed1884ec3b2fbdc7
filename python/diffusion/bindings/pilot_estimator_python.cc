/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dsp/pilot_estimator.h"
#include "numpy_io.h"
#include <cmath>

namespace py = pybind11;
using gr::diffusion::dsp::pilot_estimator;

void bind_pilot_estimator(py::module& m)
{
    m.def("pilot_estimator_methods", &gr::diffusion::dsp::pilot_estimator_methods,
          "ls, lmmse, nomp, sbl, diffusion");

    py::class_<pilot_estimator>(
        m, "pilot_estimator",
        "Channel of an OFDM symbol from its pilots, by the method named: ls, lmmse, nomp, sbl "
        "or diffusion (which needs a model). carriers=0: the model's.")
        .def(py::init(&gr::diffusion::dsp::make_pilot_estimator), py::arg("method"), py::arg("carriers") = 0,
             py::arg("model") = "")
        .def_property_readonly("carriers", &pilot_estimator::carriers)
        .def_property("pilots", &pilot_estimator::pilots, &pilot_estimator::set_pilots)
        .def("set_profile", &pilot_estimator::set_profile, py::arg("profile"),
             "Mean power at delays of 0, 1, ... x carriers / grid samples: grid values, any scale (lmmse, "
             "sbl).")
        .def_property("steps", &pilot_estimator::steps, &pilot_estimator::set_steps,
                      "guided steps: as trained, or fewer (diffusion; 1 for the others)")
        .def_property_readonly("grid", &pilot_estimator::grid, "points of the delay grid")
        .def(
            "__call__",
            [](pilot_estimator& self, const complex_array& y, double noise_var) {
                const size_t count = self.pilots().size();
                if (y.ndim() != 2 || size_t(y.shape(1)) != count)
                    throw std::invalid_argument("y must be (frames, " + std::to_string(count) +
                                                "), one value for each pilot");
                if (!(noise_var >= 0) || !std::isfinite(noise_var))
                    throw std::invalid_argument("noise_var is " + std::to_string(noise_var) +
                                                ", use a finite variance >= 0");
                const py::ssize_t frames = y.shape(0), n = self.carriers();
                complex_array h({ frames, n });
                float_array err_var({ frames, n });
                const auto* in = y.data();
                auto* out = h.mutable_data();
                auto* err = err_var.mutable_data();
                {
                    py::gil_scoped_release release;
                    self.estimate(in, frames, float(noise_var), out, err);
                }
                return py::make_tuple(h, err_var);
            },
            py::arg("y"), py::arg("noise_var"),
            "(frames, pilots) complex64 -> h complex64 and err_var float32, both (frames, carriers).")
        .def(
            "refine",
            [](pilot_estimator& self, const complex_array& y, double noise_var) {
                if (size_t(y.size()) != self.pilots().size())
                    throw std::invalid_argument("y must be one value for each of the " +
                                                std::to_string(self.pilots().size()) + " pilots");
                if (!(noise_var >= 0) || !std::isfinite(noise_var))
                    throw std::invalid_argument("noise_var is " + std::to_string(noise_var) +
                                                ", use a finite variance >= 0");
                const py::ssize_t n = self.carriers();
                complex_array h({ py::ssize_t(1), n });
                float_array err_var({ py::ssize_t(1), n });
                self.refine(y.data(), float(noise_var), h.mutable_data(), err_var.mutable_data());
                return py::make_tuple(h, err_var);
            },
            py::arg("y"), py::arg("noise_var"),
            "The channel of the last frame from a better observation of it, (1, pilots); diffusion keeps the "
            "belief "
            "that its steps came to, at a tenth of the cost.");
}
