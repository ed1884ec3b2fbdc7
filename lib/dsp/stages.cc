/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stages.h"
#include "diffusion_demapper.h"
#include "pilot_estimator.h"
#include <algorithm>
#include <cmath>
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
    }

    void estimate(const channel_observation& o, channel_estimate& out) override
    {
        d_first_look.estimate(o, out);
        if (!o.final || o.carriers.empty())
            return;
        d_pilots.clear();
        d_y.clear();
        double noise = 0;
        for (size_t i = 0; i < o.carriers.size(); i++) {
            d_pilots.push_back(o.carriers[i] + d_fft_len / 2);
            d_y.push_back(o.ls[i] * turn(o.carriers[i]));
            noise += o.noise_var[i];
        }
        if (d_pilots != d_estimator->pilots())
            d_estimator->set_pilots(d_pilots);
        d_h.resize(size_t(d_fft_len));
        d_error.resize(size_t(d_fft_len));
        d_estimator->estimate(d_y.data(), 1, float(noise / double(d_y.size())), d_h.data(), d_error.data());
        const bool good = std::all_of(d_h.begin(), d_h.end(), [](cf x) { return std::isfinite(std::norm(x)); }) &&
                          std::all_of(d_error.begin(), d_error.end(), [](float e) { return e >= 0 && std::isfinite(e); });
        if (!good)
            return; // the LMMSE's stands
        for (int i = 0; i < d_fft_len; i++)
            out.h[i] = d_h[i] * std::conj(turn(i - d_fft_len / 2));
        out.error_var = d_error;
    }

    size_t steps() const override { return d_estimator->steps(); }
    size_t trained_steps() const override { return d_estimator->trained_steps(); }
    void set_steps(size_t steps) override { d_estimator->set_steps(steps); }

private:
    /*! Receivers open their DFT window a quarter of the prefix early; models were trained on channels that
     *  start at delay 0. One sample of that quarter stays, for a synchroniser that is late. */
    cf turn(int carrier) const
    {
        return cf(std::polar(1.0, 2 * M_PI * double((long(carrier) * d_shift) % d_fft_len) / d_fft_len));
    }

    int d_fft_len, d_shift;
    lmmse_stage d_first_look;
    std::unique_ptr<pilot_estimator> d_estimator;
    std::vector<int> d_pilots;
    std::vector<cf> d_y, d_h;
    std::vector<float> d_error;
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
