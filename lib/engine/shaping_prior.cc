/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shaping_prior.h"
#include "exact_math.h"
#include "model_data.h"
#include <algorithm>
#include <cmath>

namespace gr::diffusion::engine {


namespace {

constexpr size_t max_symbols = 256;
constexpr size_t max_width = 4096;

//! [lo, hi] of a description in whole steps.
std::pair<int, int> range(const json_reader& reader, const char* key, double lo, double hi, double step)
{
    const auto v = reader.numbers(key, lo, hi, 2);
    if (v.size() != 2 || v[0] > v[1])
        reader.wrong(key, "must be [lowest, highest]");
    return { int(std::lround(v[0] / step)), int(std::lround(v[1] / step)) };
}

std::vector<double> widened(const std::vector<float>& values) { return { values.begin(), values.end() }; }

/*! With few ADC bits the rate has two maxima over the drive; a model with two answers, each with a pmf and a
 *  drive, says which one it expects more of. */
size_t hardware_answers(const json_reader& hardware)
{
    return hardware.has("answers") ? hardware.count("answers", 1, 2) : 1;
}

double silu(double x) { return x / (1 + exact::exp(-x)); }

} // namespace

shaping_prior::shaping_prior(model::sptr source) : d_model(std::move(source))
{
    const model_data& data = d_model->data();
    const json_reader top = data.reader();
    if (d_model->task() != "shaper")
        top.wrong("task", "only a shaper has a shaping prior (ps-qam16, ps-qam64, ps-qam256)");
    const json_reader network = data.reader("network");
    if (d_model->kind() != "film_mlp")
        network.wrong("kind", "a shaper is a film_mlp");
    if (!network.array("hidden", 64).empty())
        network.wrong("hidden",
                      "a shaper has no hidden layers: only the likelihood may depend on the sample");
    network.choice("activation", { "silu" });
    network.choice("skip", { "gaussian" });
    const json_reader conditioner = network.object("condition");
    conditioner.choice("kind", { "mlp" });
    const auto& points = d_model->constellation();
    const size_t m = points.size();
    if (m < 4 || m > max_symbols)
        data.reader("constellation").wrong("points", "a shaper has 4 to 256");
    if (network.count("outputs", 1, max_symbols) != m)
        network.wrong("outputs", "must be the number of points, " + std::to_string(m));

    const json_reader shaping = data.reader("shaping");
    for (size_t k : shaping.counts("classes", 0, max_symbols - 1, max_symbols))
        d_class_of.push_back(uint8_t(k));
    if (d_class_of.size() != m)
        shaping.wrong("classes", "must give one class a point");
    d_class_size.assign(size_t(*std::max_element(d_class_of.begin(), d_class_of.end())) + 1, 0);
    d_class_energy.assign(d_class_size.size(), 0);
    for (size_t i = 0; i < m; i++) {
        d_class_size[d_class_of[i]]++;
        d_class_energy[d_class_of[i]] += double(points[i].real()) * double(points[i].real()) +
                                         double(points[i].imag()) * double(points[i].imag());
    }
    for (size_t k = 0; k < d_class_size.size(); k++) {
        if (d_class_size[k] == 0 || (d_class_size[k] & (d_class_size[k] - 1)))
            shaping.wrong("classes", "every class must have a power of two of points");
        d_class_energy[k] /= d_class_size[k];
    }
    // A tenth of a dB a state: the trained range may not be so wide that the index outgrows 16 bits.
    std::tie(d_snr_low, d_snr_high) = range(top, "snr_db", -100, 100, 0.1);
    d_hardware = shaping.has("hardware");
    if (d_hardware) {
        const json_reader hardware = shaping.object("hardware");
        std::tie(d_hw_snr_low, d_hw_snr_high) = range(hardware, "snr_db", -20, 60, 0.1);
        std::tie(d_phase_low, d_phase_high) = range(hardware, "phase_noise_deg", 0, 10, 0.5);
        std::tie(d_bits_low, d_bits_high) = range(hardware, "adc_bits", 1, 12, 1);
        if (states() > 65536)
            shaping.wrong("hardware", "more than 65536 link states do not fit a header of 16 bits");
    }

    d_inputs = d_hardware ? 4 : 1;
    if (conditioner.count("inputs", 1, 4) != d_inputs)
        conditioner.wrong("inputs", "must be " + std::to_string(d_inputs));
    d_width = conditioner.count("hidden", 1, max_width);
    const json_reader normalisation = data.reader("normalisation");
    d_mean = normalisation.numbers("condition_mean", -1e6, 1e6, 4);
    d_scale = normalisation.numbers("condition_scale", 1e-6, 1e6, 4);
    if (d_mean.size() != d_inputs || d_scale.size() != d_inputs)
        normalisation.wrong("condition_mean", "and condition_scale must have one entry a condition");
    d_w0 = widened(data.tensor("conditioner.0.weight", { d_width, d_inputs }));
    d_b0 = widened(data.tensor("conditioner.0.bias", { d_width }));
    // Rows 0 to m-1 scale what depends on the sample (nothing does), rows m to 2m-1 are the prior.
    const auto& w1 = data.tensor("conditioner.1.weight", { 2 * m, d_width });
    const auto& b1 = data.tensor("conditioner.1.bias", { 2 * m });
    for (float w : data.tensor("layers.0.weight", { m, 2 }))
        if (w != 0)
            throw model_error(data.path + ": layers.0.weight must be zero in a shaper");
    d_w1.resize(d_class_size.size() * d_width);
    d_b1.resize(d_class_size.size());
    for (size_t i = m; i-- > 0;) { // members are alike: the first one counts
        std::copy_n(w1.begin() + (m + i) * d_width, d_width, d_w1.begin() + d_class_of[i] * d_width);
        d_b1[d_class_of[i]] = b1[m + i];
    }
    if (d_hardware) {
        d_drive = widened(data.tensor("drive.weight", { 1, d_width }));
        d_drive.push_back(data.tensor("drive.bias", { 1 })[0]);
        if (hardware_answers(shaping.object("hardware")) == 2) {
            const size_t rows = d_class_size.size() + 2;
            d_w2 = widened(data.tensor("second.weight", { rows, d_width }));
            d_b2 = widened(data.tensor("second.bias", { rows }));
        }
    }
}

uint32_t shaping_prior::states() const
{
    const uint32_t plain = uint32_t(d_snr_high - d_snr_low + 1);
    if (!d_hardware)
        return plain;
    return plain + uint32_t(d_hw_snr_high - d_hw_snr_low + 1) * uint32_t(d_phase_high - d_phase_low + 1) *
                       uint32_t(d_bits_high - d_bits_low + 1);
}

uint32_t shaping_prior::index(double snr_db) const
{
    if (!std::isfinite(snr_db))
        throw std::invalid_argument("shaper: snr_db is " + std::to_string(snr_db) + ", use a finite number");
    const double tenths = std::min(std::max(snr_db * 10, double(d_snr_low)), double(d_snr_high));
    return uint32_t(std::lround(tenths) - d_snr_low);
}

uint32_t shaping_prior::index(const link_state& s) const
{
    if (!s.hardware)
        return index(s.snr_db);
    if (!d_hardware)
        throw std::invalid_argument("shaper: model " + d_model->name() +
                                    " was trained for AWGN only; leave the hardware out or use ps-qam64");
    const double half = s.phase_noise_deg * 2;
    if (!(half >= d_phase_low - 0.5 && half <= d_phase_high + 0.5))
        throw std::invalid_argument("shaper: phase_noise_deg is " + std::to_string(s.phase_noise_deg) +
                                    ", use " + std::to_string(d_phase_low / 2) + " to " +
                                    std::to_string(d_phase_high / 2));
    if (s.adc_bits < d_bits_low || s.adc_bits > d_bits_high)
        throw std::invalid_argument("shaper: adc_bits is " + std::to_string(s.adc_bits) + ", use " +
                                    std::to_string(d_bits_low) + " to " + std::to_string(d_bits_high));
    if (!std::isfinite(s.snr_db))
        throw std::invalid_argument("shaper: snr_db is " + std::to_string(s.snr_db) +
                                    ", use a finite number");
    const double tenths = std::min(std::max(s.snr_db * 10, double(d_hw_snr_low)), double(d_hw_snr_high));
    const uint32_t snr = uint32_t(std::lround(tenths) - d_hw_snr_low);
    const int phase = std::min(std::max(int(std::lround(half)), d_phase_low), d_phase_high) - d_phase_low;
    const uint32_t phases = uint32_t(d_phase_high - d_phase_low + 1);
    const uint32_t bits = uint32_t(d_bits_high - d_bits_low + 1);
    return uint32_t(d_snr_high - d_snr_low + 1) + (snr * phases + uint32_t(phase)) * bits +
           uint32_t(s.adc_bits - d_bits_low);
}

link_state shaping_prior::state(uint32_t index) const
{
    if (index >= states())
        throw std::invalid_argument("shaper: composition index " + std::to_string(index) +
                                    " does not exist, model " + d_model->name() + " has 0 to " +
                                    std::to_string(states() - 1));
    link_state s;
    const uint32_t plain = uint32_t(d_snr_high - d_snr_low + 1);
    if (index < plain) {
        s.snr_db = (int(index) + d_snr_low) / 10.0;
        return s;
    }
    index -= plain;
    const uint32_t phases = uint32_t(d_phase_high - d_phase_low + 1);
    const uint32_t bits = uint32_t(d_bits_high - d_bits_low + 1);
    s.hardware = true;
    s.adc_bits = d_bits_low + int(index % bits);
    s.phase_noise_deg = (d_phase_low + int(index / bits % phases)) / 2.0;
    s.snr_db = (d_hw_snr_low + int(index / bits / phases)) / 10.0;
    return s;
}

std::vector<double> shaping_prior::hidden(uint32_t index) const
{
    const link_state s = state(index);
    const double c[4] = { s.snr_db, s.hardware ? 1.0 : 0.0, s.phase_noise_deg,
                          s.hardware ? std::ldexp(1.0, -s.adc_bits) : 0.0 };
    std::vector<double> h(d_b0);
    for (size_t i = 0; i < d_width; i++) {
        for (size_t j = 0; j < d_inputs; j++)
            h[i] = std::fma(d_w0[i * d_inputs + j], (c[j] - d_mean[j]) / d_scale[j], h[i]);
        h[i] = silu(h[i]);
    }
    return h;
}

double shaping_prior::row(const std::vector<double>& weights, double bias, size_t at,
                          const std::vector<double>& h) const
{
    for (size_t i = 0; i < d_width; i++)
        bias = std::fma(weights[at * d_width + i], h[i], bias);
    return bias;
}

bool shaping_prior::takes_second(uint32_t index, const std::vector<double>& h) const
{
    const size_t last = d_class_size.size() + 1;
    return !d_b2.empty() && state(index).hardware && row(d_w2, d_b2[last], last, h) > 0;
}

std::vector<double> shaping_prior::class_pmf(uint32_t index) const
{
    const std::vector<double> h = hidden(index);
    const bool second = takes_second(index, h);
    std::vector<double> p(d_class_size.size());
    for (size_t k = 0; k < p.size(); k++)
        p[k] = second ? row(d_w2, d_b2[k], k, h) : row(d_w1, d_b1[k], k, h);
    const double top = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (size_t k = 0; k < p.size(); k++) {
        p[k] = exact::exp(p[k] - top) * double(d_class_size[k]);
        sum += p[k];
    }
    for (double& x : p)
        x /= sum;
    return p;
}

double shaping_prior::amplitude(uint32_t index) const
{
    if (state(index).hardware) {
        const std::vector<double> h = hidden(index);
        const size_t second = d_class_size.size();
        const double log_drive = takes_second(index, h) ? row(d_w2, d_b2[second], second, h)
                                                        : row(d_drive, d_drive[d_width], 0, h);
        return exact::exp(log_drive);
    }
    const std::vector<double> p = class_pmf(index);
    double power = 0;
    for (size_t k = 0; k < p.size(); k++)
        power = std::fma(p[k], d_class_energy[k], power);
    return 1 / std::sqrt(power);
}

} // namespace gr::diffusion::engine
