/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "ldpc.h"
#include <memory>
#include <vector>

namespace gr::fec {
class generic_encoder;
}

namespace gr::diffusion::dsp {

/*! The (1800, 902) LDPC code that GNU Radio ships, its encoder, and where its words carry information bits,
 * for the whole process: to build them costs a Gaussian elimination. Immutable, so threads share it without a
 * lock. */
class gnuradio_ldpc
{
public:
    static constexpr size_t n = 1800, k = 902;

    //! \throws std::runtime_error where GNU Radio's file cannot be used
    static const gnuradio_ldpc& get();

    const std::shared_ptr<const ldpc_code>& code() const { return d_code; }
    const ldpc_encoder& encoder() const { return *d_encoder; }
    //! Where information bit i is in the code word.
    const std::vector<size_t>& position() const { return d_position; }

private:
    gnuradio_ldpc();
    void find_positions(gr::fec::generic_encoder& reference);

    std::shared_ptr<const ldpc_code> d_code;
    std::unique_ptr<ldpc_encoder> d_encoder;
    std::vector<size_t> d_position;
};

} // namespace gr::diffusion::dsp
