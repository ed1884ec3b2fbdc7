/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "stages.h"
#include "pilot_estimator.h"
#include <gnuradio/diffusion/model.h>
#include <gnuradio/diffusion/sampler.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
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

/*! The engine's denoising receivers as demappers, one for each constellation.
 *
 * The engine works at one noise level at a time, a fading channel has one for each carrier: symbols are
 * taken in groups of 1 dB, and each LLR is scaled by the group's level over the symbol's own (LLRs of
 * Gaussian noise are proportional to 1/noise_var). */
class diffusion_demapper : public demapper_stage
{
public:
    std::string note() const override { return d_note; }

    explicit diffusion_demapper(const std::string& model)
    {
        if (model.empty())
            return;
        auto receiver = std::make_unique<engine::receiver>(engine::model::load(model));
        const int bits = receiver->get_model().bits_per_symbol();
        d_receivers[bits] = std::move(receiver);
    }

    void demap(const qam& c, const cf* y, const float* noise_var, float* llr, size_t n) override
    {
        d_note.clear();
        engine::receiver* receiver = receiver_of(c);
        c.soft(y, noise_var, llr, n);
        if (!receiver)
            return;
        const size_t bits = size_t(c.bits());
        auto level = [&](size_t i) {
            const float v = noise_var[i];
            return v > 0 && std::isfinite(v) && std::isfinite(std::norm(y[i])) ? int(std::lround(10 * std::log10(v))) : 1000;
        };
        d_order.resize(n);
        std::iota(d_order.begin(), d_order.end(), 0u);
        std::stable_sort(d_order.begin(), d_order.end(), [&](unsigned a, unsigned b) { return level(a) < level(b); });
        for (size_t from = 0, to; from < n; from = to) {
            const int db = level(d_order[from]);
            for (to = from; to < n && level(d_order[to]) == db; to++)
                ;
            if (db > 15 || db < -60)
                continue; // nothing is known, or nothing is in doubt: MAP has said it
            const double group = std::pow(10.0, db / 10.0);
            receiver->set_noise_var(group);
            d_y.clear();
            for (size_t i = from; i < to; i++)
                d_y.push_back(y[d_order[i]]);
            d_llr.resize(d_y.size() * bits);
            receiver->llr(d_y.data(), d_llr.data(), d_y.size());
            for (size_t i = from; i < to; i++) {
                const float scale = float(group / noise_var[d_order[i]]);
                for (size_t b = 0; b < bits; b++)
                    llr[d_order[i] * bits + b] = scale * d_llr[(i - from) * bits + b];
            }
        }
    }

private:
    engine::receiver* receiver_of(const qam& c)
    {
        const int bits = c.bits();
        if (!d_receivers.count(bits)) {
            const std::string name = bits == 1 ? "rx-bpsk" : bits == 2 ? "rx-qpsk" : "rx-qam" + std::to_string(1 << bits);
            std::unique_ptr<engine::receiver> receiver;
            try {
                receiver = std::make_unique<engine::receiver>(engine::model::load(name));
            } catch (const std::exception& e) {
                d_missing[bits] = name + ": " + e.what(); // so that it is not searched for with every frame
            }
            d_receivers[bits] = std::move(receiver);
        }
        engine::receiver* receiver = d_receivers[bits].get();
        if (!receiver) {
            d_note = "demapped by MAP: " + d_missing[bits];
            return nullptr;
        }
        // A model of other points or labels would give other bits.
        const auto& points = receiver->get_model().constellation();
        bool same = points.size() == c.points().size();
        for (size_t i = 0; same && i < points.size(); i++)
            same = std::abs(points[i] - c.points()[i]) < 1e-3f;
        if (!same)
            d_note = "demapped by MAP: model " + receiver->get_model().name() + " has other points or labels";
        return same ? receiver : nullptr;
    }

    std::map<int, std::unique_ptr<engine::receiver>> d_receivers;
    std::map<int, std::string> d_missing;
    std::string d_note;
    std::vector<unsigned> d_order;
    std::vector<cf> d_y;
    std::vector<float> d_llr;
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
