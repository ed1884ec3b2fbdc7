/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <chrono>
#include <cstdint>

namespace gr::diffusion {

//! Lets one log line a second pass, and says how many were held back since the last one.
class rate_limited
{
public:
    //! True if a line may be written now; \p held: events since the last line, this one included.
    bool operator()(uint64_t& held)
    {
        d_held++;
        const auto now = std::chrono::steady_clock::now();
        if (d_started && now - d_last < std::chrono::seconds(1))
            return false;
        d_started = true;
        d_last = now;
        held = d_held;
        d_held = 0;
        return true;
    }

private:
    bool d_started = false;
    uint64_t d_held = 0;
    std::chrono::steady_clock::time_point d_last;
};

} // namespace gr::diffusion
