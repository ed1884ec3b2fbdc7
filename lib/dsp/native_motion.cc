/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Of native_demodulator: channels that move within a frame. */
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
// Up to these, chance alone may do it, and drift() has a say: below drifting, movement would not convince.
constexpr double excessive = 1.4, excessive_late = 2, drifting = 1.1;
constexpr double convincing = 8;     // nats that movement must be likelier by
constexpr double least_power = 0.25; // of what is received, that is signal: no frame is found far below 0 dB
constexpr double forget = 0.03;      // of the Doppler shifts seen, a frame
constexpr double learn = 0.1;        // forgetting of the link's delay profile
constexpr double own_share = 0.5;    // of the frame's own delays in the prior, where the estimator knows them

} // namespace

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
std::vector<double> native_demodulator::delays(size_t symbols)
{
    auto& w = *d_work;
    const size_t taps = size_t(d_format.settings().cp_len + d_format.settings().cp_len / 4);
    const int n = d_format.geometry().fft_len;
    double power = 0, whole = 0;
    const auto knows = d_estimator->knows();
    const bool frames_own = knows == channel_stage::delays::frame;
    if (frames_own && w.own.empty()) { // the preamble says the same whenever it is asked
        channel_estimate first;
        std::swap(first, w.channel);
        const bool moving = w.moving;
        w.moving = false;
        w.observation.learn = false;
        estimate_channel({}, 2, true);
        w.observation.learn = true;
        w.moving = moving;
        std::swap(first, w.channel);
        w.own.resize(taps);
        double sum = 0;
        for (size_t l = 0; l < taps; l++) {
            cd tap = 0;
            for (int i = 0; i < n; i++)
                tap += cd(first.h[size_t(i)]) *
                       std::polar(1.0, 2 * M_PI * double(((i - n / 2) * long(l)) % n) / n);
            w.own[l] = std::norm(tap);
            sum += w.own[l];
        }
        for (double& p : w.own)
            p /= std::max(sum, 1e-30);
    }
    // Of all that is known: the preamble alone may be in a fade. Where it moves its noise is overestimated.
    double energy = 0;
    for (size_t s = 0; s < symbols; s++)
        for (int k : d_format.used()) {
            const size_t i = size_t(d_format.geometry().index(k));
            if (w.known[s][i] == cf(0) || w.doubt_of(s, i) > 0)
                continue;
            power += std::norm(w.y[s][i]) - w.first_noise;
            energy += std::norm(w.known[s][i]);
            whole += std::norm(w.y[s][i]);
        }
    power = std::max(std::max(power, least_power * whole) / std::max(energy, 1e-12), 1e-12);
    std::vector<double> profile(taps, 1.0 / double(taps));
    if (knows != channel_stage::delays::none && !d_profile.empty())
        profile = d_profile;
    for (size_t l = 0; l < taps && frames_own; l++)
        profile[l] = (1 - own_share) * profile[l] + own_share * w.own[l];
    for (double& p : profile)
        p = std::max(p, 1e-3 / double(taps)) * power;
    return profile;
}

//! A link's Doppler changes slowly: log of how often its frames had this one, over that of the most frequent.
double native_demodulator::rarity(size_t shift) const
{
    double most = 0;
    for (size_t i = 1; i < d_seen.size(); i++)
        most = std::max(most, d_seen[i]);
    return d_seen.empty() ? 0 : std::log((d_seen[shift] + 1) / (most + 1));
}

//! A frame that arrived had this Doppler shift.
void native_demodulator::remember(double doppler)
{
    d_seen.resize(std::size(shifts), 0.0);
    for (size_t i = 1; i < d_seen.size(); i++)
        d_seen[i] = (1 - forget) * d_seen[i] + (shifts[i] == doppler);
}

/*! The likeliest Doppler shift and ramp: uphill from the shift that the frame before had, then the ramps,
 * then the shifts again. The noise under it is the tracker's noise_scale(). */
native_demodulator::motion native_demodulator::likely_motion(const std::vector<double>& profile)
{
    const double per_symbol = double(d_format.geometry().symbol_len()) / d_format.geometry().fft_len;
    const auto at = [&](size_t shift, double ramp) {
        return d_tracker.likelihood(profile, shifts[shift] * per_symbol, ramp * per_symbol) + rarity(shift);
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
    if (!d_tracker.estimate(profile, m.doppler * per_symbol, m.ramp * per_symbol, w.h, w.error))
        return false;
    return w.moving = true;
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

/*! Energy of the straight lines in time through each carrier's residuals over that of what else is in them,
 * per degree of freedom: 1 (+-0.15) where one channel fits all symbols, whatever the noise. Costs next to
 * nothing. */
double native_demodulator::drift(size_t symbols) const
{
    const auto& w = *d_work;
    std::vector<cf> turn(symbols);
    for (size_t s = 0; s < symbols; s++)
        turn[s] = cf(std::polar(1.0, -w.phase[s]));
    double lines = 0, carriers = 0, rest = 0, freedom = 0;
    for (int k : d_format.used()) {
        const size_t i = size_t(d_format.geometry().index(k));
        const cf h = w.channel.h[i];
        float weight = 0, first = 0, second = 0, count = 0, energy = 0;
        cf sum = 0, moment = 0;
        for (size_t s = 0; s < symbols; s++) {
            const cf x = w.known[s][i];
            if (x == cf(0))
                continue;
            const cf e = w.y[s][i] * turn[s] - h * x, z = std::conj(x) * e;
            const float at = float(s), p = std::norm(x);
            weight += p;
            first += p * at;
            second += p * at * at;
            sum += z;
            moment += at * z;
            energy += std::norm(e);
            count++;
        }
        const float spread = second - first * first / std::max(weight, 1e-20f);
        if (count < 3 || !(spread > 0))
            continue;
        const float line = std::norm(moment - first / weight * sum) / spread;
        lines += line;
        carriers++;
        rest += std::max(energy - line - std::norm(sum) / weight, 0.0f);
        freedom += count - 2;
    }
    return lines / std::max(carriers, 1.0) / std::max(rest / std::max(freedom, 1.0), 1e-30);
}

//! Looks whether the channel moves, and if so follows it. \returns whether it does
bool native_demodulator::track_channel(native_frame& frame, size_t symbols)
{
    auto& w = *d_work;
    if (frame.doppler == 0 && frame.rounds == 0) {
        const double whole = w.noise_var / w.first_noise, late = late_residual(symbols) / w.first_noise;
        if (whole < suspicious && late < suspicious_late)
            return false;
        if (whole < excessive && late < excessive_late && drift(symbols) < drifting)
            return false;
    }
    const double noise_var = w.noise_var;
    const auto profile = delays(symbols);
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
    const auto profile = delays(symbols);
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
