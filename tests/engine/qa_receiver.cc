/* SPDX-License-Identifier: GPL-3.0-or-later */
// The receiver against its equations in double precision, and the promises of its header. Parity with
// torch and diffusers: tests/engine/test_parity.py.
#include "receiver_file.h"
#include <gnuradio/diffusion/sampler.h>
#include <boost/test/unit_test.hpp>
#include <atomic>
#include <cstdlib>
#include <new>

// Every allocation of the program is counted. GCC cannot see that new and delete fit together.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace {
std::atomic<size_t> allocations{ 0 };
}

void* operator new(size_t n)
{
    allocations++;
    if (void* p = std::malloc(n ? n : 1))
        return p;
    throw std::bad_alloc();
}
void* operator new(size_t n, std::align_val_t a)
{
    allocations++;
    if (void* p = std::aligned_alloc(size_t(a), (n + size_t(a) - 1) / size_t(a) * size_t(a)))
        return p;
    throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }

using namespace gr::diffusion::engine;
using cf = std::complex<float>;

namespace {

std::vector<cf> observations(size_t n, float scale = 0.8f)
{
    std::mt19937 random(9);
    std::normal_distribution<float> normal(0, scale);
    std::vector<cf> y(n);
    for (auto& v : y)
        v = { normal(random), normal(random) };
    return y;
}

// The network of docs/model-file.md in double precision, ideal link.
std::vector<double> network(const file_maker& file, std::complex<double> y, double noise_var)
{
    const auto& d = file.description;
    auto tensor = [&](const std::string& name) { return file.tensors.at(name).second; };
    const std::string act = d["network"]["activation"];
    auto activate = [&](double x) {
        if (act == "relu")
            return std::max(x, 0.0);
        if (act == "softplus")
            return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
        return act == "tanh" ? std::tanh(x) : x / (1 + std::exp(-x)); // silu
    };
    std::vector<double> hidden(8), row;
    const double c[3] = { (-10 * std::log10(noise_var) - 10) / 10, 0, 0 };
    const auto w0 = tensor("conditioner.0.weight"), b0 = tensor("conditioner.0.bias");
    const auto w1 = tensor("conditioner.1.weight"), b1 = tensor("conditioner.1.bias");
    for (size_t h = 0; h < 8; h++)
        hidden[h] = activate(b0[h] + w0[3 * h] * c[0]);
    for (size_t r = 0; r < b1.size(); r++) {
        row.push_back(b1[r]);
        for (size_t h = 0; h < 8; h++)
            row[r] += w1[8 * r + h] * hidden[h];
    }
    const double gain = 1 / std::sqrt(1 + noise_var), re = gain * y.real(), im = gain * y.imag();
    std::vector<double> x = { re, im, re * re, im * im, re * im };
    x.resize(d["network"]["features"] == "iq" ? 2 : 5);
    const size_t layers = d["network"]["hidden"].size() + 1;
    const double* at = row.data();
    for (size_t l = 0; l < layers; l++) {
        const auto w = tensor("layers." + std::to_string(l) + ".weight"),
                   b = tensor("layers." + std::to_string(l) + ".bias");
        std::vector<double> next;
        for (size_t i = 0; i < b.size(); i++) {
            double sum = b[i];
            for (size_t k = 0; k < x.size(); k++)
                sum += w[i * x.size() + k] * x[k];
            sum = (1 + at[i]) * sum + at[b.size() + i];
            next.push_back(l + 1 < layers ? activate(sum) : sum);
        }
        at += 2 * b.size();
        x = next;
    }
    if (d["network"]["skip"] == "gaussian")
        for (size_t i = 0; i < x.size(); i++) {
            const auto p = d["constellation"]["points"][i];
            x[i] += (2 * (y.real() * p[0].get<double>() + y.imag() * p[1].get<double>()) - std::norm(y) -
                     p[0].get<double>() * p[0].get<double>() - p[1].get<double>() * p[1].get<double>()) /
                    noise_var;
        }
    return x;
}

} // namespace

BOOST_AUTO_TEST_CASE(network_equals_its_equations)
{
    for (const char* features : { "iq", "iq2" })
        for (bool posterior : { false, true }) {
            const file_maker file = receiver_file(16, posterior, { 24, 33 }, "silu", features);
            receiver r(model::parse("test", file.bytes()));
            const auto y = observations(77);
            for (double noise_var : { 1.0, 0.1, 0.01 }) {
                r.set_noise_var(noise_var);
                std::vector<float> out(y.size() * r.outputs());
                r.network(y.data(), out.data(), y.size());
                double worst = 0;
                for (size_t i = 0; i < y.size(); i++) {
                    const auto e = network(file, y[i], noise_var);
                    for (size_t o = 0; o < e.size(); o++)
                        worst = std::max(worst,
                                         std::abs(out[i * e.size() + o] - e[o]) / (1 + std::abs(e[o])));
                }
                BOOST_TEST(worst < 1e-5);
            }
        }
}

// Widths from 16 to 256, most of them no multiple of any vector, two and three layers, all activations; and
// their results, bit for bit, however the batch is cut.
BOOST_AUTO_TEST_CASE(every_width_and_activation)
{
    const auto y = observations(133);
    for (const char* act : { "relu", "silu", "softplus", "tanh" })
        for (size_t width : { 16, 17, 23, 31, 33, 47, 64, 65, 100, 127, 129, 200, 250, 255, 256 }) {
            const file_maker file = receiver_file(16, width % 2, { width, width + (width < 256) }, act);
            receiver r(model::parse("test", file.bytes()));
            r.set_noise_var(0.2);
            std::vector<float> out(y.size() * r.outputs());
            r.network(y.data(), out.data(), y.size());
            double worst = 0;
            for (size_t i = 0; i < y.size(); i += 11) {
                const auto e = network(file, y[i], 0.2);
                for (size_t o = 0; o < e.size(); o++)
                    worst = std::max(worst, std::abs(out[i * e.size() + o] - e[o]) / (1 + std::abs(e[o])));
            }
            BOOST_TEST(worst < 1e-5, act << " " << width << " is off by " << worst);
            std::vector<cf> whole(y.size()), cut(y.size());
            r.denoise(y.data(), whole.data(), y.size());
            for (size_t step : { 1, 5, 31, 64 }) {
                for (size_t i = 0; i < y.size(); i += step)
                    r.denoise(&y[i], &cut[i], std::min(step, y.size() - i));
                BOOST_TEST((cut == whole), act << " " << width << " cut by " << step);
            }
        }
}

// Weights and inputs that make every activation of every layer a denormal must not cost more than others, so
// they are flushed: to exactly 0 here, and the caller's mode is as before.
BOOST_AUTO_TEST_CASE(denormals_are_flushed_in_networks)
{
    file_maker file = receiver_file(16, false, { 32, 32 }, "relu", "iq");
    for (const char* name : { "layers.0.bias", "layers.1.bias", "layers.2.bias" })
        for (float& v : file.tensors.at(name).second)
            v = 0;
    for (const char* name : { "conditioner.1.weight", "conditioner.1.bias" })
        for (float& v : file.tensors.at(name).second)
            v = 0;
    for (float& v : file.tensors.at("layers.0.weight").second)
        v = 1e-39f;
    receiver r(model::parse("test", file.bytes()));
    r.set_noise_var(0.1);
    const auto y = observations(64);
    std::vector<float> out(y.size() * r.outputs(), 1);
    r.network(y.data(), out.data(), y.size());
    BOOST_TEST(std::all_of(out.begin(), out.end(), [](float v) { return v == 0; }));
    volatile float tiny = 1e-39f;
    BOOST_TEST(tiny * 0.5f != 0);
}

BOOST_AUTO_TEST_CASE(posterior_gives_the_mean_symbol_and_bit_ratios)
{
    const file_maker file = receiver_file(16, true, { 16 });
    receiver r(model::parse("test", file.bytes()));
    r.set_noise_var(0.2);
    const auto y = observations(50);
    std::vector<cf> x(50);
    std::vector<float> llr(200);
    r.process(y.data(), x.data(), llr.data(), 50);
    for (size_t i = 0; i < y.size(); i++) {
        const auto logits = network(file, y[i], 0.2);
        std::complex<double> mean = 0;
        double total = 0, one[4] = {}, zero[4] = {};
        for (size_t c = 0; c < 16; c++) {
            const double p = std::exp(logits[c]);
            const auto point = r.get_model().constellation()[c];
            mean += p * std::complex<double>(point);
            total += p;
            for (int b = 0; b < 4; b++)
                (c >> (3 - b) & 1 ? one : zero)[b] += p;
        }
        BOOST_TEST(std::abs(std::complex<double>(x[i]) - mean / total) < 1e-5);
        for (int b = 0; b < 4; b++)
            BOOST_TEST(std::abs(llr[4 * i + b] - std::log(one[b] / zero[b])) < 1e-4);
    }
}

BOOST_AUTO_TEST_CASE(a_network_of_zeros_is_the_gaussian_receiver)
{
    file_maker file = receiver_file(4, true, { 8 });
    for (auto& [name, t] : file.tensors)
        std::fill(t.second.begin(), t.second.end(), 0.0f);
    receiver r(model::parse("test", file.bytes()), 3);
    r.set_noise_var(0.3);
    const auto y = observations(40);
    std::vector<float> llr(80);
    r.llr(y.data(), llr.data(), 40);
    for (size_t i = 0; i < 40; i++) // rails +-1/sqrt 2: LLR = 4 y / (sqrt 2 noise_var), im is the first bit
        for (int b = 0; b < 2; b++) {
            const double rail = b == 0 ? y[i].imag() : y[i].real();
            BOOST_TEST(std::abs(llr[2 * i + b] - 4 * rail / std::sqrt(2.0) / 0.3) <
                       2e-5 * (1 + std::abs(llr[2 * i + b])));
        }
}

BOOST_AUTO_TEST_CASE(cutting_changes_no_bit_and_nothing_is_allocated)
{
    struct variant { bool posterior; size_t embedded, steps; bool ancestral; };
    for (variant v : { variant{ true, 0, 1, false }, { true, 0, 3, false }, { false, 0, 5, false },
                       { false, 20, 4, false }, { false, 20, 1, true } }) {
        const auto m =
            model::parse("test",
                         receiver_file(16, v.posterior, { 32, 32 }, "softplus", "iq2", v.embedded).bytes());
        receiver r(m, v.steps);
        const auto y = observations(3000);
        std::vector<cf> whole(3000), cut(3000);
        std::vector<float> soft(4 * 3000), soft_cut(4 * 3000);
        r.set_ancestral(v.ancestral);
        r.set_noise_var(0.1);
        const size_t before = allocations;
        r.process(y.data(), whole.data(), soft.data(), y.size());
        r.set_noise_var(0.1);
        BOOST_TEST(allocations - before == 0u);
        for (size_t step : { 1, 7, 64, 513 }) {
            r.set_ancestral(v.ancestral);
            for (size_t i = 0; i < y.size(); i += step) {
                const size_t n = std::min(step, y.size() - i);
                r.process(&y[i], &cut[i], &soft_cut[4 * i], n);
            }
            BOOST_TEST((cut == whole));
            BOOST_TEST((soft_cut == soft));
        }
    }
}

BOOST_AUTO_TEST_CASE(bad_samples_stay_their_own)
{
    receiver r(model::parse("test", receiver_file(16, true, { 16 }).bytes()), 2);
    auto y = observations(100);
    std::vector<cf> clean(100), out(100);
    r.denoise(y.data(), clean.data(), 100);
    y[10] = { NAN, 1 };
    y[50] = { 1, -HUGE_VALF };
    y[99] = { 1e30f, 0 };
    r.denoise(y.data(), out.data(), 100);
    BOOST_TEST(r.bad_samples() == 3u);
    for (size_t i = 0; i < 100; i++) {
        BOOST_TEST((std::isfinite(out[i].real()) && std::isfinite(out[i].imag())));
        if (i != 10 && i != 50 && i != 99)
            BOOST_TEST((out[i] == clean[i]));
    }
}

BOOST_AUTO_TEST_CASE(wrong_settings_are_named)
{
    receiver r(model::parse("test", receiver_file(16, true, { 16 }).bytes()));
    for (double bad : { 0.0, -1.0, std::nan(""), HUGE_VAL })
        BOOST_CHECK_THROW(r.set_noise_var(bad), std::invalid_argument);
    BOOST_CHECK_THROW(r.set_steps(0), std::invalid_argument);
    BOOST_CHECK_THROW(r.set_ancestral(true), std::invalid_argument);
}

namespace {

void refused(const nlohmann::json& patch, const std::string& reason, const char* drop = nullptr)
{
    file_maker file = receiver_file(16, true, { 8, 8 });
    file.description.merge_patch(patch);
    if (drop)
        file.tensors.erase(drop);
    try {
        receiver r(model::parse("file", file.bytes()));
        BOOST_ERROR("accepted, should say: " + reason);
    } catch (const model_error& e) {
        BOOST_TEST(std::string(e.what()).find(reason) != std::string::npos,
                   e.what() << " | should say: " << reason);
    }
}

} // namespace

BOOST_AUTO_TEST_CASE(wrong_descriptions_are_refused)
{
    refused({ { "format", 2 } }, "format is 2");
    refused({ { "task", "coffee" } }, "task is \"coffee\"");
    refused({ { "prediction_type", "x" } }, "prediction_type is \"x\"");
    refused({ { "network", { { "kind", "resnet" } } } }, "network.kind is \"resnet\"; this version knows: ");
    refused({ { "network", { { "activation", "gelu" } } } }, "network.activation is \"gelu\"");
    refused({ { "network", { { "hidden", { 8, 9 } } } } }, "has shape");
    refused({ { "network", { { "hidden", { 1e9, 8 } } } } }, "network.hidden is");
    refused({ { "network", { { "hidden", std::vector<int>(100, 8) } } } }, "at most 64");
    refused({ { "network", { { "outputs", 2 } } } }, "must be 16");
    refused({ { "network", { { "condition", { { "hidden", 7 } } } } } }, "conditioner.0.weight");
    refused({ { "network", nullptr } }, "network is missing");
    refused({ { "snr_db", { 3 } } }, "snr_db is [3]");
    refused({ { "snr_db", { 30, 3 } } }, "snr_db is [30,3]");
    refused({ { "constellation", nullptr } }, "constellation is missing");
    refused({ { "constellation", { { "points", { { 1, 0 }, { -1, 0 }, { 0, 1 } } } } } }, "power of two");
    refused({ { "constellation", { { "points", { { 2, 0 }, { -2, 0 } } } } } }, "mean power must be 1");
    refused({ { "normalisation", { { "condition_scale", { 1, 0, 1 } } } } }, "must not be 0");
    refused({ { "normalisation", { { "condition_mean", { 1 } } } } }, "one value for each");
    refused({ { "schedule", { { "kind", "wavy" } } } }, "schedule.kind is \"wavy\"");
    refused({ { "schedule",
                { { "kind", "discrete" }, { "num_train_timesteps", 10 }, { "beta_end", 1.0 } } } },
            "a beta is 1");
    refused(nlohmann::json::object(), "'layers.1.weight' of shape [8, 8] is missing", "layers.1.weight");
    file_maker file = receiver_file(16, true, { 8 });
    file.description = std::string(10, '[');
    BOOST_CHECK_THROW(model::parse("file", file.bytes()), model_error);
}

// All of the above again with each instruction set that this machine has.
BOOST_AUTO_TEST_CASE(every_simd_target)
{
    if (std::getenv("GR_DIFFUSION_SIMD"))
        return;
    const std::string self = boost::unit_test::framework::master_test_suite().argv[0];
    for (const char* target : { "AVX3", "AVX2", "SSE4", "SSSE3", "NEON", "EMU128" })
        BOOST_TEST(std::system(
                       ("GR_DIFFUSION_SIMD=" + std::string(target) + " '" + self + "' >/dev/null").c_str()) ==
                       0,
                   "fails with " << target);
}
