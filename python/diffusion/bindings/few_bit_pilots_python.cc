/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dsp/few_bit_estimate.h"
#include "numpy_io.h"

namespace py = pybind11;
using gr::diffusion::dsp::few_bit_pilots;
using gr::diffusion::dsp::mimo_estimator;
using gr::diffusion::dsp::pilot_estimator;

namespace {
void check_rounds(int rounds)
{
    if (rounds < 0 || rounds > 50)
        throw std::invalid_argument("few_bit_estimate: rounds is " + std::to_string(rounds) +
                                    ", use 0 to 50");
}
} // namespace

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
                noise.mutable_data()[i] = view.apply(out.mutable_data() + i * n, n, noise_var.data()[i],
                                                     power);
            return py::make_tuple(view.levels(), out, noise);
        },
        py::arg("y"), py::arg("noise_var"), py::arg("power") = 1.f,
        "(frames, ...) complex64, (frames,) -> levels of a rail of the converter seen (0: none), y as it "
        "went into it, "
        "variance of noise and distortion.");
    m.def(
        "few_bit_estimate",
        [](pilot_estimator& e, const complex_array& y, const float_array& noise_var, float power,
           int rounds) {
            const size_t frames = y.ndim() == 2 ? size_t(y.shape(0)) : 0, n = e.pilots().size();
            if (y.ndim() != 2 || size_t(y.shape(1)) != n || size_t(noise_var.size()) != frames)
                throw std::invalid_argument(
                    "few_bit_estimate: y must be (frames, pilots), with a noise_var for each");
            check_rounds(rounds);
            const few_bit_pilots view(y.data(), frames * n);
            complex_array h({ frames, e.carriers() });
            float_array err_var({ frames, e.carriers() });
            py::gil_scoped_release release;
            gr::diffusion::dsp::few_bit_estimate(e, view, y.data(), frames, noise_var.data(), power, rounds,
                                                 h.mutable_data(), err_var.mutable_data());
            py::gil_scoped_acquire acquire;
            return py::make_tuple(h, err_var, view.levels());
        },
        py::arg("estimator"), py::arg("y"), py::arg("noise_var"), py::arg("power") = 1.f,
        py::arg("rounds") = 5,
        "Channel from pilots of a converter of 1 to 5 bits, by rounds of expectation propagation with this "
        "pilot_estimator: "
        "(frames, carriers) and its error variance, and the converter's levels (0: none seen, rounds mean "
        "nothing then).");
    m.def(
        "few_bit_estimate",
        [](mimo_estimator& e, const complex_array& y, const float_array& noise_var, float power,
           int rounds) {
            const size_t frames = y.ndim() == 3 ? size_t(y.shape(0)) : 0;
            const size_t nr = e.receivers(), np = e.count();
            if (y.ndim() != 3 || size_t(y.shape(1)) != nr || size_t(y.shape(2)) != np || np == 0 ||
                size_t(noise_var.size()) != frames)
                throw std::invalid_argument("few_bit_estimate: y must be (frames, Nr, Np), with a "
                                            "noise_var for each, after set_pilots");
            check_rounds(rounds);
            const few_bit_pilots view(y.data(), frames * nr * np);
            complex_array h({ frames, nr, e.transmitters() });
            float_array err_var(std::vector<py::ssize_t>{ py::ssize_t(frames) });
            py::gil_scoped_release release;
            gr::diffusion::dsp::few_bit_estimate(e, view, y.data(), frames, noise_var.data(), power,
                                                 rounds, h.mutable_data(), err_var.mutable_data());
            py::gil_scoped_acquire acquire;
            return py::make_tuple(h, err_var, view.levels());
        },
        py::arg("estimator"), py::arg("y"), py::arg("noise_var"), py::arg("power") = 1.f,
        py::arg("rounds") = 5,
        "The same with a mimo_estimator: (frames, Nr, Np) -> h (frames, Nr, Nt), err_var (frames,), levels.");
    m.def(
        "cut_gaussian",
        [](double mean, double var, double low, double high) {
            const auto c = gr::diffusion::dsp::cut_gaussian::of(mean, var, low, high);
            return py::make_tuple(c.mean, c.var);
        },
        py::arg("mean"), py::arg("var"), py::arg("low"), py::arg("high"),
        "Mean and variance of a Gaussian cut to an interval.");
}
