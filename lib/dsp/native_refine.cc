/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Of native_demodulator: demapper, decoder, and rounds in which the decoder helps the estimator. */
#include "checksum.h"
#include "native_work.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;

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
            // Never certain: so it is told from a pilot.
            w.doubt[s][i] = std::max(power - std::norm(mean), 1e-6f);
        }
    }
}

//! Channel and phases with what the decoder believes; of a moving channel its motion too, or not.
void native_demodulator::refine(native_frame& frame, size_t symbols, bool motion)
{
    auto& w = *d_work;
    if (w.moving) {
        // With so much more to go by: the motion once more, and the delays as the estimate before left them.
        const double noise_var = w.noise_var;
        auto profile = delays(symbols);
        if (d_estimator->knows() != channel_stage::delays::none)
            for (size_t l = 0; l < profile.size(); l++)
                profile[l] = 0.5 * (profile[l] + d_tracker.powers()[l]);
        if (motion) {
            observe(symbols, noise_var);
            d_motion = likely_motion(profile);
        }
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

} // namespace gr::diffusion::dsp
