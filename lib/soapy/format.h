/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <SoapySDR/Formats.h>
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace gr::diffusion::soapy {

enum class sample_format { cf32, cs16, cs8, cu8 };

inline sample_format parse_format(const std::string& name)
{
    if (name == SOAPY_SDR_CF32)
        return sample_format::cf32;
    if (name == SOAPY_SDR_CS16)
        return sample_format::cs16;
    if (name == SOAPY_SDR_CS8)
        return sample_format::cs8;
    if (name == SOAPY_SDR_CU8)
        return sample_format::cu8;
    throw std::runtime_error("virtual radio: stream format is '" + name + "', use CF32, CS16, CS8 or CU8");
}

inline size_t bytes_of(sample_format f)
{
    return f == sample_format::cf32 ? 8 : f == sample_format::cs16 ? 4 : 2;
}

//! Full scale 1.0 is 32768, 128, or 127.5 around 127.5.
inline void to_wire(sample_format f, const std::complex<float>* in, void* out, size_t n)
{
    const float* x = reinterpret_cast<const float*>(in);
    auto rounded = [](float v, float scale, float offset, float low, float high) {
        return std::min(std::max(std::nearbyint(v * scale + offset), low), high);
    };
    for (size_t i = 0; i < 2 * n; i++) {
        switch (f) {
        case sample_format::cf32: static_cast<float*>(out)[i] = x[i]; break;
        case sample_format::cs16:
            static_cast<int16_t*>(out)[i] = int16_t(rounded(x[i], 32768, 0, -32768, 32767));
            break;
        case sample_format::cs8:
            static_cast<int8_t*>(out)[i] = int8_t(rounded(x[i], 128, 0, -128, 127));
            break;
        case sample_format::cu8:
            static_cast<uint8_t*>(out)[i] = uint8_t(rounded(x[i], 127.5f, 127.5f, 0, 255));
            break;
        }
    }
}

inline void from_wire(sample_format f, const void* in, std::complex<float>* out, size_t n)
{
    float* x = reinterpret_cast<float*>(out);
    for (size_t i = 0; i < 2 * n; i++) {
        switch (f) {
        case sample_format::cf32: x[i] = static_cast<const float*>(in)[i]; break;
        case sample_format::cs16: x[i] = float(static_cast<const int16_t*>(in)[i]) / 32768; break;
        case sample_format::cs8: x[i] = float(static_cast<const int8_t*>(in)[i]) / 128; break;
        case sample_format::cu8: x[i] = (float(static_cast<const uint8_t*>(in)[i]) - 127.5f) / 127.5f; break;
        }
    }
}

} // namespace gr::diffusion::soapy
