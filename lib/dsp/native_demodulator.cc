/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "native_demodulator.h"
#include "native_modulator.h"
#include "native_work.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;

namespace {

constexpr int distrusted = 3;

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
void native_demodulator::set_estimator(std::shared_ptr<channel_stage> stage)
{
    d_estimator = std::move(stage);
}

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
    w.own.clear();
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
        const std::vector<float> before = frame.llr;
        believe(frame, posterior);
        refine(frame, symbols, true);
        equalise(frame, front_symbols, count, frame.symbols, frame.symbol_noise);
        demap(frame);
        if (w.moving) {
            // Where much is still guessed: once more with what the code said and what the symbols say now,
            // before the decoder is asked again.
            for (size_t i = 0; i < std::min(posterior.size(), before.size()); i++)
                posterior[i] += frame.llr[i] - before[i];
            believe(frame, posterior);
            refine(frame, symbols, false);
            equalise(frame, front_symbols, count, frame.symbols, frame.symbol_noise);
            demap(frame);
        }
        decode(frame, round + 1 < rounds ? &posterior : nullptr);
    }

    if (w.moving && frame.payload_ok)
        remember(frame.doppler);

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
