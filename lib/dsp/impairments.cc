/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "impairments.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {

constexpr double pi = 3.14159265358979323846;

struct number {
    const char* name;
    double impairment_settings::*member;
    double low, high;
    const char* unit;
};

const number numbers[] = {
    { "sample_rate", &impairment_settings::sample_rate, 1e-9, 1e12, "Hz" },
    { "signal_power", &impairment_settings::signal_power, 1e-12, 1e12, "E|x|^2" },
    { "iq_gain_db", &impairment_settings::iq_gain_db, -40, 40, "dB" },
    { "iq_phase_deg", &impairment_settings::iq_phase_deg, -90, 90, "degrees" },
    { "dc", &impairment_settings::dc, -100, 100, "of the signal's RMS" },
    { "backoff_db", &impairment_settings::backoff_db, -60, 60, "dB" },
    { "smoothness", &impairment_settings::smoothness, 0.1, 100, "(Rapp's p)" },
    { "am_pm", &impairment_settings::am_pm, -2 * pi, 2 * pi, "radians" },
    { "phase_noise_deg", &impairment_settings::phase_noise_deg, 0, 360, "degrees RMS" },
    { "linewidth_hz", &impairment_settings::linewidth_hz, 0, 1e12, "Hz" },
    { "cfo_hz", &impairment_settings::cfo_hz, -1e12, 1e12, "Hz" },
    { "kappa_tx", &impairment_settings::kappa_tx, 0, 10, "(amplitude)" },
    { "kappa_rx", &impairment_settings::kappa_rx, 0, 10, "(amplitude)" },
    { "output_gain_db", &impairment_settings::output_gain_db, -200, 200, "dB" },
};

const number& find_number(const std::string& key)
{
    for (const auto& n : numbers)
        if (key == n.name)
            return n;
    std::string names;
    for (const auto& name : impairments::setting_names())
        names += " " + name;
    throw std::invalid_argument("impairments: '" + key + "' is no setting, use one of" + names);
}

//! What a preset says, in fractions of the sample rate where it is in Hz.
impairment_settings preset(const std::string& name, double sample_rate, double signal_power, uint64_t seed)
{
    impairment_settings s;
    s.sample_rate = sample_rate;
    s.signal_power = signal_power;
    if (name == "mild") {
        s.iq_gain_db = 0.3;
        s.iq_phase_deg = 2;
        s.dc = 0.01;
        s.pa = "rapp";
        s.backoff_db = 8;
        s.linewidth_hz = 1e-6 * sample_rate;
        s.cfo_hz = 1e-4 * sample_rate;
        s.kappa_tx = s.kappa_rx = 0.01;
    } else if (name == "reference-s1") {
        s.kappa_tx = s.kappa_rx = 0.1;
    } else if (name == "reference-s2") {
        s.iq_gain_db = 1;
        s.iq_phase_deg = 5;
        s.dc = 0.05;
        s.pa = "rapp";
        s.backoff_db = 3;
        s.phase_noise_deg = 4;
        s.kappa_tx = s.kappa_rx = 0.05;
    } else if (name == "harsh") {
        s.iq_gain_db = 2;
        s.iq_phase_deg = 10;
        s.dc = 0.1;
        s.pa = "rapp";
        s.backoff_db = 1;
        s.linewidth_hz = 1e-5 * sample_rate;
        s.cfo_hz = 1e-3 * sample_rate;
        s.kappa_tx = s.kappa_rx = 0.1;
    } else if (name == "random") { // between a good radio and a bad one, uniform in the units' usual scale
        random_source draw(seed ^ 0x68770000ull << 32);
        const auto between = [&](double low, double high) { return low + (high - low) * draw.uniform(); };
        s.iq_gain_db = between(-1, 1);
        s.iq_phase_deg = between(-5, 5);
        s.dc = between(-0.05, 0.05);
        s.pa = "rapp";
        s.backoff_db = between(3, 9);
        s.smoothness = between(1, 3);
        s.am_pm = between(0, 0.4);
        s.linewidth_hz = std::pow(10.0, between(-7, -5)) * sample_rate;
        s.cfo_hz = between(-2e-4, 2e-4) * sample_rate;
        s.kappa_tx = between(0.01, 0.05);
        s.kappa_rx = between(0.01, 0.05);
    } else if (name != "off") {
        throw std::invalid_argument("impairments: there is no preset '" + name +
                                    "', use off, mild, reference-s1, reference-s2, harsh or random");
    }
    return s;
}

} // namespace

const std::vector<std::string>& impairments::preset_names()
{
    static const std::vector<std::string> names = { "off",          "mild",  "reference-s1",
                                                    "reference-s2", "harsh", "random" };
    return names;
}

const std::vector<std::string>& impairments::setting_names()
{
    static const std::vector<std::string> names = [] {
        std::vector<std::string> result = { "pa", "order" };
        for (const auto& n : numbers)
            result.push_back(n.name);
        return result;
    }();
    return names;
}

impairments::impairments(const std::string& preset_name, double sample_rate, uint64_t seed)
    : d_seed(seed)
{
    set("sample_rate", sample_rate);
    set_preset(preset_name);
    reset(seed);
}

void impairments::reset(uint64_t seed)
{
    d_seed = seed;
    // Unrelated sequences from one seed; random_source spreads it over its whole state.
    d_iid.reseed(seed ^ 0x69696400ull << 32);
    d_wiener.reseed(seed ^ 0x77696e00ull << 32);
    d_kappa.reseed(seed ^ 0x6b617000ull << 32);
    d_phase = 0;
    d_amplifier.reset();
}

void impairments::set_preset(const std::string& name)
{
    apply(preset(name, d_settings.sample_rate, d_settings.signal_power, d_seed));
}

void impairments::set(const std::string& key, double value)
{
    const number& n = find_number(key);
    if (!(value >= n.low && value <= n.high)) // written so that NaN fails
        throw std::invalid_argument("impairments: " + key + " is " + std::to_string(value) + ", use " +
                                    std::to_string(n.low) + " to " + std::to_string(n.high) + " " + n.unit);
    impairment_settings s = d_settings;
    s.*n.member = value;
    apply(std::move(s));
}

void impairments::set(const std::string& key, const std::string& value)
{
    impairment_settings s = d_settings;
    if (key == "pa") {
        s.pa = value;
    } else if (key == "order") {
        if (value != "tx" && value != "rx")
            throw std::invalid_argument("impairments: order is '" + value + "', use tx or rx");
        s.order = value;
    } else {
        find_number(key); // says so if it is no setting at all
        throw std::invalid_argument("impairments: " + key + " is '" + value + "', use a number");
    }
    apply(std::move(s));
}

double impairments::get(const std::string& key) const { return d_settings.*find_number(key).member; }

void impairments::apply(impairment_settings s)
{
    const auto& old = d_settings;
    if (s.pa != old.pa || s.smoothness != old.smoothness || s.am_pm != old.am_pm) {
        power_amplifier pa; // throws here, before anything has changed
        if (s.pa == "rapp")
            pa = power_amplifier::rapp(s.smoothness, 1, s.am_pm);
        else if (s.pa == "saleh")
            pa = power_amplifier::saleh();
        else if (s.pa != "off")
            pa = power_amplifier::load(s.pa);
        d_amplifier = std::move(pa);
    }
    d_settings = std::move(s);
    update();
}

void impairments::update()
{
    const auto& s = d_settings;
    const double rms = std::sqrt(s.signal_power);
    const double g = std::pow(10.0, s.iq_gain_db / 20), phi = s.iq_phase_deg * pi / 180;
    d_qq = float(g * std::cos(phi));
    d_qi = float(g * std::sin(phi));
    d_dc = float(s.dc * rms / std::sqrt(2.0));
    d_mixer_on = s.iq_gain_db != 0 || s.iq_phase_deg != 0 || s.dc != 0;
    if (s.pa != "off")
        d_amplifier.set_backoff(s.backoff_db);
    d_pa_in = float(1 / rms);
    d_gain = float(std::pow(10.0, s.output_gain_db / 20));
    d_pa_out = float(rms);
    d_cfo_step = 2 * pi * std::fmod(s.cfo_hz / s.sample_rate, 1.0);
    d_wiener_step = std::sqrt(2 * pi * s.linewidth_hz / s.sample_rate);
    d_iid_rms = s.phase_noise_deg * pi / 180;
    d_oscillator_on = d_cfo_step != 0 || d_wiener_step != 0 || d_iid_rms != 0 || d_phase != 0;
    const double kt2 = s.kappa_tx * s.kappa_tx, kr2 = s.kappa_rx * s.kappa_rx;
    d_kappa_power = (kt2 + kr2 * (1 + kt2)) * s.signal_power;
}

void impairments::process(const std::complex<float>* in, std::complex<float>* out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const bool finite = std::isfinite(in[i].real()) && std::isfinite(in[i].imag());
        d_not_finite += !finite;
        out[i] = finite ? in[i] : 0;
    }
    if (d_settings.order == "tx") {
        mixer(out, n);
        amplifier(out, n);
        oscillator(out, n);
    } else {
        oscillator(out, n);
        mixer(out, n);
        if (d_gain != 1)
            for (size_t i = 0; i < n; i++)
                out[i] *= d_gain;
    }
    distortion(out, n);
}

void impairments::mixer(std::complex<float>* x, size_t n) const
{
    if (!d_mixer_on)
        return;
    for (size_t i = 0; i < n; i++) {
        const float re = x[i].real(), im = x[i].imag();
        x[i] = { re + d_dc, d_qq * im + d_qi * re + d_dc };
    }
}

void impairments::amplifier(std::complex<float>* x, size_t n)
{
    if (d_settings.pa != "off") {
        if (d_pa_in != 1)
            for (size_t i = 0; i < n; i++)
                x[i] *= d_pa_in;
        d_amplifier.process(x, x, n);
    }
    const float gain = (d_settings.pa != "off" ? d_pa_out : 1) * d_gain;
    if (gain != 1)
        for (size_t i = 0; i < n; i++)
            x[i] *= gain;
}

void impairments::oscillator(std::complex<float>* x, size_t n)
{
    if (!d_oscillator_on)
        return;
    for (size_t i = 0; i < n; i++) {
        const double phase = d_iid_rms != 0 ? d_phase + d_iid_rms * d_iid.normal() : d_phase;
        x[i] *= std::complex<float>(float(std::cos(phase)), float(std::sin(phase)));
        d_phase += d_cfo_step;
        if (d_wiener_step != 0)
            d_phase += d_wiener_step * d_wiener.normal();
        if (std::abs(d_phase) > pi)
            d_phase = std::remainder(d_phase, 2 * pi);
    }
}

void impairments::distortion(std::complex<float>* x, size_t n)
{
    if (d_kappa_power == 0)
        return;
    for (size_t i = 0; i < n; i++)
        x[i] += d_kappa.complex_normal(d_kappa_power);
}

std::vector<std::complex<float>> impairments::warp(const std::vector<std::complex<float>>& points) const
{
    impairments memoryless = *this;
    memoryless.d_amplifier.reset();
    std::vector<std::complex<float>> result = points;
    memoryless.mixer(result.data(), result.size());
    if (d_settings.order == "tx")
        memoryless.amplifier(result.data(), result.size());
    return result;
}

void impairments::renormalise(const std::vector<std::complex<float>>& points)
{
    auto power = [](const std::vector<std::complex<float>>& x) {
        double sum = 0;
        for (auto v : x)
            sum += std::norm(v);
        return sum / double(x.size());
    };
    if (points.empty() || !(power(points) > 0) || !std::isfinite(power(points)))
        throw std::invalid_argument(
            "impairments: renormalise needs the points of a constellation, finite and "
            "not all zero");
    set("output_gain_db", 0.0);
    set("output_gain_db", 10 * std::log10(power(points) / power(warp(points))));
}

} // namespace gr::diffusion::dsp
