/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "native_modulator.h"
#include "checksum.h"
#include <gnuradio/fft/fft.h>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;

class native_modulator::dft
{
public:
    explicit dft(int n) : inverse(n) {}
    gr::fft::fft_complex_rev inverse;
};

std::vector<cf> header_points(const native_format& format, const native_header& header)
{
    const auto bits = format.encode_header(header);
    std::vector<cf> points(bits.size() / 2);
    qam_of(2).map(bits.data(), points.data(), points.size());
    return points;
}

std::vector<cf> payload_points(const native_format& format, const native_header& header,
                               const uint8_t* payload)
{
    const auto bits = format.encode_payload(header, payload);
    std::vector<cf> points(bits.size() / header.bits_per_symbol);
    native_format::constellation(header).map(bits.data(), points.data(), points.size());
    return points;
}

native_modulator::native_modulator(const native_settings& settings)
    : d_format(settings), d_dft(std::make_unique<dft>(settings.fft_len))
{
}

native_modulator::~native_modulator() = default;

void native_modulator::set_bits_per_symbol(int bits)
{
    qam_of(bits);
    d_bits = bits;
}

void native_modulator::set_shaping(int index)
{
    if (index >= 0)
        shaped_payload::get(d_bits, d_code, uint32_t(index));
    d_shaping = index;
}

std::vector<cf> native_modulator::modulate(const uint8_t* payload, size_t length, uint8_t context)
{
    if (length > size_t(d_format.settings().max_payload))
        throw std::invalid_argument("native waveform: a payload of " + std::to_string(length) +
                                    " bytes; send at most max_payload = " +
                                    std::to_string(d_format.settings().max_payload) + " a frame");
    native_header h;
    h.length = uint16_t(length);
    h.bits_per_symbol = d_bits;
    h.code = d_code;
    h.number = d_number++;
    h.context = context;
    h.shaping = d_shaping;
    h.pilots = d_pilots;
    h.payload_crc = crc32(payload, length);
    d_header = h;

    auto points = header_points(d_format, h);
    const auto more = payload_points(d_format, h, payload);
    points.insert(points.end(), more.begin(), more.end());

    const auto& g = d_format.geometry();
    const float scale = float(d_format.scale());
    const size_t symbols = d_format.header_symbols() + d_format.payload_symbols(h);
    std::vector<cf> out;
    out.reserve(d_format.frame_len(h));
    auto emit = [&](const std::vector<cf>& shifted) {
        const int n = g.fft_len;
        cf* in = d_dft->inverse.get_inbuf();
        for (int i = 0; i < n; i++)
            in[i] = shifted[(i + n / 2) % n] * scale;
        d_dft->inverse.execute();
        const cf* x = d_dft->inverse.get_outbuf();
        out.insert(out.end(), x + n - g.cp_len, x + n);
        out.insert(out.end(), x, x + n);
    };
    emit(g.sync_word1);
    emit(g.sync_word2);
    size_t at = 0;
    for (size_t s = 0; s < symbols; s++) {
        std::vector<cf> shifted(g.fft_len);
        const auto& map = d_format.geometry(h, s);
        for (int k : map.data_set(s))
            shifted[g.index(k)] = points[at++];
        for (size_t i = 0; i < map.pilot_set(s).size(); i++)
            shifted[g.index(map.pilot_set(s)[i])] = map.pilot_values(s)[i];
        emit(shifted);
    }
    return out;
}

} // namespace gr::diffusion::dsp
