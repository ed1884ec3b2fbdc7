/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "preamble_estimator.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace gr::diffusion::dsp {

using cfloat = std::complex<float>;

namespace {

void check_symbol(const std::vector<cfloat>& symbol, const char* name)
{
    bool used = false;
    for (const cfloat& v : symbol) {
        if (!std::isfinite(v.real()) || !std::isfinite(v.imag()))
            throw std::invalid_argument(std::string(name) + " holds a NaN or Inf");
        used |= v != cfloat(0);
    }
    if (!used)
        throw std::invalid_argument(std::string(name) + " is zero on all carriers");
}

} // namespace

preamble_estimator::preamble_estimator(const std::vector<cfloat>& sync_symbol1,
                                       const std::vector<cfloat>& sync_symbol2, int max_carr_offset,
                                       bool force_one_sync_symbol)
    : d_sync1(sync_symbol1)
{
    const int n = int(sync_symbol1.size());
    if (n < 8 || n > 4096)
        throw std::invalid_argument("sync_symbol1 has " + std::to_string(n) +
                                    " carriers, use an FFT length of 8 to 4096");
    if (!sync_symbol2.empty() && sync_symbol2.size() != sync_symbol1.size())
        throw std::invalid_argument("sync symbols must have equal length, they have " + std::to_string(n) +
                                    " and " + std::to_string(sync_symbol2.size()));
    if (max_carr_offset < -1)
        throw std::invalid_argument("max_carr_offset is " + std::to_string(max_carr_offset) +
                                    ", use -1 or more");
    check_symbol(sync_symbol1, "sync_symbol1");
    const bool two = !sync_symbol2.empty() && !force_one_sync_symbol;
    if (two)
        check_symbol(sync_symbol2, "sync_symbol2");
    d_symbols = two ? 2 : 1;
    d_reference = two ? sync_symbol2 : sync_symbol1;

    double power = 0, inverse = 0;
    for (int k = 0; k < n; k++)
        if (d_reference[k] != cfloat(0)) {
            d_pilots.push_back(k);
            power += std::norm(d_reference[k]);
            inverse += 1 / std::norm(d_reference[k]);
        }
    d_reference_power = power / double(d_pilots.size());
    d_inverse_power = inverse / double(d_pilots.size());
    d_first = d_pilots.front();
    d_last = d_pilots.back();
    if (sync_symbol2.empty() && d_first + 1 < n - 1 && d_reference[d_first + 1] == cfloat(0)) {
        d_hold = true;
        d_last = std::min(d_last + 1, n - 1);
    }

    d_lowest = -d_first;
    d_highest = n - d_last - 1;
    if (max_carr_offset != -1) {
        d_lowest = std::max(-max_carr_offset, d_lowest);
        d_highest = std::min(max_carr_offset, d_highest);
    }
    d_lowest += std::abs(d_lowest % 2); // even offsets only: odd ones exchange the symbol's two halves' sign
    d_highest -= d_highest % 2;

    d_correlation.assign(n, 0);
    d_known_changes.assign(n, 0);
    d_changes.assign(n, 0);
    if (two)
        for (int k = 0; k < n; k++)
            d_correlation[k] =
                sync_symbol1[k] == cfloat(0) ? cfloat(0) : std::conj(sync_symbol2[k] / sync_symbol1[k]);
    else
        for (int k = d_first; k < d_last - 2 && k < n - 2; k += 2)
            d_known_changes[k] = std::norm(sync_symbol1[k] - sync_symbol1[k + 2]);

    d_silent1.resize(n);
    d_silent_reference.resize(n);
    for (int k = 0; k < n; k++) {
        // One carrier beyond the used ones catches their leakage, so it is no sign of the noise.
        d_silent1[k] = sync_symbol1[k] == cfloat(0);
        d_silent_reference[k] = d_reference[k] == cfloat(0) && (k + 1 < d_first || k > d_last + 1);
    }
    d_ls.resize(d_pilots.size());
    d_result.taps.resize(n);
    d_result.err_var.resize(n);
}

int preamble_estimator::find_offset(const cfloat* first, const cfloat* second)
{
    const int n = int(fft_len());
    int found = 0;
    float best = 0;
    if (d_symbols == 1)
        for (int k = 0; k < n - 2; k++)
            d_changes[k] = std::norm(first[k] - first[k + 2]);
    for (int g = d_lowest; g <= d_highest; g += 2) {
        float metric = 0;
        if (d_symbols == 2) {
            cfloat sum = 0;
            for (int k = 0; k < n; k++)
                if (d_correlation[k] != cfloat(0) && k + g >= 0 && k + g < n)
                    sum += std::conj(first[k + g]) * d_correlation[k] * second[k + g];
            metric = std::abs(sum);
        } else {
            for (int k = 0; k < n; k++)
                if (d_known_changes[k] > 0 && k + g >= 0 && k + g < n)
                    metric += d_known_changes[k] * d_changes[k + g];
        }
        if (metric > best) {
            best = metric;
            found = g;
        }
    }
    return found;
}

//! Mean power where nothing was sent: the empty carriers of both symbols, those within the band first.
float preamble_estimator::estimate_noise(const cfloat* in, int offset) const
{
    const int n = int(fft_len());
    double inside = 0, outside = 0;
    int n_inside = 0, n_outside = 0;
    for (int k = 0; k < n; k++) {
        const int at = k + offset;
        if (at < 0 || at >= n)
            continue;
        const bool within = k > d_first && k < d_last;
        const bool dc = k == n / 2; // a direct converter puts its own offset there
        if (d_silent1[k] && within && !dc) {
            inside += std::norm(in[at]);
            n_inside++;
        }
        if (d_silent_reference[k]) {
            outside += std::norm(in[(d_symbols - 1) * n + at]);
            n_outside++;
        }
    }
    if (n_inside >= 4)
        return float(inside / n_inside);
    if (n_outside >= 2)
        return float(outside / n_outside);
    // No empty carrier: what a smooth channel cannot explain, by second differences, whose mean power is
    // 6 noise_var / |reference|^2.
    double sum = 0;
    int count = 0;
    for (size_t i = 2; i < d_ls.size(); i++, count++)
        sum += std::norm(d_ls[i] - 2.f * d_ls[i - 1] + d_ls[i - 2]);
    return count ? float(sum / (6 * count) / d_inverse_power) : 0;
}

void preamble_estimator::stock_taps()
{
    result& r = d_result;
    const float per_tap = r.noise_var;
    for (size_t i = 0; i < d_pilots.size(); i++) {
        r.taps[d_pilots[i]] = d_ls[i];
        r.err_var[d_pilots[i]] = per_tap / std::norm(d_reference[d_pilots[i]]);
    }
    if (!d_hold)
        return;
    for (int k = d_first + 1; k <= d_last; k += 2) {
        r.taps[k] = r.taps[k - 1];
        r.err_var[k] = r.err_var[k - 1];
    }
}

const preamble_estimator::result& preamble_estimator::estimate(const cfloat* in)
{
    const int n = int(fft_len());
    result& r = d_result;
    double sum = 0;
    for (int i = 0; i < d_symbols * n; i++)
        sum += std::norm(in[i]);
    r.carr_offset = 0;
    r.valid = std::isfinite(sum);
    std::fill(r.taps.begin(), r.taps.end(), cfloat(0));
    std::fill(r.err_var.begin(), r.err_var.end(), 0.f);
    if (!r.valid) {
        std::fill(r.taps.begin() + d_first, r.taps.begin() + d_last + 1, cfloat(1));
        std::fill(r.err_var.begin() + d_first, r.err_var.begin() + d_last + 1,
                  std::numeric_limits<float>::infinity());
        r.noise_var = std::numeric_limits<float>::infinity();
        r.snr_db = -100;
        return r;
    }
    if (d_lowest || d_highest)
        r.carr_offset = find_offset(in, in + n);
    const cfloat* const symbol = in + (d_symbols - 1) * n;
    for (size_t i = 0; i < d_pilots.size(); i++) {
        const int at = d_pilots[i] + r.carr_offset;
        d_ls[i] = at >= 0 && at < n ? symbol[at] / d_reference[d_pilots[i]] : cfloat(0);
    }
    r.noise_var = d_noise_var >= 0 ? d_noise_var : estimate_noise(in, r.carr_offset);
    if (!d_estimator)
        stock_taps();
    else {
        d_estimator->estimate(d_ls.data(), 1, float(r.noise_var * d_inverse_power), r.taps.data(),
                              r.err_var.data());
        for (int k = 0; k < n; k++)
            if (k < d_first || k > d_last) {
                r.taps[k] = 0;
                r.err_var[k] = 0;
            }
    }
    double power = 0, error = 0;
    for (int p : d_pilots) {
        power += std::norm(r.taps[p]);
        error += d_estimator ? 0 : r.err_var[p]; // least squares' power contains its noise
    }
    power = std::max(power - error, 0.0) / double(d_pilots.size()) * d_reference_power;
    const double snr = power / std::max(double(r.noise_var), 1e-30);
    r.snr_db = float(std::clamp(10 * std::log10(std::max(snr, 1e-10)), -100.0, 100.0));
    return r;
}

} // namespace gr::diffusion::dsp
