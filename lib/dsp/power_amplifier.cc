/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "power_amplifier.h"
#include "data_file.h"
#include <nlohmann/json.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {

constexpr size_t piece = 512;
constexpr size_t max_branches = 256, max_order = 16, max_file_size = 1 << 20;

void require(bool ok, const char* name, double value, const char* remedy)
{
    if (!ok)
        throw std::invalid_argument("power amplifier: " + std::string(name) + " is " +
                                    std::to_string(value) + ", use " + remedy);
}

bool positive(double x) { return std::isfinite(x) && x > 0; }

} // namespace

power_amplifier power_amplifier::rapp(double smoothness, double saturation, double am_pm)
{
    require(smoothness >= 0.1 && smoothness <= 100, "smoothness", smoothness, "0.1 to 100");
    require(positive(saturation), "saturation", saturation, "a positive amplitude");
    require(std::isfinite(am_pm), "am_pm", am_pm, "radians");
    power_amplifier pa;
    pa.d_law = law::rapp;
    pa.d_parameter[0] = smoothness;
    pa.d_parameter[1] = am_pm;
    pa.d_saturation = saturation;
    return pa;
}

power_amplifier power_amplifier::saleh(double alpha_a, double beta_a, double alpha_p, double beta_p)
{
    require(positive(alpha_a), "alpha_a", alpha_a, "a positive gain");
    require(positive(beta_a), "beta_a", beta_a, "a positive number");
    require(std::isfinite(alpha_p), "alpha_p", alpha_p, "a finite number");
    require(std::isfinite(beta_p) && beta_p >= 0, "beta_p", beta_p, "0 or more");
    power_amplifier pa;
    pa.d_law = law::saleh;
    const double parameters[] = { alpha_a, beta_a, alpha_p, beta_p };
    std::copy(parameters, parameters + 4, pa.d_parameter);
    pa.d_saturation = 1 / std::sqrt(beta_a); // where the output is largest
    pa.d_gain = float(alpha_a);
    return pa;
}

power_amplifier power_amplifier::memory_polynomial(std::vector<pa_branch> branches,
                                                   double saturation,
                                                   std::complex<float> gain)
{
    const size_t count = branches.size();
    require(count > 0 && count <= max_branches, "number of branches", double(count), "1 to 256");
    require(positive(saturation), "saturation", saturation, "a positive amplitude");
    require(positive(std::abs(gain)), "gain", std::abs(gain), "a finite gain that is not 0");
    int lag = 0;
    for (const auto& b : branches) {
        const int envelope = b.delay + b.envelope_delay;
        require(b.delay >= 0 && b.delay <= max_lag, "delay", b.delay, "0 to 64 samples");
        require(envelope >= 0 && envelope <= max_lag, "delay + envelope_delay", envelope, "0 to 64 samples");
        require(!b.coefficients.empty() && b.coefficients.size() <= max_order,
                "number of coefficients",
                b.coefficients.size(),
                "1 to 16 a branch");
        for (auto c : b.coefficients)
            require(std::isfinite(c.real()) && std::isfinite(c.imag()), "coefficient", std::abs(c),
                    "a finite number");
        lag = std::max({ lag, b.delay, envelope });
    }
    power_amplifier pa;
    pa.d_law = law::polynomial;
    pa.d_branches = std::move(branches);
    pa.d_saturation = saturation;
    pa.d_gain = gain;
    pa.d_lag = lag;
    pa.d_line.assign(lag + piece, 0);
    pa.d_amplitude.assign(lag + piece, 0);
    return pa;
}

power_amplifier power_amplifier::load(const std::string& name)
{
    const std::string path = find_data_file(name, ".json");
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file || file.tellg() > std::streamoff(max_file_size))
        throw std::invalid_argument("power amplifier: " + path + " cannot be read or is larger than 1 MiB");
    file.seekg(0);
    try {
        const auto json = nlohmann::json::parse(file);
        if (json.at("format") != 1 || json.at("kind") != "memory_polynomial")
            throw std::invalid_argument("format 1 of kind memory_polynomial is expected");
        auto complex = [](const nlohmann::json& pair) {
            return std::complex<float>(pair.at(0).get<float>(), pair.at(1).get<float>());
        };
        std::vector<pa_branch> branches;
        for (const auto& item : json.at("branches")) {
            pa_branch branch{ item.at("delay").get<int>(), item.at("envelope_delay").get<int>(), {} };
            for (const auto& c : item.at("coefficients"))
                branch.coefficients.push_back(complex(c));
            branches.push_back(std::move(branch));
        }
        return memory_polynomial(
            std::move(branches), json.at("saturation").get<double>(), complex(json.at("gain")));
    } catch (const std::exception& e) {
        throw std::invalid_argument("power amplifier: " + path + " is not a coefficient file of `fit pa`: " +
                                    e.what());
    }
}

void power_amplifier::set_backoff(double db)
{
    require(db >= -60 && db <= 60, "back-off", db, "-60 to 60 dB");
    d_drive = float(d_saturation * std::pow(10.0, -db / 20));
    d_output_scale = 1.0f / (d_drive * d_gain);
}

void power_amplifier::clear_backoff()
{
    d_drive = 1;
    d_output_scale = 1;
}

void power_amplifier::reset()
{
    std::fill(d_line.begin(), d_line.end(), 0);
    std::fill(d_amplitude.begin(), d_amplitude.end(), 0);
}

void power_amplifier::process(const std::complex<float>* in, std::complex<float>* out, size_t n)
{
    switch (d_law) {
    case law::wire: std::copy_n(in, n, out); break;
    case law::rapp: process_rapp(in, out, n); break;
    case law::saleh: process_saleh(in, out, n); break;
    case law::polynomial: process_polynomial(in, out, n); break;
    }
}

void power_amplifier::process_rapp(const std::complex<float>* in, std::complex<float>* out, size_t n) const
{
    const float p = float(d_parameter[0]), am_pm = float(d_parameter[1]);
    const float to_u2 = float(double(d_drive) * d_drive / (d_saturation * d_saturation));
    const float scale = d_drive * d_output_scale.real();
    for (size_t i = 0; i < n; i++) {
        const float u2 = std::norm(in[i]) * to_u2;
        if (!std::isfinite(u2)) { // NaN, or an amplitude whose square overflows: saturated
            const float limit = float(d_saturation) * d_output_scale.real();
            out[i] = std::isnan(u2) ? 0 : std::polar(limit, std::arg(in[i]) + am_pm);
            continue;
        }
        // (1 + u^2p)^(1/2p), kept finite for large u by factoring u out.
        float compression;
        if (p == 2) {
            compression = u2 < 1e9f ? std::sqrt(std::sqrt(1 + u2 * u2)) : std::sqrt(u2);
        } else {
            const float power = u2 <= 1 ? std::pow(u2, p) : std::pow(u2, -p);
            compression = std::pow(1 + power, 1 / (2 * p)) * (u2 <= 1 ? 1.0f : std::sqrt(u2));
        }
        std::complex<float> y = in[i] * (scale / compression);
        if (am_pm != 0) {
            const float phase = am_pm * u2 / (1 + u2);
            y *= std::complex<float>(std::cos(phase), std::sin(phase));
        }
        out[i] = y;
    }
}

void power_amplifier::process_saleh(const std::complex<float>* in, std::complex<float>* out, size_t n) const
{
    const float alpha_a = float(d_parameter[0]), beta_a = float(d_parameter[1]);
    const float alpha_p = float(d_parameter[2]), beta_p = float(d_parameter[3]);
    const float drive2 = d_drive * d_drive, scale = d_drive * d_output_scale.real() * alpha_a;
    for (size_t i = 0; i < n; i++) {
        const float r2 = std::norm(in[i]) * drive2;
        if (!std::isfinite(r2)) { // the output falls as 1/r, so nothing is left of an infinite input
            out[i] = 0;
            continue;
        }
        const float phase = alpha_p * r2 / (1 + beta_p * r2);
        out[i] = in[i] * (scale / (1 + beta_a * r2)) * std::complex<float>(std::cos(phase), std::sin(phase));
    }
}

void power_amplifier::process_polynomial(const std::complex<float>* in, std::complex<float>* out, size_t n)
{
    const float limit = float(d_saturation);
    while (n > 0) {
        const size_t m = std::min(n, piece);
        for (size_t i = 0; i < m; i++) {
            std::complex<float> x = in[i] * d_drive;
            float r = std::abs(x);
            if (!(r <= limit)) {
                x = std::isfinite(r) ? x * (limit / r) : 0;
                r = std::isfinite(r) ? limit : 0;
            }
            d_line[d_lag + i] = x;
            d_amplitude[d_lag + i] = r;
        }
        std::fill_n(out, m, 0);
        for (const auto& branch : d_branches) {
            const auto* x = d_line.data() + d_lag - branch.delay;
            const auto* r = d_amplitude.data() + d_lag - branch.delay - branch.envelope_delay;
            const auto* c = branch.coefficients.data();
            const int order = int(branch.coefficients.size());
            for (size_t i = 0; i < m; i++) {
                float re = c[order - 1].real(), im = c[order - 1].imag();
                for (int k = order - 2; k >= 0; k--) {
                    re = re * r[i] + c[k].real();
                    im = im * r[i] + c[k].imag();
                }
                out[i] += std::complex<float>(x[i].real() * re - x[i].imag() * im,
                                              x[i].real() * im + x[i].imag() * re);
            }
        }
        for (size_t i = 0; i < m; i++)
            out[i] *= d_output_scale;
        std::copy_n(d_line.begin() + m, d_lag, d_line.begin());
        std::copy_n(d_amplitude.begin() + m, d_lag, d_amplitude.begin());
        in += m;
        out += m;
        n -= m;
    }
}

} // namespace gr::diffusion::dsp
