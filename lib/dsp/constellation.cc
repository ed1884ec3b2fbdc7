/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "constellation.h"
#include <cmath>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {

//! Amplitudes -(L-1), ..., L-1 of a rail of k bits, by label.
std::vector<float> gray_rail(int k)
{
    std::vector<float> rail(size_t(1) << k);
    const int levels = int(rail.size());
    for (int position = 0; position < levels; position++)
        rail[position ^ (position >> 1)] = float(2 * position - (levels - 1));
    return rail;
}

std::vector<std::complex<float>> square_qam(int bits)
{
    const auto rail = gray_rail(bits / 2);
    const int levels = int(rail.size());
    const float scale = float(1 / std::sqrt(2.0 * (levels * levels - 1) / 3.0));
    std::vector<std::complex<float>> points;
    for (int i = 0; i < levels; i++)
        for (int q = 0; q < levels; q++)
            points.emplace_back(scale * rail[i], scale * rail[q]);
    return points;
}

} // namespace

const std::vector<std::string>& constellation_names()
{
    static const std::vector<std::string> names = { "bpsk", "qpsk", "qam16", "qam64", "qam256" };
    return names;
}

std::vector<std::complex<float>> constellation(const std::string& name)
{
    if (name == "bpsk")
        return { -1.0f, 1.0f };
    if (name == "qpsk") {
        const float a = float(std::sqrt(0.5));
        return { { -a, -a }, { a, -a }, { -a, a }, { a, a } };
    }
    if (name == "qam16")
        return square_qam(4);
    if (name == "qam64")
        return square_qam(6);
    if (name == "qam256")
        return square_qam(8);
    throw std::invalid_argument("constellation '" + name + "' is none of bpsk, qpsk, qam16, qam64, qam256");
}

size_t nearest_point(const std::vector<std::complex<float>>& points, std::complex<float> y)
{
    size_t best = 0;
    for (size_t i = 1; i < points.size(); i++)
        if (std::norm(y - points[i]) < std::norm(y - points[best]))
            best = i;
    return best;
}

} // namespace gr::diffusion::dsp
