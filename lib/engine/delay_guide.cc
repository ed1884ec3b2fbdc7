/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "delay_guide.h"
#include "vectorise.h"
#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <string>

namespace gr::diffusion::engine {

namespace {

// row -= (fr + j fi) * (pr + j pi), complex rows of n. Inlined into the clones of its callers.
inline __attribute__((always_inline)) void subtract_row(double fr, double fi, const double* __restrict pr,
                                                        const double* __restrict pi, double* __restrict re,
                                                        double* __restrict im, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        re[j] -= fr * pr[j] - fi * pi[j];
        im[j] -= fr * pi[j] + fi * pr[j];
    }
}

constexpr size_t width = 8;

// Vectors of the compiler's own, to keep sums in registers: four doubles are one of AVX2's and two of SSE2's.
using four = double __attribute__((vector_size(32)));

//! By reference: a vector as a result would change the calling convention with the machine.
inline __attribute__((always_inline)) void load(const double* p, four& v)
{
    __builtin_memcpy(&v, p, sizeof v);
}

// out_k = sum_ij conj(c_ik) A_ij c_jk, c row by row, n a multiple of eight: the upper triangle and twice its
// real part.
DIFFUSION_VECTORISE void quadratic_form(size_t count, size_t n, const double* a_re, const double* a_im,
                                        const double* c_re, const double* c_im, double* __restrict out)
{
    four x, y, p, q;
    for (size_t k = 0; k < n; k += width) {
        four sum1{}, sum2{};
        for (size_t i = 0; i < count; i++) {
            const double *const ci_re = c_re + i * n + k, *const ci_im = c_im + i * n + k;
            const double half = 0.5 * a_re[i * count + i];
            load(ci_re, x);
            load(ci_re + 4, y);
            load(ci_im, p);
            load(ci_im + 4, q);
            four t_re1 = half * x, t_re2 = half * y, t_im1 = half * p, t_im2 = half * q;
            for (size_t j = i + 1; j < count; j++) {
                const double re = a_re[i * count + j], im = a_im[i * count + j];
                load(c_re + j * n + k, x);
                load(c_re + j * n + k + 4, y);
                load(c_im + j * n + k, p);
                load(c_im + j * n + k + 4, q);
                t_re1 += re * x - im * p;
                t_re2 += re * y - im * q;
                t_im1 += re * p + im * x;
                t_im2 += re * q + im * y;
            }
            load(ci_re, x);
            load(ci_re + 4, y);
            load(ci_im, p);
            load(ci_im + 4, q);
            sum1 += 2 * (x * t_re1 + p * t_im1);
            sum2 += 2 * (y * t_re2 + q * t_im2);
        }
        __builtin_memcpy(out + k, &sum1, sizeof sum1);
        __builtin_memcpy(out + k + 4, &sum2, sizeof sum2);
    }
}

//! out = A x for a Hermitian A by its upper triangle.
DIFFUSION_VECTORISE void apply_hermitian(const double* __restrict a_re, const double* __restrict a_im,
                                         const double* __restrict x_re, const double* __restrict x_im,
                                         size_t n, double* __restrict out_re, double* __restrict out_im)
{
    std::fill_n(out_re, n, 0.0);
    std::fill_n(out_im, n, 0.0);
    for (size_t i = 0; i < n; i++, a_re += n, a_im += n) {
        const double xr = x_re[i], xi = x_im[i];
        out_re[i] += a_re[i] * xr;
        out_im[i] += a_re[i] * xi;
        for (size_t j = i + 1; j < n; j++) { // below the diagonal
            out_re[j] += a_re[j] * xr + a_im[j] * xi;
            out_im[j] += a_re[j] * xi - a_im[j] * xr;
        }
        four sum_re{}, sum_im{}, re, im, p, q; // above it
        size_t j = i + 1;
        for (; j + 4 <= n; j += 4) {
            load(a_re + j, re);
            load(a_im + j, im);
            load(x_re + j, p);
            load(x_im + j, q);
            sum_re += re * p - im * q;
            sum_im += re * q + im * p;
        }
        for (; j < n; j++) {
            out_re[i] += a_re[j] * x_re[j] - a_im[j] * x_im[j];
            out_im[i] += a_re[j] * x_im[j] + a_im[j] * x_re[j];
        }
        for (size_t l = 0; l < 4; l++) {
            out_re[i] += sum_re[l];
            out_im[i] += sum_im[l];
        }
    }
}

/* Twice the sums of a Hermitian matrix along the lags of its rows and columns, lags above zero only. The
 * i-th row belongs to place_i (ascending, few gaps): runs of neighbours add to neighbouring lags. */
DIFFUSION_VECTORISE void add_lags(const double* __restrict a_re, const double* __restrict a_im, size_t n,
                                  const size_t* __restrict place, size_t spacing, double* __restrict re,
                                  double* __restrict im)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1, end; j < n; j = end) {
            for (end = j + 1; end < n && place[end] == place[end - 1] + 1; end++)
                ;
            const size_t lag = place[j] - place[i];
            if (spacing == 1)
                for (size_t k = j; k < end; k++) {
                    re[lag + k - j] += 2 * a_re[i * n + k];
                    im[lag + k - j] -= 2 * a_im[i * n + k];
                }
            else
                for (size_t k = j; k < end; k++) {
                    re[(lag + k - j) * spacing] += 2 * a_re[i * n + k];
                    im[(lag + k - j) * spacing] -= 2 * a_im[i * n + k];
                }
        }
}

} // namespace

static size_t padded(size_t n) { return (n + width - 1) / width * width; }

DIFFUSION_VECTORISE bool invert_hermitian(double* re, double* im, size_t n, double* scratch)
{
    double* const wr = scratch; // L^-1, lower triangle
    double* const wi = scratch + n * n;
    // S = L L^H, with U = L^H in the upper triangle, row by row.
    for (size_t k = 0; k < n; k++) {
        double* const ur = re + k * n;
        double* const ui = im + k * n;
        if (!(ur[k] > 0) || !std::isfinite(ur[k]))
            return false;
        const double d = 1 / std::sqrt(ur[k]);
        for (size_t j = k; j < n; j++) {
            ur[j] *= d;
            ui[j] *= d;
        }
        for (size_t i = k + 1; i < n; i++)
            subtract_row(ur[i], -ui[i], ur + i, ui + i, re + i * n + i, im + i * n + i, n - i);
    }
    for (size_t i = 0; i < n; i++) {
        double* const r = wr + i * n;
        double* const m = wi + i * n;
        std::fill_n(r, n, 0.0);
        std::fill_n(m, n, 0.0);
        r[i] = 1;
        for (size_t k = 0; k < i; k++) // L_ik = conj(U_ki)
            subtract_row(re[k * n + i], -im[k * n + i], wr + k * n, wi + k * n, r, m, k + 1);
        const double d = 1 / re[i * n + i];
        for (size_t j = 0; j <= i; j++) {
            r[j] *= d;
            m[j] *= d;
        }
    }
    // S^-1 = L^-H L^-1: the upper triangle, then its mirror image
    std::fill_n(re, n * n, 0.0);
    std::fill_n(im, n * n, 0.0);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i <= k; i++)
            subtract_row(-wr[k * n + i], wi[k * n + i], wr + k * n + i, wi + k * n + i, re + i * n + i,
                         im + i * n + i, k + 1 - i);
    for (size_t i = 0; i < n; i++) {
        im[i * n + i] = 0;
        for (size_t j = 0; j < i; j++) {
            re[i * n + j] = re[j * n + i];
            im[i * n + j] = -im[j * n + i];
        }
    }
    return true;
}

delay_guide::delay_guide(size_t carriers, size_t taps) : d_carriers(carriers), d_taps(taps), d_fft(taps)
{
    if (carriers < 2 || carriers > 4096 || taps < carriers)
        throw std::invalid_argument("delay_guide: " + std::to_string(carriers) + " carriers and " +
                                    std::to_string(taps) +
                                    " taps; use 2 to 4096 carriers and not fewer taps");
    for (auto* v : { &d_lag_re, &d_lag_im, &d_re, &d_im })
        v->resize(taps);
    d_m.resize(2 * taps);
    d_z.resize(2 * taps);
    d_q.resize(taps);
    d_sums.resize(padded(carriers));
}

void delay_guide::set_pilots(const std::vector<int>& pilots)
{
    if (pilots.empty())
        throw std::invalid_argument("pilots: the list is empty, at least one carrier is needed");
    std::vector<char> used(d_carriers, 0);
    for (int p : pilots) {
        if (p < 0 || size_t(p) >= d_carriers)
            throw std::invalid_argument("pilots: carrier " + std::to_string(p) +
                                        " does not exist, use 0 to " + std::to_string(d_carriers - 1));
        if (used[p]++)
            throw std::invalid_argument("pilots: carrier " + std::to_string(p) + " is named twice");
    }
    const size_t count = pilots.size();
    d_pilots = pilots;
    d_bins.resize(count);
    for (size_t i = 0; i < count; i++)
        d_bins[i] = bin(pilots[i]);
    d_inv_re.resize(count * count);
    d_inv_im.resize(count * count);
    d_scratch.resize(2 * count * count);
    d_residual.resize(2 * count);
    d_others.clear();
    for (size_t k = 0; k < d_carriers; k++)
        if (!used[k])
            d_others.push_back(k);
    d_columns.assign(2 * count * padded(d_others.size()), 0);
    find_spacing();
}

//! Where carrier k stands in a transform of the taps: its frequency counts from the middle carrier.
size_t delay_guide::bin(size_t k) const
{
    return (k + d_taps - d_carriers / 2) % d_taps;
}

//! Whether the pilots are every d_spacing-th carrier but for a few.
void delay_guide::find_spacing()
{
    const size_t count = d_pilots.size();
    d_even_size = 0;
    if (count < 8 || !std::is_sorted(d_pilots.begin(), d_pilots.end()))
        return;
    int spacing = 0;
    for (size_t i = 1; i < count; i++)
        spacing = std::gcd(spacing, d_pilots[i] - d_pilots[0]);
    const size_t all = size_t((d_pilots[count - 1] - d_pilots[0]) / spacing) + 1;
    if (all > count + 4)
        return;
    std::vector<size_t> gaps;
    for (size_t i = 0; i < all; i++)
        if (!std::binary_search(d_pilots.begin(), d_pilots.end(), d_pilots[0] + int(i) * spacing))
            gaps.push_back(i);
    d_even.resize(all, gaps);
    d_t.resize(2 * all);
    d_spacing = size_t(spacing);
    d_place.resize(count);
    for (size_t i = 0; i < count; i++)
        d_place[i] = size_t((d_pilots[i] - d_pilots[0]) / spacing);
    d_even_size = all;
}

//! S^-1 of the lags at hand into d_inv_re, d_inv_im.
bool delay_guide::invert(double noise_var)
{
    const size_t count = d_pilots.size();
    d_noise = noise_var;
    if (d_even_size) {
        for (size_t i = 0; i < d_even_size; i++) {
            d_t[i] = d_lag_re[i * d_spacing];
            d_t[d_even_size + i] = d_lag_im[i * d_spacing];
        }
        d_t[0] += noise_var;
        if (d_even.run(d_t.data(), d_t.data() + d_even_size, d_inv_re.data(), d_inv_im.data()))
            return true;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = i; j < count; j++) {
            const int lag = d_pilots[i] - d_pilots[j];
            d_inv_re[i * count + j] = d_lag_re[std::abs(lag)];
            d_inv_im[i * count + j] = lag < 0 ? -d_lag_im[-lag] : d_lag_im[lag];
        }
    for (size_t i = 0; i < count; i++)
        d_inv_re[i * count + i] += noise_var;
    return invert_hermitian(d_inv_re.data(), d_inv_im.data(), count, d_scratch.data());
}

void delay_guide::run(const std::complex<double>* y, const float* mu, const float* gamma, double noise_var)
{
    const size_t count = d_pilots.size();
    // lag_t = sum_l gamma_l exp(-2 pi j t l / taps)
    for (size_t l = 0; l < d_taps; l++) {
        d_lag_re[l] = gamma[l];
        d_lag_im[l] = 0;
    }
    d_fft.forward(d_lag_re.data(), d_lag_im.data());

    // A belief is positive definite but for rounding; a little more noise mends one that is not.
    double extra = 0;
    for (int attempt = 0; attempt < 4 && !invert(noise_var + extra); attempt++)
        extra = std::max(10 * extra, 1e-9 * (d_lag_re[0] + noise_var));

    double* const r_re = d_residual.data();
    double* const r_im = r_re + count;
    if (mu)
        transform(mu);
    for (size_t i = 0; i < count; i++) {
        r_re[i] = y[i].real() - (mu ? d_re[d_bins[i]] : 0);
        r_im[i] = y[i].imag() - (mu ? d_im[d_bins[i]] : 0);
    }

    // z_l = sum_i alpha_i exp(+2 pi j (p_i - carriers/2) l / taps), alpha = S^-1 residual
    std::fill(d_re.begin(), d_re.end(), 0);
    std::fill(d_im.begin(), d_im.end(), 0);
    double* const alpha_re = d_scratch.data();
    double* const alpha_im = alpha_re + count;
    apply_hermitian(d_inv_re.data(), d_inv_im.data(), r_re, r_im, count, alpha_re, alpha_im);
    for (size_t i = 0; i < count; i++) {
        d_re[d_bins[i]] = alpha_re[i];
        d_im[d_bins[i]] = alpha_im[i];
    }
    d_fft.backward(d_re.data(), d_im.data());
    for (size_t l = 0; l < d_taps; l++) {
        d_z[l] = float(d_re[l]);
        d_z[d_taps + l] = float(d_im[l]);
        d_m[l] = (mu ? mu[l] : 0) + gamma[l] * d_z[l];
        d_m[d_taps + l] = (mu ? mu[d_taps + l] : 0) + gamma[l] * d_z[d_taps + l];
    }

    // q_l = sum_ij S^-1_ij exp(2 pi j (p_i - p_j) l / taps): sums along the lags first, and lags below
    // zero are the conjugates of those above.
    std::fill(d_re.begin(), d_re.end(), 0);
    std::fill(d_im.begin(), d_im.end(), 0);
    if (d_even_size)
        add_lags(d_inv_re.data(), d_inv_im.data(), count, d_place.data(), d_spacing, d_re.data(),
                 d_im.data());
    else
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < i; j++) {
                const int lag = d_pilots[i] - d_pilots[j];
                const size_t at = size_t(std::abs(lag)); // twice: the real part is all that is wanted
                d_re[at] += 2 * d_inv_re[i * count + j];
                d_im[at] += lag < 0 ? -2 * d_inv_im[i * count + j] : 2 * d_inv_im[i * count + j];
            }
    for (size_t i = 0; i < count; i++)
        d_re[0] += d_inv_re[i * count + i];
    d_fft.backward(d_re.data(), d_im.data());
    for (size_t l = 0; l < d_taps; l++)
        d_q[l] = float(d_re[l]);
}

//! The transform of taps (real parts, then imaginary parts), in d_re and d_im.
void delay_guide::transform(const float* x)
{
    for (size_t l = 0; l < d_taps; l++) {
        d_re[l] = x[l];
        d_im[l] = x[d_taps + l];
    }
    d_fft.forward(d_re.data(), d_im.data());
}

void delay_guide::response(std::complex<float>* h)
{
    transform(d_m.data());
    for (size_t k = 0; k < d_carriers; k++)
        h[k] = { float(d_re[bin(k)]), float(d_im[bin(k)]) };
}

void delay_guide::variance(float* err_var)
{
    // v_k = sum gamma - c_k^H S^-1 c_k, c_k = F_p diag(gamma) f_k^H = the lags p_i - k. At a pilot c_k is a
    // column of S but for the noise, and v_k = noise - noise^2 S^-1_kk.
    const size_t count = d_pilots.size(), n = d_others.size(), stride = padded(n);
    double* const c_re = d_columns.data();
    double* const c_im = c_re + count * stride;
    for (size_t i = 0; i < count; i++)
        for (size_t u = 0; u < n; u++) {
            const int lag = d_pilots[i] - int(d_others[u]);
            c_re[i * stride + u] = d_lag_re[size_t(std::abs(lag))];
            c_im[i * stride + u] = lag < 0 ? -d_lag_im[size_t(-lag)] : d_lag_im[size_t(lag)];
        }
    double* const sums = d_sums.data();
    quadratic_form(count, stride, d_inv_re.data(), d_inv_im.data(), c_re, c_im, sums);
    for (size_t u = 0; u < n; u++)
        err_var[d_others[u]] = float(std::max(d_lag_re[0] - sums[u], 0.0));
    for (size_t i = 0; i < d_pilots.size(); i++) {
        const double own = d_inv_re[i * d_pilots.size() + i];
        err_var[d_pilots[i]] = float(std::max(d_noise * (1 - d_noise * own), 0.0));
    }
}

} // namespace gr::diffusion::engine
