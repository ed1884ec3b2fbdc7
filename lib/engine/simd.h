/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

// Included before foreach_target.h by every file with SIMD code.
// Length-agnostic vectors (SVE, RVV) cannot be kept in the arrays that register tiles are made of;
// arm64 uses NEON.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <utility>
#if defined(__SSE__)
#include <immintrin.h>
#endif

namespace gr::diffusion::engine {

/*! Obeys $GR_DIFFUSION_SIMD (AVX3, AVX2, SSE4, NEON, ... as `doctor` shows it): the named instruction set
 * instead of the best one, for tests and for machines that slow down under wide vectors. What this
 * machine cannot do is ignored. Called before anything is dispatched. */
void choose_simd_target();

//! Floats aligned for any vector, zero at the start, never reallocated behind one's back.
class aligned_floats
{
public:
    aligned_floats() = default;
    explicit aligned_floats(size_t n)
        : d_size(n), d_data(static_cast<float*>(::operator new[](n * sizeof(float), alignment)))
    {
        std::memset(d_data.get(), 0, n * sizeof(float));
    }
    aligned_floats(const aligned_floats& other) : aligned_floats(other.d_size)
    {
        if (d_size)
            std::memcpy(d_data.get(), other.data(), d_size * sizeof(float));
    }
    aligned_floats(aligned_floats&& other) noexcept
        : d_size(std::exchange(other.d_size, 0)), d_data(std::move(other.d_data))
    {
    }
    aligned_floats& operator=(aligned_floats other) noexcept
    {
        std::swap(d_size, other.d_size);
        std::swap(d_data, other.d_data);
        return *this;
    }

    float* data() { return d_data.get(); }
    const float* data() const { return d_data.get(); }
    size_t size() const { return d_size; }
    float& operator[](size_t i) { return d_data[i]; }
    const float& operator[](size_t i) const { return d_data[i]; }

private:
    static constexpr std::align_val_t alignment{ 128 };
    struct release {
        void operator()(float* p) const { ::operator delete[](p, alignment); }
    };
    size_t d_size = 0;
    std::unique_ptr<float[], release> d_data;
};

//! Flushes denormals on this thread while it lives: a decaying activation would cost a hundredfold.
class flush_denormals
{
public:
    flush_denormals(const flush_denormals&) = delete;
    flush_denormals& operator=(const flush_denormals&) = delete;
#if defined(__SSE__)
    flush_denormals() : d_saved(_mm_getcsr()) { _mm_setcsr(d_saved | 0x8040); } // FTZ and DAZ
    ~flush_denormals() { _mm_setcsr(d_saved); }

private:
    unsigned d_saved;
#elif defined(__aarch64__)
    flush_denormals()
    {
        asm volatile("mrs %0, fpcr" : "=r"(d_saved));
        asm volatile("msr fpcr, %0" : : "r"(d_saved | (1ull << 24)));
    }
    ~flush_denormals() { asm volatile("msr fpcr, %0" : : "r"(d_saved)); }

private:
    unsigned long long d_saved;
#else
    flush_denormals() {}
#endif
};

} // namespace gr::diffusion::engine
