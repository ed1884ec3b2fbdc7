/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "engine/shaping_prior.h"
#include "shaping_code.h"
#include <complex>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace gr::diffusion::dsp {

/*! One composition of a shaped link: what a transmitter and a receiver need for the index in a header. */
struct DIFFUSION_API shaped_link {
    uint32_t index;
    shaping_code code;
    float amplitude;                          //!< of the unit-power points
    std::vector<std::complex<float>> points;  //!< scaled, by symbol index
};

/*! A shaper model with its codes of one block length.
 *
 * The codes of all AWGN indices are made at the start, others when first asked for; of these the last 32 are
 * kept (8 with sphere shaping, where each has a trellis of some MB). Amplitudes follow the code, not the pmf
 * before quantisation: a constant-composition block has unit power exactly (AWGN), spheres have it on
 * average. Methods may be called from several threads.
 */
class DIFFUSION_API shaper
{
public:
    static constexpr size_t min_length = 64;

    /*! \param model name or path of a shaper model
     *  \param block_length symbols per block, 64 to 8192
     *  \param kind of matcher; both ends must have the same
     *  \throws std::invalid_argument naming what is wrong */
    shaper(const std::string& model, size_t block_length, matcher_kind kind = matcher_kind::ccdm);

    const engine::shaping_prior& prior() const { return d_prior; }
    size_t block_length() const { return d_length; }
    matcher_kind kind() const { return d_kind; }
    //! \throws std::invalid_argument if there is no such index
    std::shared_ptr<const shaped_link> at(uint32_t index) const;
    //! The code of a block of another length, for the end of a message; made anew.
    shaping_code code(uint32_t index, size_t length) const;

    //! Indices of the points nearest to n samples; NaN and infinity count as 0 and are counted.
    size_t decide(const shaped_link& link, const std::complex<float>* in, uint8_t* indices, size_t n) const;

private:
    std::shared_ptr<const shaped_link> make(uint32_t index) const;

    engine::shaping_prior d_prior;
    size_t d_length;
    matcher_kind d_kind;
    std::vector<uint32_t> d_class_energy; // in the steps of the grid
    // The points are a grid of levels x levels: a sample's rails are decided one by one.
    int d_levels = 0;
    float d_low = 0, d_step = 0;
    std::vector<uint8_t> d_grid;
    mutable std::mutex d_mutex;
    std::vector<std::shared_ptr<const shaped_link>> d_awgn; // by index
    mutable std::deque<std::shared_ptr<const shaped_link>> d_others; // the last asked for first
};

} // namespace gr::diffusion::dsp
