/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "demapper_stage.h"
#include "fitted_receiver.h"
#include "input_guard.h"
#include <gnuradio/diffusion/sampler.h>
#include <map>
#include <memory>
#include <vector>

namespace gr::diffusion::dsp {

/*! The engine's denoising receivers as demappers, one for each constellation; a model that holds a fit is
 * used with it (but for shaped constellations).
 *
 * The engine works at one noise level at a time, a fading channel has one for each carrier: symbols are
 * taken in groups of 1 dB, and each LLR is scaled by the group's level over the symbol's own (LLRs of
 * Gaussian noise are proportional to 1/noise_var; the prior's part of a shaped constellation's is not, which
 * half a dB hardly shows). A level met once stays prepared, for one prior at a time: shaped constellations
 * are told apart by their address, so they must outlive the demapper (those of shaped_payload do). */
class diffusion_demapper : public demapper_stage
{
public:
    //! \param model name or file; "": the shipped one of each constellation, loaded when it is needed
    explicit diffusion_demapper(const std::string& model);

    std::string note() const override { return d_note; }
    std::shared_ptr<const waveform_correction> correction() const override { return d_correction; }
    bool guarded() const override { return d_guarded; }
    void set_guard(bool on) override { d_guard_on = on; }
    void demap(const qam& c, const std::complex<float>* y, const float* noise_var, float* llr,
               size_t n) override;

private:
    static constexpr int lowest_db = -60, highest_db = 15; // beyond, nothing is in doubt, or nothing is known
    static constexpr size_t levels = highest_db - lowest_db + 1;

    struct constellation {
        engine::model::sptr model;
        std::unique_ptr<engine::receiver> level[levels]; // at lowest_db + i
        std::unique_ptr<fitted_receiver> fitted[levels]; // the same, for a model that holds a fit
        bool holds_fit = false;
        std::unique_ptr<input_guard> guard;
        std::string missing;                             // why there is none
        const qam* shaped = nullptr;                     // the prior that the levels are prepared for
        float amplitude = 1;                             // of its points
    };

    constellation* of(const qam& c);
    bool watch(constellation& own, const std::complex<float>* y, const unsigned* start);
    static void prepare(engine::receiver& receiver, const constellation& own, double noise_var);

    std::map<int, constellation> d_constellations; // by bits of a symbol
    std::shared_ptr<const waveform_correction> d_correction;
    bool d_guard_on = true, d_guarded = false;
    std::string d_note;
    std::vector<unsigned char> d_group;
    std::vector<unsigned> d_order;
    std::vector<std::complex<float>> d_y;
    std::vector<float> d_llr;
};

} // namespace gr::diffusion::dsp
