/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "channel_tracker.h"
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

//! Eigenvectors of the symmetric matrix a (n x n), columns of v, by cyclic Jacobi rotations; a keeps the
//! eigenvalues.
void jacobi(std::vector<double>& a, std::vector<double>& v, size_t n)
{
    v.assign(n * n, 0);
    for (size_t i = 0; i < n; i++)
        v[i * n + i] = 1;
    for (int sweep = 0; sweep < 30; sweep++) {
        double off = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t j = i + 1; j < n; j++)
                off += a[i * n + j] * a[i * n + j];
        if (off < 1e-16 * double(n * n))
            return;
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++) {
                if (std::abs(a[p * n + q]) < 1e-14)
                    continue;
                const double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
                const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
                const double c = 1 / std::sqrt(t * t + 1), s = t * c;
                for (size_t i = 0; i < n; i++) {
                    const double x = a[i * n + p], y = a[i * n + q];
                    a[i * n + p] = c * x - s * y;
                    a[i * n + q] = s * x + c * y;
                }
                for (size_t i = 0; i < n; i++) {
                    const double x = a[p * n + i], y = a[q * n + i];
                    a[p * n + i] = c * x - s * y;
                    a[q * n + i] = s * x + c * y;
                }
                for (size_t i = 0; i < n; i++) {
                    const double x = v[i * n + p], y = v[i * n + q];
                    v[i * n + p] = c * x - s * y;
                    v[i * n + q] = s * x + c * y;
                }
            }
    }
}

//! sum of a_k conj(b_k).
DIFFUSION_VECTORISE void dot(const double* __restrict ar, const double* __restrict ai,
                             const double* __restrict br, const double* __restrict bi, size_t n, double& re,
                             double& im)
{
    constexpr size_t lanes = 8;
    double r[lanes] = {}, m[lanes] = {};
    size_t k = 0;
    for (; k + lanes <= n; k += lanes)
        for (size_t j = 0; j < lanes; j++) {
            r[j] += ar[k + j] * br[k + j] + ai[k + j] * bi[k + j];
            m[j] += ai[k + j] * br[k + j] - ar[k + j] * bi[k + j];
        }
    re = im = 0;
    for (; k < n; k++) {
        re += ar[k] * br[k] + ai[k] * bi[k];
        im += ai[k] * br[k] - ar[k] * bi[k];
    }
    for (size_t j = 0; j < lanes; j++) {
        re += r[j];
        im += m[j];
    }
}

/*! Cholesky of the matrix whose upper triangle is in (re, im), rows of L into its lower one; b becomes L^-1
 * b.
 *  \returns log det, or NaN where the matrix is not positive definite */
double factor(double* re, double* im, size_t n, double* b_re, double* b_im)
{
    double log_det = 0;
    for (size_t i = 0; i < n; i++) {
        double* const ri = re + i * n;
        double* const ii = im + i * n;
        double r, m;
        for (size_t j = 0; j < i; j++) {
            dot(ri, ii, re + j * n, im + j * n, j, r, m);
            const double scale = 1 / re[j * n + j];
            // The lower triangle is the conjugate of the upper one's entry.
            ri[j] = (re[j * n + i] - r) * scale;
            ii[j] = (-im[j * n + i] - m) * scale;
        }
        dot(ri, ii, ri, ii, i, r, m);
        const double rest = ri[i] - r;
        if (!(rest > 0))
            return NAN;
        ri[i] = std::sqrt(rest);
        log_det += std::log(rest);
        double s_re = b_re[i], s_im = b_im[i];
        for (size_t k = 0; k < i; k++) {
            s_re -= ri[k] * b_re[k] - ii[k] * b_im[k];
            s_im -= ri[k] * b_im[k] + ii[k] * b_re[k];
        }
        b_re[i] = s_re / ri[i];
        b_im[i] = s_im / ri[i];
    }
    return log_det;
}

} // namespace

channel_tracker::channel_tracker(int fft_len, int taps)
    : d_n(size_t(fft_len)), d_taps(size_t(std::min(taps, fft_len))), d_re(d_taps * d_n), d_im(d_taps * d_n)
{
    const long n = fft_len;
    for (size_t l = 0; l < d_taps; l++)
        for (long i = 0; i < n; i++) {
            const cd f = std::polar(1.0,
                                    -2 * M_PI * double((((i - n / 2) * long(l)) % n + n) % n) / double(n));
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
}

void channel_tracker::add(size_t symbol, size_t carrier, cf x, cf y, double noise_var)
{
    const double w = std::norm(cd(x)) / noise_var;
    const cd v = std::conj(cd(x)) * cd(y) / noise_var;
    d_energy[symbol] += std::norm(cd(y)) / noise_var;
    d_known[symbol] += 1;
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
    jacobi(r, v, symbols);
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

/* I + D F^H W F D and D F^H v of the window that begins at symbol first, D the roots of the unknowns' powers.
 * Unknown (tap, eigenvector) is number tap * count + eigenvector, taps counted among the active ones. */
size_t channel_tracker::prepare(const std::vector<double>& profile, const basis& b, double ramp, size_t first,
                                size_t most)
{
    double weight = 0;
    for (size_t s = first; s < first + b.symbols; s++)
        weight += d_t_re[s * d_taps];
    std::vector<double> sorted(profile);
    most = std::min(most, sorted.size());
    std::nth_element(sorted.begin(), sorted.begin() + long(most - 1), sorted.end(), std::greater<double>());
    const double least = sorted[most - 1], strongest = *std::max_element(profile.begin(), profile.end());
    d_active.clear();
    d_root.clear();
    for (size_t l = 0; l < d_taps; l++)
        if ((profile[l] * weight > least_gain * double(b.count) && profile[l] >= least) ||
            profile[l] == strongest) {
            d_active.push_back(l);
            d_root.push_back(std::sqrt(profile[l]));
        }
    const size_t m = b.count, n = d_active.size() * m;
    d_a_re.assign(n * n, 0);
    d_a_im.assign(n * n, 0);
    d_x_re.assign(n, 0);
    d_x_im.assign(n, 0);
    d_lag.resize(2 * d_taps);
    double *const g_re = d_lag.data(), *const g_im = g_re + d_taps;
    for (size_t p = 0; p < m; p++)
        for (size_t q = 0; q < m; q++) {
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
            for (size_t i = 0; i < d_active.size(); i++)
                for (size_t j = i; j < d_active.size(); j++) { // A_rc = conj(t_{c - r}) for c >= r
                    const size_t lag = d_active[j] - d_active[i], at = (i * m + p) * n + j * m + q;
                    d_a_re[at] = d_root[i] * d_root[j] * g_re[lag] + (i == j && p == q ? 1 : 0);
                    d_a_im[at] = -d_root[i] * d_root[j] * g_im[lag];
                }
        }
    for (size_t s = 0; s < b.symbols; s++) {
        const double c = std::cos(2 * M_PI * ramp * double(first + s)),
                     d = -std::sin(2 * M_PI * ramp * double(first + s));
        for (size_t i = 0; i < d_active.size(); i++) {
            const size_t at = (first + s) * d_taps + d_active[i];
            const double re = d_b_re[at] * c - d_b_im[at] * d, im = d_b_re[at] * d + d_b_im[at] * c;
            for (size_t p = 0; p < m; p++) {
                const double w = d_root[i] * b.u[s * m + p];
                d_x_re[i * m + p] += w * re;
                d_x_im[i * m + p] += w * im;
            }
        }
    }
    return n;
}

double channel_tracker::likelihood(const std::vector<double>& profile, double doppler, double ramp)
{
    const size_t symbols = std::min(d_symbols, window_symbols);
    const size_t n = prepare(profile, basis_for(symbols, doppler), ramp, 0, strongest_taps);
    double energy = 0, known = 0;
    for (size_t s = 0; s < symbols; s++) {
        energy += d_energy[s];
        known += d_known[s];
    }
    const double log_det = factor(d_a_re.data(), d_a_im.data(), n, d_x_re.data(), d_x_im.data());
    double taken = 0;
    for (size_t i = 0; i < n; i++)
        taken += d_x_re[i] * d_x_re[i] + d_x_im[i] * d_x_im[i];
    const double rest = std::max(energy - taken, 1e-12 * energy);
    d_noise_scale = rest / std::max(known, 1.0);
    return std::isfinite(log_det) && rest > 0 ? -known * std::log(rest) - log_det : -INFINITY;
}

bool channel_tracker::window(const std::vector<double>& profile, double doppler, double ramp, size_t first,
                             size_t count, size_t from, size_t to, cf* h, float* error)
{
    const basis& b = basis_for(count, doppler);
    const size_t m = b.count, n = prepare(profile, b, ramp, first, d_taps), active = d_active.size();
    const std::vector<double> b_re = d_x_re, b_im = d_x_im;
    d_scratch.resize(2 * n * n);
    if (!engine::invert_hermitian(d_a_re.data(), d_a_im.data(), n, d_scratch.data()))
        return false;
    for (size_t i = 0; i < n; i++) {
        double re = 0, im = 0;
        for (size_t k = 0; k < n; k++) {
            re += d_a_re[i * n + k] * b_re[k] - d_a_im[i * n + k] * b_im[k];
            im += d_a_re[i * n + k] * b_im[k] + d_a_im[i * n + k] * b_re[k];
        }
        d_x_re[i] = re;
        d_x_im[i] = im;
    }
    // Covariance of the taps' unknowns, summed along the diagonals of the taps: [p][q][lag], lag from 0.
    std::vector<double> c_re(m * m * d_taps), c_im(m * m * d_taps);
    for (size_t i = 0; i < active; i++)
        for (size_t j = 0; j <= i; j++) {
            const size_t lag = d_active[i] - d_active[j];
            const double scale = d_root[i] * d_root[j] * (lag ? 2 : 1);
            for (size_t p = 0; p < m; p++)
                for (size_t q = 0; q < m; q++) {
                    const size_t at = (i * m + p) * n + j * m + q, to_lag = (p * m + q) * d_taps + lag;
                    c_re[to_lag] += scale * d_a_re[at];
                    c_im[to_lag] += scale * d_a_im[at];
                }
        }
    std::vector<double> g_re(active), g_im(active), e_re(d_taps), e_im(d_taps), out(3 * d_n);
    for (size_t s = from; s < to; s++) {
        const double* const u = &b.u[(s - first) * m];
        std::fill(out.begin(), out.end(), 0.0);
        std::fill(e_re.begin(), e_re.end(), 0.0);
        std::fill(e_im.begin(), e_im.end(), 0.0);
        for (size_t p = 0; p < m; p++)
            for (size_t q = 0; q < m; q++) {
                const double w = u[p] * u[q];
                const double *const r = &c_re[(p * m + q) * d_taps], *const i = &c_im[(p * m + q) * d_taps];
                for (size_t l = 0; l < d_taps; l++) {
                    e_re[l] += w * r[l];
                    e_im[l] += w * i[l];
                }
            }
        for (size_t i = 0; i < active; i++) {
            double re = 0, im = 0, var = 0;
            for (size_t p = 0; p < m; p++) {
                re += u[p] * d_x_re[i * m + p];
                im += u[p] * d_x_im[i * m + p];
                for (size_t q = 0; q < m; q++)
                    var += u[p] * u[q] * d_a_re[(i * m + p) * n + i * m + q];
            }
            const double turn = 2 * M_PI * ramp * double(s), c = d_root[i] * std::cos(turn),
                         d = d_root[i] * std::sin(turn);
            const double x = re;
            re = x * c - im * d;
            im = x * d + im * c;
            d_powers[d_active[i]] += (re * re + im * im + var * d_root[i] * d_root[i]) / double(d_symbols);
            const double *const fr = &d_re[d_active[i] * d_n], *const fi = &d_im[d_active[i] * d_n];
            for (size_t k = 0; k < d_n; k++) {
                out[k] += fr[k] * re - fi[k] * im;
                out[d_n + k] += fr[k] * im + fi[k] * re;
            }
        }
        for (size_t l = 0; l < d_taps; l++)
            for (size_t k = 0; k < d_n; k++)
                out[2 * d_n + k] += d_re[l * d_n + k] * e_re[l] - d_im[l * d_n + k] * e_im[l];
        for (size_t k = 0; k < d_n; k++) {
            h[s * d_n + k] = { float(out[k]), float(out[d_n + k]) };
            error[s * d_n + k] = float(std::max(out[2 * d_n + k], 0.0));
        }
    }
    d_unknowns = double(m);
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
