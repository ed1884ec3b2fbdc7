/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "interpolate.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/interpolate.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef GR_DIFFUSION_INTERPOLATE_ONCE
#define GR_DIFFUSION_INTERPOLATE_ONCE
namespace gr::diffusion::engine {
struct interpolate_kernels {
    uint64_t (*interpolate)(const plane_grid&, const std::complex<float>*, float*, size_t);
    void (*to_halves)(const float* from, void* to, size_t n); // null: not worth it here; n: a multiple of 4
};
} // namespace gr::diffusion::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace gr::diffusion::engine {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
constexpr size_t chunk = 64; // samples whose cells are found before their values are fetched

struct cells {
    HWY_ALIGN int32_t first[chunk];     // offset of the cell's first node
    HWY_ALIGN float across[2 * chunk];  // position in the cell, each twice
    HWY_ALIGN float up[chunk];
};

//! Cells of one chunk; n is rounded up to whole vectors, y must be readable so far.
uint64_t find_cells(const plane_grid& g, const float* y, size_t n, cells& c)
{
    const hn::ScalableTag<float> d;
    const hn::RebindToSigned<decltype(d)> di;
    const size_t L = hn::Lanes(d);
    const auto scale = hn::Set(d, float(double(g.nodes - 1) / (2 * g.extent)));
    const auto middle = hn::Set(d, float(double(g.nodes - 1) / 2)), zero = hn::Zero(d);
    const auto last = hn::Set(d, float(g.nodes - 2)), largest = hn::Set(d, 1e4f);
    const auto end = hn::Set(d, float(g.nodes - 1));
    const auto column = hn::Set(di, int32_t(g.stride)), row = hn::Set(di, int32_t(g.stride * g.nodes));
    uint64_t bad = 0;
    for (size_t i = 0; i < n; i += L) {
        hn::Vec<decltype(d)> re, im;
        hn::LoadInterleaved2(d, y + 2 * i, re, im);
        const auto good = hn::And(hn::Le(hn::Abs(re), largest), hn::Le(hn::Abs(im), largest));
        bad += L - hn::CountTrue(d, good);
        re = hn::IfThenElseZero(hn::Eq(re, re), re);
        im = hn::IfThenElseZero(hn::Eq(im, im), im);
        const auto u = hn::Max(hn::Min(hn::MulAdd(re, scale, middle), end), zero);
        const auto v = hn::Max(hn::Min(hn::MulAdd(im, scale, middle), end), zero);
        const auto ui = hn::Min(hn::Floor(u), last), vi = hn::Min(hn::Floor(v), last);
        const auto f = hn::Sub(u, ui);
        hn::Store(hn::Sub(v, vi), d, c.up + i);
        hn::StoreInterleaved2(f, f, d, c.across + 2 * i);
        hn::Store(hn::Add(hn::Mul(hn::ConvertTo(di, ui), column), hn::Mul(hn::ConvertTo(di, vi), row)), di,
                  c.first + i);
    }
    return bad;
}

#if HWY_TARGET == HWY_SCALAR

void fetch(const plane_grid& g, const cells& c, float* out, size_t n, size_t)
{
    for (size_t i = 0; i < n; i++, out += g.channels) {
        const float *a = g.values.data() + c.first[i], *b = a + g.stride * g.nodes;
        for (size_t k = 0; k < g.channels; k++) {
            const float left = a[k] + c.up[i] * (b[k] - a[k]);
            const float right = a[g.stride + k] + c.up[i] * (b[g.stride + k] - a[g.stride + k]);
            out[k] = left + c.across[2 * i] * (right - left);
        }
    }
}

#else

// Gathers are slow on many machines; a node's values lie together, so plain 128-bit loads do better.
using T4 = hn::FixedTag<float, 4>;
using V4 = hn::Vec<T4>;

HWY_INLINE V4 mix(V4 a, V4 b, V4 share) { return hn::MulAdd(share, hn::Sub(b, a), a); }

//! Two channels: both columns of a cell are one load.
void fetch_pair(const plane_grid& g, const cells& c, float* out, size_t n)
{
    const T4 d;
    const float* values = g.values.data();
    const size_t row = 2 * g.nodes;
    auto column_mix = [&](size_t i) {
        const float* at = values + c.first[i];
        return mix(hn::LoadU(d, at), hn::LoadU(d, at + row), hn::Set(d, c.up[i]));
    };
    size_t i = 0;
    for (; i + 2 <= n; i += 2) {
        const V4 a = column_mix(i), b = column_mix(i + 1);
        hn::StoreU(mix(hn::ConcatLowerLower(d, b, a), hn::ConcatUpperUpper(d, b, a),
                       hn::LoadU(d, c.across + 2 * i)),
                   d, out + 2 * i);
    }
    if (i < n) {
        const V4 a = column_mix(i);
        HWY_ALIGN float pair[4];
        hn::Store(mix(a, hn::ConcatUpperUpper(d, a, a), hn::Set(d, c.across[2 * i])), d, pair);
        out[2 * i] = pair[0];
        out[2 * i + 1] = pair[1];
    }
}

#undef GR_DIFFUSION_HALVES
#if HWY_MAX_BYTES >= 32
#define GR_DIFFUSION_HALVES 1

//! 16-bit floats to floats, as many as fit a vector.
template <size_t N>
HWY_INLINE hn::Vec<hn::FixedTag<float, N>> widen(const hwy::float16_t* from)
{
    return hn::PromoteTo(hn::FixedTag<float, N>(), hn::LoadU(hn::FixedTag<hwy::float16_t, N>(), from));
}

//! Both columns of a cell, S channels each and S floats apart, mixed between its rows, then with each other.
template <size_t S>
HWY_INLINE hn::Vec<hn::FixedTag<float, S>> cell(const hwy::float16_t* at, size_t row, float up, float across)
{
    const hn::FixedTag<float, S> d;
    hn::Vec<decltype(d)> left, right;
    if constexpr (8 * S <= HWY_MAX_BYTES) { // two columns are one vector
        const hn::FixedTag<float, 2 * S> both;
        const auto a = widen<2 * S>(at);
        const auto v = hn::MulAdd(hn::Set(both, up), hn::Sub(widen<2 * S>(at + row), a), a);
        left = hn::LowerHalf(d, v);
        right = hn::UpperHalf(d, v);
    } else {
        const auto share = hn::Set(d, up), a = widen<S>(at), b = widen<S>(at + S);
        left = hn::MulAdd(share, hn::Sub(widen<S>(at + row), a), a);
        right = hn::MulAdd(share, hn::Sub(widen<S>(at + row + S), b), b);
    }
    return hn::MulAdd(hn::Set(d, across), hn::Sub(right, left), left);
}

template <size_t S>
void fetch_halves(const plane_grid& g, const cells& c, float* out, size_t n, size_t room)
{
    const hn::FixedTag<float, S> d;
    const auto* values = reinterpret_cast<const hwy::float16_t*>(g.values.data());
    const size_t row = S * g.nodes;
    const size_t fit = room < S ? 0 : (room - S) / g.channels + 1, whole = n < fit ? n : fit;
    for (size_t i = 0; i < whole; i++, out += g.channels) // what is too much the next sample overwrites
        hn::StoreU(cell<S>(values + c.first[i], row, c.up[i], c.across[2 * i]), d, out);
    for (size_t i = whole; i < n; i++, out += g.channels) {
        HWY_ALIGN float some[S];
        hn::Store(cell<S>(values + c.first[i], row, c.up[i], c.across[2 * i]), d, some);
        for (size_t k = 0; k < g.channels; k++)
            out[k] = some[k];
    }
}

void to_halves(const float* from, void* to, size_t n)
{
    const hn::FixedTag<float, 4> d; // n is a multiple of 4, as the stride is
    const hn::FixedTag<hwy::float16_t, 4> d16;
    for (size_t i = 0; i < n; i += 4)
        hn::StoreU(hn::DemoteTo(d16, hn::LoadU(d, from + i)), d16, static_cast<hwy::float16_t*>(to) + i);
}

#else
#define GR_DIFFUSION_HALVES 0
#endif

//! \param room floats that may be written from out on
void fetch(const plane_grid& g, const cells& c, float* out, size_t n, size_t room)
{
    if (g.stride == 2)
        return fetch_pair(g, c, out, n);
#if GR_DIFFUSION_HALVES
    if (g.halves)
        return g.stride == 4 ? fetch_halves<4>(g, c, out, n, room) : fetch_halves<8>(g, c, out, n, room);
#endif
    const T4 d;
    const size_t row = g.stride * g.nodes;
    const float* const end = out + room;
    for (size_t i = 0; i < n; i++, out += g.channels) {
        const float* at = g.values.data() + c.first[i];
        const V4 up = hn::Set(d, c.up[i]), across = hn::Set(d, c.across[2 * i]);
        for (size_t k = 0; k < g.channels; k += 4, at += 4) {
            const V4 left = mix(hn::Load(d, at), hn::Load(d, at + row), up);
            const V4 right = mix(hn::Load(d, at + g.stride), hn::Load(d, at + row + g.stride), up);
            const V4 value = mix(left, right, across);
            if (out + k + 4 <= end) { // what is too much the next sample overwrites
                hn::StoreU(value, d, out + k);
            } else {
                HWY_ALIGN float some[4];
                hn::Store(value, d, some);
                for (size_t j = k; j < g.channels; j++)
                    out[j] = some[j - k];
            }
        }
    }
}

#endif

uint64_t interpolate_all(const plane_grid& g, const std::complex<float>* y, float* out, size_t n)
{
    cells c;
    uint64_t bad = 0;
    const float* in = reinterpret_cast<const float*>(y);
    for (; n >= chunk; n -= chunk, in += 2 * chunk, out += chunk * g.channels) {
        bad += find_cells(g, in, chunk, c);
        fetch(g, c, out, chunk, n * g.channels);
    }
    if (n > 0) { // whole vectors may reach beyond the caller's samples
        HWY_ALIGN float rest[2 * chunk] = {};
        for (size_t i = 0; i < 2 * n; i++)
            rest[i] = in[i];
        bad += find_cells(g, rest, n, c);
        fetch(g, c, out, n, n * g.channels);
    }
    return bad;
}

} // namespace

const interpolate_kernels* interpolate_table()
{
#if HWY_TARGET != HWY_SCALAR && GR_DIFFUSION_HALVES
    static const interpolate_kernels kernels{ interpolate_all, to_halves };
#else
    static const interpolate_kernels kernels{ interpolate_all, nullptr };
#endif
    return &kernels;
}

} // namespace HWY_NAMESPACE
} // namespace gr::diffusion::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gr::diffusion::engine {

HWY_EXPORT(interpolate_table);

namespace {

const interpolate_kernels& kernel()
{
    static const interpolate_kernels* const best = (choose_simd_target(),
                                                    HWY_DYNAMIC_DISPATCH(interpolate_table)());
    return *best;
}

} // namespace

plane_grid::plane_grid(size_t n, double reach, size_t values_of_a_node)
    : nodes(n),
      channels(values_of_a_node),
      stride(channels == 2 ? 2 : (channels + 3) / 4 * 4),
      extent(reach),
      values(n * n * stride)
{
}

uint64_t interpolate(const plane_grid& grid, const std::complex<float>* y, float* out, size_t n)
{
    return kernel().interpolate(grid, y, out, n);
}

void plane_grid::compact()
{
    if (halves || !kernel().to_halves || stride == 2 || stride > 8)
        return;
    aligned_floats packed((values.size() + 1) / 2);
    kernel().to_halves(values.data(), packed.data(), values.size());
    values = std::move(packed);
    halves = true;
}

} // namespace gr::diffusion::engine
#endif
