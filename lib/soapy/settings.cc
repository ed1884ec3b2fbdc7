/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "settings.h"
#include <algorithm>
#include <cmath>
#include <locale>
#include <sstream>
#include <stdexcept>

namespace gr::diffusion::soapy {

namespace {

constexpr size_t max_taps = 1024;

//! A number in the C locale, whatever the program's; false if text is not just that.
bool read(const std::string& text, double& value)
{
    std::istringstream stream(text);
    stream.imbue(std::locale::classic());
    stream >> value;
    return !stream.fail() && stream.eof() && std::isfinite(value);
}

std::vector<std::string> words(std::string text)
{
    std::replace(text.begin(), text.end(), ';', ' ');
    std::istringstream stream(text);
    std::vector<std::string> result;
    for (std::string word; stream >> word;)
        result.push_back(word);
    return result;
}

} // namespace

std::string number_text(double value)
{
    std::ostringstream stream;
    stream.imbue(std::locale::classic());
    stream.precision(12);
    stream << value;
    return stream.str();
}

double parse_number(const std::string& key, const std::string& text, double low, double high)
{
    double value = 0;
    if (!read(text, value) || value < low || value > high)
        throw std::runtime_error("virtual radio: " + key + " is '" + text + "', use " + number_text(low) +
                                 " to " + number_text(high));
    return value;
}

std::vector<std::complex<float>> parse_taps(const std::string& key, const std::string& text)
{
    std::vector<std::complex<float>> taps;
    for (const auto& word : words(text)) {
        double re = 0, im = 0;
        bool ok = read(word, re);
        if (!ok && (word.back() == 'j' || word.back() == 'i')) {
            // The sign that divides a real from an imaginary part: not the first, not an exponent's.
            const std::string body = word.substr(0, word.size() - 1);
            size_t split = 0;
            for (size_t i = 1; i < body.size(); i++)
                if ((body[i] == '+' || body[i] == '-') && body[i - 1] != 'e' && body[i - 1] != 'E')
                    split = i;
            const std::string imaginary = body.substr(body[split] == '+' ? split + 1 : split);
            ok = read(imaginary, im) && (split == 0 || read(body.substr(0, split), re));
            re = split == 0 ? 0 : re;
        }
        if (!ok)
            throw std::runtime_error("virtual radio: " + key + " has '" + word +
                                     "', use numbers like 0.3 or 0.3-0.2j");
        taps.emplace_back(float(re), float(im));
    }
    if (taps.empty() || taps.size() > max_taps)
        throw std::runtime_error("virtual radio: " + key + " has " + std::to_string(taps.size()) +
                                 " taps, use 1 to 1024");
    return taps;
}

std::vector<double> parse_profile(const std::string& key, const std::string& text)
{
    std::vector<double> powers;
    double sum = 0;
    for (const auto& word : words(text)) {
        powers.push_back(std::pow(10.0, parse_number(key, word, -200, 100) / 10));
        sum += powers.back();
    }
    if (powers.size() > max_taps)
        throw std::runtime_error("virtual radio: " + key + " has " + std::to_string(powers.size()) +
                                 " powers, use up to 1024");
    for (auto& p : powers)
        p /= sum;
    return powers;
}

} // namespace gr::diffusion::soapy
