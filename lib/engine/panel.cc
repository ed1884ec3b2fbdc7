/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "panel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/panel.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "vector_math-inl.h"
#include <hwy/contrib/math/math-inl.h>

#ifndef GR_DIFFUSION_PANEL_ONCE
#define GR_DIFFUSION_PANEL_ONCE
namespace gr::diffusion::engine {
constexpr size_t panel_tile = 8; // outputs whose weights lie together; kernels may take them in halves
}
#endif

HWY_BEFORE_NAMESPACE();
namespace gr::diffusion::engine {
namespace HWY_NAMESPACE {
namespace {

// Register tiles, vectors of rows x outputs: all sums of a tile and the operands of one step must fit
// the register file (32 for AVX-512 and NEON, 16 below).
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
constexpr size_t max_vectors = 2, max_outputs = 8;
#elif HWY_TARGET == HWY_AVX2
constexpr size_t max_vectors = 3, max_outputs = 4;
#elif HWY_TARGET == HWY_NEON
constexpr size_t max_vectors = 4, max_outputs = 4;
#else
constexpr size_t max_vectors = 2, max_outputs = 4;
#endif
constexpr size_t panel_rows = max_vectors * L;

struct tile_arguments {
    const float *x, *x2, *w, *w2, *scale, *shift;
    size_t n1, n2, pitch; // pitch: outputs that stand together in w
    float* out;
};

template <size_t R, size_t F>
HWY_INLINE void accumulate(V (&sum)[F][R], const float* x, const float* w, size_t n, size_t pitch)
{
    const D d;
    for (size_t k = 0; k < n; k++, x += panel_rows, w += pitch) {
        V rows[R];
#pragma GCC unroll 8
        for (size_t r = 0; r < R; r++)
            rows[r] = hn::Load(d, x + r * L);
#pragma GCC unroll 8
        for (size_t f = 0; f < F; f++) {
            const V weight = hn::Set(d, w[f]);
#pragma GCC unroll 8
            for (size_t r = 0; r < R; r++)
                sum[f][r] = hn::MulAdd(rows[r], weight, sum[f][r]);
        }
    }
}

template <size_t R, size_t F, activation act>
HWY_NOINLINE void tile(const tile_arguments& a)
{
    const D d;
    V sum[F][R];
#pragma GCC unroll 8
    for (size_t f = 0; f < F; f++)
#pragma GCC unroll 8
        for (size_t r = 0; r < R; r++)
            sum[f][r] = hn::Zero(d);
    accumulate(sum, a.x, a.w, a.n1, a.pitch);
#pragma GCC unroll 8
    for (size_t f = 0; f < F; f++)
#pragma GCC unroll 8
        for (size_t r = 0; r < R; r++)
            sum[f][r] = hn::MulAdd(sum[f][r], hn::Set(d, a.scale[f]), hn::Set(d, a.shift[f]));
    accumulate(sum, a.x2, a.w2, a.n2, a.pitch);
#pragma GCC unroll 8
    for (size_t f = 0; f < F; f++)
#pragma GCC unroll 8
        for (size_t r = 0; r < R; r++)
            hn::Store(activate<act>(sum[f][r]), d, a.out + f * panel_rows + r * L);
}

template <size_t F, activation act>
HWY_INLINE void tile_of(const tile_arguments& a, size_t vectors)
{
    if constexpr (max_vectors >= 4)
        if (vectors == 4)
            return tile<4, F, act>(a);
    if constexpr (max_vectors >= 3)
        if (vectors == 3)
            return tile<3, F, act>(a);
    if (vectors == 2)
        tile<2, F, act>(a);
    else
        tile<1, F, act>(a);
}

template <activation act>
void layer_of(const panel_layer& layer,
           const float* scale,
           const float* shift,
           const float* x,
           const float* x2,
           const float* w2,
           size_t n2,
           size_t vectors,
           float* out)
{
    const float* w = layer.weight.data();
    for (size_t first = 0; first < layer.n_out; first += panel_tile) {
        const size_t pitch = layer.n_out - first < panel_tile ? layer.n_out - first : panel_tile;
        for (size_t f = 0; f < pitch;) {
            tile_arguments a{ x, x2, w + f, w2 + f, scale + first + f, shift + first + f,
                              layer.n_in, n2, pitch, out + (first + f) * panel_rows };
            const size_t left = pitch - f;
            if (max_outputs >= 8 && left >= 8) {
                tile_of<max_outputs, act>(a, vectors);
                f += 8;
            } else if (left >= 4) {
                tile_of<4, act>(a, vectors);
                f += 4;
            } else if (left >= 2) {
                tile_of<2, act>(a, vectors);
                f += 2;
            } else {
                tile_of<1, act>(a, vectors);
                f += 1;
            }
        }
        w += layer.n_in * pitch;
        w2 += n2 * pitch;
    }
}

void layer(const panel_layer& l,
           const float* scale,
           const float* shift,
           const float* x,
           const float* x2,
           const float* w2,
           size_t n2,
           size_t vectors,
           float* out)
{
    switch (l.act) {
    case activation::relu:
        return layer_of<activation::relu>(l, scale, shift, x, x2, w2, n2, vectors, out);
    case activation::silu:
        return layer_of<activation::silu>(l, scale, shift, x, x2, w2, n2, vectors, out);
    case activation::softplus:
        return layer_of<activation::softplus>(l, scale, shift, x, x2, w2, n2, vectors, out);
    case activation::tanh:
        return layer_of<activation::tanh>(l, scale, shift, x, x2, w2, n2, vectors, out);
    default:
        return layer_of<activation::none>(l, scale, shift, x, x2, w2, n2, vectors, out);
    }
}

void products(const float* state, float gain, size_t vectors, float* out)
{
    const D d;
    const V g = hn::Set(d, gain);
    for (size_t i = 0; i < vectors * L; i += L) {
        const V re = hn::Mul(g, hn::Load(d, state + i)), im = hn::Mul(g, hn::Load(d, state + panel_rows + i));
        hn::Store(re, d, out + i);
        hn::Store(im, d, out + panel_rows + i);
        hn::Store(hn::Mul(re, re), d, out + 2 * panel_rows + i);
        hn::Store(hn::Mul(im, im), d, out + 3 * panel_rows + i);
        hn::Store(hn::Mul(re, im), d, out + 4 * panel_rows + i);
    }
}

void posterior(float* logits, size_t m, const float* points, size_t vectors, float* mean)
{
    const D d;
    for (size_t i = 0; i < vectors * L; i += L) {
        float* l = logits + i;
        V top = hn::Load(d, l);
        for (size_t c = 1; c < m; c++)
            top = hn::Max(top, hn::Load(d, l + c * panel_rows));
        V sum = hn::Zero(d), re = hn::Zero(d), im = hn::Zero(d);
        for (size_t c = 0; c < m; c++) {
            const V p = exp_vector(hn::Sub(hn::Load(d, l + c * panel_rows), top));
            hn::Store(p, d, l + c * panel_rows);
            sum = hn::Add(sum, p);
            re = hn::MulAdd(p, hn::Set(d, points[2 * c]), re);
            im = hn::MulAdd(p, hn::Set(d, points[2 * c + 1]), im);
        }
        const V one_over = divide(C(1.0f), sum);
        hn::Store(hn::Mul(re, one_over), d, mean + i);
        hn::Store(hn::Mul(im, one_over), d, mean + panel_rows + i);
    }
}

// From the least significant bit up, neighbours are summed in place, so that all bits together cost
// about 3 m additions and not bits * m.
void bit_ratios(float* p, int bits, size_t vectors, float* out)
{
    const D d;
    for (size_t i = 0; i < vectors * L; i += L) {
        size_t m = size_t(1) << bits;
        for (int bit = bits - 1; bit >= 0; bit--, m /= 2) {
            V zero = hn::Zero(d), one = hn::Zero(d);
            for (size_t c = 0; c < m / 2; c++) {
                const V even = hn::Load(d, p + 2 * c * panel_rows + i);
                const V odd = hn::Load(d, p + (2 * c + 1) * panel_rows + i);
                zero = hn::Add(zero, even);
                one = hn::Add(one, odd);
                hn::Store(hn::Add(even, odd), d, p + c * panel_rows + i);
            }
            hn::Store(hn::Sub(hn::Log(d, one), hn::Log(d, zero)), d, out + bit * panel_rows + i);
        }
    }
}

} // namespace

const panel_kernels* panel_table()
{
    static const panel_kernels kernels{
        panel_rows, L, hwy::TargetName(HWY_TARGET), layer, products, posterior, bit_ratios
    };
    return &kernels;
}

} // namespace HWY_NAMESPACE
} // namespace gr::diffusion::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gr::diffusion::engine {

HWY_EXPORT(panel_table);

const panel_kernels& kernels()
{
    static const panel_kernels* const best = (choose_simd_target(), HWY_DYNAMIC_DISPATCH(panel_table)());
    return *best;
}

namespace {

template <typename T>
void pack(size_t n_in, size_t n_out, const T* weight, float* packed)
{
    for (size_t first = 0; first < n_out; first += panel_tile) {
        const size_t tile = n_out - first < panel_tile ? n_out - first : panel_tile;
        for (size_t k = 0; k < n_in; k++)
            for (size_t f = 0; f < tile; f++)
                *packed++ = float(weight[(first + f) * n_in + k]);
    }
}

} // namespace

void pack_panel_weight(size_t n_in, size_t n_out, const float* weight, float* packed)
{
    pack(n_in, n_out, weight, packed);
}

void pack_panel_weight(size_t n_in, size_t n_out, const double* weight, float* packed)
{
    pack(n_in, n_out, weight, packed);
}

panel_layer::panel_layer(size_t in, size_t out, const float* matrix, activation activation)
    : n_in(in), n_out(out), act(activation), weight(in * out)
{
    pack_panel_weight(in, out, matrix, weight.data());
}

} // namespace gr::diffusion::engine
#endif
