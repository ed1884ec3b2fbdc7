/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include <gnuradio/diffusion/table.h>
#include <optional>

namespace py = pybind11;

namespace {

using namespace gr::diffusion::engine;
using double_array = py::array_t<double, py::array::c_style | py::array::forcecast>;

prediction prediction_of(const std::string& name)
{
    if (name == "epsilon" || name == "eps")
        return prediction::epsilon;
    if (name == "sample" || name == "x0" || name == "posterior")
        return prediction::sample;
    if (name == "v_prediction" || name == "v")
        return prediction::v_prediction;
    throw py::value_error("prediction type '" + name +
                          "' is none of epsilon, sample, v_prediction, posterior");
}

complex_array combine(const step_weights& w, const complex_array& x, const complex_array& output,
                      const complex_array* noise)
{
    if (x.size() != output.size() || (noise && noise->size() != x.size()))
        throw py::value_error("sample, model_output and noise must have the same size");
    const auto* o = output.data();
    const auto* e = noise ? noise->data() : nullptr;
    return map_array(x, [&](const std::complex<float>* in, std::complex<float>* out, size_t n) {
        for (size_t i = 0; i < n; i++)
            out[i] = float(w.state) * in[i] + float(w.output) * o[i] +
                     (e ? float(w.noise) * e[i] : std::complex<float>(0));
    });
}

double level(const noise_schedule& s, long t)
{
    if (t >= long(s.steps()))
        throw py::value_error("step " + std::to_string(t) + " is beyond the schedule's " +
                              std::to_string(s.steps()));
    return t < 0 ? 1 : s.alphas_cumprod()[t];
}

void set_link(receiver& self, double noise_var, const std::optional<float_array>& context,
              const std::optional<double_array>& q2, const std::optional<double_array>& q1)
{
    const size_t m = self.get_model().constellation().size();
    if (context && size_t(context->size()) != self.conditions())
        throw py::value_error("context has " + std::to_string(context->size()) + " values, the model takes " +
                              std::to_string(self.conditions()));
    if (q2.has_value() != q1.has_value() || (q2 && (size_t(q2->size()) != 5 * m || size_t(q1->size()) != m)))
        throw py::value_error("q2 must be (" + std::to_string(m) + ", 5) and q1 (" + std::to_string(m) +
                              ",)");
    self.set_link(noise_var, context ? context->data() : nullptr, q2 ? q2->data() : nullptr,
                  q1 ? q1->data() : nullptr);
}

float_array rows(size_t n, size_t columns)
{
    return float_array(std::vector<py::ssize_t>{ py::ssize_t(n), py::ssize_t(columns) });
}

} // namespace

void bind_engine(py::module& m)
{
    py::class_<noise_schedule>(m, "noise_schedule",
                               "Discrete noise schedule with the fields of a diffusers config.")
        .def(py::init([](size_t steps, const std::string& kind, double start, double end,
                         const std::optional<std::vector<double>>& betas) {
                 return noise_schedule({ steps, kind, start, end, betas ? *betas : std::vector<double>{} });
             }),
             py::arg("num_train_timesteps") = 1000, py::arg("beta_schedule") = "linear",
             py::arg("beta_start") = 1e-4, py::arg("beta_end") = 0.02, py::arg("trained_betas") = py::none())
        .def("__len__", &noise_schedule::steps)
        .def_property_readonly("alphas_cumprod",
                               [](const noise_schedule& s) {
                                   return py::array_t<double>(s.steps(), s.alphas_cumprod().data());
                               })
        .def("matched_step", &noise_schedule::matched_step, py::arg("noise_var"))
        .def("ladder", &noise_schedule::ladder, py::arg("t_start"), py::arg("steps"))
        .def(
            "ddim_step",
            [](const noise_schedule& s, const std::string& type, const complex_array& output, long t,
               long t_prev, const complex_array& x) {
                return combine(ddim_weights(prediction_of(type), level(s, std::max(t, 0l)), level(s, t_prev)),
                               x, output, nullptr);
            },
            py::arg("prediction_type"), py::arg("model_output"), py::arg("t"), py::arg("t_prev"),
            py::arg("sample"), "One deterministic step from t to t_prev (< 0: the clean symbol).")
        .def(
            "ddpm_step",
            [](const noise_schedule& s, const std::string& type, const complex_array& output, long t,
               const complex_array& x, const std::optional<complex_array>& noise) {
                return combine(ddpm_weights(prediction_of(type), level(s, std::max(t, 0l)), level(s, t - 1)),
                               x, output, noise ? &*noise : nullptr);
            },
            py::arg("prediction_type"), py::arg("model_output"), py::arg("t"), py::arg("sample"),
            py::arg("noise") = py::none(), "One ancestral step from t to t - 1.");

    py::class_<receiver>(m, "engine_receiver",
                         "The native engine on one receiver model: numpy in and out. One thread at a time.")
        .def(py::init(
                 [](const std::string& name, size_t steps) { return receiver(model::load(name), steps); }),
             py::arg("model"), py::arg("steps") = 0)
        .def("set_noise_var", &receiver::set_noise_var, py::arg("noise_var"))
        .def("set_link", &set_link, py::arg("noise_var"), py::arg("context") = py::none(),
             py::arg("q2") = py::none(), py::arg("q1") = py::none(),
             "Noise variance, hardware context (conditions,) and Gaussian law (M, 5), (M,) of a fitted link.")
        .def("set_steps", &receiver::set_steps, py::arg("steps"))
        .def("set_ancestral", &receiver::set_ancestral, py::arg("on"), py::arg("from_pure_noise") = false,
             py::arg("seed") = 1)
        .def(
            "denoise",
            [](receiver& self, const complex_array& y) {
                return map_array(y, [&](const std::complex<float>* in, std::complex<float>* out, size_t n) {
                    self.denoise(in, out, n);
                });
            },
            py::arg("y"))
        .def(
            "llr",
            [](receiver& self, const complex_array& y) {
                float_array out = rows(y.size(), self.get_model().bits_per_symbol());
                float* to = out.mutable_data();
                const auto* from = y.data();
                const size_t n = y.size();
                py::gil_scoped_release release;
                self.llr(from, to, n);
                return out;
            },
            py::arg("y"), "(n,) -> (n, bits) log(P(1) / P(0))")
        .def(
            "process",
            [](receiver& self, const complex_array& y) {
                complex_array x(y.size());
                float_array llr = rows(y.size(), self.get_model().bits_per_symbol());
                auto* x_to = x.mutable_data();
                auto* llr_to = llr.mutable_data();
                const auto* from = y.data();
                const size_t n = y.size();
                {
                    py::gil_scoped_release release;
                    self.process(from, x_to, llr_to, n);
                }
                return py::make_tuple(x, llr);
            },
            py::arg("y"), "(n,) -> symbol estimates (n,), LLRs (n, bits)")
        .def(
            "network",
            [](receiver& self, const complex_array& y) {
                float_array out = rows(y.size(), self.outputs());
                self.network(y.data(), out.mutable_data(), y.size());
                return out;
            },
            py::arg("y"), "Raw network output at the first step (n, outputs)")
        .def_property_readonly("conditions", &receiver::conditions)
        .def_property_readonly("steps", &receiver::steps)
        .def_property_readonly("noise_var", &receiver::noise_var)
        .def_property_readonly("bad_samples", &receiver::bad_samples);

    using table = tabulated_receiver;
    py::class_<
        table>(m, "engine_table",
               "A receiver's map tabulated and interpolated. Setters return at once; wait() for the table.")
        .def(py::init([](const std::string& name, double noise_var, size_t steps, bool symbols,
                         bool soft_bits, size_t nodes, size_t max_nodes, double step_db, double target_rms) {
                 return std::make_unique<table>(
                     model::load(name), steps,
                     table::config{ nodes, max_nodes, step_db, target_rms, symbols, soft_bits, noise_var });
             }),
             py::arg("model"), py::arg("noise_var"), py::arg("steps") = 0, py::arg("symbols") = true,
             py::arg("soft_bits") = true, py::arg("nodes") = 256, py::arg("max_nodes") = 512,
             py::arg("step_db") = 0.25, py::arg("target_rms") = 1e-3)
        .def("set_noise_var", &table::set_noise_var, py::arg("noise_var"))
        .def("set_steps", &table::set_steps, py::arg("steps"))
        .def("wait", &table::wait, py::call_guard<py::gil_scoped_release>())
        .def(
            "denoise",
            [](table& self, const complex_array& y) {
                return map_array(y, [&](const std::complex<float>* in, std::complex<float>* out, size_t n) {
                    self.process(in, out, nullptr, n);
                });
            },
            py::arg("y"))
        .def_property_readonly("usable", &table::usable)
        .def_property_readonly("tables_built", &table::tables_built)
        .def_property_readonly(
            "accuracy",
            [](const table& self) {
                const auto a = self.accuracy();
                py::dict out;
                out["rms"] = a.rms;
                out["worst"] = a.worst;
                out["rms_soft"] = a.rms_soft;
                out["probes"] = a.probes;
                out["nodes"] = a.nodes;
                out["extent"] = a.extent;
                out["noise_var"] = a.noise_var;
                return out;
            },
            "errors of the table in use against the exact network, as a dict");
}
