/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "noise_law.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::dsp {

namespace {

constexpr double state_version = 1;
constexpr size_t rail_nodes = 2049, plane_nodes = 513; // odd: one lies at zero
constexpr double log_2pi = 1.8378770664093453;

void check(const std::vector<noise_component>& mixture, bool plane)
{
    auto refuse = [](const std::string& why) { throw std::invalid_argument("noise law refused: " + why); };
    if (mixture.empty() || mixture.size() > noise_law::max_components)
        refuse(std::to_string(mixture.size()) + " components, use 1 to " +
               std::to_string(noise_law::max_components));
    double total = 0;
    for (const auto& c : mixture) {
        for (double v : { c.weight, c.re, c.im, c.var_re, c.var_im, c.covariance })
            if (!std::isfinite(v) || std::abs(v) > 1e15)
                refuse("it holds a value that is not finite");
        if (c.weight < 0)
            refuse("a weight is " + std::to_string(c.weight) + ", none may be negative");
        if (!(c.var_re > 1e-15) ||
            (plane && !(c.var_im > 1e-15 && c.var_re * c.var_im > c.covariance * c.covariance)))
            refuse("a component's covariance is not positive definite");
        total += c.weight;
    }
    if (std::abs(total - 1) > 1e-6)
        refuse("the weights sum to " + std::to_string(total) + ", not 1");
}

//! Mean and central second moments (re, im) of a mixture.
std::array<double, 4> moments(const std::vector<noise_component>& mixture)
{
    double re = 0, im = 0, rr = 0, ii = 0;
    for (const auto& c : mixture) {
        re += c.weight * c.re;
        im += c.weight * c.im;
        rr += c.weight * (c.var_re + c.re * c.re);
        ii += c.weight * (c.var_im + c.im * c.im);
    }
    return { re, im, rr - re * re, ii - im * im };
}

} // namespace

noise_law::noise_law() : d_first{ { 1, 0, 0, 0.5, 0.5, 0 } } {}

noise_law noise_law::rails(std::vector<noise_component> re, std::vector<noise_component> im)
{
    check(re, false);
    check(im, false);
    noise_law law;
    law.d_form = form::rails;
    law.d_first = std::move(re);
    law.d_second = std::move(im);
    return law;
}

noise_law noise_law::plane(std::vector<noise_component> components)
{
    check(components, true);
    noise_law law;
    law.d_first = std::move(components);
    return law;
}

double noise_law::variance() const
{
    const auto m = moments(d_first);
    return d_form == form::rails ? m[2] + moments(d_second)[2] : m[2] + m[3];
}

noise_law noise_law::diffused(double level) const
{
    if (!(level >= 0) || !std::isfinite(level))
        throw std::invalid_argument("noise law: level is " + std::to_string(level) +
                                    ", use a variance, 0 or more");
    noise_law law = *this;
    law.d_table.clear();
    for (auto* mixture : { &law.d_first, &law.d_second })
        for (auto& c : *mixture) {
            c.var_re += level / 2;
            c.var_im += level / 2;
        }
    return law;
}

double noise_law::density_and_score(const std::vector<noise_component>& mixture, bool plane,
                                    std::complex<double> n, std::complex<double>* score)
{
    // Sum of exponentials, kept in range by the largest so far.
    double top = -1e300, sum = 0;
    std::complex<double> gradient = 0;
    for (const auto& c : mixture) {
        if (c.weight <= 0)
            continue;
        const double a = n.real() - c.re, b = n.imag() - c.im;
        double g_re, g_im = 0, value;
        if (plane) {
            const double det = c.var_re * c.var_im - c.covariance * c.covariance;
            g_re = -(c.var_im * a - c.covariance * b) / det;
            g_im = -(c.var_re * b - c.covariance * a) / det;
            value = (a * g_re + b * g_im) / 2 - std::log(det) / 2 - log_2pi;
        } else {
            g_re = -a / c.var_re;
            value = a * g_re / 2 - (std::log(c.var_re) + log_2pi) / 2;
        }
        value += std::log(c.weight);
        if (value > top) {
            const double shrink = std::exp(top - value);
            sum *= shrink;
            gradient *= shrink;
            top = value;
        }
        const double p = std::exp(value - top);
        sum += p;
        gradient += p * std::complex<double>(g_re, g_im);
    }
    if (score)
        *score = gradient / sum;
    return top + std::log(sum);
}

double noise_law::log_density(std::complex<double> n) const
{
    if (d_form == form::plane)
        return density_and_score(d_first, true, n, nullptr);
    return density_and_score(d_first, false, n.real(), nullptr) +
           density_and_score(d_second, false, n.imag(), nullptr);
}

std::complex<double> noise_law::score(std::complex<double> n) const
{
    std::complex<double> first, second = 0;
    density_and_score(d_first, d_form == form::plane, d_form == form::plane ? n : n.real(), &first);
    if (d_form == form::plane)
        return first;
    density_and_score(d_second, false, n.imag(), &second);
    return { first.real(), second.real() };
}

void noise_law::prepare()
{
    // Fine near the middle where the law is narrowest, wide as far as its widest component says anything.
    auto smallest = [](const std::vector<noise_component>& m, bool im) {
        double v = 1e300;
        for (const auto& c : m)
            if (c.weight > 1e-6)
                v = std::min(v, im ? c.var_im : c.var_re);
        return v;
    };
    auto largest = [](const std::vector<noise_component>& m, bool im) {
        double v = 0;
        for (const auto& c : m)
            if (c.weight > 1e-9)
                v = std::max(v, std::abs(im ? c.im : c.re) + 8 * std::sqrt(im ? c.var_im : c.var_re));
        return v;
    };
    const bool flat = d_form == form::plane;
    const auto& other = flat ? d_first : d_second;
    d_unit = { float(2 * std::sqrt(smallest(d_first, false))), float(2 * std::sqrt(smallest(other, flat))) };
    // Components off the centre need the fine steps where they are.
    for (const auto& c : d_first)
        if (c.weight > 1e-3)
            d_unit[0] = std::max(d_unit[0], float(std::abs(c.re)));
    for (const auto& c : other)
        if (c.weight > 1e-3)
            d_unit[1] = std::max(d_unit[1], float(std::abs(flat ? c.im : c.re)));
    d_reach = float(std::max(std::asinh(largest(d_first, false) / d_unit[0]),
                             std::asinh(largest(other, flat) / d_unit[1])));
    std::vector<float> table;
    auto coordinate = [&](size_t i, size_t nodes, int axis) {
        return d_unit[axis] * std::sinh(d_reach * (2.0 * double(i) / double(nodes - 1) - 1));
    };
    if (flat) {
        table.reserve(plane_nodes * plane_nodes);
        for (size_t row = 0; row < plane_nodes; row++)
            for (size_t i = 0; i < plane_nodes; i++)
                table.push_back(float(std::max(
                    -1e4, log_density({ coordinate(i, plane_nodes, 0), coordinate(row, plane_nodes, 1) }))));
    } else {
        table.reserve(2 * rail_nodes);
        for (int axis : { 0, 1 })
            for (size_t i = 0; i < rail_nodes; i++)
                table.push_back(
                    float(std::max(-1e4, density_and_score(axis ? d_second : d_first, false,
                                                           coordinate(i, rail_nodes, axis), nullptr))));
    }
    d_table = std::move(table);
}

float noise_law::relative(float re, float im) const
{
    auto place = [&](float v, int axis, size_t nodes, size_t& i) {
        const float t = std::clamp(std::asinh(v / d_unit[axis]) / d_reach, -1.0f, 1.0f);
        const float at = (t + 1) * 0.5f * float(nodes - 1);
        i = std::min(size_t(at), nodes - 2);
        return at - float(i);
    };
    size_t i, j;
    if (d_form == form::rails) {
        const float u = place(re, 0, rail_nodes, i), v = place(im, 1, rail_nodes, j);
        const float *a = &d_table[i], *b = &d_table[rail_nodes + j];
        return a[0] + u * (a[1] - a[0]) + b[0] + v * (b[1] - b[0]);
    }
    const float u = place(re, 0, plane_nodes, i), v = place(im, 1, plane_nodes, j);
    const float *a = &d_table[j * plane_nodes + i], *b = a + plane_nodes;
    const float low = a[0] + u * (a[1] - a[0]), high = b[0] + u * (b[1] - b[0]);
    return low + v * (high - low);
}

std::vector<double> noise_law::state() const
{
    std::vector<double> s = { state_version, d_form == form::rails ? 0.0 : 1.0, double(d_first.size()),
                              double(d_second.size()) };
    for (const auto* mixture : { &d_first, &d_second })
        for (const auto& c : *mixture)
            s.insert(s.end(), { c.weight, c.re, c.im, c.var_re, c.var_im, c.covariance });
    return s;
}

noise_law noise_law::from_state(const std::vector<double>& s)
{
    const bool head = s.size() >= 4 && s[0] == state_version && (s[1] == 0 || s[1] == 1);
    const bool counts = head && s[2] >= 1 && s[2] <= double(max_components) && s[3] >= 0 &&
                        s[3] <= double(max_components) && s[2] == std::floor(s[2]) &&
                        s[3] == std::floor(s[3]);
    if (!counts || s.size() != 4 + 6 * (size_t(s[2]) + size_t(s[3])) || (s[1] == 1) != (s[3] == 0))
        throw std::invalid_argument("noise law refused: not a noise law of this version");
    std::array<std::vector<noise_component>, 2> mixture;
    const double* v = &s[4];
    for (size_t k : { 0, 1 })
        for (size_t i = 0; i < size_t(s[2 + k]); i++, v += 6)
            mixture[k].push_back({ v[0], v[1], v[2], v[3], v[4], v[5] });
    return s[1] == 0 ? rails(std::move(mixture[0]), std::move(mixture[1])) : plane(std::move(mixture[0]));
}

} // namespace gr::diffusion::dsp
