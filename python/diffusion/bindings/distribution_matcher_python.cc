/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/distribution_matcher.h"
#include "engine/exact_math.h"
#include "dsp/shaping_code.h"
#include "dsp/sphere_matcher.h"

namespace py = pybind11;
namespace dsp = gr::diffusion::dsp;

namespace {

using byte_array = py::array_t<uint8_t, py::array::c_style | py::array::forcecast>;

//! Runs f(in, out) block by block over \p x, which must be whole blocks of \p from bytes.
template <typename F>
py::array_t<uint8_t> map_blocks(const byte_array& x, size_t from, size_t to, const char* what, F&& f)
{
    const size_t size = size_t(x.size());
    if (from == 0 ? size != 0 : size % from != 0)
        throw std::invalid_argument(std::string(what) + ": got " + std::to_string(size) +
                                    " items, use whole blocks of " + std::to_string(from));
    const size_t blocks = from ? size / from : 0;
    py::array_t<uint8_t> out(py::ssize_t(blocks * to));
    const uint8_t* in = x.data();
    uint8_t* result = out.mutable_data();
    py::gil_scoped_release release;
    for (size_t b = 0; b < blocks; b++)
        f(in + b * from, result + b * to);
    return out;
}

template <typename Class, typename Encode, typename Decode>
void define_maps(Class& c, const char* forward, const char* backward, Encode encode, Decode decode)
{
    using T = typename Class::type;
    c.def(forward,
          [=](const T& self, const byte_array& bits) {
              if (self.bits() == 0) { // one possible block, which carries nothing
                  if (bits.size())
                      throw std::invalid_argument("a block of this composition carries no bits");
                  py::array_t<uint8_t> out(py::ssize_t(self.length()));
                  (self.*encode)(bits.data(), out.mutable_data());
                  return out;
              }
              return map_blocks(bits, self.bits(), self.length(), "bits",
                                [&](const uint8_t* in, uint8_t* out) { (self.*encode)(in, out); });
          },
          py::arg("bits"),
          "uint8 (blocks * bits,), one bit an item, to uint8 (blocks * length,).");
    c.def(backward,
          [=](const T& self, const byte_array& symbols) {
              size_t bad = 0;
              auto bits = map_blocks(symbols, self.length(), self.bits(), "symbols",
                                     [&](const uint8_t* in, uint8_t* out) {
                                         bad += !(self.*decode)(in, out);
                                     });
              return py::make_tuple(bits, bad);
          },
          py::arg("symbols"),
          "The way back: (bits, number of blocks that are not of this composition).");
}

} // namespace

void bind_distribution_matcher(py::module& m)
{
    m.def("quantize_composition",
          &dsp::quantize_composition,
          py::arg("pmf"),
          py::arg("n"),
          "Integer counts of sum n that minimise the divergence D(counts / n || pmf).");

    using matcher = dsp::distribution_matcher;
    py::class_<matcher> c(m, "distribution_matcher",
        "Constant-composition distribution matching by exact integer arithmetic coding.");
    c.def(py::init<const std::vector<uint32_t>&>(), py::arg("composition"))
        .def_property_readonly("length", &matcher::length, "Symbols per block.")
        .def_property_readonly("bits", &matcher::bits, "Bits per block.")
        .def_property_readonly("composition", &matcher::composition)
        .def_property_readonly("entropy", &matcher::entropy, "Of the composition, bits per symbol.")
        .def_property_readonly("rate_loss", &matcher::rate_loss, "Entropy - bits / length.")
        .def_property_readonly("log2_sequences", &matcher::log2_sequences);
    define_maps(c, "match", "dematch", &matcher::match, &matcher::dematch);

    using code = dsp::shaping_code;
    using sphere = dsp::sphere_matcher;
    py::class_<sphere, std::shared_ptr<sphere>> e(m, "sphere_matcher",
                                                  "Enumerative sphere shaping: blocks whose costs sum to at "
                                                  "most a limit; exact bounded-precision trellis.");
    e.def(py::init<const std::vector<uint32_t>&, double, size_t>(),
          py::arg("costs"), py::arg("mean_cost"), py::arg("length"))
        .def_static("of",
                    [](const std::vector<double>& pmf, size_t length, const std::vector<uint32_t>& energy) {
                        return std::const_pointer_cast<sphere>(sphere::of(pmf, length, energy));
                    },
                    py::arg("pmf"), py::arg("length"), py::arg("energy") = std::vector<uint32_t>(),
                    "A sphere for a pmf: costs are the energies if given, else -ln p in steps of 1/8.")
        .def_property_readonly("length", &sphere::length, "Symbols per block.")
        .def_property_readonly("bits", &sphere::bits, "Bits per block.")
        .def_property_readonly("costs", [](const sphere& self) {
            std::vector<int64_t> c; // -1: never sent
            for (uint32_t x : self.costs())
                c.push_back(x == dsp::sphere_costs::never ? -1 : int64_t(x));
            return c;
        }, "Cost of each symbol; -1: never sent.")
        .def_property_readonly("limit", &sphere::limit, "Largest total cost of the first sphere.")
        .def_property_readonly("spheres", &sphere::spheres, "Spheres in a block.")
        .def_property_readonly("mean_cost", &sphere::mean_cost, "Of a symbol, over all blocks.")
        .def_property_readonly("pmf", [](const sphere& self) {
            const auto p = self.pmf();
            return py::array_t<double>(py::ssize_t(p.size()), p.data());
        }, "Mean share of each symbol, float64.")
        .def_property_readonly("entropy", &sphere::entropy, "Of the pmf, bits per symbol.")
        .def_property_readonly("rate_loss", &sphere::rate_loss, "Entropy - bits / length.");
    define_maps(e, "match", "dematch", &sphere::match, &sphere::dematch);

    py::class_<code, std::shared_ptr<code>> s(m, "shaping_code",
        "Bits <-> blocks of shaped symbols: a matcher over classes, uniform bits within a class.");
    s.def(py::init<const std::vector<uint8_t>&, const std::vector<uint32_t>&>(), py::arg("class_of"),
          py::arg("composition"))
        .def_static("sphere", &code::sphere, py::arg("class_of"), py::arg("class_pmf"), py::arg("length"),
                    py::arg("energy") = std::vector<uint32_t>(), "The same with sphere shaping.")
        .def_property_readonly("length", &code::length, "Symbols per block.")
        .def_property_readonly("bits", &code::bits, "Bits per block.")
        .def_property_readonly(
            "pmf",
            [](const code& self) {
                const auto p = self.pmf();
                return py::array_t<double>(py::ssize_t(p.size()), p.data());
            },
            "Pmf over the symbol indices, float64 (M,): of every block (constant composition) or the mean of "
            "all (sphere).")
        .def_property_readonly("entropy", &code::entropy, "Of the pmf, bits per symbol.")
        .def_property_readonly("rate", &code::rate, "Bits per symbol.")
        .def_property_readonly("rate_loss", &code::rate_loss, "Entropy - rate, bits per symbol.");
    define_maps(s, "encode", "decode", &code::encode, &code::decode);

    auto exact = m.def_submodule("exact_math", "exp and log that give the same bits on every machine.");
    exact.def("exp", py::vectorize([](double x) { return gr::diffusion::engine::exact::exp(x); }));
    exact.def("log", py::vectorize([](double x) { return gr::diffusion::engine::exact::log(x); }));
}
