/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "dsp/step_budget.h"
#include <gnuradio/block_detail.h>
#include <gnuradio/buffer.h>
#include <gnuradio/buffer_reader.h>
#include <map>
#include <string>

namespace gr::diffusion {

//! Share of the block's first input buffer that waits to be read, 0 to 1.
inline double input_fill(const gr::block_detail_sptr& detail)
{
    if (!detail || detail->ninputs() < 1)
        return 0;
    const auto& reader = detail->input(0);
    const int most = reader->max_possible_items_available();
    return most > 0 ? double(reader->items_available()) / most : 0;
}

//! Share of the block's first output buffer that waits for those after it, 0 to 1; 0 without an output.
inline double output_fill(const gr::block_detail_sptr& detail)
{
    if (!detail || detail->noutputs() < 1)
        return 0;
    const auto& buffer = detail->output(0);
    const int most = int(buffer->bufsize()) - 1;
    return most > 0 ? 1 - double(buffer->space_available()) / most : 0;
}

//! Steps that the budget allows now.
inline size_t allowed_steps(dsp::step_budget& budget, const gr::block_detail_sptr& detail, size_t wanted)
{
    return budget.on() ? budget.allow(input_fill(detail), output_fill(detail), wanted) : budget.allow(0, 0, wanted);
}

//! As blocks report it.
inline std::map<std::string, uint64_t> budget_figures(const dsp::step_budget& budget)
{
    return { { "steps", budget.steps() },
             { "steps_wanted", budget.wanted() },
             { "lowered", budget.lowered() },
             { "reduced", budget.reduced() } };
}

} // namespace gr::diffusion
