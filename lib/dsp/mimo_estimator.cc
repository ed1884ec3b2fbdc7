/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mimo_estimator.h"
#include "beam_nomp.h"
#include "mimo_stack.h"
#include "engine/angular_net.h"
#include "engine/delay_guide.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace gr::diffusion::dsp {

using cfloat = std::complex<float>;
using cdouble = std::complex<double>;
using engine::array_shape;

mimo_estimator::mimo_estimator(array_shape rx, array_shape tx) : d_nr(rx[0] * rx[1]), d_nt(tx[0] * tx[1]) {}

mimo_estimator::~mimo_estimator() = default;

void mimo_estimator::set_pilots(const std::vector<cfloat>& pilots)
{
    engine::check_pilots(pilots, d_nt);
    prepare(pilots);
    d_pilots = pilots;
    d_count = pilots.size() / d_nt;
}

size_t mimo_estimator::estimate(const cfloat* y, size_t frames, float noise_var, cfloat* h, float* err_var)
{
    size_t invalid = 0;
    for (size_t i = 0; i < frames; i++, y += d_nr * d_count, h += d_nr * d_nt) {
        double power = noise_var;
        for (size_t k = 0; k < d_nr * d_count; k++)
            power += std::norm(cdouble(y[k]));
        if (std::isfinite(power) && noise_var >= 0) {
            err_var[i] = one(y, noise_var, h);
            continue;
        }
        std::fill_n(h, d_nr * d_nt, cfloat(0));
        err_var[i] = std::numeric_limits<float>::infinity();
        invalid++;
    }
    return invalid;
}

namespace {

class ls final : public mimo_estimator
{
public:
    ls(array_shape rx, array_shape tx) : mimo_estimator(rx, tx) {}

protected:
    //! P^+ = P^H (P P^H)^-1, or (P^H P)^-1 P^H with fewer pilots than transmitters
    void prepare(const std::vector<cfloat>& pilots) override
    {
        const size_t nt = transmitters(), np = pilots.size() / nt, n = std::min(nt, np);
        const bool wide = np >= nt;
        std::vector<double> re(n * n), im(n * n), scratch(2 * n * n);
        auto at = [&](size_t small, size_t large) { // P or P^H: its shorter side first
            return wide ? cdouble(pilots[small * np + large])
                        : std::conj(cdouble(pilots[large * np + small]));
        };
        double trace = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                cdouble sum = 0;
                for (size_t k = 0; k < std::max(nt, np); k++)
                    sum += at(i, k) * std::conj(at(j, k));
                re[i * n + j] = sum.real();
                im[i * n + j] = sum.imag();
                trace += i == j ? sum.real() : 0;
            }
        for (size_t i = 0; i < n; i++)
            re[i * n + i] += 1e-9 * trace / double(n); // pilots that say the same twice
        if (!engine::invert_hermitian(re.data(), im.data(), n, scratch.data()))
            throw std::invalid_argument("pilots: they cannot be told apart, least squares has no solution");
        d_inverse.assign(np * nt, 0);
        d_gain = 0;
        for (size_t i = 0; i < np; i++)
            for (size_t t = 0; t < nt; t++) {
                cdouble sum = 0;
                for (size_t k = 0; k < n; k++)
                    sum += wide ? std::conj(cdouble(pilots[k * np + i])) *
                                      cdouble(re[k * n + t], im[k * n + t])
                                : cdouble(re[i * n + k], im[i * n + k]) *
                                      std::conj(cdouble(pilots[t * np + k]));
                d_inverse[i * nt + t] = sum;
                d_gain += std::norm(sum) / double(nt);
            }
        d_missing = wide ? 0 : 1 - double(np) / double(nt);
        d_row.resize(nt);
    }
    float one(const cfloat* y, float noise_var, cfloat* h) override
    {
        const size_t nt = transmitters(), np = count();
        double power = 0;
        for (size_t r = 0; r < receivers(); r++) {
            std::fill(d_row.begin(), d_row.end(), cdouble(0));
            for (size_t i = 0; i < np; i++)
                for (size_t t = 0; t < nt; t++)
                    d_row[t] += cdouble(y[r * np + i]) * d_inverse[i * nt + t];
            for (size_t t = 0; t < nt; t++) {
                h[r * nt + t] = cfloat(d_row[t]);
                power += std::norm(d_row[t]);
            }
        }
        // What no pilot looked at is as strong as what they saw.
        power /= double(receivers() * nt);
        return float(noise_var * d_gain + power * d_missing / std::max(1 - d_missing, 1e-9));
    }

private:
    std::vector<cdouble> d_inverse, d_row; // Np x Nt
    double d_gain = 0, d_missing = 0;
};

class sbl final : public mimo_estimator
{
public:
    sbl(array_shape rx, array_shape tx) : mimo_estimator(rx, tx), d_guide(rx, tx), d_gamma(d_guide.beams()) {}

protected:
    void prepare(const std::vector<cfloat>& pilots) override { d_guide.set_pilots(pilots); }
    float one(const cfloat* y, float noise_var, cfloat* h) override
    {
        constexpr int rounds = 50;
        const size_t n = d_guide.beams();
        double power = 0;
        for (size_t i = 0; i < receivers() * d_guide.count(); i++)
            power += std::norm(cdouble(y[i]));
        power /= double(receivers() * d_guide.count());
        power = std::max({ power - noise_var, 0.05 * power, 1e-30 });
        const double scale = std::sqrt(power);
        d_guide.observe(y, scale, std::max(noise_var / power, 1e-7));
        std::fill(d_gamma.begin(), d_gamma.end(), 1.f);
        for (int i = 0;; i++) {
            d_guide.run(nullptr, d_gamma.data());
            if (i == rounds)
                break;
            const float* const m = d_guide.m();
            for (size_t k = 0; k < n; k++)
                d_gamma[k] = std::max(m[k] * m[k] + m[n + k] * m[n + k] + std::max(d_guide.v()[k], 0.f),
                                      1e-10f);
        }
        const double back = scale / d_guide.level();
        d_guide.response(float(back), h);
        double variance = 0;
        for (size_t k = 0; k < n; k++)
            variance += std::max(d_guide.v()[k], 0.f);
        return float(variance / double(n) * back * back);
    }

private:
    engine::beam_guide d_guide;
    std::vector<float> d_gamma;
};

class off_grid final : public mimo_estimator
{
public:
    off_grid(array_shape rx, array_shape tx, size_t most = 40) : mimo_estimator(rx, tx), d_nomp(rx, tx, most)
    {}

protected:
    void prepare(const std::vector<cfloat>& pilots) override { d_nomp.set_pilots(pilots); }
    float one(const cfloat* y, float noise_var, cfloat* h) override { return d_nomp.run(y, noise_var, h); }

private:
    beam_nomp d_nomp;
};

class learned final : public mimo_estimator
{
public:
    explicit learned(std::unique_ptr<engine::angular_net> net)
        : mimo_estimator(net->receive_array(), net->transmit_array()), d_net(std::move(net))
    {}

protected:
    void prepare(const std::vector<cfloat>& pilots) override { d_net->set_pilots(pilots); }
    float one(const cfloat* y, float noise_var, cfloat* h) override
    {
        float err_var;
        d_net->estimate(y, 1, noise_var, h, &err_var);
        return err_var;
    }

private:
    std::unique_ptr<engine::angular_net> d_net;
};

} // namespace

const std::vector<std::string>& mimo_estimator_methods()
{
    static const std::vector<std::string> methods{ "ls", "nomp", "sbl", "diffusion", "auto" };
    return methods;
}

std::unique_ptr<mimo_estimator> make_mimo_estimator(const std::string& method, const std::string& model)
{
    auto net = std::make_unique<engine::angular_net>(*engine::model::load(model));
    const auto rx = net->receive_array(), tx = net->transmit_array();
    if (method == "ls")
        return std::make_unique<ls>(rx, tx);
    if (method == "nomp")
        return std::make_unique<off_grid>(rx, tx);
    if (method == "sbl")
        return std::make_unique<sbl>(rx, tx);
    if (method == "diffusion")
        return std::make_unique<learned>(std::move(net));
    if (method == "auto")
        return std::make_unique<mimo_stack>(
            rx, tx,
            [&] {
                return std::make_unique<learned>(
                    std::make_unique<engine::angular_net>(*engine::model::load(model)));
            },
            // a channel that needs more is not nomp's
            [&] { return std::make_unique<off_grid>(rx, tx, 20); });
    throw std::invalid_argument("method '" + method + "' is none of ls, nomp, sbl, diffusion, auto");
}

} // namespace gr::diffusion::dsp
