/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/pas_code.h"
#include "dsp/shaped_payload.h"

namespace py = pybind11;
using namespace gr::diffusion::dsp;
using byte_array = py::array_t<uint8_t, py::array::c_style | py::array::forcecast>;

namespace {

//! Whole words of \p from values each, or a sentence that says so.
size_t words(py::ssize_t size, size_t from, const char* what)
{
    if (size_t(size) % from)
        throw std::invalid_argument(std::to_string(size) + " " + what + ", use a multiple of " +
                                    std::to_string(from));
    return size_t(size) / from;
}

} // namespace

void bind_pas_code(py::module& m)
{
    m.def(
        "shaped_code",
        [](int bits, const std::string& fec, int index) {
            return std::make_shared<pas_code>(
                shaped_payload::get(bits, fec_from_name(fec), uint32_t(index))->code());
        },
        py::arg("bits_per_symbol"), py::arg("fec"), py::arg("index"),
        "The pas_code of a shaper model's composition index.");
    m.def(
        "shaped_mode",
        [](int bits, double snr_db, double margin_db) {
            const auto mode = shaped_payload::mode_for(bits, snr_db, margin_db);
            return py::make_tuple(fec_name(mode.code), mode.index, mode.rate);
        },
        py::arg("bits_per_symbol"), py::arg("snr_db"), py::arg("margin_db") = 1.0,
        "(fec, composition index, bits a symbol): the highest rate that a link margin_db worse than its SNR "
        "bears.");
    m.def("shaped_fecs",
          [](int bits) {
              std::vector<std::string> out;
              for (fec code : shaped_payload::codes(bits))
                  out.push_back(fec_name(code));
              return out;
          },
          py::arg("bits_per_symbol"), "The codes that shaping does well with, the best first.");

    py::class_<dvbs2_code, std::unique_ptr<dvbs2_code, py::nodelete>>(
        m, "ldpc_code",
        "Systematic LDPC code (DVB-S2 short frames, 16200 bits; rate 4/5: 13500) with its soft decoder.")
        .def(py::init(
                 [](const std::string& rate) { return const_cast<dvbs2_code*>(&dvbs2_code::get(rate)); }),
             py::arg("rate"))
        .def_static("rates", &dvbs2_code::rates)
        .def_property_readonly("rate", &dvbs2_code::rate)
        .def_property_readonly("n", [](const dvbs2_code& self) { return self.n(); })
        .def_property_readonly("k", &dvbs2_code::k)
        .def_property_readonly("heavy", &dvbs2_code::heavy,
                               "So many first bits are in more checks than the others.")
        .def(
            "encode",
            [](const dvbs2_code& self, const byte_array& bits) {
                const size_t count = words(bits.size(), self.k(), "bits");
                py::array_t<uint8_t> out(py::ssize_t(count * self.n()));
                for (size_t w = 0; w < count; w++) {
                    uint8_t* to = out.mutable_data() + w * self.n();
                    std::copy_n(bits.data() + w * self.k(), self.k(), to);
                    self.encode(bits.data() + w * self.k(), to + self.k());
                }
                return out;
            },
            py::arg("bits"), "Words of n bits: information, then parity.")
        .def(
            "decode",
            [](const dvbs2_code& self, const float_array& llr, size_t iterations) {
                const size_t count = words(llr.size(), self.n(), "LLRs");
                py::array_t<uint8_t> out(py::ssize_t(count * self.k()));
                py::array_t<int> used{ py::ssize_t(count) };
                uint8_t* to = out.mutable_data();
                int* iterations_used = used.mutable_data();
                const float* from = llr.data();
                py::gil_scoped_release release;
                for (size_t w = 0; w < count; w++)
                    iterations_used[w] = int(self.decode(from + w * self.n(), to + w * self.k(), iterations));
                py::gil_scoped_acquire acquire;
                return py::make_tuple(out, used);
            },
            py::arg("llr"), py::arg("iterations") = dvbs2_code::default_iterations,
            "LLRs, positive for 1 -> (bits, iterations of each word; 0: not a code word).");

    py::class_<pas_code, std::shared_ptr<pas_code>>(
        m, "pas_code",
        "Probabilistic amplitude shaping: code words of square Gray QAM whose amplitudes have a composition.")
        .def(py::init([](int bits, const std::string& rate, const std::vector<uint32_t>& amplitudes,
                         const std::string& matcher) {
                 return std::make_shared<pas_code>(bits, dvbs2_code::get(rate), amplitudes,
                                                   matcher_from_name(matcher));
             }),
             py::arg("bits_per_symbol"), py::arg("rate"), py::arg("amplitudes"), py::arg("matcher") = "ccdm")
        .def_property_readonly("symbols", &pas_code::symbols, "Symbols of a word.")
        .def_property_readonly("bits", &pas_code::bits, "Payload bits of a word.")
        .def_property_readonly("rate", &pas_code::rate, "Payload bits a symbol.")
        .def_property_readonly("rate_loss", &pas_code::rate_loss, "Of the matcher, bits a symbol.")
        .def_property_readonly("code_rate", [](const pas_code& self) { return self.code().rate(); })
        .def_property_readonly("amplitudes", &pas_code::amplitudes)
        .def(
            "encode",
            [](const pas_code& self, const byte_array& bits) {
                const size_t count = words(bits.size(), self.bits(), "bits");
                py::array_t<uint8_t> out(py::ssize_t(count * self.code().n()));
                for (size_t w = 0; w < count; w++)
                    self.encode(bits.data() + w * self.bits(), out.mutable_data() + w * self.code().n());
                return out;
            },
            py::arg("bits"), "The labels' bits, uint8.")
        .def(
            "decode",
            [](const pas_code& self, const float_array& llr, size_t iterations) {
                const size_t count = words(llr.size(), self.code().n(), "LLRs");
                py::array_t<uint8_t> out(py::ssize_t(count * self.bits()));
                std::vector<uint8_t> good(count);
                uint8_t* to = out.mutable_data();
                const float* from = llr.data();
                {
                    py::gil_scoped_release release;
                    for (size_t w = 0; w < count; w++)
                        good[w] = self.decode(from + w * self.code().n(), to + w * self.bits(), iterations);
                }
                return py::make_tuple(out, py::array_t<uint8_t>(py::ssize_t(count), good.data())
                                               .attr("astype")("bool"));
            },
            py::arg("llr"), py::arg("iterations") = dvbs2_code::default_iterations,
            "LLRs of the labels' bits, prior included, positive for 1 -> (bits, whether each word decoded).");
}
