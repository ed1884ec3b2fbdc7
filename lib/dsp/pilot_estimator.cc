/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pilot_estimator.h"
#include "engine/delay_net.h"
#include "nomp.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace gr::diffusion::dsp {

using cfloat = std::complex<float>;
using cdouble = std::complex<double>;

pilot_estimator::pilot_estimator(size_t carriers) : d_carriers(carriers)
{
    if (carriers < 2 || carriers > 4096)
        throw std::invalid_argument("carriers is " + std::to_string(carriers) + ", use 2 to 4096");
}

pilot_estimator::~pilot_estimator() = default;

void pilot_estimator::set_pilots(const std::vector<int>& pilots)
{
    if (pilots.empty())
        throw std::invalid_argument("pilots: the list is empty, at least one carrier is needed");
    std::vector<bool> used(d_carriers, false);
    for (int p : pilots) {
        if (p < 0 || size_t(p) >= d_carriers)
            throw std::invalid_argument("pilots: carrier " + std::to_string(p) +
                                        " does not exist, use 0 to " + std::to_string(d_carriers - 1));
        if (used[p])
            throw std::invalid_argument("pilots: carrier " + std::to_string(p) + " is named twice");
        used[p] = true;
    }
    d_pilots = pilots;
}

size_t pilot_estimator::grid() const
{
    size_t taps = 2;
    while (taps < 2 * d_carriers)
        taps *= 2;
    return taps;
}

void pilot_estimator::set_profile(const std::vector<float>& profile)
{
    if (profile.size() != grid())
        throw std::invalid_argument("profile has " + std::to_string(profile.size()) + " values, it needs " +
                                    std::to_string(grid()));
    double sum = 0;
    for (float p : profile) {
        if (!(p >= 0) || !std::isfinite(p))
            throw std::invalid_argument("profile: a power is " + std::to_string(p) +
                                        ", it must be finite and not negative");
        sum += p;
    }
    if (!(sum > 0))
        throw std::invalid_argument("profile: all powers are zero");
}

//! Whether all are numbers; if not, the answer is "nothing known".
bool pilot_estimator::usable(const cfloat* y, float noise_var, cfloat* h, float* err_var) const
{
    double power = noise_var;
    for (size_t p = 0; p < d_pilots.size(); p++)
        power += std::norm(cdouble(y[p]));
    if (std::isfinite(power) && noise_var >= 0)
        return true;
    std::fill_n(h, d_carriers, cfloat(0));
    if (err_var)
        std::fill_n(err_var, d_carriers, std::numeric_limits<float>::infinity());
    return false;
}

void pilot_estimator::estimate(const cfloat* y, size_t frames, float noise_var, cfloat* h, float* err_var)
{
    for (size_t i = 0; i < frames; i++, y += d_pilots.size(), h += d_carriers) {
        float* const e = err_var ? err_var + i * d_carriers : nullptr;
        if (usable(y, noise_var, h, e))
            one(y, noise_var, h, e);
    }
}

void pilot_estimator::refine(const cfloat* y, float noise_var, cfloat* h, float* err_var)
{
    if (usable(y, noise_var, h, err_var))
        again(y, noise_var, h, err_var);
}

namespace {

class ls final : public pilot_estimator
{
public:
    using pilot_estimator::pilot_estimator;

    void set_pilots(const std::vector<int>& pilots) override
    {
        pilot_estimator::set_pilots(pilots);
        std::vector<size_t> order(pilots.size());
        for (size_t i = 0; i < order.size(); i++)
            order[i] = i;
        std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return pilots[a] < pilots[b]; });
        d_left.resize(carriers());
        d_right.resize(carriers());
        d_weight.resize(carriers());
        size_t next = 0;
        for (size_t k = 0; k < carriers(); k++) {
            while (next < order.size() && size_t(pilots[order[next]]) <= k)
                next++;
            d_left[k] = order[next ? next - 1 : 0];
            d_right[k] = order[next < order.size() ? next : order.size() - 1];
            const int a = pilots[d_left[k]], b = pilots[d_right[k]];
            d_weight[k] = b > a ? float(int(k) - a) / float(b - a) : 0;
        }
    }

protected:
    void one(const cfloat* y, float noise_var, cfloat* h, float* err_var) override
    {
        for (size_t k = 0; k < carriers(); k++) {
            const float w = d_weight[k];
            h[k] = (1 - w) * y[d_left[k]] + w * y[d_right[k]];
            if (err_var)
                err_var[k] = noise_var * (w * w + (1 - w) * (1 - w));
        }
    }

private:
    std::vector<size_t> d_left, d_right;
    std::vector<float> d_weight;
};

//! What lmmse and sbl share: the delay grid and the symbol's scale.
class gaussian : public pilot_estimator
{
public:
    explicit gaussian(size_t carriers) : pilot_estimator(carriers), d_guide(carriers, grid())
    {
        d_profile.assign(grid(), 0);
        d_gamma.resize(grid());
    }
    void set_pilots(const std::vector<int>& pilots) override
    {
        pilot_estimator::set_pilots(pilots);
        d_guide.set_pilots(pilots);
        d_y.resize(pilots.size());
    }
    void set_profile(const std::vector<float>& profile) override
    {
        pilot_estimator::set_profile(profile);
        double sum = 0;
        for (float p : profile)
            sum += p;
        for (size_t l = 0; l < profile.size(); l++)
            d_profile[l] = float(std::max(profile[l] / sum, 1e-9));
    }

protected:
    //! Brings y to unit channel power; the noise in that scale; the scale is kept.
    double normalise(const cfloat* y, float noise_var)
    {
        double power = 0;
        for (size_t i = 0; i < d_y.size(); i++)
            power += std::norm(cdouble(y[i]));
        power /= double(d_y.size());
        power = std::max({ power - noise_var, 0.05 * power, 1e-30 });
        d_scale = std::sqrt(power);
        for (size_t i = 0; i < d_y.size(); i++)
            d_y[i] = cdouble(y[i]) / d_scale;
        return std::max(noise_var / power, 1e-7);
    }
    void finish(cfloat* h, float* err_var)
    {
        d_guide.response(h);
        for (size_t k = 0; k < carriers(); k++)
            h[k] *= float(d_scale);
        if (!err_var)
            return;
        d_guide.variance(err_var);
        for (size_t k = 0; k < carriers(); k++)
            err_var[k] *= float(d_scale * d_scale);
    }

    engine::delay_guide d_guide;
    std::vector<float> d_profile, d_gamma;
    std::vector<cdouble> d_y;
    double d_scale = 1;
};

class lmmse final : public gaussian
{
public:
    explicit lmmse(size_t carriers) : gaussian(carriers)
    {
        std::vector<float> uniform(grid(), 0);
        std::fill_n(uniform.begin(), std::max<size_t>(1, grid() / 4), 1);
        set_profile(uniform);
    }

protected:
    void one(const cfloat* y, float noise_var, cfloat* h, float* err_var) override
    {
        const double noise = normalise(y, noise_var);
        d_guide.run(d_y.data(), nullptr, d_profile.data(), noise);
        finish(h, err_var);
    }
};

class sbl final : public gaussian
{
public:
    explicit sbl(size_t carriers) : gaussian(carriers)
    {
        std::vector<float> decaying(grid());
        for (size_t l = 0; l < decaying.size(); l++)
            decaying[l] = std::exp(-8.f * float(l) / float(grid()));
        set_profile(decaying);
    }

protected:
    void one(const cfloat* y, float noise_var, cfloat* h, float* err_var) override
    {
        constexpr int rounds = 50;
        const double noise = normalise(y, noise_var);
        const size_t taps = d_guide.taps();
        d_gamma = d_profile;
        for (int i = 0;; i++) {
            d_guide.run(d_y.data(), nullptr, d_gamma.data(), noise);
            if (i == rounds)
                break;
            const float* const m = d_guide.m();
            for (size_t l = 0; l < taps; l++) {
                const float g = d_gamma[l];
                const float v = std::max(g - g * g * d_guide.q()[l], 0.f);
                d_gamma[l] = std::max(m[l] * m[l] + m[taps + l] * m[taps + l] + v, 1e-10f);
            }
        }
        finish(h, err_var);
    }
};

class off_grid final : public pilot_estimator
{
public:
    explicit off_grid(size_t carriers) : pilot_estimator(carriers), d_nomp(carriers) {}
    void set_pilots(const std::vector<int>& pilots) override
    {
        pilot_estimator::set_pilots(pilots);
        d_nomp.set_pilots(pilots);
    }

protected:
    void one(const cfloat* y, float noise_var, cfloat* h, float* err_var) override
    {
        d_nomp.run(y, noise_var, h, err_var);
    }

private:
    nomp d_nomp;
};

class learned final : public pilot_estimator
{
public:
    explicit learned(const engine::model& file) : learned(std::make_unique<engine::delay_net>(file)) {}
    explicit learned(std::unique_ptr<engine::delay_net> net)
        : pilot_estimator(net->carriers()), d_net(std::move(net))
    {}
    void set_pilots(const std::vector<int>& pilots) override
    {
        pilot_estimator::set_pilots(pilots);
        d_net->set_pilots(pilots);
    }
    size_t steps() const override { return d_net->steps(); }
    size_t trained_steps() const override { return d_net->trained_steps(); }
    void set_steps(size_t steps) override { d_net->set_steps(steps); }

protected:
    void one(const cfloat* y, float noise_var, cfloat* h, float* err_var) override
    {
        d_net->estimate(y, 1, noise_var, h, err_var);
    }
    void again(const cfloat* y, float noise_var, cfloat* h, float* err_var) override
    {
        d_net->refine(y, noise_var, h, err_var);
    }

private:
    std::unique_ptr<engine::delay_net> d_net;
};

} // namespace

const std::vector<std::string>& pilot_estimator_methods()
{
    static const std::vector<std::string> methods{ "ls", "lmmse", "nomp", "sbl", "diffusion" };
    return methods;
}

std::unique_ptr<pilot_estimator> make_pilot_estimator(const std::string& method, size_t carriers,
                                                      const std::string& model)
{
    std::unique_ptr<pilot_estimator> made;
    if (method == "ls")
        made = std::make_unique<ls>(carriers);
    else if (method == "lmmse")
        made = std::make_unique<lmmse>(carriers);
    else if (method == "nomp")
        made = std::make_unique<off_grid>(carriers);
    else if (method == "sbl")
        made = std::make_unique<sbl>(carriers);
    else if (method == "diffusion") {
        const auto file = engine::model::load(model);
        made = std::make_unique<learned>(*file);
        if (carriers != 0 && made->carriers() != carriers)
            throw std::invalid_argument("model '" + model + "' is for " + std::to_string(made->carriers()) +
                                        " carriers, the symbol has " + std::to_string(carriers));
    } else
        throw std::invalid_argument("method '" + method + "' is none of ls, lmmse, nomp, sbl, diffusion");
    std::vector<int> all(made->carriers());
    for (size_t k = 0; k < all.size(); k++)
        all[k] = int(k);
    made->set_pilots(all);
    return made;
}

} // namespace gr::diffusion::dsp
