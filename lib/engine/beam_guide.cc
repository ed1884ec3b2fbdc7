/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "beam_guide.h"
#include "vectorise.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace gr::diffusion::engine {

namespace {

using cdouble = std::complex<double>;
constexpr double pi = 3.14159265358979323846;

/* Rows [S | right] of n + others columns, S in its upper triangle: leaves L^-1 right for S = L L^H. False
 * if S is not positive definite. */
DIFFUSION_VECTORISE bool whiten(double* re, double* im, size_t n, size_t others)
{
    const size_t width = n + others;
    for (size_t k = 0; k < n; k++) {
        double* const ur = re + k * width;
        double* const ui = im + k * width;
        if (!(ur[k] > 0) || !std::isfinite(ur[k]))
            return false;
        const double d = 1 / std::sqrt(ur[k]);
        for (size_t j = k; j < width; j++) {
            ur[j] *= d;
            ui[j] *= d;
        }
        for (size_t i = k + 1; i < n; i++) // L_ik = conj(U_ki)
            add_row(-ur[i], ui[i], ur + i, ui + i, re + i * width + i, im + i * width + i, width - i);
    }
    return true;
}

//! z = sum over rows of conj(w) * last column, q = sum of |w|^2
DIFFUSION_VECTORISE void gather(const double* re, const double* im, size_t n, size_t width, size_t nt,
                                double* __restrict z_re, double* __restrict z_im, double* __restrict q)
{
    std::fill_n(z_re, nt, 0.0);
    std::fill_n(z_im, nt, 0.0);
    std::fill_n(q, nt, 0.0);
    for (size_t i = 0; i < n; i++) {
        const double* const wr = re + i * width + n;
        const double* const wi = im + i * width + n;
        const double br = wr[nt], bi = wi[nt];
        for (size_t k = 0; k < nt; k++) {
            z_re[k] += wr[k] * br + wi[k] * bi;
            z_im[k] += wr[k] * bi - wi[k] * br;
            q[k] += wr[k] * wr[k] + wi[k] * wi[k];
        }
    }
}

} // namespace

//! Beams x antennas, unitary.
beam_guide::matrix beam_guide::fourier(array_shape shape, double turn)
{
    const size_t n = shape[0] * shape[1];
    matrix f(n, n);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++) {
            const size_t column = k / shape[1], row = k % shape[1];
            const size_t whole_column = (i / shape[1]) * column % shape[0],
                         whole_row = i % shape[1] * row % shape[1];
            const double phase = (double(whole_column) - turn * double(column)) / double(shape[0]) +
                                 (double(whole_row) - turn * double(row)) / double(shape[1]);
            f.set(i * n + k, std::polar(1 / std::sqrt(double(n)), -2 * pi * phase));
        }
    return f;
}

beam_guide::beam_guide(array_shape rx, array_shape tx, double turn)
    : d_nr(rx[0] * rx[1]), d_nt(tx[0] * tx[1]), d_f_rx(fourier(rx, turn)), d_f_rx_back(d_nr, d_nr),
      d_f_tx_conj(fourier(tx, turn)), d_mid(d_nr, d_nt), d_out(d_nr, d_nt), d_m(2 * beams()),
      d_z(2 * beams()), d_q(beams()), d_v(beams())
{
    for (size_t i = 0; i < d_nr; i++)
        for (size_t k = 0; k < d_nr; k++)
            d_f_rx_back.set(k * d_nr + i, std::conj(d_f_rx.at(i * d_nr + k)));
    for (double& x : d_f_tx_conj.im)
        x = -x;
}

double check_pilots(const std::vector<std::complex<float>>& pilots, size_t transmitters)
{
    if (pilots.empty() || pilots.size() % transmitters != 0)
        throw std::invalid_argument("pilots: " + std::to_string(pilots.size()) +
                                    " values are no multiple of " + std::to_string(transmitters) +
                                    " transmit antennas (row-major Nt x Np)");
    if (pilots.size() / transmitters > 1024)
        throw std::invalid_argument("pilots: " + std::to_string(pilots.size() / transmitters) +
                                    " of them, use 1024 or fewer");
    double power = 0;
    for (const auto& p : pilots)
        power += std::norm(cdouble(p));
    if (!std::isfinite(power))
        throw std::invalid_argument("pilots: a value is NaN or Inf");
    if (!(power > 0))
        throw std::invalid_argument("pilots: all values are zero");
    return power;
}

void beam_guide::set_pilots(const std::vector<std::complex<float>>& pilots)
{
    const double power = check_pilots(pilots, d_nt);
    const size_t count = pilots.size() / d_nt;
    const double level = std::sqrt(power / double(count));
    matrix p(d_nt, count), phi_t(d_nt, count), phi(count, d_nt), phi_h(d_nt, count), gram(d_nt, d_nt);
    for (size_t i = 0; i < pilots.size(); i++)
        p.set(i, cdouble(pilots[i]) / level);
    multiply(d_f_tx_conj, p, phi_t);
    for (size_t k = 0; k < d_nt; k++)
        for (size_t i = 0; i < count; i++) {
            phi.set(i * d_nt + k, phi_t.at(k * count + i));
            phi_h.set(k * count + i, std::conj(phi_t.at(k * count + i)));
        }
    multiply(phi_h, phi, gram);
    double mean = 0, off = 0;
    for (size_t k = 0; k < d_nt; k++)
        mean += gram.re[k * d_nt + k] / double(d_nt);
    for (size_t i = 0; i < d_nt * d_nt; i++)
        off = std::max(off, std::abs(gram.at(i) - (i % (d_nt + 1) ? 0.0 : mean)));
    d_orthogonal = off <= 1e-5 * mean;
    d_power = mean;
    d_level = level;
    d_count = count;
    d_phi = std::move(phi);
    d_phi_h = std::move(phi_h);
    d_y = d_rotated = matrix(d_nr, count);
    d_seen = matrix(d_nr, d_nt);
    // z and q of a beam stay behind the rows that made them
    d_rows = matrix(count + 2, count + d_nt + 1);
}

void beam_guide::observe(const std::complex<float>* y, double scale, double noise_var)
{
    for (size_t i = 0; i < d_nr * d_count; i++)
        d_y.set(i, cdouble(y[i]) / scale);
    multiply(d_f_rx, d_y, d_rotated);
    d_noise = noise_var;
    if (!d_orthogonal)
        return;
    // (Phi^H y_r)_k = sum_i conj(Phi_ik) y_ri: y times conj(Phi)
    for (double& x : d_phi.im)
        x = -x;
    multiply(d_rotated, d_phi, d_seen);
    for (double& x : d_phi.im)
        x = -x;
    for (size_t i = 0; i < beams(); i++)
        d_seen.set(i, d_seen.at(i) / d_power);
}

void beam_guide::run(const float* mu, const float* gamma)
{
    const size_t n = beams();
    if (!d_orthogonal) {
        for (size_t r = 0; r < d_nr; r++)
            one_beam(r, mu, gamma);
    } else {
        const double left = d_noise / d_power;
        for (size_t i = 0; i < n; i++) {
            const double q = 1 / (double(gamma[i]) + left);
            d_z[i] = float((d_seen.re[i] - (mu ? double(mu[i]) : 0.0)) * q);
            d_z[n + i] = float((d_seen.im[i] - (mu ? double(mu[n + i]) : 0.0)) * q);
            d_q[i] = float(q);
            d_v[i] = float(gamma[i] * left * q);
        }
    }
    for (size_t i = 0; i < n; i++) {
        d_m[i] = (mu ? mu[i] : 0.f) + gamma[i] * d_z[i];
        d_m[n + i] = (mu ? mu[n + i] : 0.f) + gamma[i] * d_z[n + i];
    }
}

void beam_guide::one_beam(size_t r, const float* mu, const float* gamma)
{
    const size_t n = beams(), np = d_count, nt = d_nt, width = np + nt + 1;
    const float* const g = gamma + r * nt;
    double* const re = d_rows.re.data();
    double* const im = d_rows.im.data();
    for (size_t i = 0; i < np; i++) {
        const double* const pr = &d_phi.re[i * nt];
        const double* const pi = &d_phi.im[i * nt];
        double* const row_re = re + i * width;
        double* const row_im = im + i * width;
        std::fill_n(row_re, np, 0.0);
        std::fill_n(row_im, np, 0.0);
        for (size_t k = 0; k < nt; k++)
            add_row(pr[k] * g[k], pi[k] * g[k], &d_phi_h.re[k * np + i], &d_phi_h.im[k * np + i], row_re + i,
                    row_im + i, np - i);
        row_re[i] += d_noise;
        row_im[i] = 0;
        std::copy_n(pr, nt, row_re + np);
        std::copy_n(pi, nt, row_im + np);
        double br = d_rotated.re[r * np + i], bi = d_rotated.im[r * np + i];
        if (mu)
            for (size_t k = 0; k < nt; k++) {
                const double mr = mu[r * nt + k], mi = mu[n + r * nt + k];
                br -= pr[k] * mr - pi[k] * mi;
                bi -= pr[k] * mi + pi[k] * mr;
            }
        row_re[np + nt] = br;
        row_im[np + nt] = bi;
    }
    double* const z_re = re + np * width;
    double* const z_im = im + np * width;
    double* const q = re + (np + 1) * width;
    if (whiten(re, im, np, nt + 1)) {
        gather(re, im, np, width, nt, z_re, z_im, q);
    } else { // not reached with noise_var > 0 and finite values; the belief then stays as it is
        std::fill_n(z_re, nt, 0.0);
        std::fill_n(z_im, nt, 0.0);
        std::fill_n(q, nt, 0.0);
    }
    for (size_t k = 0; k < nt; k++) {
        const size_t i = r * nt + k;
        d_z[i] = float(z_re[k]);
        d_z[n + i] = float(z_im[k]);
        d_q[i] = float(q[k]);
        d_v[i] = float(double(g[k]) - double(g[k]) * double(g[k]) * q[k]);
    }
}

void beam_guide::response(float factor, std::complex<float>* h)
{
    const size_t n = beams();
    matrix& m = d_out;
    for (size_t i = 0; i < n; i++) {
        m.re[i] = d_m[i];
        m.im[i] = d_m[n + i];
    }
    multiply(d_f_rx_back, m, d_mid);
    multiply(d_mid, d_f_tx_conj, d_out);
    for (size_t i = 0; i < n; i++)
        h[i] = { factor * float(d_out.re[i]), factor * float(d_out.im[i]) };
}

} // namespace gr::diffusion::engine
