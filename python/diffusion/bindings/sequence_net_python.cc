/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "engine/sequence_net.h"

namespace py = pybind11;

void bind_sequence_net(py::module& m)
{
    using net = gr::diffusion::engine::sequence_net;
    py::class_<net>(m, "sequence_net", "One of the two networks of a sequence model, see SequenceReceiver.")
        .def(py::init([](const std::string& name, const std::string& part) {
                 return net(*gr::diffusion::engine::model::load(name), part);
             }),
             py::arg("model"), py::arg("part"), "part: 'denoiser' (received waveform -> sent) or 'amplifier'")
        .def_property_readonly("margin", &net::margin, "Samples to either side that an output depends on.")
        .def(
            "__call__",
            [](net& self, const complex_array& y, double noise_var) {
                if (!(noise_var > 0))
                    throw py::value_error("noise_var is " + std::to_string(noise_var) +
                                          "; use a positive variance");
                self.set_noise_var(noise_var);
                return map_array(y, [&](const auto* from, auto* to, size_t n) { self.run(from, n, to); });
            },
            py::arg("y"), py::arg("noise_var") = 1.0,
            "y complex64 (n,) of power about 1, noise_var = E|n|^2 of it.");
}
