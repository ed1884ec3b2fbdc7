/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "toeplitz.h"
#include "vectorise.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::engine {

namespace {

constexpr size_t lanes = 8; // partial sums, so that the compiler may vectorise without reordering

//! sum_i a_i b_i; n is rounded up to a multiple of `lanes`, where a is zero.
DIFFUSION_VECTORISE void dot(const double* __restrict a_re, const double* __restrict a_im,
                             const double* __restrict b_re, const double* __restrict b_im, size_t n,
                             double* __restrict result)
{
    double re[lanes] = {}, im[lanes] = {};
    for (size_t i = 0; i < n; i += lanes)
        for (size_t j = 0; j < lanes; j++) {
            re[j] += a_re[i + j] * b_re[i + j] - a_im[i + j] * b_im[i + j];
            im[j] += a_re[i + j] * b_im[i + j] + a_im[i + j] * b_re[i + j];
        }
    result[0] = result[1] = 0;
    for (size_t j = 0; j < lanes; j++) {
        result[0] += re[j];
        result[1] += im[j];
    }
}

//! a += k b
DIFFUSION_VECTORISE void add_reversed(double k_re, double k_im, double* __restrict a_re,
                                      double* __restrict a_im, const double* __restrict b_re,
                                      const double* __restrict b_im, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        a_re[i] += k_re * b_re[i] - k_im * b_im[i];
        a_im[i] += k_re * b_im[i] + k_im * b_re[i];
    }
}

//! row_j = before_j + x_i conj(x_j) - conj(y_i) y_j, all from the diagonal on
DIFFUSION_VECTORISE void next_row(const double* __restrict before_re, const double* __restrict before_im,
                                  const double* __restrict x_re, const double* __restrict x_im,
                                  const double* __restrict y_re, const double* __restrict y_im,
                                  double* __restrict row_re, double* __restrict row_im, size_t n)
{
    const double xi_re = x_re[0], xi_im = x_im[0], yi_re = y_re[0], yi_im = y_im[0];
    for (size_t j = 0; j < n; j++) {
        row_re[j] = before_re[j] + (xi_re * x_re[j] + xi_im * x_im[j]) - (yi_re * y_re[j] + yi_im * y_im[j]);
        row_im[j] = before_im[j] + (xi_im * x_re[j] - xi_re * x_im[j]) - (yi_re * y_im[j] - yi_im * y_re[j]);
    }
}

//! row -= f * pivot
DIFFUSION_VECTORISE void eliminate(double f_re, double f_im, const double* __restrict pivot_re,
                                   const double* __restrict pivot_im, double* __restrict row_re,
                                   double* __restrict row_im, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        row_re[j] -= f_re * pivot_re[j] - f_im * pivot_im[j];
        row_im[j] -= f_re * pivot_im[j] + f_im * pivot_re[j];
    }
}

} // namespace

void toeplitz_inverse::resize(size_t n, const std::vector<size_t>& gaps)
{
    d_n = n;
    d_gaps = gaps;
    d_kept.clear();
    for (size_t i = 0; i < n; i++)
        if (!std::binary_search(gaps.begin(), gaps.end(), i)) {
            if (d_kept.empty() || d_kept.back().second != i)
                d_kept.push_back({ i, i });
            d_kept.back().second = i + 1;
        }
    d_stride = (n + lanes - 1) / lanes * lanes + lanes; // see dot()
    for (auto* v : { &d_a, &d_reverse, &d_t })
        v->assign(2 * d_stride, 0);
    d_all.resize(2 * n * n);
}

//! x with T x = (1, 0, 0, ...) into d_a.
bool toeplitz_inverse::first_column(const double* t_re, const double* t_im)
{
    const size_t n = d_n;
    double *const a_re = d_a.data(), *const a_im = a_re + d_stride;
    double *const r_re = d_reverse.data(), *const r_im = r_re + d_stride;
    double *const t_back_re = d_t.data(), *const t_back_im = t_back_re + d_stride;
    for (size_t i = 0; i < n; i++) { // t_{m - i} lies at n - 1 - m + i
        t_back_re[i] = t_re[n - 1 - i];
        t_back_im[i] = t_im[n - 1 - i];
    }
    std::fill(d_a.begin(), d_a.end(), 0.0);
    a_re[0] = 1;
    double error = t_re[0];
    for (size_t m = 1; m < n; m++) {
        if (!(error > 0) || !std::isfinite(error))
            return false;
        double sum[2];
        dot(a_re, a_im, t_back_re + n - 1 - m, t_back_im + n - 1 - m, m, sum);
        const double k_re = -sum[0] / error, k_im = -sum[1] / error;
        for (size_t i = 0; i <= m; i++) {
            r_re[i] = a_re[m - i];
            r_im[i] = -a_im[m - i];
        }
        add_reversed(k_re, k_im, a_re, a_im, r_re, r_im, m + 1);
        error *= 1 - (k_re * k_re + k_im * k_im);
    }
    if (!(error > 1e-13 * t_re[0]) || !std::isfinite(error))
        return false; // the general inverse may still manage
    for (double& v : d_a)
        v /= error;
    return true;
}

bool toeplitz_inverse::run(const double* t_re, const double* t_im, double* re, double* im)
{
    if (!first_column(t_re, t_im))
        return false;
    const size_t n = d_n;
    double *const x_re = d_a.data(), *const x_im = x_re + d_stride;
    double *const y_re = d_reverse.data(), *const y_im = y_re + d_stride;
    double *const m_re = d_all.data(), *const m_im = m_re + n * n;
    for (size_t i = 0; i < n; i++) { // row 0 is the conjugate of column 0
        m_re[i] = x_re[i];
        m_im[i] = -x_im[i];
    }
    const double scale = 1 / std::sqrt(x_re[0]);
    const double first_re = x_re[0];
    // From here on both are scaled by 1/sqrt(x_0); y_j = x_{n - j}.
    for (size_t i = 0; i < n; i++) {
        x_re[i] *= scale;
        x_im[i] *= scale;
    }
    y_re[0] = y_im[0] = 0;
    for (size_t j = 1; j < n; j++) {
        y_re[j] = x_re[n - j];
        y_im[j] = x_im[n - j];
    }
    if (!(first_re > 0))
        return false;
    for (size_t i = 1; i < n; i++) {
        const size_t at = i * n + i, before = at - n - 1;
        next_row(m_re + before, m_im + before, x_re + i, x_im + i, y_re + i, y_im + i, m_re + at, m_im + at,
                 n - i);
    }
    double *const p_re = x_re, *const p_im = x_im; // row g, free for that now
    for (size_t g : d_gaps) {
        const double pivot = m_re[g * n + g];
        if (!(pivot > 0))
            return false;
        for (size_t j = 0; j < n; j++) {
            const size_t at = j < g ? j * n + g : g * n + j;
            p_re[j] = m_re[at];
            p_im[j] = j < g ? -m_im[at] : m_im[at];
        }
        for (size_t i = 0; i < n; i++)
            if (i != g)
                eliminate(p_re[i] / pivot, -p_im[i] / pivot, p_re + i, p_im + i, m_re + i * n + i,
                          m_im + i * n + i, n - i);
    }
    size_t kept = 0; // rows so far; the row's part left of the diagonal stays as it is
    const size_t count = n - d_gaps.size();
    for (auto [first, end] : d_kept)
        for (size_t i = first; i < end; i++, kept++) {
            size_t to = kept * count + kept;
            for (auto [from, last] : d_kept) {
                from = std::max(from, i);
                if (from >= last)
                    continue;
                std::copy_n(m_re + i * n + from, last - from, re + to);
                std::copy_n(m_im + i * n + from, last - from, im + to);
                to += last - from;
            }
        }
    return true;
}

} // namespace gr::diffusion::engine
