/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "channel_tracker.h"
#include "eigenvectors.h"
#include "engine/delay_guide.h"
#include "engine/vectorise.h"
#include <algorithm>
#include <cmath>
#include <functional>

namespace gr::diffusion::dsp {

using cf = std::complex<float>;
using cd = std::complex<double>;

namespace {

constexpr size_t window_symbols = 32, margin = 4, most_bases = 24;
constexpr double least_gain = 0.2;   // signal over noise of a tap's unknown, all its observations together
constexpr size_t strongest_taps = 8; // for a likelihood
constexpr double least_share = 3e-4; // of an eigenvector's power

/*! The upper triangle of a Hermitian matrix becomes U, A = U^H U. \returns log det A, or NaN where A is not
 * positive definite */
DIFFUSION_VECTORISE double factor(double* __restrict re, double* __restrict im, size_t n)
{
    double log_det = 0;
    for (size_t k = 0; k < n; k++) {
        double *const ur = re + k * n, *const ui = im + k * n;
        if (!(ur[k] > 0))
            return NAN;
        log_det += std::log(ur[k]);
        const double scale = 1 / std::sqrt(ur[k]);
        for (size_t j = k; j < n; j++) {
            ur[j] *= scale;
            ui[j] *= scale;
        }
        for (size_t i = k + 1; i < n; i++) {
            const double c = ur[i], d = ui[i];
            double *const ar = re + i * n, *const ai = im + i * n;
            for (size_t j = i; j < n; j++) {
                ar[j] -= c * ur[j] + d * ui[j];
                ai[j] -= c * ui[j] - d * ur[j];
            }
        }
    }
    return log_det;
}

//! b becomes U^-H b.
DIFFUSION_VECTORISE void substitute(const double* __restrict re, const double* __restrict im, size_t n,
                                    double* __restrict br, double* __restrict bi)
{
    for (size_t k = 0; k < n; k++) {
        const double *const ur = re + k * n, *const ui = im + k * n;
        const double c = br[k] / ur[k], d = bi[k] / ur[k];
        br[k] = c;
        bi[k] = d;
        for (size_t j = k + 1; j < n; j++) {
            br[j] -= ur[j] * c + ui[j] * d;
            bi[j] -= ur[j] * d - ui[j] * c;
        }
    }
}

//! h += f (re + j im), h in halves.
DIFFUSION_VECTORISE void add_tap(const double* __restrict fr, const double* __restrict fi, double re,
                                 double im, size_t n, double* __restrict h)
{
    for (size_t k = 0; k < n; k++) {
        h[k] += fr[k] * re - fi[k] * im;
        h[n + k] += fr[k] * im + fi[k] * re;
    }
}

} // namespace

channel_tracker::channel_tracker(int fft_len, int taps)
    : d_n(size_t(fft_len)), d_taps(size_t(std::min(taps, fft_len))), d_re(d_taps * d_n), d_im(d_taps * d_n)
{
    const long n = fft_len;
    for (size_t l = 0; l < d_taps; l++)
        for (long i = 0; i < n; i++) {
            const long turn = (((i - n / 2) * long(l)) % n + n) % n;
            const cd f = std::polar(1.0, -2 * M_PI * double(turn) / double(n));
            d_re[l * d_n + size_t(i)] = f.real();
            d_im[l * d_n + size_t(i)] = f.imag();
        }
}

void channel_tracker::clear(size_t symbols)
{
    d_symbols = symbols;
    for (auto* v : { &d_t_re, &d_t_im, &d_b_re, &d_b_im })
        v->assign(symbols * d_taps, 0);
    d_energy.assign(symbols, 0);
    d_known.assign(symbols, 0);
    d_factors = 0;
}

void channel_tracker::add(size_t symbol, size_t carrier, cf x, cf y, double noise_var)
{
    const double w = std::norm(cd(x)) / noise_var;
    const cd v = std::conj(cd(x)) * cd(y) / noise_var;
    d_energy[symbol] += std::norm(cd(y)) / noise_var;
    d_known[symbol] += 1;
    d_factors = 0;
    double *const t_re = &d_t_re[symbol * d_taps], *const t_im = &d_t_im[symbol * d_taps];
    double *const b_re = &d_b_re[symbol * d_taps], *const b_im = &d_b_im[symbol * d_taps];
    for (size_t l = 0; l < d_taps; l++) {
        const double c = d_re[l * d_n + carrier], s = d_im[l * d_n + carrier];
        t_re[l] += w * c;
        t_im[l] -= w * s;
        b_re[l] += c * v.real() + s * v.imag();
        b_im[l] += c * v.imag() - s * v.real();
    }
}

const channel_tracker::basis& channel_tracker::basis_for(size_t symbols, double doppler)
{
    for (const auto& b : d_bases)
        if (b.symbols == symbols && b.doppler == doppler)
            return b;
    std::vector<double> r(symbols * symbols), v;
    for (size_t i = 0; i < symbols; i++)
        for (size_t j = 0; j < symbols; j++)
            r[i * symbols + j] = std::cyl_bessel_j(0, 2 * M_PI * doppler * std::abs(double(i) - double(j)));
    eigenvectors(r, v, symbols);
    std::vector<size_t> order(symbols);
    for (size_t i = 0; i < symbols; i++)
        order[i] = i;
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return r[a * symbols + a] > r[b * symbols + b]; });
    basis made{ symbols, doppler, 0, {} };
    while (made.count < symbols && r[order[made.count] * (symbols + 1)] > least_share * double(symbols))
        made.count++;
    made.u.resize(symbols * made.count);
    for (size_t s = 0; s < symbols; s++)
        for (size_t b = 0; b < made.count; b++)
            made.u[s * made.count + b] = v[s * symbols + order[b]] * std::sqrt(r[order[b] * (symbols + 1)]);
    if (d_bases.size() >= most_bases)
        d_bases.erase(d_bases.begin());
    d_bases.push_back(std::move(made));
    return d_bases.back();
}

/* Of the window that begins at symbol first, D the roots of the taps' powers. A tap's unknowns are its
 * leading eigenvectors, up to the last one about which the observations say something. */
void channel_tracker::prepare(system& to, const std::vector<double>& profile, const basis& b, size_t first,
                              size_t most)
{
    const size_t m = b.count;
    std::vector<double> gain(m); // observations of each eigenvector over noise, for a tap of power 1
    for (size_t s = 0; s < b.symbols; s++)
        for (size_t p = 0; p < m; p++)
            gain[p] += d_t_re[(first + s) * d_taps] * b.u[s * m + p] * b.u[s * m + p];
    std::vector<double> sorted(profile);
    most = std::min(most, sorted.size());
    std::nth_element(sorted.begin(), sorted.begin() + long(most - 1), sorted.end(), std::greater<double>());
    const double least = sorted[most - 1], strongest = *std::max_element(profile.begin(), profile.end());
    to.doppler = b.doppler;
    to.factored = false;
    to.n = 0;
    for (auto* v : { &to.taps, &to.first, &to.count })
        v->clear();
    to.root.clear();
    for (size_t l = 0; l < d_taps; l++) {
        size_t count = 0;
        for (size_t p = 0; p < m && profile[l] >= least; p++)
            if (profile[l] * gain[p] > least_gain)
                count = p + 1;
        if (profile[l] == strongest)
            count = m;
        if (count == 0)
            continue;
        to.taps.push_back(l);
        to.first.push_back(to.n);
        to.count.push_back(count);
        to.root.push_back(std::sqrt(profile[l]));
        to.n += count;
    }
    const size_t n = to.n, active = to.taps.size();
    to.re.assign(n * n, 0);
    to.im.assign(n * n, 0);
    d_lag.resize(2 * d_taps);
    double *const g_re = d_lag.data(), *const g_im = g_re + d_taps;
    for (size_t p = 0; p < m; p++)
        for (size_t q = p; q < m; q++) {
            std::fill(d_lag.begin(), d_lag.end(), 0.0);
            for (size_t s = 0; s < b.symbols; s++) {
                const double uu = b.u[s * m + p] * b.u[s * m + q];
                const double* const t_re = &d_t_re[(first + s) * d_taps];
                const double* const t_im = &d_t_im[(first + s) * d_taps];
                for (size_t l = 0; l < d_taps; l++) {
                    g_re[l] += uu * t_re[l];
                    g_im[l] += uu * t_im[l];
                }
            }
            // A_rc = conj(t_{c - r}) for c >= r
            const auto put = [&](size_t i, size_t x, size_t j, size_t y) {
                if (x >= to.count[i] || y >= to.count[j])
                    return;
                const size_t lag = to.taps[j] - to.taps[i], at = (to.first[i] + x) * n + to.first[j] + y;
                to.re[at] = to.root[i] * to.root[j] * g_re[lag] + (i == j && x == y ? 1 : 0);
                to.im[at] = -to.root[i] * to.root[j] * g_im[lag];
            };
            for (size_t i = 0; i < active; i++)
                for (size_t j = i; j < active; j++) {
                    put(i, p, j, q);
                    if (p != q && i != j)
                        put(i, q, j, p);
                }
        }
}

//! D F^H v of the same unknowns, in d_x.
void channel_tracker::right_side(const system& of, const basis& b, double ramp, size_t first)
{
    d_x_re.assign(of.n, 0);
    d_x_im.assign(of.n, 0);
    for (size_t s = 0; s < b.symbols; s++) {
        const double turn = 2 * M_PI * ramp * double(first + s), c = std::cos(turn), d = -std::sin(turn);
        for (size_t i = 0; i < of.taps.size(); i++) {
            const size_t at = (first + s) * d_taps + of.taps[i];
            const double re = of.root[i] * (d_b_re[at] * c - d_b_im[at] * d);
            const double im = of.root[i] * (d_b_re[at] * d + d_b_im[at] * c);
            const double* const u = &b.u[s * b.count];
            for (size_t p = 0; p < of.count[i]; p++) {
                d_x_re[of.first[i] + p] += u[p] * re;
                d_x_im[of.first[i] + p] += u[p] * im;
            }
        }
    }
}

double channel_tracker::likelihood(const std::vector<double>& profile, double doppler, double ramp)
{
    const size_t symbols = std::min(d_symbols, window_symbols);
    const basis& b = basis_for(symbols, doppler);
    if (profile != d_profile) {
        d_profile = profile;
        d_factors = 0;
    }
    size_t which = 0;
    while (which < d_factors && d_factored[which].doppler != doppler)
        which++;
    if (which == d_factors) {
        d_factors = which + 1;
        d_factored.resize(std::max(d_factored.size(), d_factors));
        prepare(d_factored[which], profile, b, 0, strongest_taps);
        auto& made = d_factored[which];
        made.log_det = factor(made.re.data(), made.im.data(), made.n);
    }
    const system& now = d_factored[which];
    right_side(now, b, ramp, 0);
    double energy = 0, known = 0;
    for (size_t s = 0; s < symbols; s++) {
        energy += d_energy[s];
        known += d_known[s];
    }
    double taken = 0;
    if (std::isfinite(now.log_det)) {
        substitute(now.re.data(), now.im.data(), now.n, d_x_re.data(), d_x_im.data());
        for (size_t i = 0; i < now.n; i++)
            taken += d_x_re[i] * d_x_re[i] + d_x_im[i] * d_x_im[i];
    }
    const double rest = std::max(energy - taken, 1e-12 * energy);
    d_noise_scale = rest / std::max(known, 1.0);
    return std::isfinite(now.log_det) && rest > 0 ? -known * std::log(rest) - now.log_det : -INFINITY;
}

bool channel_tracker::window(const std::vector<double>& profile, double doppler, double ramp, size_t first,
                             size_t count, size_t from, size_t to, cf* h, float* error)
{
    const basis& b = basis_for(count, doppler);
    system& a = d_system;
    prepare(a, profile, b, first, d_taps);
    right_side(a, b, ramp, first);
    const size_t m = b.count, n = a.n, active = a.taps.size();
    const std::vector<double> b_re = d_x_re, b_im = d_x_im;
    d_scratch.resize(2 * n * n);
    if (!engine::invert_hermitian(a.re.data(), a.im.data(), n, d_scratch.data()))
        return false;
    for (size_t i = 0; i < n; i++) {
        double re = 0, im = 0;
        for (size_t k = 0; k < n; k++) {
            re += a.re[i * n + k] * b_re[k] - a.im[i * n + k] * b_im[k];
            im += a.re[i * n + k] * b_im[k] + a.im[i * n + k] * b_re[k];
        }
        d_x_re[i] = re;
        d_x_im[i] = im;
    }
    // Covariance of the taps' unknowns, summed along the diagonals of the taps: [p][q][lag], lag from 0.
    std::vector<double> c_re(m * m * d_taps), c_im(m * m * d_taps);
    for (size_t i = 0; i < active; i++)
        for (size_t j = 0; j <= i; j++) {
            const size_t lag = a.taps[i] - a.taps[j];
            const double scale = a.root[i] * a.root[j] * (lag ? 2 : 1);
            for (size_t p = 0; p < a.count[i]; p++)
                for (size_t q = 0; q < a.count[j]; q++) {
                    const size_t at = (a.first[i] + p) * n + a.first[j] + q;
                    const size_t to_lag = (p * m + q) * d_taps + lag;
                    c_re[to_lag] += scale * a.re[at];
                    c_im[to_lag] += scale * a.im[at];
                }
        }
    // What was left out keeps its prior power.
    std::vector<double> left_out(m, 0.0);
    for (size_t l = 0, i = 0; l < d_taps; l++) {
        const bool here = i < active && a.taps[i] == l;
        for (size_t p = here ? a.count[i] : 0; p < m; p++)
            left_out[p] += profile[l];
        i += here;
    }
    std::vector<double> e_re(d_taps), e_im(d_taps), out(3 * d_n);
    for (size_t s = from; s < to; s++) {
        const double* const u = &b.u[(s - first) * m];
        std::fill(out.begin(), out.end(), 0.0);
        std::fill(e_re.begin(), e_re.end(), 0.0);
        std::fill(e_im.begin(), e_im.end(), 0.0);
        for (size_t p = 0; p < m; p++) {
            e_re[0] += u[p] * u[p] * left_out[p];
            for (size_t q = 0; q < m; q++) {
                const double w = u[p] * u[q];
                const double *const r = &c_re[(p * m + q) * d_taps], *const i = &c_im[(p * m + q) * d_taps];
                for (size_t l = 0; l < d_taps; l++) {
                    e_re[l] += w * r[l];
                    e_im[l] += w * i[l];
                }
            }
        }
        for (size_t i = 0; i < active; i++) {
            double re = 0, im = 0, var = 0;
            const size_t at = a.first[i];
            for (size_t p = 0; p < a.count[i]; p++) {
                re += u[p] * d_x_re[at + p];
                im += u[p] * d_x_im[at + p];
                for (size_t q = 0; q < a.count[i]; q++)
                    var += u[p] * u[q] * a.re[(at + p) * n + at + q];
            }
            const double turn = 2 * M_PI * ramp * double(s);
            const double c = a.root[i] * std::cos(turn), d = a.root[i] * std::sin(turn);
            const double x = re;
            re = x * c - im * d;
            im = x * d + im * c;
            d_powers[a.taps[i]] += (re * re + im * im + var * a.root[i] * a.root[i]) / double(d_symbols);
            add_tap(&d_re[a.taps[i] * d_n], &d_im[a.taps[i] * d_n], re, im, d_n, out.data());
        }
        for (size_t l = 0; l < d_taps; l++)
            for (size_t k = 0; k < d_n; k++)
                out[2 * d_n + k] += d_re[l * d_n + k] * e_re[l] - d_im[l * d_n + k] * e_im[l];
        for (size_t k = 0; k < d_n; k++) {
            h[s * d_n + k] = { float(out[k]), float(out[d_n + k]) };
            error[s * d_n + k] = float(std::max(out[2 * d_n + k], 0.0));
        }
    }
    return true;
}

bool channel_tracker::estimate(const std::vector<double>& profile, double doppler, double ramp,
                               std::vector<cf>& h, std::vector<float>& error)
{
    h.assign(d_symbols * d_n, cf(0));
    error.assign(d_symbols * d_n, 0);
    d_powers.assign(d_taps, 0);
    size_t done = 0;
    for (size_t first = 0; done < d_symbols; first += window_symbols - 2 * margin) {
        const size_t end = std::min(first + window_symbols, d_symbols);
        const size_t to = end == d_symbols ? end : end - margin;
        if (!window(profile, doppler, ramp, first, end - first, done, to, h.data(), error.data()))
            return false;
        done = to;
    }
    return true;
}

} // namespace gr::diffusion::dsp
