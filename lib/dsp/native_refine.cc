/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Of native_demodulator: channels that move within a frame, and rounds in which the decoder helps the
 * estimator. */
#include "checksum.h"
#include "native_work.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;
using cd = std::complex<double>;

namespace {

//! Doppler shifts that are tried, in subcarriers; the first one stands still.
constexpr double shifts[] = { 0, 0.004, 0.01, 0.02, 0.035, 0.055, 0.08 };
constexpr double suspicious = 1.15;  // of the residual over the preamble's noise: then movement is looked for
constexpr double suspicious_late = 1.4; // the same of the payload's pilots, which are few
constexpr double convincing = 8;     // nats that movement must be likelier by
constexpr double learn = 0.1;        // forgetting of the link's delay profile
constexpr double own_share = 0.5;    // of the frame's own delays in the prior, where the estimator knows them

} // namespace

void native_demodulator::demap(native_frame& frame)
{
    const qam& constellation = native_format::constellation(frame.header);
    frame.llr.resize(frame.symbols.size() * constellation.bits());
    d_demapper->demap(constellation, frame.symbols.data(), frame.symbol_noise.data(), frame.llr.data(),
                      frame.symbols.size());
    frame.note = d_demapper->note();
    frame.guarded = d_demapper->guarded();
    if (frame.corrected < 0 && frame.note.empty())
        frame.note = "guard: the fit of the radios does not hold in this frame";
    for (float& l : frame.llr)
        if (!std::isfinite(l))
            l = 0;
}

void native_demodulator::decode(native_frame& frame, std::vector<float>* posterior)
{
    try {
        // Nearly all frames arrive: what costs a second decoder is asked for when one did not.
        const bool later = posterior && payload_code::posterior_costs(frame.header.code);
        frame.payload = d_format.decode_payload(frame.header, frame.llr.data(), later ? nullptr : posterior);
        frame.payload_ok = crc32(frame.payload.data(), frame.payload.size()) == frame.header.payload_crc;
        if (later && !frame.payload_ok)
            d_format.decode_payload(frame.header, frame.llr.data(), posterior);
    } catch (const std::exception&) { // a code this installation lacks: the frame is lost, not the stream
        frame.payload.clear();
    }
}

//! The payload's symbols as the decoder now sees them: mean and variance of each, from its bits'
//! probabilities.
void native_demodulator::believe(const native_frame& frame, const std::vector<float>& posterior)
{
    auto& w = *d_work;
    const auto& g = d_format.geometry();
    const qam& c = native_format::constellation(frame.header);
    const size_t bits = size_t(c.bits()), points = c.points().size();
    const size_t first = 2 + d_format.header_symbols(), per = d_format.data_per_symbol(frame.header);
    w.doubt.assign(w.y.size(), {});
    std::vector<float> p(points);
    const float* llr = posterior.data();
    for (size_t s = first; s < w.y.size(); s++) {
        w.doubt[s].assign(size_t(g.fft_len), 0);
        const auto& carriers = d_format.geometry(frame.header, s - 2).data_set(s - 2);
        for (size_t j = 0; j < per; j++, llr += bits) {
            std::fill(p.begin(), p.end(), 1.0f);
            for (size_t b = 0; b < bits; b++) { // bit 0 is the label's highest
                const float one = 1 / (1 + std::exp(-std::clamp(llr[b], -30.0f, 30.0f)));
                for (size_t i = 0; i < points; i++)
                    p[i] *= i >> (bits - 1 - b) & 1 ? one : 1 - one;
            }
            cf mean = 0;
            float power = 0;
            for (size_t i = 0; i < points; i++) {
                mean += p[i] * c.points()[i];
                power += p[i] * std::norm(c.points()[i]);
            }
            const size_t i = size_t(g.index(carriers[j]));
            w.known[s][i] = std::norm(mean) > 1e-3f ? mean : cf(0);
            // never certain: so it is told from a pilot
            w.doubt[s][i] = std::max(power - std::norm(mean), 1e-6f);
        }
    }
}

//! Channel and phases with what the decoder believes.
void native_demodulator::refine(native_frame& frame, size_t symbols)
{
    auto& w = *d_work;
    if (w.moving) {
        // With so much more to go by: the motion once more, and the delays as the estimate before left them.
        const double noise_var = w.noise_var;
        auto profile = delays();
        if (d_estimator->knows() != channel_stage::delays::none)
            for (size_t l = 0; l < profile.size(); l++)
                profile[l] = 0.5 * (profile[l] + d_tracker.powers()[l]);
        observe(symbols, noise_var);
        d_motion = likely_motion(profile);
        track(profile, d_motion, symbols);
        frame.doppler = d_motion.doppler;
        return;
    }
    track_phase(frame, symbols);
    if (d_tracking && track_channel(frame, symbols))
        return;
    w.observation.learn = false; // it has learned from this frame
    w.observation.again = true;
    estimate_channel(frame, symbols, true);
    w.observation.learn = true;
    w.observation.again = false;
    measure_noise(frame, symbols);
}

//! All that is known of the first symbols, phases turned back.
void native_demodulator::observe(size_t symbols, double noise_var)
{
    auto& w = *d_work;
    d_tracker.clear(symbols);
    for (size_t s = 0; s < symbols; s++) {
        const cf turn = cf(std::polar(1.0, -w.phase[s]));
        for (int k : d_format.used()) {
            const size_t i = size_t(d_format.geometry().index(k));
            if (w.known[s][i] == cf(0))
                continue;
            const float doubt = w.doubt_of(s, i);
            d_tracker.add(s, i, w.known[s][i], w.y[s][i] * turn,
                          noise_var + (doubt > 0 ? doubt * std::norm(w.channel_of(s)[i]) : 0.0f));
        }
    }
}

/*! Mean powers of the delays, for the tracker: flat for an estimator that knows nothing of them, the link's
 * as learned from its frames, and where the estimator finds a frame's own delays half of that: what it says
 * about the preamble. */
std::vector<double> native_demodulator::delays()
{
    auto& w = *d_work;
    const size_t taps = size_t(d_format.settings().cp_len + d_format.settings().cp_len / 4);
    const int n = d_format.geometry().fft_len;
    double power = 0;
    const auto knows = d_estimator->knows();
    channel_estimate first;
    if (knows == channel_stage::delays::frame) {
        std::swap(first, w.channel);
        const bool moving = w.moving;
        w.moving = false;
        w.observation.learn = false;
        estimate_channel({}, 2, true);
        w.observation.learn = true;
        w.moving = moving;
        std::swap(first, w.channel);
    }
    for (size_t s = 0; s < 2; s++)
        for (int k : d_format.used()) {
            const size_t i = size_t(d_format.geometry().index(k));
            if (w.known[s][i] != cf(0))
                power += (std::norm(w.y[s][i]) - w.noise_var) / std::norm(w.known[s][i]);
        }
    power = std::max(power / (1.5 * double(d_format.used().size())), 1e-12);
    std::vector<double> profile(taps, 1.0 / double(taps));
    if (knows != channel_stage::delays::none && !d_profile.empty())
        profile = d_profile;
    if (knows == channel_stage::delays::frame) {
        std::vector<double> own(taps);
        double sum = 0;
        for (size_t l = 0; l < taps; l++) {
            cd tap = 0;
            for (int i = 0; i < n; i++)
                tap += cd(first.h[size_t(i)]) *
                       std::polar(1.0, 2 * M_PI * double(((i - n / 2) * long(l)) % n) / n);
            own[l] = std::norm(tap);
            sum += own[l];
        }
        for (size_t l = 0; l < taps; l++)
            profile[l] = (1 - own_share) * profile[l] + own_share * own[l] / std::max(sum, 1e-30);
    }
    for (double& p : profile)
        p = std::max(p, 1e-3 / double(taps)) * power;
    return profile;
}

/*! The likeliest Doppler shift and ramp: uphill from the shift that the frame before had, then the ramps,
 * then the shifts again. The noise under it is the tracker's noise_scale(). */
native_demodulator::motion native_demodulator::likely_motion(const std::vector<double>& profile)
{
    const double per_symbol = double(d_format.geometry().symbol_len()) / d_format.geometry().fft_len;
    const auto at = [&](size_t shift, double ramp) {
        return d_tracker.likelihood(profile, shifts[shift] * per_symbol, ramp * per_symbol);
    };
    motion best{ 0, 0, at(d_shift, 0) };
    const auto climb = [&] {
        for (int step : { -1, 1 }) {
            bool moved = false;
            for (size_t next = d_shift + size_t(step); next >= 1 && next < std::size(shifts);
                 next += size_t(step)) {
                const double likelihood = at(next, best.ramp);
                if (likelihood <= best.likelihood)
                    break;
                best.likelihood = likelihood;
                d_shift = next;
                moved = true;
            }
            if (moved)
                break;
        }
    };
    climb();
    const double unit = 0.4 * shifts[d_shift];
    for (double ramp : { -2 * unit, -unit, unit, 2 * unit }) {
        const double likelihood = at(d_shift, ramp);
        if (likelihood > best.likelihood) {
            best.likelihood = likelihood;
            best.ramp = ramp;
        }
    }
    if (best.ramp != 0)
        climb();
    at(d_shift, best.ramp);
    best.doppler = shifts[d_shift];
    return best;
}

//! Channel of every symbol for this Doppler shift (subcarriers).
bool native_demodulator::track(const std::vector<double>& profile, const motion& m, size_t symbols)
{
    auto& w = *d_work;
    const double per_symbol = double(d_format.geometry().symbol_len()) / d_format.geometry().fft_len;
    observe(symbols, w.noise_var);
    return d_tracker.estimate(profile, m.doppler * per_symbol, m.ramp * per_symbol, w.h, w.error) &&
           (w.moving = true);
}

//! Mean |y - h x|^2 on the payload's pilots.
double native_demodulator::late_residual(size_t symbols) const
{
    const auto& w = *d_work;
    double sum = 0, count = 0;
    for (size_t s = 2 + d_format.header_symbols(); s < symbols; s++) {
        const cf turn = cf(std::polar(1.0, w.phase[s]));
        for (int k : d_format.used()) {
            const size_t i = size_t(d_format.geometry().index(k));
            if (w.known[s][i] == cf(0))
                continue;
            sum += std::norm(w.y[s][i] - w.channel.h[i] * w.known[s][i] * turn);
            count++;
        }
    }
    return sum / std::max(count, 1.0);
}

//! Looks whether the channel moves, and if so follows it. \returns whether it does
bool native_demodulator::track_channel(native_frame& frame, size_t symbols)
{
    auto& w = *d_work;
    if (frame.doppler == 0 && frame.rounds == 0 && w.noise_var < suspicious * w.first_noise &&
        late_residual(symbols) < suspicious_late * w.first_noise)
        return false;
    const double noise_var = w.noise_var;
    const auto profile = delays();
    double still = -INFINITY;
    if (frame.doppler == 0) {
        observe(symbols, w.first_noise);
        still = d_tracker.likelihood(profile, 0, 0);
    }
    const auto phase = w.phase;
    w.phase.assign(symbols, 0); // a moving channel's phase is the channel's
    observe(symbols, w.first_noise);
    const motion motion = likely_motion(profile);
    bool moves = motion.likelihood > still + convincing;
    if (moves) {
        w.noise_var = w.first_noise * std::clamp(d_tracker.noise_scale(), 0.5, 100.0);
        moves = track(profile, motion, symbols);
    }
    if (!moves) {
        w.phase = phase;
        w.noise_var = noise_var;
        return false;
    }
    frame.doppler = motion.doppler;
    d_motion = motion;
    // The link's delays, from what this frame had of them.
    double sum = 0;
    for (double p : d_tracker.powers())
        sum += p;
    if (d_profile.empty())
        d_profile.assign(d_tracker.powers().size(), 1.0 / double(d_tracker.powers().size()));
    for (size_t l = 0; l < d_profile.size(); l++)
        d_profile[l] = (1 - learn) * d_profile[l] + learn * d_tracker.powers()[l] / std::max(sum, 1e-30);
    track_phase(frame, symbols); // oscillators walk faster than channels
    if (w.walk > 1e-5) {
        track(profile, motion, symbols);
    } else {
        w.phase.assign(symbols, 0);
        w.phase_var.assign(symbols, 0);
    }
    frame.noise_var = w.noise_var;
    return true;
}

//! A header that one channel for all its symbols could not read: once more, with one that moves.
void native_demodulator::moving_header(native_frame& frame)
{
    auto& w = *d_work;
    const size_t symbols = 2 + d_format.header_symbols();
    const auto phase = w.phase;
    const double noise_var = w.noise_var;
    const channel_estimate still = w.channel;
    w.phase.assign(symbols, 0);
    w.noise_var = w.first_noise;
    const auto profile = delays();
    observe(symbols, w.noise_var);
    const motion motion = likely_motion(profile);
    std::vector<cf> x;
    std::vector<float> noise, llr;
    if (track(profile, motion, symbols)) {
        equalise(frame, 2, d_format.header_symbols(), x, noise);
        llr.resize(2 * x.size());
        qam_of(2).soft(x.data(), noise.data(), llr.data(), x.size());
        if (const auto header = d_format.decode_header(llr.data())) {
            frame.header = *header;
            frame.header_ok = true;
            frame.doppler = motion.doppler;
            return;
        }
    }
    w.moving = false;
    w.phase = phase;
    w.noise_var = noise_var;
    w.channel = still;
}

} // namespace gr::diffusion::dsp
