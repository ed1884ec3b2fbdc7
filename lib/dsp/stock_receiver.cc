/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stock_receiver.h"
#include <algorithm>

namespace gr::diffusion::dsp {

stock_receiver::stock_receiver(const stock_settings& settings, const sync_settings& sync)
    : d_demodulator(settings), d_sync(d_demodulator.geometry(), sync)
{
}

void stock_receiver::process(const std::complex<float>* in, size_t n, std::vector<stock_frame>& frames)
{
    d_buffer.insert(d_buffer.end(), in, in + n);
    d_sync.process(in, n, d_found);
    advance(frames, false);
}

void stock_receiver::flush(std::vector<stock_frame>& frames)
{
    d_sync.flush(d_found);
    advance(frames, true);
    reset();
}

void stock_receiver::reset()
{
    d_sync.reset(0);
    d_buffer.clear();
    d_base = 0;
    d_found.clear();
    d_next = 0;
    d_open = false;
    d_busy_until = 0;
}

void stock_receiver::advance(std::vector<stock_frame>& frames, bool end)
{
    const size_t symbol = size_t(d_demodulator.geometry().symbol_len());
    const uint64_t available = d_base + d_buffer.size();
    while (d_next < d_found.size()) {
        const sync_frame& found = d_found[d_next];
        if (found.offset < d_busy_until) {
            d_next++;
            continue;
        }
        const auto* y = d_buffer.data() + (found.offset - d_base);
        // One symbol of payload comes with the header: it says how many bits a symbol carries.
        if (found.offset + d_demodulator.front_len() + symbol > available) {
            if (!end)
                break;
            d_counters.truncated++;
            d_next++;
            continue;
        }
        if (!d_open) {
            d_counters.detected++;
            d_frame = d_demodulator.front(y, found);
            if (!d_frame.header_ok) {
                d_counters.header_failed++;
                frames.push_back(std::move(d_frame));
                d_next++;
                continue;
            }
            d_frame.bits_per_symbol = d_demodulator.guess_bits(y, d_frame);
            d_open = true;
        }
        const size_t length = d_demodulator.frame_len(d_frame.header, d_frame.bits_per_symbol);
        if (found.offset + length > available) {
            if (!end)
                break;
            d_counters.truncated++;
        } else {
            d_demodulator.payload(y, d_frame, d_frame.bits_per_symbol);
            (d_frame.payload_ok ? d_counters.ok : d_counters.payload_failed)++;
            if (d_frame.payload_ok)
                // timing may err
                d_busy_until = found.offset + length - size_t(d_demodulator.geometry().cp_len);
            frames.push_back(std::move(d_frame));
        }
        d_open = false;
        d_next++;
    }
    if (end)
        return;
    uint64_t keep = std::min<uint64_t>(d_sync.decided(), available);
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

} // namespace gr::diffusion::dsp
