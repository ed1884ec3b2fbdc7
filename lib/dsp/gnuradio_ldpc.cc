/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gnuradio_ldpc.h"
#include "random.h"
#include <gnuradio/constants.h>
#include <gnuradio/fec/ldpc_encoder.h>
#include <algorithm>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

const gnuradio_ldpc& gnuradio_ldpc::get()
{
    static const gnuradio_ldpc tables;
    return tables;
}

gnuradio_ldpc::gnuradio_ldpc()
{
    const std::string file = gr::prefix() + "/share/gnuradio/fec/ldpc/n_1800_k_0902_gap_28.alist";
    try {
        auto reference = gr::fec::ldpc_encoder::make(file);
        if (reference->get_input_size() != int(k) || reference->get_output_size() != int(n))
            throw std::runtime_error("it is not the (1800, 902) code");
        find_positions(*reference);
        d_code = ldpc_code::load(file);
        d_encoder = std::make_unique<ldpc_encoder>(*d_code, d_position);
    } catch (const std::exception& e) {
        throw std::runtime_error("ldpc-1/2: GNU Radio's " + file + " cannot be used (" + e.what() +
                                 "); reinstall gnuradio, or use cc-1/2");
    }
}

//! Words are those of gr-fec's encoder. It is systematic up to a permutation it keeps to itself: with
//! 64 random words every bit has a signature, and an information bit's is found again where it was put.
void gnuradio_ldpc::find_positions(gr::fec::generic_encoder& reference)
{
    random_source random(64);
    std::vector<uint8_t> information(k), word(n);
    std::vector<uint64_t> wanted(k), found(n);
    for (int w = 0; w < 64; w++) {
        for (auto& bit : information)
            bit = random.bits() >> 63;
        reference.generic_work(information.data(), word.data());
        for (size_t i = 0; i < k; i++)
            wanted[i] = 2 * wanted[i] + information[i];
        for (size_t i = 0; i < n; i++)
            found[i] = 2 * found[i] + word[i];
    }
    for (size_t i = 0; i < k; i++) {
        const auto where = std::find(found.begin(), found.end(), wanted[i]);
        if (where == found.end())
            throw std::runtime_error("its encoder is not systematic");
        d_position.push_back(size_t(where - found.begin()));
    }
}

} // namespace gr::diffusion::dsp
