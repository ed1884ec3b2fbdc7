/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>

namespace gr::diffusion::dsp {

//! P(X > x) for X ~ Beta(a, b) with integer a, b.
DIFFUSION_API double beta_tail(int a, int b, double x);
//! The x of which that is \p tail.
DIFFUSION_API double beta_threshold(int a, int b, double tail);

} // namespace gr::diffusion::dsp
