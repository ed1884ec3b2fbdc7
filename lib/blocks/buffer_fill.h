/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "dsp/step_budget.h"
#include <gnuradio/block_detail.h>
#include <gnuradio/buffer.h>
#include <gnuradio/buffer_reader.h>
#include <chrono>
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

//! What share of its time a block works. Of the block's thread.
class work_watch
{
public:
    //! One call of work: from here to the end of the scope.
    class call
    {
    public:
        explicit call(work_watch& watch) : d_watch(watch)
        {
            const auto now = clock::now();
            const std::chrono::duration<double> whole = now - watch.d_begin,
                                                worked = watch.d_end - watch.d_begin;
            if (worked.count() > 0) { // not the first call
                watch.d_worked = fade * watch.d_worked + worked.count();
                watch.d_whole = fade * watch.d_whole + whole.count();
            }
            watch.d_begin = now;
        }
        ~call() { d_watch.d_end = clock::now(); }
        call(const call&) = delete;
        call& operator=(const call&) = delete;

    private:
        work_watch& d_watch;
    };

    //! Share of the time spent in work, over some eight calls: a pause counts in the calls that follow it, so
    //! a burst is not taken for a backlog. 0 to 1; 0 in the first call.
    double busy() const { return d_whole > 0 ? d_worked / d_whole : 0; }

private:
    using clock = std::chrono::steady_clock;
    clock::time_point d_begin{}, d_end{};
    static constexpr double fade = 7. / 8;
    double d_worked = 0, d_whole = 0; // seconds, faded
};

//! Steps that the budget allows now.
inline size_t allowed_steps(dsp::step_budget& budget, const work_watch& watch,
                            const gr::block_detail_sptr& detail, size_t wanted)
{
    return budget.on() ? budget.allow(input_fill(detail), output_fill(detail), watch.busy(), wanted)
                       : budget.allow(0, 0, 0, wanted);
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
