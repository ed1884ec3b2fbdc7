/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <gnuradio/diffusion/api.h>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace gr::diffusion::dsp {

/*! A low-density parity-check code, from its matrix in MacKay's alist format. Immutable, shared by
 * encoders and decoders of any thread.
 *
 * gr-fec's decoder for such codes takes more than a millisecond a word of 1800 bits (it keeps its
 * messages in vectors of vectors and copies them); hence this one. */
class DIFFUSION_API ldpc_code
{
public:
    //! Checks of one layer share no bit, so they can be updated at the same time.
    struct layer {
        size_t first, checks;
    };

    //! \throws std::runtime_error naming the file and what is wrong with it
    static std::shared_ptr<const ldpc_code> load(const std::string& alist);

    size_t bits() const { return d_bits; }
    size_t checks() const { return d_degree.size(); }
    size_t edges() const { return d_edges.size(); }
    const std::vector<layer>& layers() const { return d_layers; }
    size_t largest_degree() const { return d_largest; }
    //! Bits of check i in the order of the layers.
    size_t degree(size_t check) const { return d_degree[check]; }
    const uint32_t* row(size_t check) const { return &d_edges[d_start[check]]; }
    size_t edge(size_t check) const { return d_start[check]; }

    bool is_word(const uint8_t* word) const;

private:
    size_t d_bits = 0, d_largest = 0;
    std::vector<uint32_t> d_edges; // the bits of check 0, of check 1, ..., layer by layer
    std::vector<size_t> d_start, d_degree;
    std::vector<layer> d_layers;
};

/*! Systematic encoder for given places of the information bits.
 *
 * The remaining bits follow from the parity checks: the matrix is brought to reduced form once, a word
 * then costs one exclusive-or of bit rows for each information bit that is set. */
class DIFFUSION_API ldpc_encoder
{
public:
    /*! \param information where each information bit is in the word
     *  \throws std::runtime_error if those bits do not determine the word */
    ldpc_encoder(const ldpc_code& code, const std::vector<size_t>& information);

    //! \param word code.bits() values
    void encode(const uint8_t* information, uint8_t* word) const;

private:
    size_t d_bits, d_words;
    std::vector<size_t> d_information, d_parity;
    std::vector<uint64_t> d_rows; // what information bit i adds to the parity bits
};

/*! Sum-product decoder, layer by layer (Hocevar, "A reduced complexity decoder architecture via layered
 * decoding of LDPC codes", SiPS 2004), with exact check nodes. Ends as soon as the word fulfils all
 * checks. An object serves one thread; allocates nothing after its construction. */
class DIFFUSION_API ldpc_decoder
{
public:
    explicit ldpc_decoder(std::shared_ptr<const ldpc_code> code, int iterations = 40);

    /*! \param llr log P(1)/P(0) of each bit; held to +-30, no NaN
     *  \param word decisions, right or wrong
     *  \returns whether the word fulfils all checks */
    bool decode(const float* llr, uint8_t* word);
    //! log P(1)/P(0) of bit b after the latest word, what was received and what the checks say together.
    float posterior(size_t b) const { return -d_total[b]; }
    //! Iterations of the latest word.
    int iterations() const { return d_used; }

private:
    void update(const ldpc_code::layer& layer);

    std::shared_ptr<const ldpc_code> d_code;
    int d_limit, d_used = 0;
    std::vector<float> d_total, d_messages, d_in, d_work;
};

} // namespace gr::diffusion::dsp
