/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "qam.h"
#include "waveform_correction.h"
#include <memory>
#include <string>

namespace gr::diffusion::dsp {

//! Demapper stage of a receiver: equalised symbols and their noise variances in, LLRs out.
class DIFFUSION_API demapper_stage
{
public:
    virtual ~demapper_stage() = default;
    //! noise_var: E|error|^2 symbol by symbol; llr: qam.bits() * n, positive for 1
    virtual void demap(const qam& constellation, const std::complex<float>* y, const float* noise_var,
                       float* llr, size_t n) = 0;
    //! Why the latest call was answered by another demapper (a model is missing), or "".
    virtual std::string note() const { return ""; }
    //! What the stage's model knows of the radios of a native link, or null.
    virtual std::shared_ptr<const waveform_correction> correction() const { return nullptr; }
    //! Whether a guard answered the latest call by the classical demapper.
    virtual bool guarded() const { return false; }
    virtual void set_guard(bool) {}
};

//! Nearest point, all bits equally sure.
class DIFFUSION_API min_distance_stage : public demapper_stage
{
public:
    void demap(const qam& c, const std::complex<float>* y, const float* noise_var, float* llr,
               size_t n) override
    {
        c.hard(y, noise_var, llr, n);
    }
};

//! Exact bitwise MAP, if the noise is circular Gaussian.
class DIFFUSION_API map_stage : public demapper_stage
{
public:
    void demap(const qam& c, const std::complex<float>* y, const float* noise_var, float* llr,
               size_t n) override
    {
        c.soft(y, noise_var, llr, n);
    }
};

} // namespace gr::diffusion::dsp
