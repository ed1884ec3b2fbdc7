/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dsp/few_bit_pilots.h"
#include "numpy_io.h"

namespace py = pybind11;
using gr::diffusion::dsp::few_bit_pilots;

void bind_few_bit_pilots(py::module& m)
{
    m.def(
        "few_bit_pilots",
        [](const complex_array& y, const float_array& noise_var, float power) {
            const size_t frames = y.ndim() ? size_t(y.shape(0)) : 0, n = frames ? y.size() / frames : 0;
            if (size_t(noise_var.size()) != frames)
                throw std::invalid_argument("noise_var needs one value for each frame");
            const few_bit_pilots view(y.data(), frames * n);
            complex_array out(std::vector<py::ssize_t>(y.shape(), y.shape() + y.ndim()));
            std::copy_n(y.data(), frames * n, out.mutable_data());
            float_array noise(std::vector<py::ssize_t>{ py::ssize_t(frames) });
            for (size_t i = 0; i < frames; i++)
                noise.mutable_data()[i] = view.apply(out.mutable_data() + i * n, n, noise_var.data()[i], power);
            return py::make_tuple(view.levels(), out, noise);
        },
        py::arg("y"), py::arg("noise_var"), py::arg("power") = 1.f,
        "(frames, ...) complex64, (frames,) -> levels of a rail of the converter seen (0: none), y as it went into it, "
        "variance of noise and distortion.");
}
