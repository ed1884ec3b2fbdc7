/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Of native_demodulator: from samples to equalised carriers. */
#include "native_work.h"
#include "phase_tracker.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;
using cd = std::complex<double>;

namespace {

/*! to_i = from_i phase step^i; samples that are no number, or absurdly large, become zero. Four phases a
 *  stride apart, so that one product need not wait for the one before. */
void turn_samples(const cf* from, cf* to, size_t n, cd phase, cd step)
{
    double re[4], im[4];
    cd p = phase;
    for (int j = 0; j < 4; j++, p *= step) {
        re[j] = p.real();
        im[j] = p.imag();
    }
    const cd stride = step * step * step * step;
    const double a = stride.real(), b = stride.imag();
    for (size_t i = 0; i < n; i += 4)
        for (size_t j = 0; j < 4; j++) { // n is a multiple of 4
            const float x = from[i + j].real(), y = from[i + j].imag(), c = float(re[j]), d = float(im[j]);
            const bool good = std::abs(x) < 1e15f && std::abs(y) < 1e15f;
            to[i + j] = good ? cf(x * c - y * d, x * d + y * c) : cf(0);
            const double next = re[j] * a - im[j] * b;
            im[j] = re[j] * b + im[j] * a;
            re[j] = next;
        }
}

} // namespace

void native_demodulator::transform(const cf* samples, const native_header& header, size_t first, size_t count,
                                   double cfo)
{
    auto& w = *d_work;
    const auto& g = d_format.geometry();
    const int n = g.fft_len;
    w.y.resize(first + count);
    w.known.resize(first + count);
    const float unit = float(1 / (n * d_format.scale()));
    for (size_t s = first; s < first + count; s++) {
        const size_t start = s * g.symbol_len() + g.cp_len - g.cp_len / 4;
        const double turn = -2 * M_PI * cfo / n;
        // The absolute phase in double and anew for every symbol, or it drifts in long frames.
        cd phase = std::polar(1.0, std::remainder(turn * double(start), 2 * M_PI));
        const cd step = std::polar(1.0, turn);
        cf* in = w.dft.get_inbuf();
        turn_samples(samples + start, in, size_t(n), phase, step);
        w.dft.execute();
        w.y[s].resize(n);
        for (int i = 0; i < n; i++)
            w.y[s][i] = w.dft.get_outbuf()[(i + n / 2) % n] * unit;

        auto& known = w.known[s];
        if (s == 0) {
            known = g.sync_word1;
        } else if (s == 1) {
            known = g.sync_word2;
        } else {
            known.assign(n, cf(0));
            const auto& map = d_format.geometry(header, s - 2);
            for (size_t p = 0; p < map.pilot_set(s - 2).size(); p++)
                known[g.index(map.pilot_set(s - 2)[p])] = map.pilot_values(s - 2)[p];
        }
    }
}

void native_demodulator::estimate_channel(const native_frame&, size_t symbols, bool final)
{
    auto& w = *d_work;
    const auto& g = d_format.geometry();
    w.observation.carriers.clear();
    w.observation.ls.clear();
    w.observation.noise_var.clear();
    w.observation.final = final;
    // Symbol by symbol, so that its phase is turned once.
    w.sum.assign(size_t(g.fft_len), cd(0));
    w.energy.assign(size_t(g.fft_len), 0);
    for (size_t s = 0; s < symbols; s++) {
        const double c = std::cos(w.phase[s]), d = -std::sin(w.phase[s]);
        const cf *const x = w.known[s].data(), *const y = w.y[s].data();
        for (int k : d_format.used()) {
            const int i = g.index(k);
            if (x[i] == cf(0))
                continue;
            const float re = x[i].real() * y[i].real() + x[i].imag() * y[i].imag();
            const float im = x[i].real() * y[i].imag() - x[i].imag() * y[i].real();
            // What a soft decision leaves open is noise beside the noise.
            const float doubt = w.doubt_of(s, size_t(i));
            const double weight =
                doubt > 0 ? w.noise_var / (w.noise_var + doubt * std::norm(w.channel_of(s)[i])) : 1;
            w.sum[i] += weight * cd(re * c - im * d, re * d + im * c);
            w.energy[i] += weight * std::norm(x[i]);
        }
    }
    for (int k : d_format.used()) {
        const int i = g.index(k);
        if (w.energy[i] > 0) {
            w.observation.carriers.push_back(k);
            w.observation.ls.push_back(cf(w.sum[i] / w.energy[i]));
            w.observation.noise_var.push_back(float(w.noise_var / w.energy[i]));
        }
    }
    d_estimator->estimate(w.observation, w.channel);
}

void native_demodulator::track_phase(const native_frame&, size_t symbols)
{
    auto& w = *d_work;
    std::vector<cd> correlation(symbols - 1);
    std::vector<double> variance(symbols - 1, INFINITY);
    double power = 0;
    for (int k : d_format.used())
        power += std::norm(w.channel_of(0)[d_format.geometry().index(k)]);
    const double snr = power / std::max(w.noise_var * double(d_format.used().size()), 1e-30);
    // Entry 0 is sync word 2: no measurement, its phase is the reference.
    for (size_t s = 2; s < symbols; s++) {
        double energy = 0;
        cd sum = 0;
        for (int k : d_format.used()) {
            const int i = d_format.geometry().index(k);
            if (w.known[s][i] == cf(0))
                continue;
            const cf h = w.channel_of(s)[i], x = w.known[s][i], y = w.y[s][i];
            const float re = h.real() * x.real() - h.imag() * x.imag();
            const float im = h.real() * x.imag() + h.imag() * x.real();
            const float doubt = w.doubt_of(s, size_t(i));
            const double weight = doubt > 0 ? w.noise_var / (w.noise_var + doubt * std::norm(h)) : 1;
            sum += weight * cd(re * y.real() + im * y.imag(), re * y.imag() - im * y.real());
            energy += weight * (re * re + im * im);
        }
        correlation[s - 1] = sum;
        variance[s - 1] = w.noise_var / std::max(2 * energy, 1e-30);
    }
    const double step_std = std::sqrt(1e-4 + 1 / std::max(snr * double(d_format.used().size()), 1e-3));
    const auto track = phase_tracker::run(correlation, variance, std::min(step_std, 1.0));
    w.phase.assign(symbols, 0);
    w.phase_var.assign(symbols, 0);
    for (size_t s = 1; s < symbols; s++) {
        w.phase[s] = track.phase[s - 1];
        w.phase_var[s] = track.variance[s - 1];
    }
    w.walk = track.walk_var;
    w.step = track.step;
}

void native_demodulator::measure_noise(native_frame& frame, size_t symbols)
{
    auto& w = *d_work;
    double residual = 0, taken = 0;
    size_t count = 0;
    for (size_t s = 2; s < symbols; s++) {
        const cf turn = cf(std::polar(1.0, w.phase[s]));
        for (int k : d_format.used()) {
            const int i = d_format.geometry().index(k);
            if (w.known[s][i] == cf(0) || w.doubt_of(s, size_t(i)) > 0)
                continue;
            const cf expected = w.channel_of(s)[i] * w.known[s][i] * turn;
            residual += std::norm(w.y[s][i] - expected);
            count++;
        }
    }
    // The fit takes its share of the noise away; the error variance says how much of it.
    for (size_t i = 0; i < w.observation.carriers.size(); i++) {
        const int k = d_format.geometry().index(w.observation.carriers[i]);
        taken += std::min(1.0, double(w.channel.error_var[k] / w.observation.noise_var[i]));
    }
    // The preamble's own estimate counts as the degrees of freedom it has left.
    const double before = 1.5 * double(d_format.used().size());
    const double own = std::max(double(count) - taken, 0.5 * double(count));
    w.noise_var = (before * w.noise_var + residual * (double(count) / std::max(own, 1.0))) /
                  (before + double(count));
    frame.noise_var = w.noise_var;
}

void native_demodulator::equalise(const native_frame& frame, size_t first, size_t count, std::vector<cf>& x,
                                  std::vector<float>& noise_var) const
{
    auto& w = *d_work;
    const auto& g = d_format.geometry();
    const size_t per = d_format.geometry(frame.header, first - 2).data_set(0).size();
    x.resize(count * per);
    noise_var.resize(count * per);
    w.inverse.resize(w.channel.h.size());
    w.spread.resize(w.channel.h.size());
    for (size_t s = first, at = 0; s < first + count; s++) {
        // What depends on the carrier alone: conj(h) / |h|^2 and the noise beside it.
        const cf* const channel = w.channel_of(s);
        const float* const error = w.error_of(s);
        for (size_t i = 0; (s == first || w.moving) && i < w.channel.h.size(); i++) {
            const float power = std::max(std::norm(channel[i]), 1e-20f);
            w.inverse[i] = std::conj(channel[i]) / power;
            w.spread[i] = (w.noise_var + error[i]) / power;
        }
        const float c = float(std::cos(w.phase[s])), d = -float(std::sin(w.phase[s]));
        const cf* const y = w.y[s].data();
        for (int k : d_format.geometry(frame.header, s - 2).data_set(s - 2)) {
            const int i = g.index(k);
            const cf h = w.inverse[i];
            const float re = h.real() * c - h.imag() * d, im = h.real() * d + h.imag() * c;
            x[at] = { y[i].real() * re - y[i].imag() * im, y[i].real() * im + y[i].imag() * re };
            noise_var[at++] = float(w.spread[i] + w.phase_var[s]);
        }
    }
}

} // namespace gr::diffusion::dsp
