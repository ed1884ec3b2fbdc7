/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/logger.h>
#include <pmt/pmt.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>

namespace gr::diffusion {

/*! Logs a message that was ignored, at most ten a second in the whole program: a source that sends rubbish
 * must not fill a disk. The next line that is written says how many were not. */
inline void log_ignored(const gr::logger_ptr& logger, const pmt::pmt_t& message, const std::string& why)
{
    static std::atomic<int64_t> next_ms{ 0 };
    static std::atomic<uint64_t> unwritten{ 0 };
    const int64_t now = std::chrono::duration_cast<std::chrono::milliseconds>(
                            std::chrono::steady_clock::now().time_since_epoch())
                            .count();
    int64_t next = next_ms.load();
    // Ten lines may be up to a second ahead of the clock: a short burst is logged whole.
    if (next > now + 900 || !next_ms.compare_exchange_strong(next, std::max(next, now) + 100)) {
        unwritten++;
        return;
    }
    const uint64_t before = unwritten.exchange(0);
    std::string text = pmt::write_string(message);
    if (text.size() > 300)
        text = text.substr(0, 300) + "...";
    logger->warn("message ignored: {} ({}){}",
                 text,
                 why,
                 before ? " and " + std::to_string(before) + " before it" : std::string());
}

/*! An integer setting; a larger one is refused, not cut to its low bits.
 * \throws pmt::wrong_type, std::invalid_argument */
inline int to_int(const pmt::pmt_t& value)
{
    const long number = pmt::to_long(value);
    if (number < std::numeric_limits<int>::min() || number > std::numeric_limits<int>::max())
        throw std::invalid_argument(std::to_string(number) + " is beyond every setting's range");
    return int(number);
}

/*! Calls \p set(key, value) for every setting in a command message: a (key . value) pair or a
 * dictionary with symbols as keys. A message must never stop a running flowgraph, so whatever is wrong
 * (type, key, range) is logged and changes nothing. */
inline void for_each_setting(const gr::logger_ptr& logger,
                             const pmt::pmt_t& message,
                             const std::function<void(const std::string&, const pmt::pmt_t&)>& set)
{
    auto apply = [&](const pmt::pmt_t& key, const pmt::pmt_t& value) {
        if (!pmt::is_symbol(key))
            return log_ignored(logger, message, "a setting's name is a symbol");
        try {
            set(pmt::symbol_to_string(key), value);
        } catch (const pmt::wrong_type&) {
            log_ignored(logger, message,
                        "the value of '" + pmt::symbol_to_string(key) +
                            "' is of the wrong type: a number, or a symbol, or a list of numbers is "
                            "expected, as the block's documentation says");
        } catch (const std::exception& e) {
            log_ignored(logger, message, e.what());
        }
    };
    // A lone pair is no dictionary to pmt, a dictionary is a pair whose car is a pair.
    if (pmt::is_pair(message) && pmt::is_symbol(pmt::car(message))) {
        apply(pmt::car(message), pmt::cdr(message));
    } else if (pmt::is_dict(message)) {
        try {
            const pmt::pmt_t items = pmt::dict_items(message);
            for (size_t i = 0; i < pmt::length(items); i++)
                apply(pmt::car(pmt::nth(i, items)), pmt::cdr(pmt::nth(i, items)));
        } catch (const std::exception& e) {
            log_ignored(logger, message, e.what());
        }
    } else {
        log_ignored(logger, message, "use a dictionary or a pair of setting and value");
    }
}

} // namespace gr::diffusion
