/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stock_demodulator.h"
#include "phase_tracker.h"
#include "preamble_fit.h"
#include <gnuradio/fft/fft.h>
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;
using cd = std::complex<double>;

namespace {

const qam& constellation(int bits)
{
    static const qam bpsk(1), qpsk(2);
    return bits == 1 ? bpsk : qpsk;
}

//! gr-digital sends a symbol's label least significant bit first, the stages speak of it the other way.
template <typename T>
void reverse_labels(std::vector<T>& per_bit, int bits)
{
    if (bits == 2)
        for (size_t i = 0; i + 1 < per_bit.size(); i += 2)
            std::swap(per_bit[i], per_bit[i + 1]);
}

std::vector<cf> map_bits(std::vector<uint8_t> sent, int bits)
{
    reverse_labels(sent, bits);
    std::vector<cf> x(sent.size() / size_t(bits));
    constellation(bits).map(sent.data(), x.data(), x.size());
    return x;
}

//! E[x | LLRs as sent] and its variance for unit-power BPSK or QPSK.
void soft_symbol(const float* llr, int bits, cf& mean, float& variance)
{
    const float rail = bits == 1 ? 1.0f : std::sqrt(0.5f);
    const float re = rail * std::tanh(llr[0] / 2), im = bits == 1 ? 0 : rail * std::tanh(llr[1] / 2);
    mean = { re, im };
    variance = std::max(0.0f, 1 - std::norm(mean));
}

} // namespace

//! State of the packet at hand. Symbols 0 and 1 are the sync words, 2 the header.
struct stock_demodulator::work {
    explicit work(int n) : dft(n) {}

    gr::fft::fft_complex_fwd dft;
    std::vector<std::vector<cf>> y;        // [symbol][shifted carrier] = H X + noise
    std::vector<std::vector<cf>> mean;     // what was sent there as far as it is known; 0: nothing is
    std::vector<std::vector<float>> spread; // variance of that
    std::vector<double> phase, phase_var;
    double noise_var = 0, step = 0;
    channel_observation observation;
    channel_estimate channel;
};

stock_demodulator::stock_demodulator(const stock_settings& settings)
    : d_format(settings), d_active(geometry().active_carriers()),
      d_estimator(
          std::make_shared<lmmse_stage>(geometry().fft_len, geometry().cp_len + timing_backoff(geometry()))),
      d_demapper(std::make_shared<map_stage>()), d_work(std::make_unique<work>(geometry().fft_len))
{
}

stock_demodulator::~stock_demodulator() = default;

size_t stock_demodulator::frame_len(const stock_header& header, int bits_per_symbol) const
{
    return front_len() + d_format.payload_symbols(header, bits_per_symbol) * size_t(geometry().symbol_len());
}

void stock_demodulator::transform(const cf* samples, size_t first, size_t count, double cfo)
{
    auto& w = *d_work;
    const auto& g = geometry();
    const int n = g.fft_len;
    w.y.resize(first + count);
    w.mean.resize(first + count);
    w.spread.resize(first + count);
    for (size_t s = first; s < first + count; s++) {
        const size_t start = s * size_t(g.symbol_len()) + size_t(g.cp_len - timing_backoff(g));
        const double turn = -2 * M_PI * cfo / n;
        cd phase = std::polar(1.0, std::remainder(turn * double(start), 2 * M_PI));
        const cd step = std::polar(1.0, turn);
        cf* in = w.dft.get_inbuf();
        for (int i = 0; i < n; i++, phase *= step) {
            const cf x = samples[start + size_t(i)];
            const bool good = std::abs(x.real()) < 1e15f && std::abs(x.imag()) < 1e15f;
            in[i] = good ? x * cf(phase) : cf(0);
        }
        w.dft.execute();
        w.y[s].resize(size_t(n));
        for (int i = 0; i < n; i++)
            w.y[s][size_t(i)] = w.dft.get_outbuf()[(i + n / 2) % n] / float(n);

        w.spread[s].assign(size_t(n), 0);
        auto& mean = w.mean[s];
        mean.assign(size_t(n), cf(0));
        if (s == 0)
            mean = g.sync_word1;
        else if (s == 1)
            mean = g.sync_word2;
        else
            for (size_t p = 0; p < g.pilot_set(s - 2).size(); p++)
                mean[size_t(g.index(g.pilot_set(s - 2)[p]))] = g.pilot_values(s - 2)[p];
    }
}

void stock_demodulator::set_known(size_t s, const std::vector<uint8_t>& bits, int bps, float amplitude)
{
    const auto& set = geometry().data_set(s - 2);
    const std::vector<cf> x = map_bits(bits, bps);
    for (size_t i = 0; i < x.size() && i < set.size(); i++)
        d_work->mean[s][size_t(geometry().index(set[i]))] = amplitude * x[i];
}

//! Weighted least squares on every carrier (weights: noise plus what is unsure about x), then the stage.
void stock_demodulator::estimate_channel(size_t symbols, bool final, bool again)
{
    auto& w = *d_work;
    w.observation.carriers.clear();
    w.observation.ls.clear();
    w.observation.noise_var.clear();
    w.observation.final = final;
    w.observation.again = again;
    for (int k : d_active) {
        const size_t i = size_t(geometry().index(k));
        cd sum = 0;
        double weight = 0;
        const double power = w.channel.h.empty() ? 0 : std::norm(w.channel.h[i]);
        for (size_t s = 0; s < symbols; s++) {
            const cf x = w.mean[s][i];
            if (x == cf(0))
                continue;
            const double per = 1 / (w.noise_var + power * w.spread[s][i]);
            sum += per * cd(std::conj(x) * w.y[s][i]) * std::polar(1.0, -w.phase[s]);
            weight += per * std::norm(x);
        }
        if (weight > 0) {
            w.observation.carriers.push_back(k);
            w.observation.ls.push_back(cf(sum / weight));
            w.observation.noise_var.push_back(float(1 / weight));
        }
    }
    d_estimator->estimate(w.observation, w.channel);
}

void stock_demodulator::track_phase(size_t symbols)
{
    auto& w = *d_work;
    std::vector<cd> correlation(symbols - 1);
    std::vector<double> variance(symbols - 1, INFINITY);
    double power = 0;
    for (int k : d_active)
        power += std::norm(w.channel.h[size_t(geometry().index(k))]);
    // Entry 0 is sync word 2: no measurement, its phase is the reference.
    for (size_t s = 2; s < symbols; s++) {
        double energy = 0, unsure = 0;
        cd sum = 0;
        for (int k : d_active) {
            const size_t i = size_t(geometry().index(k));
            if (w.mean[s][i] == cf(0))
                continue;
            const cf reference = w.channel.h[i] * w.mean[s][i];
            const double per = w.noise_var / (w.noise_var + std::norm(w.channel.h[i]) * w.spread[s][i]);
            sum += per * cd(std::conj(reference) * w.y[s][i]);
            energy += per * std::norm(reference);
            unsure += per * std::norm(w.mean[s][i]) * w.channel.error_var[i];
        }
        correlation[s - 1] = sum;
        variance[s - 1] = (w.noise_var + unsure / std::max(1.0, double(d_active.size()))) /
                          std::max(2 * energy, 1e-30);
    }
    // The synchroniser's own error: phase of one symbol against the next, both at the preamble's SNR.
    const double step_std = std::sqrt(1e-4 + 2 * w.noise_var / std::max(power, 1e-30));
    const auto track = phase_tracker::run(correlation, variance, std::min(step_std, 1.0));
    w.phase.assign(symbols, 0);
    w.phase_var.assign(symbols, 0);
    w.phase[0] = -track.step;
    for (size_t s = 1; s < symbols; s++) {
        w.phase[s] = track.phase[s - 1];
        w.phase_var[s] = track.variance[s - 1];
    }
    w.step = track.step;
}

void stock_demodulator::equalise(size_t first, size_t count, float amplitude, std::vector<cf>& x,
                                 std::vector<float>& noise_var) const
{
    const auto& w = *d_work;
    x.clear();
    noise_var.clear();
    const float scale = 1 / (amplitude * amplitude);
    for (size_t s = first; s < first + count; s++) {
        const cf turn = cf(std::polar(1.0, -w.phase[s]));
        for (int k : geometry().data_set(s - 2)) {
            const size_t i = size_t(geometry().index(k));
            const float power = std::max(std::norm(w.channel.h[i]), 1e-20f);
            x.push_back(w.y[s][i] * turn * std::conj(w.channel.h[i]) / (power * amplitude));
            noise_var.push_back(float(w.noise_var * scale + w.channel.error_var[i]) / power +
                                float(w.phase_var[s]));
        }
    }
}

stock_frame stock_demodulator::front(const cf* y, const sync_frame& sync)
{
    auto& w = *d_work;
    const auto& settings = d_format.settings();
    stock_frame frame;
    frame.sync = sync;
    const size_t symbols = stock_format::front_symbols;
    transform(y, 0, symbols, sync.cfo);
    // A noise variance of exactly 0 (a simulation) would make reliabilities infinite.
    w.noise_var = std::max({ sync.noise_var, 1e-6 * sync.power, 1e-30 }) / geometry().fft_len;
    w.phase.assign(symbols, 0);
    w.phase_var.assign(symbols, 0);
    w.channel.h.clear();
    const float amplitude = settings.amplitude(settings.bps_header);
    // Bits 32 and up are zero before whitening: as good as pilots.
    const size_t info = size_t(stock_format::header_bits / settings.bps_header);
    const std::vector<cf> filler = map_bits(d_format.header_mask(), settings.bps_header);
    for (size_t i = info; i < filler.size(); i++)
        w.mean[2][size_t(geometry().index(geometry().data_set(0)[i]))] = amplitude * filler[i];
    estimate_channel(2, false);
    track_phase(symbols);
    estimate_channel(symbols, false);
    std::vector<cf> x;
    std::vector<float> noise_var;
    equalise(2, 1, amplitude, x, noise_var);
    std::vector<float> llr(x.size() * size_t(settings.bps_header));
    constellation(settings.bps_header).soft(x.data(), noise_var.data(), llr.data(), x.size());
    reverse_labels(llr, settings.bps_header);
    for (float& l : llr)
        l = std::isfinite(l) ? l : 0;
    if (const auto header = d_format.decode_header(llr.data())) {
        frame.header = *header;
        frame.header_ok = true;
        set_known(2, d_format.encode_header(*header), settings.bps_header, amplitude);
    }
    report(frame);
    return frame;
}

int stock_demodulator::guess_bits(const cf* y, const stock_frame& frame)
{
    if (d_format.settings().bps_payload)
        return d_format.settings().bps_payload;
    auto& w = *d_work;
    transform(y, stock_format::front_symbols, 1, frame.sync.cfo);
    w.phase.resize(stock_format::front_symbols);
    w.phase_var.resize(stock_format::front_symbols);
    w.phase.push_back(w.phase.back() + w.step);
    w.phase_var.push_back(0);
    double likelihood[3] = {};
    std::vector<cf> x;
    std::vector<float> noise_var;
    for (int bits : { 1, 2 }) {
        const float amplitude = d_format.settings().amplitude(bits);
        equalise(stock_format::front_symbols, 1, amplitude, x, noise_var);
        // The symbol's carriers beyond the payload's end are empty.
        const size_t used = std::min(x.size(), size_t(frame.header.length) * 8 / size_t(bits));
        for (size_t i = 0; i < used; i++) {
            double p = 0;
            const double v = std::max(noise_var[i], 1e-9f);
            for (const cf& point : constellation(bits).points())
                p += std::exp(-std::norm(x[i] - point) / v);
            // density of y: that of x times the Jacobian 1 / amplitude^2
            likelihood[bits] += std::log(std::max(p, 1e-300)) - std::log(v * amplitude * amplitude) -
                                bits * M_LN2;
        }
        likelihood[bits] /= std::max<double>(1, double(used));
    }
    return likelihood[1] > likelihood[2] ? 1 : 2;
}

void stock_demodulator::payload(const cf* y, stock_frame& frame, int bits)
{
    const size_t front = stock_format::front_symbols, count = d_format.payload_symbols(frame.header, bits);
    const size_t symbols = front + count;
    frame.bits_per_symbol = bits;
    transform(y, front, count, frame.sync.cfo);
    track_phase(symbols);
    estimate_channel(symbols, true);
    track_phase(symbols);
    for (frame.passes = 0;; frame.passes++) {
        decide(frame, count);
        if (frame.payload_ok || frame.passes >= d_max_passes)
            break;
        feed_back(frame.llr, frame, count);
        track_phase(symbols);
        estimate_channel(symbols, true);
        measure_noise(symbols);
    }
    if (frame.payload_ok) {
        // Everything sent is known now: the reports are better for it, and a stage may learn from it.
        std::vector<float> sure(frame.llr);
        for (float& l : sure)
            l = l > 0 ? 1e3f : -1e3f;
        feed_back(sure, frame, count);
        track_phase(symbols);
        estimate_channel(symbols, true, true);
        measure_noise(symbols);
    }
    report(frame);
}

void stock_demodulator::decide(stock_frame& frame, size_t count)
{
    const auto& c = constellation(frame.bits_per_symbol);
    equalise(stock_format::front_symbols, count, d_format.settings().amplitude(frame.bits_per_symbol),
             frame.symbols, frame.symbol_noise);
    const size_t used = (size_t(frame.header.length) * 8 + size_t(frame.bits_per_symbol) - 1) /
                        size_t(frame.bits_per_symbol);
    frame.symbols.resize(used);
    frame.symbol_noise.resize(used);
    frame.llr.resize(used * size_t(frame.bits_per_symbol));
    d_demapper->demap(c, frame.symbols.data(), frame.symbol_noise.data(), frame.llr.data(), used);
    reverse_labels(frame.llr, frame.bits_per_symbol);
    for (float& l : frame.llr)
        l = std::isfinite(l) ? l : 0;
    frame.payload = d_format.decode_payload(frame.llr.data(), size_t(frame.header.length), frame.payload_ok);
}

void stock_demodulator::feed_back(const std::vector<float>& llr, const stock_frame& frame, size_t count)
{
    auto& w = *d_work;
    const int bits = frame.bits_per_symbol;
    const float amplitude = d_format.settings().amplitude(bits);
    size_t at = 0;
    for (size_t s = stock_format::front_symbols; s < stock_format::front_symbols + count; s++)
        for (int k : geometry().data_set(s - 2)) {
            if (at == frame.symbols.size())
                return;
            const size_t i = size_t(geometry().index(k));
            cf mean;
            float variance;
            soft_symbol(llr.data() + at * size_t(bits), bits, mean, variance);
            w.mean[s][i] = amplitude * mean;
            w.spread[s][i] = amplitude * amplitude * variance;
            at++;
        }
}

void stock_demodulator::measure_noise(size_t symbols)
{
    auto& w = *d_work;
    // What a known or well decided symbol leaves over; the preamble's estimate as its degrees of freedom.
    double residual = 0, free = 0;
    for (size_t s = 2; s < symbols; s++)
        for (int k : d_active) {
            const size_t i = size_t(geometry().index(k));
            if (std::norm(w.mean[s][i]) < 20 * w.spread[s][i] || w.mean[s][i] == cf(0))
                continue;
            residual += std::norm(w.y[s][i] -
                                  w.channel.h[i] * w.mean[s][i] * cf(std::polar(1.0, w.phase[s])));
            free++;
        }
    const double taps = geometry().cp_len, before = 2 * double(d_active.size()) - taps;
    w.noise_var = (before * w.noise_var + residual) / (before + std::max(free - taps, 0.0));
}

void stock_demodulator::report(stock_frame& frame) const
{
    const auto& w = *d_work;
    const auto& g = geometry();
    double power = 0;
    for (int k : d_active)
        power += std::norm(w.channel.h[size_t(g.index(k))]);
    const double amplitude = frame.bits_per_symbol ? d_format.settings().amplitude(frame.bits_per_symbol) : 1;
    power *= amplitude * amplitude / double(d_active.size());
    frame.noise_var = w.noise_var;
    frame.snr_db = 10 * std::log10(std::max(power, 1e-30) / w.noise_var);
    frame.cfo = frame.sync.cfo + w.step * g.fft_len / (2 * M_PI * g.symbol_len());
    frame.channel = w.channel.h;
    frame.channel_error = w.channel.error_var;
}

} // namespace gr::diffusion::dsp
