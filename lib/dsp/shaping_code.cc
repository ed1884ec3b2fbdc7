/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shaping_code.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

shaping_code::members shaping_code::members_of(const std::vector<uint8_t>& class_of, size_t classes)
{
    if (class_of.empty() || class_of.size() > 256)
        throw std::invalid_argument("shaping_code: " + std::to_string(class_of.size()) +
                                    " symbols, use 1 to 256");
    members out(classes);
    for (size_t i = 0; i < class_of.size(); i++) {
        if (class_of[i] >= classes)
            throw std::invalid_argument("shaping_code: symbol " + std::to_string(i) + " is of class " +
                                        std::to_string(class_of[i]) + ", but there are " +
                                        std::to_string(classes) + " counts");
        out[class_of[i]].push_back(uint8_t(i));
    }
    for (size_t k = 0; k < classes; k++)
        if (const size_t size = out[k].size(); size == 0 || (size & (size - 1)))
            throw std::invalid_argument("shaping_code: class " + std::to_string(k) + " has " +
                                        std::to_string(size) + " members, use a power of two");
    return out;
}

shaping_code::shaping_code(const members& cells, size_t symbols, std::shared_ptr<const block_matcher> matcher)
    : d_matcher(std::move(matcher)), d_places(symbols), d_bits(d_matcher->bits())
{
    const auto share = d_matcher->pmf();
    double plain = 0;
    for (size_t k = 0; k < cells.size(); k++) {
        uint8_t u = 0;
        while ((size_t(1) << u) < cells[k].size())
            u++;
        d_first.push_back(uint16_t(d_members.size()));
        d_rank_bits.push_back(u);
        for (size_t r = 0; r < cells[k].size(); r++)
            d_places[cells[k][r]] = { uint8_t(k), uint8_t(r) };
        d_members.insert(d_members.end(), cells[k].begin(), cells[k].end());
        plain += double(u) * share[k];
    }
    d_bits += size_t(std::lround(plain * double(length())));
}

shaping_code::shaping_code(const std::vector<uint8_t>& class_of, const std::vector<uint32_t>& composition)
    : shaping_code(members_of(class_of, composition.size()), class_of.size(),
                   std::make_shared<const distribution_matcher>(composition))
{
}

shaping_code shaping_code::sphere(const std::vector<uint8_t>& class_of, const std::vector<double>& class_pmf,
                                  size_t length, const std::vector<uint32_t>& energy)
{
    const members classes = members_of(class_of, class_pmf.size());
    if (!energy.empty() && energy.size() != classes.size())
        throw std::invalid_argument("shaping_code: " + std::to_string(energy.size()) + " energies for " +
                                    std::to_string(classes.size()) + " classes");
    size_t part = classes[0].size();
    for (const auto& of : classes)
        part = std::min(part, of.size());
    members cells;
    std::vector<double> pmf;
    std::vector<uint32_t> costs;
    for (size_t k = 0; k < classes.size(); k++)
        for (size_t from = 0; from < classes[k].size(); from += part) {
            cells.emplace_back(classes[k].begin() + long(from), classes[k].begin() + long(from + part));
            pmf.push_back(class_pmf[k] * double(part) / double(classes[k].size()));
            if (!energy.empty())
                costs.push_back(energy[k]);
        }
    return shaping_code(cells, class_of.size(), sphere_matcher::of(pmf, length, costs));
}

std::vector<double> shaping_code::pmf() const
{
    const auto share = d_matcher->pmf();
    std::vector<double> p(d_places.size());
    for (size_t i = 0; i < p.size(); i++) {
        const size_t k = d_places[i].cell;
        p[i] = share[k] / double(size_t(1) << d_rank_bits[k]);
    }
    return p;
}

void shaping_code::encode(const uint8_t* bits, uint8_t* indices) const
{
    d_matcher->match(bits, indices);
    bits += d_matcher->bits();
    for (size_t i = 0; i < length(); i++) {
        const unsigned k = indices[i];
        unsigned rank = 0;
        for (unsigned u = d_rank_bits[k]; u > 0; u--)
            rank = rank << 1 | (*bits++ & 1);
        indices[i] = d_members[d_first[k] + rank];
    }
}

bool shaping_code::decode(const uint8_t* indices, uint8_t* bits) const
{
    uint8_t cells[distribution_matcher::max_length];
    bool good = true;
    for (size_t i = 0; i < length(); i++) {
        if (indices[i] >= d_places.size()) {
            good = false;
            cells[i] = 0;
        } else {
            cells[i] = d_places[indices[i]].cell;
        }
    }
    good &= d_matcher->dematch(cells, bits);
    // Members' bits of symbols of a wrong class may be too many or too few: never beyond the block.
    uint8_t* const end = bits + d_bits;
    bits += d_matcher->bits();
    for (size_t i = 0; i < length(); i++) {
        const place at = indices[i] < d_places.size() ? d_places[indices[i]] : place{ 0, 0 };
        for (unsigned u = d_rank_bits[at.cell]; u > 0 && bits < end; u--)
            *bits++ = at.rank >> (u - 1) & 1;
    }
    std::fill(bits, end, uint8_t(0));
    return good;
}

} // namespace gr::diffusion::dsp
