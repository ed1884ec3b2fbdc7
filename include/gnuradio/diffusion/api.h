/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

// No GNU Radio header here: the engine's public headers are usable without it.
#define DIFFUSION_API __attribute__((visibility("default")))
