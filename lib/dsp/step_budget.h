/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <cstdint>

namespace gr::diffusion::dsp {

/*! How many sampler steps a block may take, from how full its buffers are and how little it rests.
 *
 * A block is behind if those after it wait for it, not it for them: it has worked nine tenths of the
 * last calls' time, so it waited for nobody; or its input is three quarters full and its output at most half.
 * (Buffers alone do not tell: a source on the same core refills half of the input at a time, and what the
 * last call wrote, half of the output, is often not read yet.) Behind four calls in a row halves the steps,
 * down to 1. A block that is not has time if its output is more than three quarters full, or if its input is
 * at most half full and it has worked at most two fifths of the time: sixteen such calls in a row double the
 * steps, up to the number wanted. What lies between changes nothing; doubling two fifths stays below nine
 * tenths, so the count does not swing. */
class DIFFUSION_API step_budget
{
public:
    static constexpr int patience = 4, confidence = 16;

    //! Off: the steps wanted, always.
    void set_on(bool on);
    bool on() const { return d_on; }

    /*! Before each call of work: \p input, \p output the share of each buffer that is full, \p busy the share
     *  of the time of the last calls that was spent in work, all 0 to 1.
     *  \returns the steps to take, 1 to \p wanted */
    size_t allow(double input, double output, double busy, size_t wanted);
    //! What was worked on with the steps allowed last: symbols or frames.
    void count(uint64_t items) { d_reduced += d_steps < d_wanted ? items : 0; }

    size_t steps() const { return d_steps; }
    size_t wanted() const { return d_wanted; }
    uint64_t lowered() const { return d_lowered; } //!< times that the steps were lowered
    uint64_t reduced() const { return d_reduced; } //!< items that had fewer steps than wanted

private:
    bool d_on = false;
    size_t d_steps = 1, d_wanted = 1;
    int d_behind = 0, d_ahead = 0; // calls in a row
    uint64_t d_lowered = 0, d_reduced = 0;
};

} // namespace gr::diffusion::dsp
