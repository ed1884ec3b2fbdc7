/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "numpy_io.h"
#include "dsp/native_modulator.h"
#include "dsp/native_receiver.h"
#include "dsp/stages.h"

namespace py = pybind11;
using namespace gr::diffusion::dsp;

namespace {

template <typename T>
py::array_t<T> to_array(const std::vector<T>& v)
{
    return py::array_t<T>(py::ssize_t(v.size()), v.data());
}

py::bytes to_bytes(const std::vector<uint8_t>& v)
{
    return py::bytes(reinterpret_cast<const char*>(v.data()), v.size());
}

struct modem_receiver {
    modem_receiver(int fft_len, int cp_len, int max_payload, double max_cfo)
        : settings{ fft_len, cp_len, max_payload }, receiver(settings, { max_cfo })
    {
    }
    native_settings settings;
    native_receiver receiver;
};

} // namespace

void bind_native_link(py::module& m)
{
    py::class_<native_header>(m, "native_header", "What the header of a native frame says.")
        .def(py::init(
                 [](int length, int bits, const std::string& code, int shaping, const std::string& pilots) {
                     native_header h;
                     h.pilots = pilot_density_from_name(pilots);
                     h.shaping = shaping;
                     h.length = uint16_t(length);
                     h.bits_per_symbol = bits;
                     h.code = fec_from_name(code);
                     return h;
                 }),
             py::arg("length"), py::arg("bits_per_symbol"), py::arg("fec"), py::arg("shaping") = -1,
             py::arg("pilots") = "full")
        .def_property_readonly("pilots", [](const native_header& h) { return pilot_density_name(h.pilots); })
        .def_readonly("length", &native_header::length)
        .def_readonly("bits_per_symbol", &native_header::bits_per_symbol)
        .def_property_readonly("fec", [](const native_header& h) { return fec_name(h.code); })
        .def_readonly("number", &native_header::number)
        .def_readonly("context", &native_header::context)
        .def_readonly("shaping", &native_header::shaping, "Composition index of a shaped payload, or -1.")
        .def_property_readonly("constellation",
                               [](const native_header& h) { return native_format::constellation(h); })
        .def_readonly("payload_crc", &native_header::payload_crc);

    py::class_<native_modulator>(m, "native_modulator", "Bytes to frames of the native burst OFDM waveform.")
        .def(py::init([](int fft_len, int cp_len, int max_payload) {
                 return std::make_unique<native_modulator>(native_settings{ fft_len, cp_len, max_payload });
             }),
             py::arg("fft_len") = 64, py::arg("cp_len") = 16, py::arg("max_payload") = 4096)
        .def_property("bits_per_symbol", &native_modulator::bits_per_symbol,
                      &native_modulator::set_bits_per_symbol)
        .def_property(
            "fec", [](const native_modulator& s) { return fec_name(s.code()); },
            [](native_modulator& s, const std::string& name) { s.set_fec(fec_from_name(name)); })
        .def_property("shaping", &native_modulator::shaping, &native_modulator::set_shaping,
                      "Composition index of shaped payloads, or -1 for plain QAM.")
        .def_property(
            "pilots", [](const native_modulator& s) { return pilot_density_name(s.pilots()); },
            [](native_modulator& s, const std::string& name) { s.set_pilots(pilot_density_from_name(name)); },
            "Of the payload's symbols: full, half or quarter; the header tells the receiver.")
        .def_property_readonly("header", &native_modulator::header)
        .def(
            "__call__",
            [](native_modulator& self, const py::bytes& payload, int context) {
                const std::string bytes = payload;
                return to_array(self.modulate(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                                              uint8_t(context)));
            },
            py::arg("payload"), py::arg("context") = 0, "One frame, complex64, unit mean power.")
        .def(
            "payload_bits",
            [](const native_modulator& self, const native_header& h, const py::bytes& payload) {
                const std::string bytes = payload;
                if (bytes.size() != h.length)
                    throw std::invalid_argument("payload_bits: the header says another length");
                return to_array(
                    self.format().encode_payload(h, reinterpret_cast<const uint8_t*>(bytes.data())));
            },
            py::arg("header"), py::arg("payload"), "Bits of the payload's carriers, as sent.")
        .def("frame_len",
             [](const native_modulator& s, const native_header& h) { return s.format().frame_len(h); })
        .def(
            "pilots_of",
            [](const native_modulator& s, const native_header& h, size_t i) {
                return s.format().geometry(h, i).pilot_set(i);
            },
            py::arg("header"), py::arg("symbol"),
            "Pilot carriers of a symbol, counted from the header's first.")
        .def_property_readonly("front_len", [](const native_modulator& s) { return s.format().front_len(); })
        .def_property_readonly("used_carriers", [](const native_modulator& s) { return s.format().used(); })
        .def_property_readonly("geometry", [](const native_modulator& s) { return s.format().geometry(); });

    py::class_<waveform_correction>(m, "waveform_correction",
                                    "What a fit knows of two radios, and how to undo it.")
        .def(py::init<const std::vector<double>&>(), py::arg("numbers"))
        .def(
            "condition",
            [](const waveform_correction& self, const complex_array& x) {
                complex_array out(x.size());
                self.condition(x.data(), out.mutable_data(), size_t(x.size()));
                return out;
            },
            py::arg("x"), "Samples without the receiver's image and DC.")
        .def(
            "distortion",
            [](const waveform_correction& self, const complex_array& t) {
                complex_array out(t.size());
                for (py::ssize_t i = 0; i < t.size(); i++)
                    out.mutable_data()[i] = self.distortion(t.data()[i]);
                return out;
            },
            py::arg("t"), "What the transmitter adds to samples of unit mean power.");

    py::class_<native_frame>(m, "native_frame", "One frame as received, with every stage's output.")
        .def_readonly("sync", &native_frame::sync)
        .def_readonly("header_ok", &native_frame::header_ok)
        .def_readonly("payload_ok", &native_frame::payload_ok)
        .def_readonly("header", &native_frame::header)
        .def_property_readonly("payload", [](const native_frame& f) { return to_bytes(f.payload); })
        .def_readonly("cfo", &native_frame::cfo)
        .def_readonly("noise_var", &native_frame::noise_var)
        .def_readonly("snr_db", &native_frame::snr_db)
        .def_readonly("evm_db", &native_frame::evm_db)
        .def_readonly("decided", &native_frame::decided)
        .def_readonly("phase_walk", &native_frame::phase_walk)
        .def_readonly("note", &native_frame::note)
        .def_readonly("corrected", &native_frame::corrected)
        .def_readonly("guarded", &native_frame::guarded)
        .def_readonly("doppler", &native_frame::doppler,
                      "Subcarriers, as estimated; 0: the channel stood still.")
        .def_readonly("rounds", &native_frame::rounds, "Data-aided rounds that were needed.")
        .def_property_readonly(
            "channels",
            [](const native_frame& f) {
                const size_t n = f.channel.size(), symbols = n ? f.channels.size() / n : 0;
                return py::array_t<std::complex<float>>({ symbols, n }, f.channels.data());
            },
            "Of every symbol, preamble first, if it moved: (symbols, carriers); else (0, carriers).")
        .def_property_readonly("channel", [](const native_frame& f) { return to_array(f.channel); })
        .def_property_readonly("channel_error",
                               [](const native_frame& f) { return to_array(f.channel_error); })
        .def_property_readonly("symbols", [](const native_frame& f) { return to_array(f.symbols); })
        .def_property_readonly("symbol_noise", [](const native_frame& f) { return to_array(f.symbol_noise); })
        .def_property_readonly("llr", [](const native_frame& f) { return to_array(f.llr); });

    py::class_<modem_receiver>(m, "native_receiver", "Samples to frames of the native burst OFDM waveform.")
        .def(py::init<int, int, int, double>(), py::arg("fft_len") = 64, py::arg("cp_len") = 16,
             py::arg("max_payload") = 4096, py::arg("max_cfo") = 2.0)
        .def(
            "set_estimator",
            [](modem_receiver& self, const std::string& name, const std::string& model) {
                self.receiver.demodulator().set_estimator(
                    make_channel_stage(name, self.settings.fft_len, self.settings.cp_len, model));
            },
            py::arg("name"), py::arg("model") = "", "ls, lmmse or diffusion")
        .def(
            "set_demapper",
            [](modem_receiver& self, const std::string& name, const std::string& model) {
                self.receiver.demodulator().set_demapper(make_demapper_stage(name, model));
            },
            py::arg("name"), py::arg("model") = "", "min-distance, map or diffusion")
        .def_property(
            "data_aided_rounds",
            [](modem_receiver& self) { return self.receiver.demodulator().data_aided_rounds(); },
            [](modem_receiver& self, int n) { self.receiver.demodulator().set_data_aided_rounds(n); },
            "0 to 3: for frames whose CRC fails, the decoder's beliefs become further pilots.")
        .def_property(
            "time_tracking", [](modem_receiver& self) { return self.receiver.demodulator().time_tracking(); },
            [](modem_receiver& self, bool on) { self.receiver.demodulator().set_time_tracking(on); },
            "Whether channels that move within a frame are followed.")
        .def(
            "__call__",
            [](modem_receiver& self, const complex_array& x, bool flush) {
                std::vector<native_frame> frames;
                {
                    py::gil_scoped_release release;
                    self.receiver.process(x.data(), size_t(x.size()), frames);
                    if (flush)
                        self.receiver.flush(frames);
                }
                return frames;
            },
            py::arg("x"), py::arg("flush") = false,
            "Frames that end in x or before; flush: the stream ends here.")
        .def_property_readonly("counters", [](const modem_receiver& self) {
            const auto& c = self.receiver.counters();
            py::dict d;
            d["detected"] = c.detected;
            d["header_failed"] = c.header_failed;
            d["payload_failed"] = c.payload_failed;
            d["ok"] = c.ok;
            d["missed"] = c.missed;
            d["guarded"] = c.guarded;
            d["truncated"] = c.truncated;
            return d;
        });

    py::class_<qam>(m, "qam",
                    "Square Gray QAM of unit power; points labelled by their bits, first bit highest.")
        .def(py::init<int>(), py::arg("bits"))
        .def(py::init<int, const std::vector<double>&>(), py::arg("bits"), py::arg("amplitudes"),
             "Shaped: probability of each amplitude of a rail, smallest first.")
        .def_property_readonly("bits", &qam::bits)
        .def_property_readonly("entropy", &qam::entropy, "Bits that a symbol's choice is worth.")
        .def_property_readonly("points", [](const qam& c) { return to_array(c.points()); })
        .def(
            "soft",
            [](const qam& c, const complex_array& y, const float_array& noise_var) {
                if (y.size() != noise_var.size())
                    throw std::invalid_argument("qam.soft: one noise_var a symbol");
                py::array_t<float> llr({ y.size(), py::ssize_t(c.bits()) });
                c.soft(y.data(), noise_var.data(), llr.mutable_data(), size_t(y.size()));
                return llr;
            },
            py::arg("y"), py::arg("noise_var"), "LLRs, float32 (n, bits), positive for 1.");

    m.def("fec_names", &fec_names, "Payload codes of the native waveform.");
    m.def(
        "fec_encode",
        [](const std::string& name,
           const py::array_t<uint8_t, py::array::c_style | py::array::forcecast>& bits) {
            payload_code code(fec_from_name(name), size_t(bits.size()));
            std::vector<uint8_t> out(code.coded_bits());
            code.encode(bits.data(), out.data());
            return to_array(out);
        },
        py::arg("fec"), py::arg("bits"),
        "Information bits (uint8) to coded bits; fec is one of fec_names().");
    m.def(
        "fec_posterior",
        [](const std::string& name, const float_array& llr, size_t information_bits) {
            payload_code code(fec_from_name(name), information_bits);
            if (size_t(llr.size()) != code.coded_bits())
                throw std::invalid_argument("fec_posterior: " + std::to_string(llr.size()) + " LLRs, " +
                                            name + " needs " + std::to_string(code.coded_bits()));
            std::vector<uint8_t> bits(information_bits);
            std::vector<float> out(code.coded_bits());
            code.decode(llr.data(), bits.data(), out.data());
            return to_array(out);
        },
        py::arg("fec"), py::arg("llr"), py::arg("information_bits"),
        "LLRs of the coded bits after decoding.");
    m.def("fec_decode",
          [](const std::string& name, const float_array& llr, size_t information_bits) {
              payload_code code(fec_from_name(name), information_bits);
              if (size_t(llr.size()) != code.coded_bits())
                  throw std::invalid_argument("fec_decode: " + std::to_string(llr.size()) + " LLRs, " + name +
                                              " needs " + std::to_string(code.coded_bits()));
              std::vector<uint8_t> out(information_bits);
              code.decode(llr.data(), out.data());
              return to_array(out);
          },
          py::arg("fec"), py::arg("llr"), py::arg("information_bits"),
          "LLRs of the coded bits (float32, positive for 1) to information bits (uint8).");
}
