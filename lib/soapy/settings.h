/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <complex>
#include <string>
#include <vector>

namespace gr::diffusion::soapy {

//! \throws std::runtime_error naming key, value and range
double parse_number(const std::string& key, const std::string& text, double low, double high);
//! "1 0.3+0.2j -0.1j": taps, separated by blanks or semicolons (a comma would end a device argument).
std::vector<std::complex<float>> parse_taps(const std::string& key, const std::string& text);
//! "0 -4 -8": powers in dB, relative; returned so that they sum to 1. Empty text: none.
std::vector<double> parse_profile(const std::string& key, const std::string& text);
std::string number_text(double value);

} // namespace gr::diffusion::soapy
