/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "native_demodulator.h"
#include "checksum.h"
#include "native_modulator.h"
#include "native_work.h"
#include "phase_tracker.h"
#include "soft_level.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>

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

constexpr int distrusted = 3, most_distrust = 6;

} // namespace

native_demodulator::native_demodulator(const native_settings& settings)
    : d_format(settings),
      d_estimator(std::make_shared<lmmse_stage>(settings.fft_len, settings.cp_len + settings.cp_len / 4)),
      d_demapper(std::make_shared<map_stage>()),
      d_tracker(settings.fft_len, settings.cp_len + settings.cp_len / 4),
      d_work(std::make_unique<work>(settings.fft_len))
{
}

native_demodulator::~native_demodulator() = default;
void native_demodulator::set_estimator(std::shared_ptr<channel_stage> stage) { d_estimator = std::move(stage); }
void native_demodulator::set_demapper(std::shared_ptr<demapper_stage> stage)
{
    d_demapper = std::move(stage);
    d_demapper->set_guard(d_guard);
    d_correction = d_demapper->correction();
    d_distrust = 0;
}

void native_demodulator::set_data_aided_rounds(int rounds)
{
    if (rounds < 0 || rounds > 3)
        throw std::invalid_argument("data_aided_rounds is " + std::to_string(rounds) + "; use 0 to 3");
    d_rounds = rounds;
}

void native_demodulator::set_guard(bool on)
{
    d_guard = on;
    d_distrust = 0;
    d_demapper->set_guard(on);
}


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
            const double weight = doubt > 0 ? w.noise_var / (w.noise_var + doubt * std::norm(w.channel_of(s)[i])) : 1;
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
            const float re = h.real() * x.real() - h.imag() * x.imag(), im = h.real() * x.imag() + h.imag() * x.real();
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

native_frame native_demodulator::front(const cf* y, const sync_frame& sync)
{
    auto& w = *d_work;
    native_frame frame;
    frame.sync = sync;
    frame.cfo = sync.cfo;
    const size_t symbols = 2 + d_format.header_symbols();
    transform(y, {}, 0, symbols, sync.cfo);
    // A noise variance of exactly 0 (a simulation) would make reliabilities infinite.
    const double n_over_used = double(d_format.geometry().fft_len) / double(d_format.used().size());
    const double power = std::max(sync.power, 1e-30);
    w.noise_var = w.first_noise = std::max(sync.noise_var, 1e-6 * power) / n_over_used;
    w.moving = false;
    w.doubt.clear();
    w.phase.assign(symbols, 0);
    w.phase_var.assign(symbols, 0);
    estimate_channel(frame, 2, false);
    track_phase(frame, symbols);
    std::vector<cf> x;
    std::vector<float> noise_var;
    equalise(frame, 2, d_format.header_symbols(), x, noise_var);
    std::vector<float> llr(2 * x.size());
    qam_of(2).soft(x.data(), noise_var.data(), llr.data(), x.size());
    if (const auto header = d_format.decode_header(llr.data())) {
        frame.header = *header;
        frame.header_ok = true;
    } else if (d_tracking) {
        moving_header(frame);
    }
    frame.noise_var = w.noise_var;
    frame.snr_db = sync.snr_db + 10 * std::log10(n_over_used);
    frame.channel = w.channel.h;
    frame.channel_error = w.channel.error_var;
    return frame;
}

void native_demodulator::payload(const cf* y, native_frame& frame)
{
    auto& w = *d_work;
    const auto& g = d_format.geometry();
    const size_t front_symbols = 2 + d_format.header_symbols();
    const size_t count = d_format.payload_symbols(frame.header), symbols = front_symbols + count;
    transform(y, frame.header, front_symbols, count, frame.sync.cfo);
    const auto sent = header_points(d_format, frame.header);
    for (size_t s = 2, at = 0; s < front_symbols; s++)
        for (int k : g.data_set(s - 2))
            w.known[s][g.index(k)] = sent[at++];

    // Known symbols as these radios send them. A correction that did harm is tried every eighth frame only.
    const bool correct = d_correction && d_correction->has_distortion() &&
                         (d_distrust < distrusted || d_frames++ % 8 == 0);
    w.moving = false;
    w.doubt.clear();
    if (correct) {
        std::vector<cf> added(size_t(g.fft_len));
        for (size_t s = 0; s < front_symbols; s++) {
            distort(w.known[s].data(), added.data());
            for (int i = 0; i < g.fft_len; i++)
                if (w.known[s][i] != cf(0))
                    w.known[s][i] += added[i];
        }
    }
    track_phase(frame, symbols);
    estimate_channel(frame, symbols, false);
    measure_noise(frame, correct ? front_symbols : symbols); // the payload's pilots still hold the distortion
    track_phase(frame, symbols);
    if (!d_tracking || !track_channel(frame, symbols))
        estimate_channel(frame, symbols, true);
    equalise(frame, front_symbols, count, frame.symbols, frame.symbol_noise);
    if (correct)
        undo_distortion(frame, front_symbols, count);
    else if (d_correction && d_correction->has_distortion())
        frame.corrected = -1;

    demap(frame);
    std::vector<float> posterior;
    const int rounds = correct ? 0 : d_rounds; // behind a correction the symbols are no longer the channel's
    decode(frame, rounds > 0 ? &posterior : nullptr);
    // A frame that arrived needs no further round.
    for (int round = 0; round < rounds && !frame.payload_ok && !posterior.empty(); round++) {
        frame.rounds = round + 1;
        believe(frame, posterior);
        refine(frame, symbols);
        equalise(frame, front_symbols, count, frame.symbols, frame.symbol_noise);
        demap(frame);
        decode(frame, round + 1 < rounds ? &posterior : nullptr);
    }

    double power = 0;
    for (size_t s = 0; s < (w.moving ? symbols : 1); s++)
        for (int k : d_format.used())
            power += std::norm(w.channel_of(s)[g.index(k)]) / double(w.moving ? symbols : 1);
    if (w.moving) {
        frame.channels = w.h;
        for (size_t s = 0; s < symbols; s++)
            for (int i = 0; i < g.fft_len; i++)
                frame.channels[s * size_t(g.fft_len) + size_t(i)] *= cf(std::polar(1.0, w.phase[s]));
        // One channel for those who want one: that of the frame's middle.
        w.channel.h.assign(w.channel_of(symbols / 2), w.channel_of(symbols / 2) + g.fft_len);
        w.channel.error_var.assign(w.error_of(symbols / 2), w.error_of(symbols / 2) + g.fft_len);
    }
    frame.snr_db = 10 * std::log10(std::max(power / double(d_format.used().size()), 1e-30) / frame.noise_var);
    frame.cfo = frame.sync.cfo + w.step * g.fft_len / (2 * M_PI * g.symbol_len());
    frame.phase_walk = w.walk;
    frame.channel = w.channel.h;
    frame.channel_error = w.channel.error_var;
    evaluate(frame);
}

//! What the transmitter adds to the carriers of a symbol, \p grid and \p added shifted, fft_len values.
void native_demodulator::distort(const cf* grid, cf* added)
{
    auto& w = *d_work;
    const int n = d_format.geometry().fft_len;
    const float scale = std::sqrt(float(d_format.used().size()));
    for (int i = 0; i < n; i++)
        w.idft.get_inbuf()[(i + n / 2) % n] = grid[i];
    w.idft.execute();
    for (int i = 0; i < n; i++)
        w.dft.get_inbuf()[i] = d_correction->distortion(w.idft.get_outbuf()[i] / scale);
    w.dft.execute();
    for (int i = 0; i < n; i++)
        added[i] = w.dft.get_outbuf()[(i + n / 2) % n] * (scale / float(n));
}

/* The distortion is the transmitter's own doing, so it follows from the symbols as decided: twice around, decisions
 * soft. The pilots, which no decision touches, say whether it helped: else the frame stays as it was. */
void native_demodulator::undo_distortion(native_frame& frame, size_t first, size_t count)
{
    auto& w = *d_work;
    const auto& g = d_format.geometry();
    const qam& plain = qam_of(frame.header.bits_per_symbol);
    const qam& c = native_format::constellation(frame.header);
    const bool one_rail = c.bits() == 1;
    const int levels = one_rail ? 2 : 1 << (c.bits() / 2);
    const float spacing = (one_rail ? 2 : std::sqrt(6.0f / (float(levels) * float(levels) - 1))) *
                          std::abs(c.points()[0] / plain.points()[0]); // a shaped payload's points are scaled
    const size_t per = d_format.data_per_symbol(frame.header);
    std::vector<cf> x = frame.symbols, grid(size_t(g.fft_len)), added(size_t(g.fft_len));
    double before = 0, after = 0;
    for (int round = 0; round < 2; round++) {
        before = after = 0;
        for (size_t s = first; s < first + count; s++) {
            std::fill(grid.begin(), grid.end(), cf(0));
            const auto& map = d_format.geometry(frame.header, s - 2);
            const auto& carriers = map.data_set(s - 2);
            const size_t at = (s - first) * per;
            for (size_t j = 0; j < per; j++) {
                const cf z = x[at + j];
                const float noise = frame.symbol_noise[at + j];
                grid[size_t(g.index(carriers[j]))] = { soft_level(z.real(), noise, levels, spacing),
                                                       one_rail ? 0 : soft_level(z.imag(), noise, levels, spacing) };
            }
            const auto& pilots = map.pilot_set(s - 2);
            for (size_t p = 0; p < pilots.size(); p++)
                grid[size_t(g.index(pilots[p]))] = map.pilot_values(s - 2)[p];
            distort(grid.data(), added.data());
            for (size_t j = 0; j < per; j++)
                x[at + j] = frame.symbols[at + j] - added[size_t(g.index(carriers[j]))];
            const cf turn = cf(std::polar(1.0, w.phase[s]));
            for (size_t p = 0; p < pilots.size(); p++) {
                const size_t i = size_t(g.index(pilots[p]));
                const cf h = w.channel_of(s)[i] * turn, e = w.y[s][i] - h * grid[i];
                before += std::norm(e);
                after += std::norm(e - h * added[i]);
            }
        }
    }
    const bool helps = after < before;
    d_distrust = std::clamp(d_distrust + (helps ? -1 : 1), 0, most_distrust);
    frame.corrected = helps ? 1 : -1;
    const double pilots = double(count * (d_format.used().size() - per));
    if (helps || !d_guard) {
        frame.symbols = std::move(x);
    } else if (pilots > 0) { // the noise was measured on symbols that the wrong correction had warped
        const float ratio = float(std::max(1.0, before / pilots / std::max(w.noise_var, 1e-30)));
        for (float& v : frame.symbol_noise)
            v *= ratio;
    }
}

void native_demodulator::evaluate(native_frame& frame) const
{
    const qam& constellation = native_format::constellation(frame.header);
    std::vector<cf> x;
    frame.decided = !frame.payload_ok;
    if (frame.payload_ok) {
        x = payload_points(d_format, frame.header, frame.payload.data());
    } else {
        std::vector<uint8_t> labels(frame.symbols.size());
        constellation.decide(frame.symbols.data(), labels.data(), labels.size());
        x.reserve(labels.size());
        for (uint8_t label : labels)
            x.push_back(constellation.points()[label]);
    }
    double error = 0, signal = 0;
    const auto& g = d_format.geometry();
    const size_t per = d_format.data_per_symbol(frame.header);
    for (size_t i = 0, s = d_format.header_symbols(); i < x.size(); i += per, s++)
        for (size_t j = 0; j < per; j++) {
            const int carrier = g.index(d_format.geometry(frame.header, s).data_set(s)[j]);
            const double gain = std::norm(d_work->channel_of(s + 2)[carrier]);
            error += gain * std::norm(frame.symbols[i + j] - x[i + j]);
            signal += gain * std::norm(x[i + j]);
        }
    frame.evm_db = signal > 0 ? 10 * std::log10(std::max(error / signal, 1e-12)) : 0;
}

} // namespace gr::diffusion::dsp
