/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "beam_nomp.h"
#include "engine/delay_guide.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::dsp {

namespace {
constexpr int cycles = 3;
using cdouble = std::complex<double>;

size_t grid_steps(size_t elements) { return elements > 1 ? 2 * elements : 1; }

void steer(double column, double row, engine::array_shape shape, cdouble* out)
{
    for (size_t c = 0; c < shape[0]; c++)
        for (size_t r = 0; r < shape[1]; r++)
            out[c * shape[1] + r] = std::polar(1.0, 2 * M_PI * (column * double(c) + row * double(r)));
}

cdouble inner(const cdouble* a, const cdouble* b, size_t n) // a^H b
{
    double re = 0, im = 0;
    for (size_t i = 0; i < n; i++) {
        re += a[i].real() * b[i].real() + a[i].imag() * b[i].imag();
        im += a[i].real() * b[i].imag() - a[i].imag() * b[i].real();
    }
    return { re, im };
}

double energy(const std::vector<cdouble>& x)
{
    double sum = 0;
    for (const auto& v : x)
        sum += std::norm(v);
    return sum;
}

//! Solves the symmetric 4 x 4 system a x = b with a little added to the diagonal; axes of one element have
//! zeros.
std::array<double, 4> solve(std::array<std::array<double, 4>, 4> a, std::array<double, 4> b)
{
    double largest = 0;
    for (int i = 0; i < 4; i++)
        largest = std::max(largest, a[i][i]);
    for (int i = 0; i < 4; i++)
        a[i][i] += 1e-6 * largest + 1e-300;
    for (int i = 0; i < 4; i++)
        for (int j = i + 1; j < 4; j++) {
            const double factor = a[j][i] / a[i][i];
            for (int k = i; k < 4; k++)
                a[j][k] -= factor * a[i][k];
            b[j] -= factor * b[i];
        }
    for (int i = 3; i >= 0; i--) {
        for (int k = i + 1; k < 4; k++)
            b[i] -= a[i][k] * b[k];
        b[i] /= a[i][i];
    }
    return b;
}
} // namespace

beam_nomp::beam_nomp(engine::array_shape rx, engine::array_shape tx, size_t most)
    : d_rx(rx), d_tx(tx), d_nr(rx[0] * rx[1]), d_nt(tx[0] * tx[1]), d_limit(most),
      d_steps{ grid_steps(rx[0]), grid_steps(rx[1]), grid_steps(tx[0]), grid_steps(tx[1]) },
      d_grid_rx(d_steps[0] * d_steps[1], d_nr), d_grid_tx(d_steps[2] * d_steps[3], d_nt), d_waves(most),
      d_re(most * most), d_im(d_re.size()), d_scratch(2 * d_re.size())
{
    std::vector<cdouble> beam(std::max(d_nr, d_nt));
    auto fill = [&](engine::split_matrix& grid, engine::array_shape shape, size_t columns, size_t rows,
                    bool conjugate) {
        const size_t n = shape[0] * shape[1];
        for (size_t g = 0; g < columns * rows; g++) {
            steer(double(g / rows) / double(columns), double(g % rows) / double(rows), shape, beam.data());
            for (size_t i = 0; i < n; i++)
                grid.set(g * n + i, conjugate ? std::conj(beam[i]) : beam[i]);
        }
    };
    fill(d_grid_rx, rx, d_steps[0], d_steps[1], true);
    fill(d_grid_tx, tx, d_steps[2], d_steps[3], false);
    d_right.resize(most);
}

void beam_nomp::set_pilots(const std::vector<std::complex<float>>& pilots)
{
    d_count = pilots.size() / d_nt;
    d_p.assign(pilots.begin(), pilots.end());
    d_pilots = engine::split_matrix(d_nt, d_count);
    for (size_t i = 0; i < d_p.size(); i++)
        d_pilots.set(i, d_p[i]);
    const size_t beams = d_grid_tx.rows;
    engine::split_matrix seen(beams, d_count);
    engine::multiply(d_grid_tx, d_pilots, seen);
    d_seen = engine::split_matrix(d_count, beams); // conjugate transpose
    d_seen_norm.assign(beams, 0);
    for (size_t g = 0; g < beams; g++)
        for (size_t i = 0; i < d_count; i++) {
            d_seen.set(i * beams + g, std::conj(seen.at(g * d_count + i)));
            d_seen_norm[g] += std::norm(seen.at(g * d_count + i));
        }
    d_residual_matrix = engine::split_matrix(d_nr, d_count);
    d_half = engine::split_matrix(d_grid_rx.rows, d_count);
    d_score = engine::split_matrix(d_grid_rx.rows, beams);
    d_residual.resize(d_nr * d_count);
    d_most = std::clamp<size_t>(d_nr * d_count / 4, 1, d_limit);
    auto size = [&](wave& w) {
        w.a.resize(d_nr);
        w.b.resize(d_nt);
        w.s.resize(d_count);
    };
    std::for_each(d_waves.begin(), d_waves.end(), size);
    size(d_trial);
    for (size_t axis = 0; axis < 4; axis++)
        d_slope[axis].resize(axis < 2 ? d_nr : d_count);
}

void beam_nomp::respond(wave& w) const
{
    steer(w.f[0], w.f[1], d_rx, w.a.data());
    steer(w.f[2], w.f[3], d_tx, w.b.data());
    std::fill(w.s.begin(), w.s.end(), cdouble(0));
    for (size_t t = 0; t < d_nt; t++)
        for (size_t i = 0; i < d_count; i++)
            w.s[i] += w.b[t] * d_p[t * d_count + i];
    w.norm = double(d_nr) * energy(w.s);
}

//! The wave's unit response against the residual: (a s^T)^H R.
std::complex<double> beam_nomp::overlap(const wave& w) const
{
    cdouble sum = 0;
    for (size_t r = 0; r < d_nr; r++)
        sum += std::conj(w.a[r]) * inner(w.s.data(), &d_residual[r * d_count], d_count);
    return sum;
}

void beam_nomp::add_to_residual(const wave& w, cdouble factor)
{
    for (size_t r = 0; r < d_nr; r++)
        for (size_t i = 0; i < d_count; i++)
            d_residual[r * d_count + i] += factor * w.a[r] * w.s[i];
}

//! The wave on the grid that takes most from the residual, into d_trial.
void beam_nomp::search()
{
    for (size_t i = 0; i < d_residual.size(); i++)
        d_residual_matrix.set(i, d_residual[i]);
    engine::multiply(d_grid_rx, d_residual_matrix, d_half);
    engine::multiply(d_half, d_seen, d_score);
    double best = -1;
    size_t at = 0;
    for (size_t i = 0; i < d_score.re.size(); i++) {
        const double fit = std::norm(d_score.at(i)) / std::max(d_seen_norm[i % d_score.cols], 1e-300);
        if (fit > best) {
            best = fit;
            at = i;
        }
    }
    const size_t r = at / d_score.cols, t = at % d_score.cols;
    d_trial.f = { double(r / d_steps[1]) / double(d_steps[0]), double(r % d_steps[1]) / double(d_steps[1]),
                  double(t / d_steps[3]) / double(d_steps[2]), double(t % d_steps[3]) / double(d_steps[3]) };
    respond(d_trial);
    d_trial.gain = overlap(d_trial) / std::max(d_trial.norm, 1e-300);
}

/*! One Gauss-Newton step of a wave's four frequencies, its gain free: with the derivatives d_k = g da/df_k,
 * orthogonal to the wave itself, minimises |R - sum_k x_k d_k|^2 over real x. Taken only if it improves the
 * fit. */
void beam_nomp::refine(wave& w)
{
    add_to_residual(w, w.gain);
    const cdouble now = overlap(w);
    w.gain = now / std::max(w.norm, 1e-300);
    for (size_t r = 0; r < d_nr; r++) {
        d_slope[0][r] = cdouble(0, 2 * M_PI * double(r / d_rx[1])) * w.a[r];
        d_slope[1][r] = cdouble(0, 2 * M_PI * double(r % d_rx[1])) * w.a[r];
    }
    std::fill(d_slope[2].begin(), d_slope[2].end(), cdouble(0));
    std::fill(d_slope[3].begin(), d_slope[3].end(), cdouble(0));
    for (size_t t = 0; t < d_nt; t++) {
        const cdouble column = cdouble(0, 2 * M_PI * double(t / d_tx[1])) * w.b[t];
        const cdouble row = cdouble(0, 2 * M_PI * double(t % d_tx[1])) * w.b[t];
        for (size_t i = 0; i < d_count; i++) {
            d_slope[2][i] += column * d_p[t * d_count + i];
            d_slope[3][i] += row * d_p[t * d_count + i];
        }
    }
    // Every derivative is an outer product, l_k m_k^T: inner products of two are products of inner products.
    std::array<const cdouble*, 4> l{ d_slope[0].data(), d_slope[1].data(), w.a.data(), w.a.data() };
    std::array<const cdouble*, 4> m{ w.s.data(), w.s.data(), d_slope[2].data(), d_slope[3].data() };
    std::array<cdouble, 4> along; // (a s^T)^H (l m^T)
    std::array<std::array<double, 4>, 4> normal{};
    std::array<double, 4> right{};
    const double g2 = std::norm(w.gain);
    for (int k = 0; k < 4; k++)
        along[k] = inner(w.a.data(), l[k], d_nr) * inner(w.s.data(), m[k], d_count);
    for (int k = 0; k < 4; k++) {
        cdouble seen = 0;
        for (size_t r = 0; r < d_nr; r++)
            seen += std::conj(l[k][r]) * inner(m[k], &d_residual[r * d_count], d_count);
        right[k] = (std::conj(w.gain) * (seen - std::conj(along[k]) * now / w.norm)).real();
        for (int j = 0; j <= k; j++) {
            const cdouble both = inner(l[k], l[j], d_nr) * inner(m[k], m[j], d_count);
            normal[k][j] = normal[j][k] = g2 * (both - std::conj(along[k]) * along[j] / w.norm).real();
        }
    }
    const auto step = solve(normal, right);
    const std::array<size_t, 4> elements{ d_rx[0], d_rx[1], d_tx[0], d_tx[1] };
    for (int k = 0; k < 4; k++) {
        const double most = 0.25 / double(elements[k]);
        d_trial.f[k] = elements[k] > 1 ? w.f[k] + std::clamp(step[k], -most, most) : 0;
    }
    respond(d_trial);
    const cdouble then = overlap(d_trial);
    if (std::norm(then) * w.norm > std::norm(now) * d_trial.norm) {
        d_trial.gain = then / d_trial.norm;
        std::swap(w, d_trial);
    }
    add_to_residual(w, -w.gain);
}

//! Joint gains (A^H A + ridge) g = A^H y and their residual; leaves the inverse in d_re, d_im.
void beam_nomp::fit(const std::complex<float>* y, double ridge)
{
    const size_t paths = d_paths;
    for (size_t i = 0; i < d_residual.size(); i++)
        d_residual[i] = y[i];
    for (size_t a = 0; a < paths; a++) {
        d_right[a] = overlap(d_waves[a]);
        for (size_t b = 0; b <= a; b++) {
            const cdouble sum = inner(d_waves[a].a.data(), d_waves[b].a.data(), d_nr) *
                                inner(d_waves[a].s.data(), d_waves[b].s.data(), d_count);
            d_re[a * paths + b] = d_re[b * paths + a] = sum.real();
            d_im[a * paths + b] = sum.imag();
            d_im[b * paths + a] = -sum.imag();
        }
        d_re[a * paths + a] += ridge;
        d_im[a * paths + a] = 0;
    }
    const bool solved = engine::invert_hermitian(d_re.data(), d_im.data(), paths, d_scratch.data());
    for (size_t a = 0; a < paths; a++) {
        if (solved) {
            d_waves[a].gain = 0;
            for (size_t b = 0; b < paths; b++)
                d_waves[a].gain += cdouble(d_re[a * paths + b], d_im[a * paths + b]) * d_right[b];
        }
        add_to_residual(d_waves[a], -d_waves[a].gain);
    }
}

float beam_nomp::run(const std::complex<float>* y, float noise_var, std::complex<float>* h)
{
    const double size = double(d_residual.size());
    double power = 0;
    for (size_t i = 0; i < d_residual.size(); i++) {
        d_residual[i] = y[i];
        power += std::norm(d_residual[i]) / size;
    }
    const double noise = std::max(double(noise_var), 1e-12 * power + 1e-300);
    const double threshold = noise * (std::log(size) - std::log(-std::log(0.99)));
    d_paths = 0;
    while (d_paths < d_most) {
        search();
        if (std::norm(d_trial.gain) * d_trial.norm < threshold)
            break;
        std::swap(d_waves[d_paths], d_trial);
        d_paths++;
        add_to_residual(d_waves[d_paths - 1], -d_waves[d_paths - 1].gain);
        refine(d_waves[d_paths - 1]);
        for (int c = 0; c < cycles; c++)
            for (size_t p = 0; p < d_paths; p++)
                refine(d_waves[p]);
        fit(y, noise * double(d_paths) / std::max(power, 1e-300));
    }

    std::fill_n(h, d_nr * d_nt, std::complex<float>(0));
    double variance = 0;
    for (size_t k = 0; k < d_paths; k++) {
        const wave& w = d_waves[k];
        for (size_t r = 0; r < d_nr; r++)
            for (size_t t = 0; t < d_nt; t++)
                h[r * d_nt + t] += std::complex<float>(w.gain * w.a[r] * w.b[t]);
        for (size_t j = 0; j < d_paths; j++)
            variance += (cdouble(d_re[k * d_paths + j], d_im[k * d_paths + j]) *
                         inner(d_waves[j].a.data(), w.a.data(), d_nr) *
                         inner(d_waves[j].b.data(), w.b.data(), d_nt))
                            .real();
    }
    const double level = energy(d_p) / double(d_count);
    return float(d_paths ? 3 * noise * std::max(variance, 0.0) / double(d_nr * d_nt)
                         : power / std::max(level, 1e-300));
}

} // namespace gr::diffusion::dsp
