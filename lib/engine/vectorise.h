/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Plain loops that the compiler vectorises, compiled once for every x86-64 level that matters and
 * chosen when the program starts. (Dense layers use Highway; these loops are too simple to need it.) */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define DIFFUSION_VECTORISE __attribute__((target_clones("arch=x86-64-v3", "default"), optimize("O3")))
#else
#define DIFFUSION_VECTORISE
#endif
