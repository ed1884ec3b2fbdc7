/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/constellation.h"
#include "dsp/cell_table.h"
#include "dsp/symbol_law.h"

namespace py = pybind11;
using namespace gr::diffusion;
using int_array = py::array_t<int, py::array::c_style | py::array::forcecast>;
using double_array = py::array_t<double, py::array::c_style | py::array::forcecast>;

namespace {

std::vector<std::complex<float>> points_of(const complex_array& points)
{
    return { points.data(), points.data() + points.size() };
}

template <typename F>
dsp::symbol_law fit(F&& f, const complex_array& points, const int_array& index, const complex_array& y,
                    double noise_var)
{
    if (index.size() != y.size())
        throw std::invalid_argument("fit: " + std::to_string(index.size()) + " known symbols for " +
                                    std::to_string(y.size()) + " received; give one for each");
    const auto p = points_of(points);
    py::gil_scoped_release release;
    return f(p, index.data(), y.data(), size_t(y.size()), noise_var);
}

template <typename T>
py::array_t<T> to_array(const T* data, size_t n)
{
    return py::array_t<T>(py::ssize_t(n), data);
}

} // namespace

void bind_symbol_law(py::module& m)
{
    m.def(
        "constellation",
        [](const std::string& name) {
            const auto p = dsp::constellation(name);
            return to_array(p.data(), p.size());
        },
        py::arg("name"),
        "Unit-power Gray constellation: bpsk, qpsk, qam16, qam64 or qam256; complex64 (M,), labelled by "
        "index.");
    m.def("constellation_names", &dsp::constellation_names);

    py::class_<dsp::adc_grid>(m, "adc_grid", "Grid of a mid-rise quantizer seen in samples.")
        .def_static("detect",
                    [](const complex_array& y) { return dsp::adc_grid::detect(y.data(), size_t(y.size())); },
                    py::arg("y"))
        .def_readonly("step", &dsp::adc_grid::step, "Distance of two levels; 0: no grid found.")
        .def_readonly("top", &dsp::adc_grid::top, "Largest level seen.");

    using law = dsp::symbol_law;
    py::class_<law>(m, "symbol_law", "Law p(y | symbol) of a memoryless link, a Gaussian per symbol.")
        .def(py::init([](const complex_array& points) { return law(points_of(points)); }), py::arg("points"))
        .def_static(
            "fit",
            [](const complex_array& points, const int_array& index, const complex_array& y, double nv) {
                return fit(law::fit, points, index, y, nv);
            },
            py::arg("points"), py::arg("index"), py::arg("y"), py::arg("noise_var"),
            "From known symbols: index (n,) of the points sent, y (n,) received at noise_var.")
        .def_static(
            "fit_linear",
            [](const complex_array& points, const int_array& index, const complex_array& y, double nv) {
                return fit(law::fit_linear, points, index, y, nv);
            },
            py::arg("points"), py::arg("index"), py::arg("y"), py::arg("noise_var"),
            "The linear receiver as a law: one gain, circular noise.")
        .def_static(
            "from_state",
            [](const complex_array& points, const double_array& state) {
                return law::from_state(points_of(points), { state.data(), state.data() + state.size() });
            },
            py::arg("points"), py::arg("state"))
        .def_static(
            "behind_converter",
            [](const complex_array& points, const complex_array& y, double nv, double guess, bool blind) {
                const auto p = points_of(points);
                py::gil_scoped_release release;
                return law::behind_converter(p, y.data(), size_t(y.size()), nv, guess, blind);
            },
            py::arg("points"), py::arg("y"), py::arg("noise_var") = -1, py::arg("guess") = 0.1,
            py::arg("blind") = true,
            "Nothing fitted: the ideal constellation behind the converter that samples y show, and, blind, "
            "what "
            "they tell of the radio. cells_known is False if they show none.")
        .def(
            "refined",
            [](const law& self, const int_array& index, const complex_array& known_y, const complex_array& y,
               double nv) {
                if (index.size() != known_y.size())
                    throw std::invalid_argument("refined: one index for each known sample, please");
                py::gil_scoped_release release;
                return self.refined(index.data(), known_y.data(), size_t(index.size()), y.data(),
                                    size_t(y.size()), nv);
            },
            py::arg("index"), py::arg("known_y"), py::arg("y"), py::arg("noise_var") = -1,
            "A copy whose link before the converter also takes what samples y of unknown symbols tell "
            "(expectation maximisation). noise_var of y; -1: estimated.")
        .def(
            "state",
            [](const law& self) {
                const auto s = self.state();
                return to_array(s.data(), s.size());
            },
            "All of it as float64 numbers, for messages and files.")
        .def(
            "at",
            [](const law& self, double noise_var) {
                const auto g = self.at(noise_var);
                py::array_t<double> out({ py::ssize_t(g.size()), py::ssize_t(5) });
                for (size_t i = 0; i < g.size(); i++) {
                    double* row = out.mutable_data(py::ssize_t(i), 0);
                    row[0] = g[i].re, row[1] = g[i].im, row[2] = g[i].var_re, row[3] = g[i].var_im;
                    row[4] = g[i].covariance;
                }
                return out;
            },
            py::arg("noise_var"), "(M, 5): centroid re, im, variance re, im, covariance of each symbol.")
        .def(
            "coefficients",
            [](const law& self, double noise_var) {
                const auto n = py::ssize_t(self.points().size());
                py::array_t<double> q2({ n, py::ssize_t(5) }), q1(n);
                self.coefficients(noise_var, q2.mutable_data(), q1.mutable_data());
                return py::make_tuple(q2, q1);
            },
            py::arg("noise_var"),
            "(q2 (M, 5), q1 (M,)): log p(y|i) = q2 @ [Re, Im, Re^2, Im^2, Re Im] + q1 + constant.")
        .def(
            "context",
            [](const law& self, double noise_var) {
                const auto c = self.context(noise_var);
                return to_array(c.data(), c.size());
            },
            py::arg("noise_var"), "float32 (18,): what a network is told about the hardware.")
        .def_property_readonly("points",
                               [](const law& self) {
                                   return to_array(self.points().data(), self.points().size());
                               })
        .def_property_readonly("fitted", &law::fitted)
        .def_property_readonly("known_symbols", &law::known_symbols)
        .def_property_readonly("noise_var", &law::fit_noise_var, "Noise variance of the fit.")
        .def_property_readonly("grid", &law::grid)
        .def_property_readonly(
            "cells_known", [](const law& self) { return dsp::cell_table::takes(self.link()); },
            "Whether a converter of 1 to 6 bits was found and the link before it fitted.")
        .def(
            "cell_log_likelihood",
            [](const law& self, const complex_array& y, double noise_var) {
                dsp::cell_table table(self.points());
                table.prepare(self.link(), noise_var);
                py::array_t<double> out({ y.size(), py::ssize_t(self.points().size()) });
                for (py::ssize_t i = 0; i < y.size(); i++)
                    table.log_likelihood(y.data()[i], out.mutable_data(i, 0));
                return out;
            },
            py::arg("y"), py::arg("noise_var"),
            "(n, M): log p(cell of y | symbol), the law before the converter integrated.")
        .def_property_readonly(
            "link",
            [](const law& self) {
                const auto& l = self.link();
                py::dict d;
                std::vector<std::complex<double>> mean;
                std::vector<double> uncertainty;
                for (const auto& s : l.symbols) {
                    mean.push_back(s.mean);
                    uncertainty.push_back(s.uncertainty);
                }
                d["means"] = to_array(mean.data(), mean.size());
                d["uncertainty"] = to_array(uncertainty.data(), uncertainty.size());
                d["noise_var"] = l.fit_noise_var;
                d["additive"] = l.additive;
                d["phase_var"] = l.phase_var;
                d["step"] = l.step;
                d["levels"] = 2 * l.half;
                return d;
            },
            "The law before the converter: means (M,), uncertainty (M,) of a rail, additive E|n|^2 at "
            "noise_var, "
            "phase_var rad^2, step and levels a rail; empty means: none.")
        .def_property_readonly(
            "polynomial", [](const law& self) { return to_array(self.polynomial().data(), law::n_terms); },
            "Coefficients of x, x*, 1, x|x|^2, x|x|^4, x*|x|^2, x^2, |x|^2, x*^2, x^3, x*^3.")
        .def_property_readonly("noise_model", &law::noise_model,
                               "[additive E|n|^2, multiplicative, phase rad^2] variances.");
}
