/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "channel.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {
constexpr double pi = 3.14159265358979323846;
constexpr size_t piece = 1024;
} // namespace

awgn::awgn(double noise_power, const std::string& law, uint64_t seed) : d_random(seed)
{
    if (law != "gaussian" && law != "laplacian")
        throw std::invalid_argument("awgn: law is '" + law + "', use gaussian or laplacian");
    d_laplacian = law == "laplacian";
    set_noise_power(noise_power);
}

void awgn::set_noise_power(double noise_power)
{
    if (!(noise_power >= 0) || !std::isfinite(noise_power))
        throw std::invalid_argument("awgn: noise_power is " + std::to_string(noise_power) +
                                    ", use E|n|^2, 0 or more");
    d_noise_power = noise_power;
    d_rail_scale = std::sqrt(noise_power) / 2; // a Laplacian of scale b has variance 2 b^2
}

double awgn::laplacian()
{
    const double u = d_random.uniform() - 0.5;
    // 1 - 2|u| is 0 once in 2^53 draws; the smallest double keeps the logarithm finite.
    const double magnitude = -std::log(std::max(1 - 2 * std::abs(u), 0x1p-54));
    return u < 0 ? -magnitude : magnitude;
}

void awgn::process(const std::complex<float>* in, std::complex<float>* out, size_t n)
{
    if (d_noise_power == 0) {
        std::copy_n(in, n, out);
    } else if (d_laplacian) {
        for (size_t i = 0; i < n; i++) {
            const double re = laplacian() * d_rail_scale, im = laplacian() * d_rail_scale;
            out[i] = in[i] + std::complex<float>(float(re), float(im));
        }
    } else {
        for (size_t i = 0; i < n; i++)
            out[i] = in[i] + d_random.complex_normal(d_noise_power);
    }
}

multipath::multipath(std::vector<std::complex<float>> taps) { set_taps(std::move(taps)); }

void multipath::set_taps(std::vector<std::complex<float>> taps)
{
    if (taps.empty() || taps.size() > max_taps)
        throw std::invalid_argument("multipath: " + std::to_string(taps.size()) + " taps, use 1 to 4096");
    for (auto h : taps)
        if (!std::isfinite(h.real()) || !std::isfinite(h.imag()))
            throw std::invalid_argument("multipath: a tap is not finite");
    const size_t old_lag = d_taps.empty() ? 0 : d_taps.size() - 1, lag = taps.size() - 1;
    std::vector<std::complex<float>> line(lag + piece);
    for (size_t i = 0; i < std::min(old_lag, lag); i++)
        line[lag - 1 - i] = d_line[old_lag - 1 - i];
    d_line = std::move(line);
    d_taps = std::move(taps);
    d_powers.clear();
    d_rays.clear();
    d_interval = 0;
}

multipath multipath::rayleigh(std::vector<double> powers, double doppler, uint64_t seed)
{
    if (!(doppler >= 0 && doppler <= 0.01))
        throw std::invalid_argument("multipath: doppler is " + std::to_string(doppler) +
                                    ", use 0 to 0.01 cycles a sample");
    for (double p : powers)
        if (!(p >= 0) || !std::isfinite(p))
            throw std::invalid_argument("multipath: a power of the profile is " + std::to_string(p) +
                                        ", use 0 or more");
    multipath m(std::vector<std::complex<float>>(powers.size()));
    m.d_powers = std::move(powers);
    m.d_doppler = doppler;
    m.d_random.reseed(seed);
    m.redraw();
    return m;
}

void multipath::redraw()
{
    if (d_powers.empty())
        return;
    if (d_doppler == 0) {
        for (size_t k = 0; k < d_taps.size(); k++)
            d_taps[k] = d_random.complex_normal(d_powers[k]);
        return;
    }
    d_rays.resize(d_taps.size() * sinusoids);
    for (auto& r : d_rays)
        r = { 2 * pi * d_doppler * std::cos(2 * pi * d_random.uniform()), 2 * pi * d_random.uniform() };
    d_time = 0;
    d_interval = std::max<uint64_t>(1, uint64_t(0.005 / d_doppler));
    update_fading();
}

void multipath::update_fading()
{
    for (size_t k = 0; k < d_taps.size(); k++) {
        double re = 0, im = 0;
        for (int s = 0; s < sinusoids; s++) {
            const auto& r = d_rays[k * sinusoids + s];
            const double phase = r.step * double(d_time) + r.phase;
            re += std::cos(phase);
            im += std::sin(phase);
        }
        const double scale = std::sqrt(d_powers[k] / sinusoids);
        d_taps[k] = { float(re * scale), float(im * scale) };
    }
}

void multipath::process(const std::complex<float>* in, std::complex<float>* out, size_t n)
{
    const size_t lag = d_taps.size() - 1;
    while (n > 0) {
        size_t m = std::min(n, piece);
        if (d_interval) {
            if (d_time % d_interval == 0)
                update_fading();
            m = std::min<uint64_t>(m, d_interval - d_time % d_interval);
        }
        std::copy_n(in, m, d_line.begin() + lag);
        std::fill_n(out, m, 0);
        for (size_t k = 0; k <= lag; k++) {
            const auto h = d_taps[k];
            if (h == 0.0f)
                continue;
            const auto* x = d_line.data() + lag - k;
            for (size_t i = 0; i < m; i++) // spelled out: operator* checks for NaN
                out[i] += std::complex<float>(x[i].real() * h.real() - x[i].imag() * h.imag(),
                                              x[i].real() * h.imag() + x[i].imag() * h.real());
        }
        std::copy_n(d_line.begin() + m, lag, d_line.begin());
        d_time += m;
        in += m;
        out += m;
        n -= m;
    }
}

void multipath::advance(uint64_t n)
{
    d_time += n;
    if (d_interval && d_time % d_interval) { // the taps of the last update, as if all samples had passed
        const uint64_t now = d_time;
        d_time -= now % d_interval;
        update_fading();
        d_time = now;
    }
}

void multipath::reset() { std::fill(d_line.begin(), d_line.end(), 0); }

} // namespace gr::diffusion::dsp
