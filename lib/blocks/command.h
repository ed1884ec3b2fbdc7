/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/logger.h>
#include <pmt/pmt.h>
#include <exception>
#include <functional>
#include <string>

namespace gr::diffusion {

/*! Calls \p set(key, value) for every setting in a command message: a (key . value) pair or a
 * dictionary with symbols as keys. A message must never stop a running flowgraph, so whatever is wrong
 * (type, key, range) is logged and changes nothing. */
inline void for_each_setting(const gr::logger_ptr& logger,
                             const pmt::pmt_t& message,
                             const std::function<void(const std::string&, const pmt::pmt_t&)>& set)
{
    auto apply = [&](const pmt::pmt_t& key, const pmt::pmt_t& value) {
        try {
            set(pmt::symbol_to_string(key), value);
        } catch (const std::exception& e) {
            logger->warn("message ignored: {} ({})", pmt::write_string(message), e.what());
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
            logger->warn("message ignored: {} ({})", pmt::write_string(message), e.what());
        }
    } else {
        logger->warn("message ignored: {} (use a dictionary or a pair of setting and value)",
                              pmt::write_string(message));
    }
}

} // namespace gr::diffusion
