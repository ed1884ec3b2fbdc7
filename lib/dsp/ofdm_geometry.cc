/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ofdm_geometry.h"
#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {
namespace {

using cf = std::complex<float>;

// Signs of gr-digital's default sync words (a seeded NumPy generator draws them there), carriers
// -26..26; '.' is an empty carrier.
const char sync1_signs[] = ".+.-.+.-.-.-.+.-.+.-.-.-.-.+.-.+.+.+.-.+.+.+.-.+.+.+.";
const char sync2_signs[] = "----++---+-+++++-----+--+-.+-+++-+++-++++-+---+-+----";

// The polarity sequence of IEEE 802.11a's pilots in gr-digital's variant, 127 symbols.
const char pilot_signs[] = "++++---+----++-+--++-++-++++++-+++-++--+++-+---+-+--+--+++++--++--+-+-++---++-"
                           "---+--+-++++-+-+-+-----+-++-+-+++--+---+++-------";

std::vector<cf> from_signs(const char* signs, int fft_len, float amplitude)
{
    const std::string s(signs);
    std::vector<cf> shifted(fft_len);
    const int first = fft_len / 2 - int(s.size() / 2);
    for (size_t i = 0; i < s.size(); i++)
        shifted[first + i] = s[i] == '+' ? amplitude : s[i] == '-' ? -amplitude : 0.0f;
    return shifted;
}

void centre(std::vector<std::vector<int>>& sets, int fft_len, const char* what)
{
    if (sets.empty())
        throw std::invalid_argument(std::string("OFDM geometry: ") + what +
                                    " has no set, give at least one list of carriers");
    for (auto& set : sets) {
        std::set<int> seen;
        for (int& k : set) {
            const int given = k;
            if (k >= fft_len / 2)
                k -= fft_len;
            if (k < -fft_len / 2 || k >= fft_len / 2)
                throw std::invalid_argument(std::string("OFDM geometry: ") + what + " has carrier " +
                                            std::to_string(given) + ", use " + std::to_string(-fft_len / 2) +
                                            " to " + std::to_string(fft_len - 1));
            if (!seen.insert(k).second)
                throw std::invalid_argument(std::string("OFDM geometry: ") + what + " has carrier " +
                                            std::to_string(given) + " twice in one set");
        }
    }
}

void check_word(const std::vector<cf>& word, int fft_len, const char* what)
{
    double energy = 0;
    for (const cf& x : word)
        energy += std::norm(x);
    if (int(word.size()) != fft_len || !(energy > 0) || !std::isfinite(energy))
        throw std::invalid_argument(std::string("OFDM geometry: ") + what + " has " +
                                    std::to_string(word.size()) + " values and energy " +
                                    std::to_string(energy) + ", give " + std::to_string(fft_len) +
                                    " finite values (DC in the middle), not all zero");
}

} // namespace

ofdm_geometry ofdm_geometry::stock()
{
    ofdm_geometry g;
    g.pilot_carriers = { { -21, -7, 7, 21 } };
    g.occupied_carriers.emplace_back();
    for (int k = -26; k <= 26; k++)
        if (k != 0 && std::abs(k) != 7 && std::abs(k) != 21)
            g.occupied_carriers[0].push_back(k);
    for (const char* sign = pilot_signs; *sign; sign++) {
        const float p = *sign == '+' ? 1 : -1;
        g.pilot_symbols.push_back({ p, p, p, -p });
    }
    g.sync_word1 = from_signs(sync1_signs, g.fft_len, std::sqrt(2.0f));
    g.sync_word2 = from_signs(sync2_signs, g.fft_len, 1);
    return g;
}

void ofdm_geometry::normalise()
{
    if (fft_len < 8 || fft_len > 65536 || fft_len % 2)
        throw std::invalid_argument("OFDM geometry: fft_len is " + std::to_string(fft_len) +
                                    ", use an even number from 8 to 65536");
    if (cp_len < 1 || cp_len > fft_len)
        throw std::invalid_argument("OFDM geometry: cp_len is " + std::to_string(cp_len) +
                                    ", use 1 to fft_len");
    centre(occupied_carriers, fft_len, "occupied_carriers");
    centre(pilot_carriers, fft_len, "pilot_carriers");
    if (occupied_carriers[0].empty())
        throw std::invalid_argument("OFDM geometry: the first set of occupied_carriers is empty");
    if (pilot_symbols.empty())
        throw std::invalid_argument("OFDM geometry: pilot_symbols has no set, use ((),) for none");
    const size_t sets = std::max(pilot_carriers.size(), pilot_symbols.size());
    for (size_t i = 0; i < sets; i++)
        if (pilot_set(i).size() != pilot_values(i).size())
            throw std::invalid_argument("OFDM geometry: set " + std::to_string(i) + " has " +
                                        std::to_string(pilot_set(i).size()) + " pilot_carriers but " +
                                        std::to_string(pilot_values(i).size()) + " pilot_symbols");
    for (size_t i = 0; i < occupied_carriers.size() * pilot_carriers.size(); i++)
        for (int k : pilot_set(i))
            if (std::count(data_set(i).begin(), data_set(i).end(), k))
                throw std::invalid_argument("OFDM geometry: carrier " + std::to_string(k) +
                                            " is both a pilot and occupied");
    check_word(sync_word1, fft_len, "sync_word1");
    check_word(sync_word2, fft_len, "sync_word2");
    // Equal halves (even carriers) or halves of opposite sign (odd carriers): not a mixture.
    double even = 0, odd = 0;
    for (int i = 0; i < fft_len; i++)
        ((i - fft_len / 2) % 2 ? odd : even) += std::norm(sync_word1[i]);
    if (even > 0 && odd > 0)
        throw std::invalid_argument(
            "OFDM geometry: sync_word1 uses odd and even carriers, use every second one");
}

std::vector<int> ofdm_geometry::active_carriers() const
{
    std::set<int> active;
    for (const auto* sets : { &occupied_carriers, &pilot_carriers })
        for (const auto& set : *sets)
            active.insert(set.begin(), set.end());
    for (const auto* word : { &sync_word1, &sync_word2 })
        for (int i = 0; i < fft_len; i++)
            if ((*word)[i] != cf(0))
                active.insert(i - fft_len / 2);
    return { active.begin(), active.end() };
}

std::vector<cf> modulate_symbol(const ofdm_geometry& g, const std::vector<cf>& shifted)
{
    std::vector<cf> out(g.symbol_len());
    for (int n = 0; n < g.fft_len; n++) {
        std::complex<double> sum = 0;
        for (int i = 0; i < g.fft_len; i++)
            if (shifted[i] != cf(0))
                sum += std::complex<double>(shifted[i]) *
                       std::polar(1.0,
                                  2 * M_PI * double((long(i - g.fft_len / 2) * n) % g.fft_len) / g.fft_len);
        out[g.cp_len + n] = cf(sum);
    }
    std::copy(out.end() - g.cp_len, out.end(), out.begin());
    return out;
}

} // namespace gr::diffusion::dsp
