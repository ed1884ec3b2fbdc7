/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dsp/channel_tracker.h"
#include "numpy_io.h"

namespace py = pybind11;
using gr::diffusion::dsp::channel_tracker;

void bind_channel_tracker(py::module& m)
{
    py::class_<channel_tracker>(m, "channel_tracker",
                                "Channel of every symbol of a frame: a Wiener filter over delay and time.")
        .def(py::init([](int fft_len, int taps) {
                 if (fft_len < 8 || fft_len > 4096 || taps < 1 || taps > fft_len)
                     throw std::invalid_argument("channel_tracker: fft_len is " + std::to_string(fft_len) +
                                                 ", taps is " + std::to_string(taps) +
                                                 "; use 8 to 4096, and 1 to fft_len");
                 return std::make_unique<channel_tracker>(fft_len, taps);
             }),
             py::arg("fft_len"), py::arg("taps"))
        .def(
            "__call__",
            [](channel_tracker& self, const complex_array& x, const complex_array& y, double noise_var,
               const std::vector<double>& profile, double doppler, double ramp) {
                if (x.ndim() != 2 || y.ndim() != 2 || x.shape(0) != y.shape(0) || x.shape(1) != y.shape(1))
                    throw std::invalid_argument("channel_tracker: x and y must both be (symbols, carriers)");
                if (!(noise_var > 0))
                    throw std::invalid_argument("channel_tracker: noise_var is " + std::to_string(noise_var) +
                                                ", use a positive variance");
                const size_t symbols = size_t(x.shape(0)), n = size_t(x.shape(1));
                self.clear(symbols);
                for (size_t s = 0; s < symbols; s++)
                    for (size_t k = 0; k < n; k++)
                        if (x.data()[s * n + k] != std::complex<float>(0))
                            self.add(s, k, x.data()[s * n + k], y.data()[s * n + k], noise_var);
                const double likelihood = self.likelihood(profile, doppler, ramp);
                std::vector<std::complex<float>> h;
                std::vector<float> error;
                if (!self.estimate(profile, doppler, ramp, h, error))
                    throw std::invalid_argument("channel_tracker: numbers beyond all sense");
                complex_array to(x.request().shape);
                float_array var(x.request().shape);
                std::copy(h.begin(), h.end(), to.mutable_data());
                std::copy(error.begin(), error.end(), var.mutable_data());
                return py::make_tuple(to, var, likelihood);
            },
            py::arg("x"), py::arg("y"), py::arg("noise_var"), py::arg("profile"), py::arg("doppler"),
            py::arg("ramp") = 0.0,
            "x, y (symbols, carriers), x 0 where nothing is known; noise_var; mean powers of the taps; "
            "Doppler and ramp in "
            "cycles a symbol -> channel, error variance, log likelihood.");
}
