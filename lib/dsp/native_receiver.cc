/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "native_receiver.h"
#include <algorithm>

namespace gr::diffusion::dsp {

native_receiver::native_receiver(const native_settings& settings, const sync_settings& sync)
    : d_demodulator(settings), d_sync(d_demodulator.format().geometry(), sync)
{
}

void native_receiver::process(const std::complex<float>* in, size_t n, std::vector<native_frame>& frames)
{
    if (const auto* correction = d_demodulator.correction()) {
        d_conditioned.resize(n);
        correction->condition(in, d_conditioned.data(), n);
        in = d_conditioned.data();
    }
    d_buffer.insert(d_buffer.end(), in, in + n);
    d_sync.process(in, n, d_found);
    advance(frames, false);
}

void native_receiver::flush(std::vector<native_frame>& frames)
{
    d_sync.flush(d_found);
    advance(frames, true);
    reset();
}

void native_receiver::reset()
{
    d_counters.truncated += (d_found.size() - d_next) + (d_open ? 1 : 0);
    d_sync.reset(0);
    d_buffer.clear();
    d_base = 0;
    d_found.clear();
    d_next = 0;
    d_open.reset();
    d_busy_until = 0;
    d_last_number = -1;
}

void native_receiver::advance(std::vector<native_frame>& frames, bool end)
{
    const auto& format = d_demodulator.format();
    const uint64_t available = d_base + d_buffer.size();
    for (;;) {
        if (d_open) {
            const uint64_t from = d_open->sync.offset, to = from + format.frame_len(d_open->header);
            if (to > available)
                break;
            d_demodulator.payload(d_buffer.data() + (from - d_base), *d_open);
            auto frame = std::move(d_open);
            finish(std::move(*frame), frames);
        }
        if (d_next == d_found.size())
            break;
        const sync_frame& found = d_found[d_next];
        if (found.offset < d_busy_until) { // inside a frame whose header is right: not a frame
            d_next++;
            continue;
        }
        if (found.offset + format.front_len() > available)
            break;
        d_counters.detected++;
        auto frame = d_demodulator.front(d_buffer.data() + (found.offset - d_base), found);
        d_next++;
        if (!frame.header_ok) {
            d_counters.header_failed++;
            frames.push_back(std::move(frame));
            continue;
        }
        // Less a prefix: the next frame may follow at once, and its timing be a sample early.
        d_busy_until = frame.sync.offset + format.frame_len(frame.header) -
                       uint64_t(format.settings().cp_len);
        d_open = std::make_unique<native_frame>(std::move(frame));
    }
    if (end)
        return; // reset() counts what is open as truncated
    // Keep what an open frame, a found one, or one yet to be found may need.
    uint64_t keep = std::min<uint64_t>(d_sync.decided(), available);
    if (d_open)
        keep = std::min(keep, d_open->sync.offset);
    if (d_next < d_found.size())
        keep = std::min(keep, d_found[d_next].offset);
    if (d_next > 64) {
        d_found.erase(d_found.begin(), d_found.begin() + long(d_next));
        d_next = 0;
    }
    if (keep > d_base + 65536) { // rarely: each time moves what stays
        d_buffer.erase(d_buffer.begin(), d_buffer.begin() + long(keep - d_base));
        d_base = keep;
    }
}

void native_receiver::finish(native_frame&& frame, std::vector<native_frame>& frames)
{
    d_counters.guarded += frame.guarded || frame.corrected < 0;
    (frame.payload_ok ? d_counters.ok : d_counters.payload_failed)++;
    // Numbers wrap at 65536; more than half of that is no gap but a transmitter that started anew.
    const unsigned gap = uint16_t(frame.header.number - d_last_number - 1);
    if (d_last_number >= 0 && gap < 32768)
        d_counters.missed += gap;
    d_last_number = frame.header.number;
    frames.push_back(std::move(frame));
}

} // namespace gr::diffusion::dsp
