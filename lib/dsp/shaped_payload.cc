/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shaped_payload.h"
#include "engine/shaping_prior.h"
#include "permutation.h"
#include "random.h"
#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {

constexpr uint64_t padding_seed = 0x7061730010, order_seed = 0x7061730011;

const dvbs2_code& code_of(fec code)
{
    const dvbs2_code* found = long_code(code);
    if (!found)
        throw std::invalid_argument(std::string("amplitude shaping needs a code dvbs2-..., not ") +
                                    fec_name(code));
    return *found;
}

//! The shaper model for a constellation, loaded once.
std::shared_ptr<const engine::shaping_prior> prior_of(int bits)
{
    static std::mutex mutex;
    static std::map<int, std::shared_ptr<const engine::shaping_prior>> loaded;
    const std::lock_guard<std::mutex> lock(mutex);
    auto& prior = loaded[bits];
    if (!prior)
        prior = std::make_shared<engine::shaping_prior>(
            engine::model::load("ps-qam" + std::to_string(1 << bits)));
    return prior;
}

//! \param symbols of a word
std::vector<uint32_t> amplitudes_of(int bits, uint32_t index, size_t symbols)
{
    const auto prior = prior_of(bits);
    if (index > shaped_payload::max_index || index >= prior->states() || prior->state(index).hardware)
        throw std::invalid_argument("amplitude shaping: composition index " + std::to_string(index) +
                                    " is no AWGN state of ps-qam" + std::to_string(1 << bits));
    // The rail's marginal law. Amplitudes in order: 1, 3, 5 ... half spacings.
    const auto& points = prior->source().constellation();
    const auto of_class = prior->class_pmf(index);
    float smallest = 1e9f;
    for (const auto& c : points)
        smallest = std::min(smallest, std::abs(c.real()));
    std::vector<double> pmf(size_t(1) << (bits / 2 - 1), 0.0);
    for (size_t i = 0; i < points.size(); i++) {
        const size_t k = prior->class_of()[i];
        const long a = (std::lround(std::abs(points[i].real()) / smallest) - 1) / 2;
        pmf.at(size_t(a)) += of_class[k] / double(prior->class_size()[k]);
    }
    return quantize_composition(pmf, 2 * symbols);
}

} // namespace

std::vector<fec> shaped_payload::codes(int bits_per_symbol)
{
    static const std::map<int, std::vector<const char*>> best = {
        { 4, { "7/9", "11/15", "2/3" } },
        { 6, { "4/5", "37/45", "7/9", "11/15", "2/3" } },
        { 8, { "8/9", "37/45", "7/9" } }
    };
    std::vector<fec> out;
    const auto found = best.find(bits_per_symbol);
    if (found != best.end())
        for (const char* rate : found->second)
            out.push_back(fec_from_name(std::string("dvbs2-") + rate));
    return out;
}

std::shared_ptr<const shaped_payload> shaped_payload::get(int bits_per_symbol, fec code, uint32_t index)
{
    static std::mutex mutex;
    static std::map<std::tuple<int, fec, uint32_t>, std::shared_ptr<const shaped_payload>> made;
    const std::lock_guard<std::mutex> lock(mutex);
    const auto key = std::make_tuple(bits_per_symbol, code, index);
    const auto found = made.find(key);
    if (found != made.end())
        return found->second;
    const dvbs2_code& ldpc = code_of(code);
    if (bits_per_symbol != 4 && bits_per_symbol != 6 && bits_per_symbol != 8)
        throw std::invalid_argument("amplitude shaping: " + std::to_string(bits_per_symbol) +
                                    " bits per symbol, use 4, 6 or 8 (16-, 64-, 256-QAM)");
    const auto counts = amplitudes_of(bits_per_symbol, index, pas_code::symbols_of(bits_per_symbol, ldpc));
    std::shared_ptr<const shaped_payload> payload(
        new shaped_payload(pas_code(bits_per_symbol, ldpc, counts),
                           qam(bits_per_symbol, std::vector<double>(counts.begin(), counts.end()))));
    made[key] = payload;
    return payload;
}

shaped_payload::mode shaped_payload::mode_for(int bits_per_symbol, double snr_db, double margin_db)
{
    if (!std::isfinite(snr_db) || !std::isfinite(margin_db))
        throw std::invalid_argument("amplitude shaping: SNR " + std::to_string(snr_db) + " dB, margin " +
                                    std::to_string(margin_db) + " dB; use finite numbers");
    if (bits_per_symbol != 4 && bits_per_symbol != 6 && bits_per_symbol != 8)
        throw std::invalid_argument("amplitude shaping: " + std::to_string(bits_per_symbol) +
                                    " bits per symbol, use 4, 6 or 8 (16-, 64-, 256-QAM)");
    const double bearable = std::log2(1 + std::pow(10, (snr_db - margin_db) / 10));
    const auto prior = prior_of(bits_per_symbol);
    uint32_t last = 0;
    while (last < max_index && last + 1 < prior->states() && !prior->state(last + 1).hardware)
        last++;
    constexpr double slack = 0.06; // bits a symbol; a code that has no more to give leaves it to the next
    mode lowest{ fec::none, 0, INFINITY }, chosen{ fec::none, 0, 0 };
    for (const fec code : codes(bits_per_symbol)) {
        const size_t symbols = pas_code::symbols_of(bits_per_symbol, code_of(code));
        const double extra = double(code_of(code).k()) - double(bits_per_symbol - 2) * double(symbols);
        mode best{ code, 0, 0 };
        double before = INFINITY;
        for (uint32_t i = last + 1; i-- > 0;) {
            const distribution_matcher matcher(amplitudes_of(bits_per_symbol, i, symbols));
            const double rate = (double(matcher.bits()) + extra) / double(symbols);
            if (rate < lowest.rate)
                lowest = { code, i, rate };
            if (rate <= bearable && rate >= best.rate)
                best = { code, i, rate };
            // Falls with the SNR that the pmf is for; rises again at very low ones, where any pmf does as
            // well.
            if (rate > before + 0.01 && best.rate > 0)
                break;
            before = std::min(before, rate);
        }
        if (best.rate > chosen.rate + slack)
            chosen = best;
        if (chosen.rate >= bearable - slack)
            break;
    }
    return chosen.rate > 0 ? chosen : lowest;
}

void shaped_payload::encode(const uint8_t* bits, size_t n, uint8_t* labels) const
{
    const size_t count = words(n), width = size_t(d_constellation.bits());
    std::vector<uint8_t> padded(count * d_code.bits()), word(count * d_code.code().n());
    std::copy_n(bits, n, padded.begin());
    random_source random(padding_seed); // zeros would all be one sequence of amplitudes
    for (size_t i = n; i < padded.size(); i++)
        padded[i] = random.bits() >> 63;
    for (size_t w = 0; w < count; w++)
        d_code.encode(padded.data() + w * d_code.bits(), word.data() + w * d_code.code().n());
    const auto order = random_permutation(symbols(n), order_seed);
    for (size_t i = 0; i < order.size(); i++)
        std::copy_n(&word[order[i] * width], width, labels + i * width);
}

bool shaped_payload::decode(const float* llr, size_t n, uint8_t* bits) const
{
    const size_t count = words(n), width = size_t(d_constellation.bits());
    std::vector<float> word(count * d_code.code().n());
    const auto order = random_permutation(symbols(n), order_seed);
    for (size_t i = 0; i < order.size(); i++)
        std::copy_n(llr + i * width, width, &word[order[i] * width]);
    std::vector<uint8_t> decoded(d_code.bits());
    bool good = true;
    for (size_t w = 0; w < count; w++) {
        good &= d_code.decode(&word[w * d_code.code().n()], decoded.data());
        const size_t from = w * d_code.bits();
        std::copy_n(decoded.begin(), std::min(decoded.size(), n - from), bits + from);
    }
    return good;
}

} // namespace gr::diffusion::dsp
