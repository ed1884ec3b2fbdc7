/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fma_peak.h"
#include "engine/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "fma_peak.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace bench {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

double fma(size_t iterations)
{
    const hn::ScalableTag<float> d;
    using V = hn::Vec<decltype(d)>;
    constexpr size_t chains = 12; // latency 4 times two units, and some more
    V sum[chains];
    const V a = hn::Set(d, 0.999f), b = hn::Set(d, 0.001f);
#pragma GCC unroll 12
    for (size_t c = 0; c < chains; c++)
        sum[c] = hn::Set(d, float(c));
    for (size_t i = 0; i < iterations; i++)
#pragma GCC unroll 12
        for (size_t c = 0; c < chains; c++)
            sum[c] = hn::MulAdd(sum[c], a, b);
    V total = sum[0];
#pragma GCC unroll 12
    for (size_t c = 1; c < chains; c++)
        total = hn::Add(total, sum[c]);
    volatile float sink = hn::GetLane(total);
    (void)sink;
    return 2.0 * double(chains * hn::Lanes(d)) * double(iterations);
}

} // namespace HWY_NAMESPACE
} // namespace bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace bench {
HWY_EXPORT(fma);
double run(size_t iterations) { return HWY_DYNAMIC_DISPATCH(fma)(iterations); }
}
double run_fma(size_t iterations) { return bench::run(iterations); }
#endif
