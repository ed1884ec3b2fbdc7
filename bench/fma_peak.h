/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <cstddef>

//! Runs independent chains of fused multiply-adds on the best SIMD target; returns the flops done.
double run_fma(size_t iterations);
