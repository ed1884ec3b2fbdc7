/* SPDX-License-Identifier: GPL-3.0-or-later */
// Vector elementary functions, compiled once for each SIMD target (see foreach_target.h).
// Polynomials are minimax fits of our own; errors, relative unless said, are checked by qa_dense.
#include "activation_pieces.h"
#include "dense.h"
#include <hwy/highway.h>

#if defined(GR_DIFFUSION_VECTOR_MATH_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef GR_DIFFUSION_VECTOR_MATH_INL
#undef GR_DIFFUSION_VECTOR_MATH_INL
#else
#define GR_DIFFUSION_VECTOR_MATH_INL
#endif

HWY_BEFORE_NAMESPACE();
namespace gr::diffusion::engine {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr size_t L = hn::MaxLanes(D());

HWY_INLINE V C(float x) { return hn::Set(D(), x); }

#undef GR_DIFFUSION_LOOK_UP // of the target before
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
#define GR_DIFFUSION_LOOK_UP 1 // 16 floats are looked up by one instruction
#else
#define GR_DIFFUSION_LOOK_UP 0
#endif

/* In the epilogue of a dense layer multiplications compete with the layer's own; additions, minima, integers
 * and look-ups run beside them (measured on Zen 4). So what can be looked up is not multiplied. */

#if GR_DIFFUSION_LOOK_UP

alignas(64) constexpr float sixteenths[16] = {
    // 2^(i / 16)
    1.0f,         1.044273782f, 1.090507733f, 1.138788635f, 1.189207115f, 1.241857812f,
    1.296839555f, 1.354255547f, 1.414213562f, 1.476826146f, 1.542210825f, 1.610490332f,
    1.681792831f, 1.756252160f, 1.834008086f, 1.915206561f,
};

//! 2^(x * rate) = scale * (1 + g): the parts that exp and expm1 are made of. |x * rate| < 126. Error 4e-7 of
//! it.
HWY_INLINE void exp_parts(V x, float rate, V& scale, V& g)
{
    // Adding 1.5 * 2^23 rounds to whole sixteenths: the low 4 bits say which, those above are the exponent.
    const V magic = C(12582912.0f);
    const V t = hn::MulAdd(x, C(16 * rate), magic);
    const V f = hn::MulSub(x, C(16 * rate), hn::Sub(t, magic));
    const __m512i n = _mm512_castps_si512(t.raw);
    const __m512i root = _mm512_castps_si512(_mm512_permutexvar_ps(n, _mm512_load_ps(sixteenths)));
    const __m512i exponent = _mm512_slli_epi32(_mm512_srai_epi32(n, 4), 23);
    scale = V{ _mm512_castsi512_ps(_mm512_add_epi32(root, exponent)) };
    g = hn::Mul(hn::MulAdd(C(0.00093838555f), f, C(0.04332424f)), f);
}

HWY_INLINE V clamp(V x, float limit) { return V{ _mm512_range_ps(x.raw, _mm512_set1_ps(limit), 0b0010) }; }

//! h(|x|) of activation_pieces.h.
HWY_INLINE V piece(const activation_pieces& t, V x)
{
    const V a{ _mm512_range_ps(x.raw, _mm512_set1_ps(t.limit), 0b1010) }; // min(|x|, limit)
    // the sum is rounded to whole steps, their number in its low bits
    const V magic = C(12582912.0f * t.step);
    const V n = hn::Min(hn::Add(a, magic), C((12582912.0f + 15.0f) * t.step));
    const V f = hn::Sub(a, hn::Sub(n, magic));
    auto coefficient = [&](int k) {
        return V{ _mm512_permutexvar_ps(_mm512_castps_si512(n.raw), _mm512_load_ps(t.c[k])) };
    };
    V p = coefficient(5);
#pragma GCC unroll 5
    for (int k = 4; k >= 0; k--)
        p = hn::MulAdd(p, f, coefficient(k));
    return p;
}

#else

//! 2^(x * rate) = scale * (1 + g): the parts that exp and expm1 are made of. |x * rate| < 126.
HWY_INLINE void exp_parts(V x, float rate, V& scale, V& g)
{
    const hn::RebindToSigned<D> di;
    // Adding 1.5 * 2^23 rounds to an integer that stands in the low bits; 127 is the exponent's bias.
    const V magic = C(12582912.0f + 127.0f);
    const V t = hn::MulAdd(x, C(rate), magic);
    const V f = hn::MulSub(x, C(rate), hn::Sub(t, magic));
    V q = hn::MulAdd(C(0.001326472731307149f), f, C(0.009671512991189957f));
    q = hn::MulAdd(q, f, C(0.05550733581185341f));
    q = hn::MulAdd(q, f, C(0.24022242426872253f));
    q = hn::MulAdd(q, f, C(0.6931470036506653f));
    g = hn::Mul(q, f);
    scale = hn::BitCast(D(), hn::ShiftLeft<23>(hn::BitCast(di, t)));
}

HWY_INLINE V clamp(V x, float limit) { return hn::Max(hn::Min(x, C(limit)), C(-limit)); }

#endif

constexpr float log2_e = 1.44269504088896341f;

//! exp(x) for x <= 87; below -87 it is exp(-87), about 1e-38. Error 5e-7 + |x| 6e-8.
HWY_INLINE V exp_vector(V x)
{
    V scale, g;
    exp_parts(clamp(x, 87.0f), log2_e, scale, g);
    return hn::MulAdd(scale, g, scale);
}

//! a / x, error 2e-7.
HWY_INLINE V divide(V a, V x)
{
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
    const V y = hn::ApproximateReciprocal(x); // 12 or 14 bits; one Newton step doubles them
    return hn::Mul(hn::Mul(a, y), hn::NegMulAdd(x, y, C(2.0f)));
#else
    return hn::Div(a, x);
#endif
}

//! log(1 + u) for 0 <= u <= 1, error 3e-7.
HWY_INLINE V log1p_unit(V u)
{
    V p = hn::MulAdd(C(-0.008539178408682346f), u, C(0.04408952221274376f));
    p = hn::MulAdd(p, u, C(-0.10768155008554459f));
    p = hn::MulAdd(p, u, C(0.17745229601860046f));
    p = hn::MulAdd(p, u, C(-0.24495457112789154f));
    p = hn::MulAdd(p, u, C(0.33275479078292847f));
    p = hn::MulAdd(p, u, C(-0.4999740421772003f));
    p = hn::MulAdd(p, u, C(0.9999998211860657f));
    return hn::Mul(p, u);
}

template <activation act>
HWY_INLINE V activate(V x)
{
    if constexpr (act == activation::relu) {
        return hn::Max(x, C(0.0f));
    } else if constexpr (act == activation::silu) { // x / (1 + exp(-x))
        V scale, g;
        exp_parts(clamp(x, 86.0f), -log2_e, scale, g);
        return divide(x, hn::MulAdd(scale, g, hn::Add(scale, C(1.0f))));
#if GR_DIFFUSION_LOOK_UP
    } else if constexpr (act == activation::softplus) {
        return hn::Add(hn::Max(x, C(0.0f)), piece(softplus_pieces, x));
    } else if constexpr (act == activation::tanh) {
        return hn::CopySign(piece(tanh_pieces, x), x);
#else
    } else if constexpr (act == activation::softplus) { // max(x, 0) + log1p(exp(-|x|))
        V scale, g;
        exp_parts(hn::Min(hn::Abs(x), C(87.0f)), -log2_e, scale, g);
        return hn::Add(hn::Max(x, C(0.0f)), log1p_unit(hn::MulAdd(scale, g, scale)));
    } else if constexpr (act == activation::tanh) { // -m / (2 + m), m = expm1(-2 |x|): exact near 0
        V scale, g;
        exp_parts(hn::Min(hn::Abs(x), C(40.0f)), -2 * log2_e, scale, g);
        const V m = hn::MulAdd(scale, g, hn::Sub(scale, C(1.0f)));
        return hn::CopySign(divide(m, hn::Add(m, C(2.0f))), x);
#endif
    } else {
        return x;
    }
}

//! In place on n vectors.
template <activation act>
HWY_INLINE void activate_all(float* HWY_RESTRICT x, size_t vectors)
{
    const D d;
    size_t i = 0;
    for (; i + 4 <= vectors; i += 4, x += 4 * L) { // four at once hide the latency of the chain
        const V a = activate<act>(hn::Load(d, x)), b = activate<act>(hn::Load(d, x + L)),
                c = activate<act>(hn::Load(d, x + 2 * L)), e = activate<act>(hn::Load(d, x + 3 * L));
        hn::Store(a, d, x);
        hn::Store(b, d, x + L);
        hn::Store(c, d, x + 2 * L);
        hn::Store(e, d, x + 3 * L);
    }
    for (; i < vectors; i++, x += L)
        hn::Store(activate<act>(hn::Load(d, x)), d, x);
}

//! The same on aligned vectors, the function chosen at run time; relu and none cost nothing here
//! because the kernels do them in registers.
HWY_INLINE void activate_some(activation act, float* x, size_t vectors)
{
    if (act == activation::silu)
        activate_all<activation::silu>(x, vectors);
    else if (act == activation::softplus)
        activate_all<activation::softplus>(x, vectors);
    else if (act == activation::tanh)
        activate_all<activation::tanh>(x, vectors);
}

} // namespace
} // namespace HWY_NAMESPACE
} // namespace gr::diffusion::engine
HWY_AFTER_NAMESPACE();

#endif
