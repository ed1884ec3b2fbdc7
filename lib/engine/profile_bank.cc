/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "profile_bank.h"
#include "model_data.h"
#include "vectorise.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::engine {

namespace {

constexpr size_t n_hidden = 16, n_facts = 8;
constexpr double negligible = 1e-8; // weight of a member that is left out of the sum

//! h += x w for x and h of n real, then n imaginary parts.
DIFFUSION_VECTORISE void add_scaled(size_t n, float re, float im, const float* __restrict x,
                                    float* __restrict h)
{
    for (size_t i = 0; i < n; i++) {
        h[i] += re * x[i] - im * x[n + i];
        h[n + i] += re * x[n + i] + im * x[i];
    }
}

DIFFUSION_VECTORISE std::complex<double> dot(size_t n, const std::complex<double>* a,
                                             const std::complex<double>* b)
{
    const double* const x = reinterpret_cast<const double*>(a);
    const double* const y = reinterpret_cast<const double*>(b);
    double re = 0, im = 0;
    for (size_t i = 0; i < n; i++) {
        re += x[2 * i] * y[2 * i] - x[2 * i + 1] * y[2 * i + 1];
        im += x[2 * i] * y[2 * i + 1] + x[2 * i + 1] * y[2 * i];
    }
    return { re, im };
}

double rotate_pairs(std::complex<double>* a, std::complex<double>* u, size_t n)
{
    double off = 0;
    for (size_t p = 0; p < n; p++)
        for (size_t q = p + 1; q < n; q++) {
            const std::complex<double> z = a[p * n + q];
            const double size = std::abs(z);
            off += 2 * size * size;
            if (size < 1e-300)
                continue;
            // diag(1, e^-j phi) makes the pair real, then the usual rotation
            const std::complex<double> turn = std::conj(z) / size;
            const double tau = (a[q * n + q].real() - a[p * n + p].real()) / (2 * size);
            const double t = (tau < 0 ? -1 : 1) / (std::abs(tau) + std::sqrt(1 + tau * tau));
            const double c = 1 / std::sqrt(1 + t * t), s = t * c;
            for (size_t i = 0; i < n; i++)
                for (std::complex<double>* m : { a, u }) {
                    const std::complex<double> x = m[i * n + p], y = m[i * n + q] * turn;
                    m[i * n + p] = c * x - s * y;
                    m[i * n + q] = s * x + c * y;
                }
            for (size_t i = 0; i < n; i++) {
                const std::complex<double> x = a[p * n + i], y = a[q * n + i] * std::conj(turn);
                a[p * n + i] = c * x - s * y;
                a[q * n + i] = s * x + c * y;
            }
        }
    return off;
}

} // namespace

void hermitian_eigen(std::complex<double>* a, std::complex<double>* u, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n * n; i++) {
        total += std::norm(a[i]);
        u[i] = 0;
    }
    for (size_t i = 0; i < n; i++)
        u[i * n + i] = 1;
    for (int sweep = 0; sweep < 40; sweep++)
        if (rotate_pairs(a, u, n) <= 1e-30 * total)
            break;
}

profile_bank::profile_bank(const model& file, size_t carriers, size_t taps, size_t members, size_t inputs)
    : d_carriers(carriers), d_taps(taps), d_inputs(inputs), d_members(members)
{
    const model_data& data = file.data();
    const std::vector<float>& profiles = data.tensor("bank.profiles", { members, taps });
    for (size_t k = 0; k < members; k++) {
        member& m = d_members[k];
        m.power = 0;
        for (size_t l = 0; l < taps; l++) {
            m.gamma.push_back(std::exp(std::min(std::max(profiles[k * taps + l], -16.f), 4.f)));
            m.power += m.gamma.back();
        }
    }
    d_prior = data.tensor("bank.prior.weight", { members, 2 });
    const std::vector<float>& bias = data.tensor("bank.prior.bias", { members });
    d_prior.insert(d_prior.end(), bias.begin(), bias.end());
    d_gate1 = packed_dense(n_facts + inputs, n_hidden,
                           data.tensor("bank.gate1.weight", { n_hidden, n_facts + inputs }).data(),
                           data.tensor("bank.gate1.bias", { n_hidden }).data(), activation::silu);
    d_gate2 = packed_dense(n_hidden, 1, data.tensor("bank.gate2.weight", { 1, n_hidden }).data(),
                           data.tensor("bank.gate2.bias", { 1 }).data(), activation::none);
    d_h.resize(2 * carriers);
    d_log.resize(members);
    d_quad.resize(members);
    d_facts.resize(n_facts + inputs);
    d_hidden.resize(n_hidden);
}

void profile_bank::set_pilots(const std::vector<int>& pilots)
{
    if (d_active && pilots == d_pilots)
        return;
    d_active = pilots.size() <= most_pilots;
    if (!d_active)
        return;
    d_pilots = pilots;
    const size_t count = pilots.size(), n = d_carriers;
    d_projected.resize(d_members.size() * count);
    std::vector<complex> wheel(d_taps), lags(2 * n - 1), s(count * count), u(count * count);
    for (size_t i = 0; i < d_taps; i++)
        wheel[i] = std::polar(1.0, -2 * M_PI * double(i) / double(d_taps));
    for (member& m : d_members) {
        for (size_t t = 0; t < n; t++) {
            complex sum = 0;
            for (size_t l = 0; l < d_taps; l++)
                sum += m.gamma[l] * wheel[t * l % d_taps];
            lags[n - 1 + t] = sum;
            lags[n - 1 - t] = std::conj(sum);
        }
        auto lag = [&](int from, int to) { return lags[size_t(from - to + int(n) - 1)]; };
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count; j++)
                s[i * count + j] = lag(pilots[i], pilots[j]);
        hermitian_eigen(s.data(), u.data(), count);
        m.lambda.resize(count);
        m.adjoint.resize(count * count);
        m.answer.resize(2 * count * n);
        m.gain.assign(count, 0);
        for (size_t j = 0; j < count; j++) {
            m.lambda[j] = std::max(s[j * count + j].real(), 0.0);
            for (size_t i = 0; i < count; i++)
                m.adjoint[j * count + i] = std::conj(u[i * count + j]);
            for (size_t k = 0; k < n; k++) {
                complex sum = 0;
                for (size_t i = 0; i < count; i++)
                    sum += lag(int(k), pilots[i]) * u[i * count + j];
                m.answer[2 * j * n + k] = float(sum.real());
                m.answer[(2 * j + 1) * n + k] = float(sum.imag());
                m.gain[j] += std::norm(sum) / double(n);
            }
        }
    }
}

void profile_bank::mix(const std::complex<double>* y, double noise, const float* seen, std::complex<float>* h,
                       float* base)
{
    const size_t count = d_pilots.size(), n = d_carriers, members = d_members.size();
    const float* const condition = seen + d_inputs;
    double most = -1e300;
    for (size_t k = 0; k < members; k++) {
        const member& m = d_members[k];
        complex* const u = &d_projected[k * count];
        double quad = 0, log_det = 0;
        for (size_t j = 0; j < count; j++) {
            const double level = m.lambda[j] + noise;
            const complex projected = dot(count, &m.adjoint[j * count], y);
            u[j] = projected / level;
            quad += std::norm(projected) / level;
            log_det += std::log(level);
        }
        d_quad[k] = quad;
        d_log[k] = -quad - log_det + double(d_prior[2 * k]) * condition[0] +
                   double(d_prior[2 * k + 1]) * condition[1] + double(d_prior[2 * members + k]);
        most = std::max(most, d_log[k]);
    }
    double total = 0;
    for (size_t k = 0; k < members; k++)
        total += std::exp(d_log[k] - most);
    const double evidence = most + std::log(total);

    double fit = 0, var = 0;
    std::fill(d_h.begin(), d_h.end(), 0.f);
    for (size_t k = 0; k < members; k++) {
        const double w = std::exp(d_log[k] - evidence);
        if (w < negligible)
            continue;
        const member& m = d_members[k];
        double left = m.power;
        for (size_t j = 0; j < count; j++) {
            left -= m.gain[j] / (m.lambda[j] + noise);
            const complex scaled = w * d_projected[k * count + j];
            add_scaled(n, float(scaled.real()), float(scaled.imag()), &m.answer[2 * j * n], d_h.data());
        }
        fit += w * d_quad[k];
        var += w * std::max(left, 1e-9);
    }

    double residual = 0, apart = 0, mean = 0;
    for (size_t i = 0; i < count; i++)
        residual += std::norm(y[i] - complex(h[d_pilots[i]]));
    for (size_t k = 0; k < n; k++) {
        apart += std::norm(std::complex<float>(d_h[k], d_h[n + k]) - h[k]);
        mean += base[k];
    }
    residual /= double(count);
    apart /= double(n);
    mean /= double(n);
    float* f = d_facts.data();
    *f++ = float(0.3 * evidence / double(count));
    *f++ = float(fit / double(count));
    for (double ratio : { residual / noise + 1e-3, apart / noise + 1e-3, var / noise, mean / noise })
        *f++ = float(0.3 * std::log(ratio));
    *f++ = condition[0];
    *f++ = condition[1];
    std::copy_n(seen, d_inputs, f);
    d_gate1.run(d_facts.data(), d_facts.size(), d_hidden.data(), n_hidden, 1);
    float open;
    d_gate2.run(d_hidden.data(), n_hidden, &open, 1, 1);
    const float gate = float(1 / (1 + std::exp(-double(open))));
    for (size_t k = 0; k < n; k++) {
        const std::complex<float> own(d_h[k], d_h[n + k]), gap = h[k] - own;
        h[k] = own + gate * gap;
        base[k] = gate * base[k] + (1 - gate) * float(var) +
                  std::max(gate * (1 - gate) * std::norm(gap), 1e-9f);
    }
}

} // namespace gr::diffusion::engine
