/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stages.h"
#include "diffusion_demapper.h"
#include "pilot_estimator.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace gr::diffusion::dsp {

namespace {

using cf = std::complex<float>;

//! pilot_estimator behind the interface of the receivers.
class pilot_stage : public channel_stage
{
public:
    pilot_stage(const std::string& method, int fft_len, int cp_len, const std::string& model)
        : d_fft_len(fft_len),
          d_shift(std::max(cp_len / 4 - 1, 0)),
          d_first_look(fft_len, cp_len + cp_len / 4),
          d_estimator(make_pilot_estimator(method, size_t(fft_len), model))
    {
        // Delays from just before the first path to the end of the prefix, any of them as likely.
        std::vector<float> profile(d_estimator->grid(), 0);
        const size_t per_sample = std::max<size_t>(profile.size() / size_t(fft_len), 1);
        std::fill_n(profile.begin(), std::min(profile.size(), per_sample * size_t(cp_len + 1)), 1.0f);
        d_estimator->set_profile(profile);
        for (int k = -fft_len / 2; k < fft_len - fft_len / 2; k++)
            d_turn.push_back(cf(std::polar(1.0, 2 * M_PI * double((long(k) * d_shift) % fft_len) / fft_len)));
    }

    void estimate(const channel_observation& o, channel_estimate& out) override
    {
        if (!o.again || !d_has)
            d_first_look.estimate(o, out);
        if (!o.final || o.carriers.empty())
            return;
        d_pilots.clear();
        d_y.clear();
        double noise = 0;
        for (size_t i = 0; i < o.carriers.size(); i++) {
            const int k = o.carriers[i] + d_fft_len / 2;
            d_pilots.push_back(k);
            d_y.push_back(o.ls[i] * d_turn[size_t(k)]);
            noise += o.noise_var[i];
        }
        const bool again = o.again && d_has && d_pilots == d_estimator->pilots();
        if (d_pilots != d_estimator->pilots()) {
            d_estimator->set_pilots(d_pilots);
            use_steps();
        }
        d_h.resize(size_t(d_fft_len));
        d_error.resize(size_t(d_fft_len));
        const float mean = float(noise / double(d_y.size()));
        if (again)
            d_estimator->refine(d_y.data(), mean, d_h.data(), d_error.data());
        else
            d_estimator->estimate(d_y.data(), 1, mean, d_h.data(), d_error.data());
        const bool good = std::all_of(d_h.begin(), d_h.end(),
                                      [](cf x) { return std::isfinite(std::norm(x)); }) &&
                          std::all_of(d_error.begin(), d_error.end(),
                                      [](float e) { return e >= 0 && std::isfinite(e); });
        d_has = good;
        if (!good)
            return; // the LMMSE's stands, or the estimate before
        for (int i = 0; i < d_fft_len; i++)
            out.h[i] = d_h[i] * std::conj(d_turn[i]);
        out.error_var = d_error;
    }

    size_t steps() const override { return d_estimator->steps(); }
    size_t trained_steps() const override { return d_estimator->trained_steps(); }
    void set_steps(size_t steps) override
    {
        d_allowed = steps;
        use_steps();
    }

private:
    /*! Where nearly every carrier is observed the later steps have little left to tell: half of them are
     *  taken (docs/real-time.md has the figures). */
    void use_steps()
    {
        const size_t trained = d_estimator->trained_steps();
        const bool dense = 4 * d_estimator->pilots().size() >= 3 * size_t(d_fft_len);
        d_estimator->set_steps(std::min(d_allowed, dense ? (trained + 1) / 2 : trained));
    }

    int d_fft_len, d_shift;
    /*! Receivers open their DFT window a quarter of the prefix early; models were trained on channels that
     *  start at delay 0. One sample of that quarter stays, for a synchroniser that is late. By carrier. */
    std::vector<cf> d_turn;
    lmmse_stage d_first_look;
    std::unique_ptr<pilot_estimator> d_estimator;
    size_t d_allowed = std::numeric_limits<size_t>::max();
    std::vector<int> d_pilots;
    std::vector<cf> d_y, d_h;
    std::vector<float> d_error;
    bool d_has = false; // d_h is an estimate
};

} // namespace

std::shared_ptr<channel_stage>
make_channel_stage(const std::string& name, int fft_len, int cp_len, const std::string& model)
{
    if (name == "ls")
        return std::make_shared<ls_stage>(fft_len);
    if (name == "lmmse")
        return std::make_shared<lmmse_stage>(fft_len, cp_len + cp_len / 4);
    if (name == "nomp" || name == "sbl")
        return std::make_shared<pilot_stage>(name, fft_len, cp_len, "");
    if (name == "diffusion")
        return std::make_shared<pilot_stage>(
            name, fft_len, cp_len, model.empty() ? "ce-ofdm" + std::to_string(fft_len) : model);
    throw std::invalid_argument("estimator is '" + name + "'; use ls, lmmse, nomp, sbl or diffusion");
}

std::shared_ptr<demapper_stage> make_demapper_stage(const std::string& name, const std::string& model)
{
    if (name == "min-distance")
        return std::make_shared<min_distance_stage>();
    if (name == "map")
        return std::make_shared<map_stage>();
    if (name == "diffusion")
        return std::make_shared<diffusion_demapper>(model);
    throw std::invalid_argument("demapper is '" + name + "'; use min-distance, map or diffusion");
}

} // namespace gr::diffusion::dsp
