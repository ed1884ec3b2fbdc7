/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ldpc.h"
#include "engine/scalar_math.h"
#include "engine/vectorise.h"
#include <algorithm>
#include <cmath>
#include <fstream>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {

constexpr float largest = 30; // of an LLR; exp(-30) is still far from a float's smallest

/* The check nodes of one layer. in, out and q hold one row of n values for each of the check's bits.
 *
 * With t_i = tanh(|x_i|/2) the message to bit i is 2 atanh of the product of the others' t. Kept as
 * q = 1 - t, products lose no digits where t is close to 1: 1 - t_a t_b = q_a + q_b - q_a q_b. */
DIFFUSION_VECTORISE void check_nodes(const float* __restrict in, float* __restrict out, float* __restrict q,
                                     float* __restrict sign, float* __restrict before, size_t degree,
                                     size_t n)
{
    for (size_t c = 0; c < n; c++)
        sign[c] = 1;
    for (size_t e = 0; e < degree; e++)
        for (size_t c = 0; c < n; c++) {
            const float x = in[e * n + c];
            float size = std::fabs(x);
            size = size < largest ? size : largest;
            const float u = engine::exp_bounded(-size);
            q[e * n + c] = 2 * u / (1 + u);
            sign[c] = x < 0 ? -sign[c] : sign[c];
        }
    // From the last bit back: out = what the bits behind give together.
    for (size_t c = 0; c < n; c++)
        before[c] = 0;
    for (size_t e = degree; e-- > 0;)
        for (size_t c = 0; c < n; c++) {
            out[e * n + c] = before[c];
            before[c] = before[c] + q[e * n + c] - before[c] * q[e * n + c];
        }
    for (size_t c = 0; c < n; c++)
        before[c] = 0;
    for (size_t e = 0; e < degree; e++)
        for (size_t c = 0; c < n; c++) {
            const float behind = out[e * n + c];
            float p = before[c] + behind - before[c] * behind;
            p = p > 1e-13f ? p : 1e-13f;
            const float size = engine::log_positive((2 - p) / p);
            out[e * n + c] = (in[e * n + c] < 0 ? -sign[c] : sign[c]) * size;
            before[c] = before[c] + q[e * n + c] - before[c] * q[e * n + c];
        }
}

} // namespace

std::shared_ptr<const ldpc_code> ldpc_code::load(const std::string& alist)
{
    auto refuse = [&](const std::string& why) { throw std::runtime_error(alist + ": " + why); };
    std::ifstream file(alist);
    if (!file)
        refuse("cannot be read");
    auto next = [&](size_t most) {
        long value = -1;
        if (!(file >> value) || value < 0 || size_t(value) > most)
            refuse("is no parity check matrix in alist format");
        return size_t(value);
    };
    auto made = std::make_shared<ldpc_code>();
    const size_t bits = next(1 << 20), checks = next(bits);
    made->d_bits = bits;
    const size_t most_checks = next(checks), most_bits = next(bits);
    std::vector<size_t> column(bits), row(checks);
    for (auto& n : column)
        n = next(most_checks);
    for (auto& n : row)
        n = next(most_bits);
    std::vector<std::vector<uint32_t>> rows(checks);
    for (size_t b = 0; b < bits; b++)
        for (size_t i = 0; i < column[b]; i++) {
            size_t check = next(checks);
            if (check == 0) // some writers pad the columns
                refuse("has a column that is shorter than it says");
            rows[check - 1].push_back(uint32_t(b));
        }
    for (size_t c = 0; c < checks; c++)
        if (rows[c].size() != row[c] || row[c] < 2)
            refuse("has a row that its columns do not give");

    // Every check joins the first layer of its degree in which its bits are still free.
    std::vector<std::vector<size_t>> members;
    std::vector<std::vector<char>> taken;
    for (size_t c = 0; c < checks; c++) {
        auto fits = [&](size_t l) {
            return rows[members[l][0]].size() == rows[c].size() &&
                   std::none_of(rows[c].begin(), rows[c].end(), [&](uint32_t b) { return taken[l][b]; });
        };
        size_t l = 0;
        while (l < members.size() && !fits(l))
            l++;
        if (l == members.size()) {
            members.emplace_back();
            taken.emplace_back(bits, 0);
        }
        members[l].push_back(c);
        for (uint32_t b : rows[c])
            taken[l][b] = 1;
    }
    for (const auto& layer : members) {
        made->d_layers.push_back({ made->d_degree.size(), layer.size() });
        for (size_t c : layer) {
            made->d_start.push_back(made->d_edges.size());
            made->d_degree.push_back(rows[c].size());
            made->d_largest = std::max(made->d_largest, rows[c].size());
            made->d_edges.insert(made->d_edges.end(), rows[c].begin(), rows[c].end());
        }
    }
    return made;
}

bool ldpc_code::is_word(const uint8_t* word) const
{
    const uint32_t* e = d_edges.data();
    for (size_t degree : d_degree) {
        uint8_t parity = 0;
        for (size_t i = 0; i < degree; i++)
            parity ^= word[*e++];
        if (parity)
            return false;
    }
    return true;
}

ldpc_encoder::ldpc_encoder(const ldpc_code& code, const std::vector<size_t>& information)
    : d_bits(code.bits()), d_information(information)
{
    const size_t k = information.size(), m = code.checks();
    std::vector<size_t> column(d_bits, 0); // of the matrix [information | parity]
    std::vector<char> known(d_bits, 0);
    for (size_t i = 0; i < k; i++) {
        known[information[i]] = 1;
        column[information[i]] = i;
    }
    for (size_t b = 0; b < d_bits; b++)
        if (!known[b]) {
            column[b] = k + d_parity.size();
            d_parity.push_back(b);
        }
    const size_t p = d_parity.size();
    if (p > m || k + p != d_bits)
        throw std::runtime_error("ldpc: the information bits do not determine the word");
    const size_t words = (d_bits + 63) / 64;
    std::vector<std::vector<uint64_t>> rows(m, std::vector<uint64_t>(words));
    for (size_t c = 0; c < m; c++)
        for (size_t i = 0; i < code.degree(c); i++)
            rows[c][column[code.row(c)[i]] / 64] ^= uint64_t(1) << (column[code.row(c)[i]] % 64);
    auto bit = [&](size_t row, size_t at) { return rows[row][at / 64] >> (at % 64) & 1; };
    for (size_t i = 0; i < p; i++) { // Gauss and Jordan on the parity columns
        size_t pivot = i;
        while (pivot < m && !bit(pivot, k + i))
            pivot++;
        if (pivot == m)
            throw std::runtime_error("ldpc: the information bits do not determine the word");
        std::swap(rows[i], rows[pivot]);
        for (size_t r = 0; r < m; r++)
            if (r != i && bit(r, k + i))
                for (size_t w = 0; w < words; w++)
                    rows[r][w] ^= rows[i][w];
    }
    d_words = (p + 63) / 64;
    d_rows.assign(k * d_words, 0);
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < p; j++)
            d_rows[i * d_words + j / 64] |= bit(j, i) << (j % 64);
}

void ldpc_encoder::encode(const uint8_t* information, uint8_t* word) const
{
    std::vector<uint64_t> parity(d_words);
    for (size_t i = 0; i < d_information.size(); i++) {
        word[d_information[i]] = information[i] & 1;
        if (information[i] & 1)
            for (size_t w = 0; w < d_words; w++)
                parity[w] ^= d_rows[i * d_words + w];
    }
    for (size_t j = 0; j < d_parity.size(); j++)
        word[d_parity[j]] = uint8_t(parity[j / 64] >> (j % 64) & 1);
}

ldpc_decoder::ldpc_decoder(std::shared_ptr<const ldpc_code> code, int iterations)
    : d_code(std::move(code)), d_limit(iterations), d_total(d_code->bits()), d_messages(d_code->edges())
{
    size_t most = 0;
    for (const auto& layer : d_code->layers())
        most = std::max(most, layer.checks);
    d_in.resize(most * d_code->largest_degree());
    d_work.resize(most * (d_code->largest_degree() + 2));
}

void ldpc_decoder::update(const ldpc_code::layer& layer)
{
    const size_t n = layer.checks, degree = d_code->degree(layer.first);
    const uint32_t* const bit = d_code->row(layer.first);
    // Messages lie as the kernel wants them: all first bits of the layer's checks, all second, ...
    float* const message = &d_messages[d_code->edge(layer.first)];
    float* const in = d_in.data();
    float* const q = d_work.data();
    for (size_t c = 0; c < n; c++)
        for (size_t e = 0; e < degree; e++)
            in[e * n + c] = d_total[bit[c * degree + e]] - message[e * n + c];
    check_nodes(in, message, q, q + degree * n, q + (degree + 1) * n, degree, n);
    for (size_t c = 0; c < n; c++)
        for (size_t e = 0; e < degree; e++)
            d_total[bit[c * degree + e]] = in[e * n + c] + message[e * n + c];
}

bool ldpc_decoder::decode(const float* llr, uint8_t* word)
{
    const size_t bits = d_code->bits();
    for (size_t b = 0; b < bits; b++) // positive for 0 from here on
        d_total[b] = std::clamp(-llr[b], -largest, largest);
    std::fill(d_messages.begin(), d_messages.end(), 0.0f);
    for (d_used = 0;; d_used++) {
        for (size_t b = 0; b < bits; b++)
            word[b] = d_total[b] < 0;
        if (d_code->is_word(word))
            return true;
        if (d_used == d_limit)
            return false;
        for (const auto& layer : d_code->layers())
            update(layer);
    }
}

} // namespace gr::diffusion::dsp
