/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/ldpc.h"

namespace py = pybind11;
using namespace gr::diffusion::dsp;

namespace {

//! The decoder with its code: pybind11 needs no more of the latter.
struct alist_decoder {
    std::shared_ptr<const ldpc_code> code;
    ldpc_decoder decoder;

    alist_decoder(const std::string& file, int iterations)
        : code(ldpc_code::load(file)), decoder(code, iterations)
    {
    }
};

} // namespace

void bind_ldpc_decoder(py::module& m)
{
    py::class_<alist_decoder>(m, "ldpc_decoder",
                              "Sum-product decoder of an LDPC code given as MacKay's alist file.")
        .def(py::init<const std::string&, int>(), py::arg("alist"), py::arg("iterations") = 40)
        .def_property_readonly("n", [](const alist_decoder& self) { return self.code->bits(); })
        .def(
            "__call__",
            [](alist_decoder& self, const float_array& llr) {
                const size_t n = self.code->bits();
                if (llr.ndim() != 2 || size_t(llr.shape(1)) != n)
                    throw py::value_error("ldpc_decoder: needs llr (words, " + std::to_string(n) + ")");
                py::array_t<uint8_t> out({ llr.shape(0), llr.shape(1) });
                py::array_t<bool> good{ llr.shape(0) };
                const float* from = llr.data();
                uint8_t* to = out.mutable_data();
                bool* sound = good.mutable_data();
                const size_t words = size_t(llr.shape(0));
                for (size_t i = 0; i < words * n; i++)
                    if (!(from[i] == from[i]))
                        throw py::value_error("ldpc_decoder: llr[" + std::to_string(i / n) + ", " +
                                              std::to_string(i % n) + "] is not a number");
                py::gil_scoped_release release;
                for (size_t w = 0; w < words; w++)
                    sound[w] = self.decoder.decode(from + w * n, to + w * n);
                py::gil_scoped_acquire acquire;
                return py::make_tuple(out, good);
            },
            py::arg("llr"),
            "llr (words, n), positive for 1 -> (bits uint8 (words, n), whether each fulfils all checks).");
}
