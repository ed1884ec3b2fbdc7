/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

/*! A systematic LDPC code: the short frames (16200 bits) of DVB-S2 (ETSI EN 302 307-1, 5.3.2), of which
 * dtv.dvb_ldpc_bb is GNU Radio's encoder. GNU Radio has no decoder for them, and gr-fec's (dense matrices) is
 * made for a tenth of their length and ships no code above rate 0.58, while amplitude shaping of 64-QAM needs
 * 2/3.
 *
 * Decoder: layered belief propagation over the code's q layers of 360 parallel checks, box-plus with a
 * piecewise linear correction term. "4/5" is ours: code 2/3 of which every second parity bit is not sent,
 * which is 0.1 to 0.3 dB better around shaped 64-QAM than the standard's own 7/9 and 37/45, nearly all of
 * whose bits are in but three checks (docs/shaper.md). Objects are immutable; decode() keeps its messages in
 * the thread. */
class DIFFUSION_API dvbs2_code
{
public:
    static constexpr size_t default_iterations = 50;

    //! "1/4", "1/3", "2/5", "4/9", "3/5", "2/3", "11/15", "7/9", "37/45", "8/9", "4/5": exactly k / n.
    static const std::vector<std::string>& rates();
    //! The code of that rate, made once. \throws std::invalid_argument listing the rates
    static const dvbs2_code& get(const std::string& rate);

    const std::string& rate() const { return d_rate; }
    size_t k() const { return d_k; }
    size_t n() const { return d_k + parity(); }      //!< bits of a code word: 16200, 13500 at rate 4/5
    size_t parity() const { return (whole - d_k) / d_thinning; }
    //! The first so many information bits are in more checks than the others: 4 to 13, the others in 3.
    size_t heavy() const { return d_heavy; }

    //! k information bits to parity() parity bits (one a byte, lowest bit counts).
    void encode(const uint8_t* bits, uint8_t* parity) const;

    /*! n() LLRs (positive for 1; information bits, then parity) to k bits. Returns the iterations it took, or
     *  0 if no code word was found in so many: the bits are then the best guess. NaN counts as 0. */
    size_t decode(const float* llr, uint8_t* bits, size_t iterations = default_iterations) const;

private:
    dvbs2_code(const std::string& rate, size_t table, size_t thinning);

    static constexpr size_t lanes = 360, whole = 16200; // bits with those that are not sent
    //! Check lane i of a layer looks at bit (i - shift) mod 360 of a group.
    struct edge {
        uint16_t group, shift;
    };

    std::string d_rate;
    size_t d_table, d_thinning; // one parity bit in so many is sent
    size_t d_k, d_heavy, d_layers;                  // q layers
    // by layer; the last two are the layer's own and the previous parity
    std::vector<std::vector<edge>> d_edges;
    size_t d_edge_count = 0, d_widest = 0;
};

} // namespace gr::diffusion::dsp
