/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shaping_code.h"
#include <algorithm>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

shaping_code::shaping_code(const std::vector<uint8_t>& class_of, const std::vector<uint32_t>& composition)
    : d_matcher(composition), d_places(class_of.size())
{
    if (class_of.empty() || class_of.size() > 256)
        throw std::invalid_argument("shaping_code: " + std::to_string(class_of.size()) +
                                    " symbols, use 1 to 256");
    const size_t classes = composition.size();
    std::vector<std::vector<uint8_t>> members(classes);
    for (size_t i = 0; i < class_of.size(); i++) {
        if (class_of[i] >= classes)
            throw std::invalid_argument("shaping_code: symbol " + std::to_string(i) + " is of class " +
                                        std::to_string(class_of[i]) + ", but there are " +
                                        std::to_string(classes) + " counts");
        auto& of = members[class_of[i]];
        d_places[i] = { class_of[i], uint8_t(of.size()) };
        of.push_back(uint8_t(i));
    }
    d_bits = d_matcher.bits();
    for (size_t k = 0; k < classes; k++) {
        const size_t size = members[k].size();
        if (size == 0 || (size & (size - 1)))
            throw std::invalid_argument("shaping_code: class " + std::to_string(k) + " has " +
                                        std::to_string(size) + " members, use a power of two");
        uint8_t u = 0;
        while ((size_t(1) << u) < size)
            u++;
        d_first.push_back(uint16_t(d_members.size()));
        d_rank_bits.push_back(u);
        d_members.insert(d_members.end(), members[k].begin(), members[k].end());
        d_bits += size_t(u) * composition[k];
    }
}

std::vector<double> shaping_code::pmf() const
{
    std::vector<double> p(d_places.size());
    for (size_t i = 0; i < p.size(); i++) {
        const size_t k = d_places[i].of_class;
        p[i] = double(d_matcher.composition()[k]) / double(length()) / double(size_t(1) << d_rank_bits[k]);
    }
    return p;
}

void shaping_code::encode(const uint8_t* bits, uint8_t* indices) const
{
    d_matcher.match(bits, indices);
    bits += d_matcher.bits();
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
    uint8_t classes[distribution_matcher::max_length];
    bool good = true;
    for (size_t i = 0; i < length(); i++) {
        if (indices[i] >= d_places.size()) {
            good = false;
            classes[i] = 0;
        } else {
            classes[i] = d_places[indices[i]].of_class;
        }
    }
    good &= d_matcher.dematch(classes, bits);
    // Members' bits of symbols of a wrong class may be too many or too few: never beyond the block.
    uint8_t* const end = bits + d_bits;
    bits += d_matcher.bits();
    for (size_t i = 0; i < length(); i++) {
        const place at = indices[i] < d_places.size() ? d_places[indices[i]] : place{ 0, 0 };
        for (unsigned u = d_rank_bits[at.of_class]; u > 0 && bits < end; u--)
            *bits++ = at.rank >> (u - 1) & 1;
    }
    std::fill(bits, end, uint8_t(0));
    return good;
}

} // namespace gr::diffusion::dsp
