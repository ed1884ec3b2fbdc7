/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "dense.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/dense.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "vector_math-inl.h"
#include <stdexcept>

#ifndef GR_DIFFUSION_DENSE_ONCE
#define GR_DIFFUSION_DENSE_ONCE
namespace gr::diffusion::engine {

struct dense_arguments {
    const float *in, *weight, *bias;
    float* out;
    size_t in_stride, out_stride, rows, n_in, n_out;
    activation act;
};

struct dense_kernel {
    size_t block; // outputs whose weights lie together
    size_t lane;  // floats of a vector
    void (*run)(const dense_arguments&);
};

} // namespace gr::diffusion::engine
#endif

HWY_BEFORE_NAMESPACE();
namespace gr::diffusion::engine {
namespace HWY_NAMESPACE {
namespace {

// Register tile, rows x vectors of outputs, see panel.cc.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_NEON
constexpr size_t max_rows = 6, max_vectors = 4;
#else
constexpr size_t max_rows = 6, max_vectors = 2;
#endif

template <size_t R, size_t N>
HWY_NOINLINE void tile(const dense_arguments& a, const float* in, const float* w, const float* bias,
                       float* out, size_t width)
{
    const D d;
    V sum[R][N];
#pragma GCC unroll 8
    for (size_t n = 0; n < N; n++) {
        const V start = hn::Load(d, bias + n * L);
#pragma GCC unroll 8
        for (size_t r = 0; r < R; r++)
            sum[r][n] = start;
    }
    for (size_t k = 0; k < a.n_in; k++, w += N * L) {
        V weight[N];
#pragma GCC unroll 8
        for (size_t n = 0; n < N; n++)
            weight[n] = hn::Load(d, w + n * L);
#pragma GCC unroll 8
        for (size_t r = 0; r < R; r++) {
            const V x = hn::Set(d, in[r * a.in_stride + k]);
#pragma GCC unroll 8
            for (size_t n = 0; n < N; n++)
                sum[r][n] = hn::MulAdd(x, weight[n], sum[r][n]);
        }
    }
    const V floor = hn::Set(d, a.act == activation::relu ? 0.0f : -3.4e38f);
    HWY_ALIGN float buffer[R * N * L];
#pragma GCC unroll 8
    for (size_t r = 0; r < R; r++)
#pragma GCC unroll 8
        for (size_t n = 0; n < N; n++)
            hn::Store(hn::Max(sum[r][n], floor), d, buffer + (r * N + n) * L);
    activate_some(a.act, buffer, R * N);
    for (size_t r = 0; r < R; r++, out += a.out_stride) {
        const float* from = buffer + r * N * L;
        if (width == N * L) {
#pragma GCC unroll 8
            for (size_t n = 0; n < N; n++)
                hn::StoreU(hn::Load(d, from + n * L), d, out + n * L);
        } else { // nothing may be written beyond the last output: it may be the next row
            for (size_t n = 0; n < width; n++)
                out[n] = from[n];
        }
    }
}

template <size_t N>
HWY_INLINE void column(const dense_arguments& a, const float* w, const float* bias, size_t first)
{
    const size_t width = a.n_out - first < N * L ? a.n_out - first : N * L;
    const float* in = a.in;
    float* out = a.out + first;
    size_t left = a.rows;
    for (; left >= max_rows; left -= max_rows, in += max_rows * a.in_stride, out += max_rows * a.out_stride)
        tile<max_rows, N>(a, in, w, bias, out, width);
    switch (left) {
    case 5:
        return tile<5, N>(a, in, w, bias, out, width);
    case 4:
        return tile<4, N>(a, in, w, bias, out, width);
    case 3:
        return tile<3, N>(a, in, w, bias, out, width);
    case 2:
        return tile<2, N>(a, in, w, bias, out, width);
    case 1:
        return tile<1, N>(a, in, w, bias, out, width);
    }
}

void run(const dense_arguments& a)
{
    const float* w = a.weight;
    for (size_t first = 0; first < a.n_out; first += max_vectors * L) {
        size_t vectors = (a.n_out - first + L - 1) / L;
        vectors = vectors < max_vectors ? vectors : max_vectors;
        const float* bias = a.bias + first;
        if (vectors == 1)
            column<1>(a, w, bias, first);
        else if (vectors == 2)
            column<2>(a, w, bias, first);
        else if constexpr (max_vectors > 2) {
            if (vectors == 3)
                column<3>(a, w, bias, first);
            else
                column<4>(a, w, bias, first);
        }
        w += a.n_in * vectors * L;
    }
}

} // namespace

const dense_kernel* dense_table()
{
    static const dense_kernel kernel{ max_vectors * L, L, run };
    return &kernel;
}

} // namespace HWY_NAMESPACE
} // namespace gr::diffusion::engine
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gr::diffusion::engine {

HWY_EXPORT(dense_table);

namespace {

const dense_kernel& kernel()
{
    static const dense_kernel* const best = (choose_simd_target(), HWY_DYNAMIC_DISPATCH(dense_table)());
    return *best;
}

size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

} // namespace

const std::vector<std::string>& activation_names()
{
    static const std::vector<std::string> names{ "none", "relu", "silu", "softplus", "tanh" };
    return names;
}

activation activation_of(const std::string& name)
{
    for (size_t i = 0; i < activation_names().size(); i++)
        if (name == activation_names()[i])
            return activation(i);
    throw std::invalid_argument("activation '" + name +
                                "' is unknown, use none, relu, silu, softplus or tanh");
}

std::vector<float> windows(const std::vector<float>& w, size_t out, size_t in, size_t kernel)
{
    std::vector<float> packed(w.size());
    for (size_t o = 0; o < out; o++)
        for (size_t c = 0; c < in; c++)
            for (size_t j = 0; j < kernel; j++)
                packed[(o * kernel + j) * in + c] = w[(o * in + c) * kernel + j];
    return packed;
}

packed_dense::packed_dense(size_t n_in, size_t n_out, const float* weight, const float* bias, activation act)
    : d_in(n_in),
      d_out(n_out),
      d_act(act),
      d_weight(n_in * round_up(n_out, kernel().lane)),
      d_bias(round_up(n_out, kernel().lane))
{
    float* packed = d_weight.data();
    for (size_t first = 0; first < n_out; first += kernel().block) {
        const size_t width = std::min(kernel().block, round_up(n_out - first, kernel().lane));
        for (size_t k = 0; k < n_in; k++)
            for (size_t n = first; n < first + width; n++)
                *packed++ = n < n_out ? weight[n * n_in + k] : 0;
    }
    for (size_t n = 0; bias && n < n_out; n++)
        d_bias[n] = bias[n];
}

void packed_dense::run(const float* in, size_t in_stride, float* out, size_t out_stride, size_t rows) const
{
    const flush_denormals guard;
    kernel().run(
        { in, d_weight.data(), d_bias.data(), out, in_stride, out_stride, rows, d_in, d_out, d_act });
}

} // namespace gr::diffusion::engine
#endif
