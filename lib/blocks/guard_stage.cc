/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "guard_stage.h"
#include <algorithm>
#include <cmath>
#include <cstdio>

namespace gr::diffusion {

namespace {

std::string sentence(const dsp::input_report& r, std::pair<double, double> range)
{
    char text[200];
    auto db = [](double x) { return 10 * std::log10(std::max(x, 1e-12)); };
    if (r.reason == "dead")
        return "there is no signal: its samples are constant, nearly zero or no numbers";
    if (r.reason == "level")
        std::snprintf(text, sizeof text,
                      "the %s is %+.1f dB from what it should be; check the AGC, or the equaliser",
                      r.rival ? "gain" : "power", r.rival ? r.rival_gain_db : db(r.power));
    else if (r.reason == "noise")
        std::snprintf(text, sizeof text, "there is %.1f dB more noise or distortion than the noise variance says",
                      db(r.noise));
    else if (r.reason == "constellation" && r.rival == 1)
        return "it is more likely noise alone than the model's constellation";
    else if (r.reason == "constellation")
        std::snprintf(text, sizeof text, "it is more likely %d points than the model's; load the model of that constellation",
                      r.rival);
    else if (r.reason == "range")
        std::snprintf(text, sizeof text, "the SNR is outside the %g to %g dB that the model was trained on",
                      range.first, range.second);
    else if (r.reason == "shape")
        return "the errors are not those of this constellation; another one, or no synchronisation";
    else
        return "some points are never sent; another constellation";
    return text;
}

} // namespace

void guard_stage::follow(const dsp::fitted_receiver& receiver)
{
    const auto& model = receiver.get_model();
    const bool same = d_classical && d_classical->get_model().constellation() == model.constellation();
    // Training has a range; a law without the network has none.
    d_range = receiver.path() == dsp::receiver_path::network ? model.snr_db() : std::make_pair(-200.0, 200.0);
    if (!d_guard)
        d_guard = std::make_unique<dsp::input_guard>(receiver.law(), d_range);
    *d_guard = dsp::input_guard(receiver.law(), d_range);
    d_guard->set_gaussian(receiver.path() != dsp::receiver_path::noise);
    if (!same) {
        const dsp::symbol_law ideal(model.constellation());
        d_classical = std::make_unique<dsp::fitted_receiver>(engine::model::load(model.path()));
        d_classical->set_law(ideal, dsp::receiver_path::gaussian);
        d_noise = std::make_unique<dsp::noise_estimator>(ideal);
    }
    if (d_alarm.exchange(false))
        tell();
}

void guard_stage::set_on(bool on)
{
    if (on == d_on)
        return;
    d_on = on;
    d_guard->reset();
    if (d_alarm.exchange(false))
        tell();
}

void guard_stage::tell()
{
    const auto& r = d_guard->report();
    if (d_alarm) {
        d_reason = r.reason;
        d_alarms++;
        d_logger->warn("guard: {}: {}; the classical path takes over", r.reason, sentence(r, d_range));
    } else {
        d_logger->info("guard: the model takes over again");
    }
    if (!d_listener)
        return;
    pmt::pmt_t m = pmt::make_dict();
    auto put = [&m](const char* key, pmt::pmt_t value) { m = pmt::dict_add(m, pmt::mp(key), value); };
    put("alarm", pmt::from_bool(d_alarm));
    put("reason", pmt::mp(d_alarm ? d_reason : ""));
    put("text", pmt::mp(d_alarm ? sentence(r, d_range) : ""));
    put("power", pmt::from_double(r.power));
    put("noise", pmt::from_double(r.noise));
    put("shape", pmt::from_double(r.shape));
    put("pooled", pmt::from_double(r.pooled));
    put("unused", pmt::from_double(r.unused));
    put("alarms", pmt::from_uint64(d_alarms));
    d_listener(m);
}

bool guard_stage::watch(const std::complex<float>* y, size_t n, const dsp::fitted_receiver& receiver, bool said)
{
    if (!d_on || !receiver.prior().uniform())
        return false;
    d_guard->set_noise_var(receiver.noise_var(), said);
    d_guard->feed(y, n);
    if (d_guard->alarm() != d_alarm) {
        d_alarm = d_guard->alarm();
        if (d_alarm)
            d_noise->reset();
        tell();
    }
    return d_alarm;
}

void guard_stage::fall_back(const std::complex<float>* y, std::complex<float>* x_hat, float* llr, size_t n)
{
    d_guarded += n;
    if (llr && d_reason == "dead") {
        std::fill_n(llr, n * size_t(d_classical->bits_per_symbol()), 0.0f);
    } else if (llr) {
        if (d_noise->feed(y, n))
            d_classical->set_noise_var(d_noise->estimate());
        d_classical->process(y, nullptr, llr, n);
    }
    if (x_hat)
        for (size_t i = 0; i < n; i++)
            x_hat[i] = std::isfinite(y[i].real()) && std::isfinite(y[i].imag()) ? y[i] : 0;
}

} // namespace gr::diffusion
