/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "link_law.h"
#include "centroid_fit.h"
#include "link_likelihood.h"
#include "marginal_fit.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {

using cplx = std::complex<double>;
constexpr int most_rounds = 6, choosing_rounds = 4;
constexpr double stated_spread = 0.12, phase_spread = 0.1; // of log noise variance; of the phase in radians
constexpr double unknown_spread = 0.5;  // of log noise variance, where it is not stated
constexpr double most_weight = 100;     // of all symbols not known, in units of the known ones
constexpr double least_told = 0.6;     // mean squared posterior from which unknown symbols tell of all
constexpr double some_told = 0.2;       // and from which they tell of the noise now and then
constexpr int clear_rounds = 8, unclear_rounds = 16;
constexpr double gain_control = 0.25; // spread of the logarithm of its full scale
constexpr size_t few = 1000; // known symbols that do not tell the two noises apart for sure

//! Posterior of the two variances: the stated noise is a prior with heavy tails, as it may be quite wrong.
class noise_fit
{
public:
    noise_fit(const link_likelihood& data, const std::vector<double>& mean, double stated,
              double spread = stated_spread)
        : d_data(data), d_mean(mean), d_stated(std::log(stated)), d_spread(spread)
    {
    }

    double value(double log_additive, double phase) const
    {
        const double off = (log_additive - d_stated) / d_spread, far = phase / phase_spread;
        return d_data.log_likelihood(d_mean, std::exp(log_additive), phase) - 2 * std::log1p(off * off / 4) -
               0.5 * far * far;
    }

    //! Its maximum by direct search from where the arguments are.
    void search(double& additive, double& phase_std, bool fine) const
    {
        double a = std::log(additive), s = phase_std, best = value(a, s);
        for (double size : { 1.0, 0.5, 0.25, 0.12, 0.06 }) {
            if (!fine && size < 0.1)
                break;
            for (int way : { -1, 1 })
                for (int k = 0; k < 6; k++) {
                    const double v = value(a + way * size, s);
                    if (!(v > best))
                        break;
                    best = v;
                    a += way * size;
                }
            const double turn = std::min(0.04, 0.08 * size);
            for (int way : { -1, 1 })
                for (int k = 0; k < 6; k++) {
                    const double next = std::max(0.0, s + way * turn), v = next == s ? best : value(a, next);
                    if (!(v > best))
                        break;
                    best = v;
                    s = next;
                }
        }
        additive = std::exp(a);
        phase_std = s;
    }

    //! Its mean instead, on a grid around the maximum.
    void average(double& additive, double& phase_std) const
    {
        const double a = std::log(additive), top = value(a, phase_std);
        double total = 0, mean_additive = 0, mean_square = 0;
        for (double s = 0; s < 0.16; s += 0.02)
            for (double d : { -0.45, -0.3, -0.15, 0.0, 0.15, 0.3, 0.45 }) {
                const double w = std::exp(std::min(value(a + d, s) - top, 50.0));
                total += w;
                mean_additive += w * (a + d);
                mean_square += w * s * s;
            }
        if (!(total > 1e-3))
            return; // the maximum lies off the grid
        additive = std::exp(mean_additive / total);
        phase_std = std::sqrt(mean_square / total);
    }

private:
    const link_likelihood& d_data;
    const std::vector<double>& d_mean;
    double d_stated, d_spread;
};

//! Full scale over the RMS of a rail, as converters of so many levels are driven to clip little and resolve
//! much.
double usual_full_scale(size_t half) { return half == 1 ? 1.2 : half == 2 ? 1.8 : half == 4 ? 2.3 : 3; }

//! Levels of one sign that were seen, and the converter's that this makes likely.
size_t seen_half(const adc_grid& grid)
{
    return std::max<size_t>(1, size_t(std::lround(grid.top / grid.step + 0.5)));
}

size_t half_of(const adc_grid& grid)
{
    size_t half = 1;
    while (half < seen_half(grid))
        half *= 2;
    return half;
}

//! One step of Fisher scoring on the centroids.
void score(const link_likelihood& data, centroid_fit& centroids, double additive, double phase_std,
           bool choose, pseudo_observations& z, std::vector<double>& mean, std::vector<double>& uncertainty)
{
    std::vector<double> gradient;
    data.log_likelihood(mean, additive, phase_std, &gradient);
    data.precision(mean, additive, phase_std, z.precision);
    z.value.resize(mean.size());
    for (size_t r = 0; r < mean.size(); r++) {
        z.precision[r] = std::max(z.precision[r], 2 * std::abs(gradient[r])); // steps of 0.5 at most
        z.value[r] = mean[r] + (z.precision[r] > 0 ? gradient[r] / z.precision[r] : 0);
    }
    if (choose)
        centroids.choose(z);
    centroids.apply(z, mean, uncertainty);
}

} // namespace

link_law link_law::fit(const std::vector<std::complex<float>>& points, const int* index,
                       const std::complex<float>* y, size_t n, double noise_var, const adc_grid& grid)
{
    const size_t m = points.size();
    const size_t seen = seen_half(grid);
    size_t half = half_of(grid);
    link_likelihood data(m, index, y, n, grid.step, half);
    centroid_fit centroids(points, n);

    // From the class means, unless the converter is so coarse that they say little of the centroids.
    pseudo_observations z{ std::vector<double>(2 * m), std::vector<double>(2 * m) };
    std::vector<double> mean(2 * m), uncertainty(2 * m);
    const noise_fit noise(data, mean, noise_var);
    double residual = 0;
    for (size_t k = 0; k < n; k++)
        residual += std::norm(cplx(y[k]) - cplx(points[index[k]])) / double(n);
    double additive = std::clamp(noise_var, 0.1 * residual + 1e-9, 2 * residual + 1e-9), phase_std = 0;
    for (size_t i = 0; i < m; i++) {
        mean[2 * i] = points[i].real();
        mean[2 * i + 1] = points[i].imag();
    }
    if (half > 2) {
        for (size_t k = 0; k < n; k++) {
            z.value[2 * index[k]] += y[k].real();
            z.value[2 * index[k] + 1] += y[k].imag();
        }
        const double variance = additive / 2 + grid.step * grid.step / 12;
        for (size_t i = 0; i < m; i++)
            for (size_t r = 2 * i; r < 2 * i + 2; r++) {
                z.precision[r] = data.count(i) / variance;
                z.value[r] = data.count(i) > 0 ? z.value[r] / data.count(i) : mean[r];
            }
        centroids.choose(z);
        centroids.apply(z, mean, uncertainty);
    }
    for (int round = 0; round < most_rounds; round++) {
        noise.search(additive, phase_std, round > 1);
        if (round == 0 && half == seen && half > 1) {
            // The largest level seen is a full scale's: is it the converter's, or has nothing gone beyond
            // yet?
            const double closed = data.log_likelihood(mean, additive, phase_std);
            data.set_half(2 * half);
            double other_additive = additive, other_phase = phase_std;
            noise.search(other_additive, other_phase, false);
            if (data.log_likelihood(mean, other_additive, other_phase) > closed + 1) {
                half *= 2;
                additive = other_additive;
                phase_std = other_phase;
            } else
                data.set_half(half);
        }
        auto next = mean;
        score(data, centroids, additive, phase_std, round < choosing_rounds, z, next, uncertainty);
        double largest = 0;
        for (size_t r = 0; r < 2 * m; r++)
            largest = std::max(largest, std::abs(next[r] - mean[r]));
        mean = next;
        if (round >= 2 && largest < 0.02 * std::sqrt(additive))
            break;
    }
    noise.search(additive, phase_std, true);
    if (n < few)
        noise.average(additive, phase_std);
    // Centroids that follow the data leave too small a residual.
    additive *= 2.0 * double(n) / std::max(double(n), 2.0 * double(n) - centroids.used());

    link_law law;
    law.additive = additive;
    law.phase_var = phase_std * phase_std;
    law.step = grid.step;
    law.half = half;
    law.fit_noise_var = noise_var;
    for (size_t i = 0; i < m; i++)
        law.symbols.push_back(
            { { mean[2 * i], mean[2 * i + 1] }, (uncertainty[2 * i] + uncertainty[2 * i + 1]) / 2 });
    return law;
}

link_law link_law::refined(const std::vector<std::complex<float>>& points, const int* index,
                           const std::complex<float>* known_y, size_t known, const std::complex<float>* y,
                           size_t n, double noise_var) const
{
    link_likelihood data(points.size(), index, known_y, known, step, half);
    const double weight = std::min(1.0, most_weight * double(known) / double(n));
    const bool told = noise_var > 0;
    link_law law = *this;
    law.additive = told ? additive_at(noise_var) : additive;
    law.fit_noise_var = told ? noise_var : fit_noise_var;
    std::vector<double> mean, uncertainty;
    for (const auto& s : symbols) {
        mean.push_back(s.mean.real());
        mean.push_back(s.mean.imag());
    }
    double phase_std = std::sqrt(phase_var);
    pseudo_observations z;
    const double counted = data.set_unknown(points, law, y, n, weight, true);
    const bool clear = counted > least_told * weight * double(n);
    centroid_fit centroids(points, clear ? known + size_t(counted) : known);
    if (!clear) { // of the kind of hardware the known symbols tell
        data.set_unknown(points, law, y, 0, weight, true);
        score(data, centroids, law.additive, phase_std, true, z, mean, uncertainty);
    }
    const noise_fit noise(data, mean, told ? noise_var : additive, told ? stated_spread : unknown_spread);
    for (int round = 0; round < (clear ? clear_rounds : unclear_rounds); round++) {
        if (round || !clear)
            data.set_unknown(points, law, y, n, weight, clear);
        if (clear)
            noise.search(law.additive, phase_std, round > 1);
        else if (counted > some_told * weight * double(n) && round % 5 == 4)
            noise.search(law.additive, phase_std, false);
        const auto before = mean;
        score(data, centroids, law.additive, phase_std, clear && round < choosing_rounds, z, mean,
              uncertainty);
        law.phase_var = phase_std * phase_std;
        double largest = 0;
        for (size_t i = 0; i < points.size(); i++) {
            law.symbols[i] = { { mean[2 * i], mean[2 * i + 1] },
                               (uncertainty[2 * i] + uncertainty[2 * i + 1]) / 2 };
            largest = std::max({ largest, std::abs(mean[2 * i] - before[2 * i]),
                                 std::abs(mean[2 * i + 1] - before[2 * i + 1]) });
        }
        if (round >= 2 && largest < (clear ? 0.01 : 0.003) * std::sqrt(law.additive))
            break;
    }
    // A radio of few parameters, unless the symbols' own deviations are worth what they cost.
    const marginal_fit radio(points, index, known_y, known, y, n, step, half);
    link_law other = law;
    const double worth = radio.fit({ told ? noise_var : additive, told ? stated_spread : unknown_spread },
                                   other);
    const double here = radio.log_likelihood(mean, law.additive, phase_std) - centroids.used() - 2;
    if (worth > here)
        law = other;
    if (!told)
        law.fit_noise_var = fit_noise_var + law.additive - additive;
    return law.fit_noise_var > 0 ? law : *this;
}

link_law link_law::ideal(const std::vector<std::complex<float>>& points, const std::complex<float>* y,
                         size_t n, double noise_var, bool told, const adc_grid& grid)
{
    link_law law;
    law.step = grid.step;
    law.half = half_of(grid);
    std::vector<double> rails;
    for (const auto& p : points) {
        law.symbols.push_back({ p, 0 });
        rails.push_back(p.real());
        rails.push_back(p.imag());
    }
    const auto likely = [&](size_t half, double& additive) {
        const marginal_fit data(points, nullptr, nullptr, 0, y, n, grid.step, half);
        if (told)
            return data.log_likelihood(rails, additive, 0);
        // Few bits may fit two noises, or all: then the one at which a gain control would have set this full
        // scale.
        const auto value = [&](double log_additive) {
            const double rms = std::sqrt((1 + std::exp(log_additive)) / 2);
            const double off = std::log(double(half) * grid.step / rms / usual_full_scale(half)) /
                               gain_control;
            return data.log_likelihood(rails, std::exp(log_additive), 0) - off * off / 2;
        };
        double at = std::log(additive), best = value(at);
        for (double log_additive = -10; log_additive < 2.5; log_additive += 0.5)
            if (const double v = value(log_additive); v > best) {
                best = v;
                at = log_additive;
            }
        for (double size : { 0.2, 0.1, 0.05, 0.02 })
            for (double way : { -size, size })
                for (double v = value(at + way); v > best; v = value(at + way)) {
                    best = v;
                    at += way;
                }
        additive = std::exp(at);
        return best;
    };
    law.additive = noise_var;
    const double closed = likely(law.half, law.additive);
    double other = noise_var;
    if (law.half > 1 && law.half == seen_half(grid) && likely(2 * law.half, other) > closed + 1) {
        law.half *= 2;
        law.additive = other;
    }
    law.fit_noise_var = law.additive;
    return law;
}

link_law link_law::blind(const std::vector<std::complex<float>>& points, const std::complex<float>* y,
                         size_t n, double noise_var) const
{
    const marginal_fit radio(points, nullptr, nullptr, 0, y, n, step, half);
    std::vector<double> rails;
    for (const auto& s : symbols) {
        rails.push_back(s.mean.real());
        rails.push_back(s.mean.imag());
    }
    link_law law = *this;
    const bool told = noise_var > 0;
    const double worth = radio.fit({ told ? noise_var : additive, told ? stated_spread : unknown_spread },
                                   law);
    if (!(worth > radio.log_likelihood(rails, additive, 0)))
        return *this;
    if (!told)
        law.fit_noise_var = law.additive;
    return law;
}

double link_law::additive_at(double noise_var) const
{
    const double change = noise_var - fit_noise_var;
    return additive + std::max(change, -(1 - std::min(1.0, noise_var / fit_noise_var)) * additive);
}

std::vector<link_law::node> link_law::phase_nodes(double additive_noise) const
{
    double largest = 0;
    for (const auto& s : symbols)
        largest = std::max(largest, std::abs(s.mean));
    return link_likelihood::phase_nodes(std::sqrt(phase_var), largest, additive_noise, step);
}

} // namespace gr::diffusion::dsp
