/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "engine/dense.h"
#include <gnuradio/diffusion/model.h>

namespace py = pybind11;

namespace {

using namespace gr::diffusion::engine;

std::string file_text(const std::string& path)
{
    if (path.empty())
        return "";
    return py::module::import("pathlib").attr("Path")(path).attr("read_text")("utf-8").cast<std::string>();
}

float_array dense(const float_array& x, const float_array& weight, const float_array& bias,
                  const std::string& act)
{
    if (x.ndim() != 2 || weight.ndim() != 2 || bias.ndim() != 1 || x.shape(1) != weight.shape(1) ||
        bias.shape(0) != weight.shape(0))
        throw py::value_error("dense: needs x (rows, n_in), weight (n_out, n_in), bias (n_out,)");
    const packed_dense layer(weight.shape(1), weight.shape(0), weight.data(), bias.data(),
                             activation_of(act));
    float_array out({ x.shape(0), weight.shape(0) });
    layer.run(x.data(), layer.n_in(), out.mutable_data(), layer.n_out(), x.shape(0));
    return out;
}

} // namespace

void bind_model(py::module& m)
{
    py::class_<model_info>(m, "model_info", "A model that a name may stand for.")
        .def_readonly("name", &model_info::name)
        .def_readonly("task", &model_info::task, "receiver, estimator or shaper")
        .def_readonly("parameters", &model_info::parameters, "trained numbers in the file")
        .def_readonly("path", &model_info::path)
        .def_readonly("card", &model_info::card, "path of the card (Markdown), or ''")
        .def_readonly("error", &model_info::error, "why the file cannot be used, or ''")
        .def_property_readonly("card_text", [](const model_info& self) { return file_text(self.card); },
                               "the card: what it is, trained on what, measured how")
        .def("__repr__", [](const model_info& self) {
            return "<model " + self.name + " (" + (self.error.empty() ? self.task : self.error) + ")>";
        });

    py::class_<model, std::shared_ptr<model>>(m, "model", "A checked model file; immutable.")
        .def(py::init([](const std::string& name) {
                 return std::const_pointer_cast<model>(model::load(name));
             }),
             py::arg("name_or_path"))
        .def_property_readonly("path", &model::path)
        .def_property_readonly("name", &model::name)
        .def_property_readonly("task", &model::task)
        .def_property_readonly("kind", &model::kind)
        .def_property_readonly("parameters", &model::parameters)
        .def_property_readonly("snr_db", &model::snr_db)
        .def_property_readonly("bits_per_symbol", &model::bits_per_symbol)
        .def_property_readonly("constellation",
                               [](const model& self) {
                                   const auto& points = self.constellation();
                                   return complex_array(points.size(), points.data());
                               })
        .def_property_readonly("description", [](const model& self) {
            return py::module::import("json").attr("loads")(self.description());
        }, "the file's description: network, schedule, training, measured figures");

    m.def("models", &models,
          "Models that a name may stand for: shipped ones, and those in $GR_DIFFUSION_MODELS.");
    m.def("model_path", &model_path, py::arg("name_or_path"), "The file behind a model's name.");
    m.def("_dense", &dense, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("activation"),
          "One dense layer of the engine's kernel, for tests.");
}
