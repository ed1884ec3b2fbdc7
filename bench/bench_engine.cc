/* SPDX-License-Identifier: GPL-3.0-or-later */
// The engine's kernels: FMA peak of one core, then networks by width, activation, steps and batch, the
// row-major layers of the estimators, the table. Machine-readable with --benchmark_format=json.
#include "engine/dense.h"
#include "engine/panel.h"
#include "fma_peak.h"
#include "receiver_file.h"
#include <gnuradio/diffusion/table.h>
#include <benchmark/benchmark.h>

using namespace gr::diffusion::engine;
using cf = std::complex<float>;

namespace {

void flops(benchmark::State& state, double per_iteration)
{
    state.counters["flops"] = benchmark::Counter(per_iteration,
                                                 benchmark::Counter::kIsIterationInvariantRate);
}

void peak(benchmark::State& state)
{
    double done = 0;
    for (auto _ : state)
        done = run_fma(100000);
    flops(state, done);
}

std::vector<cf> observations(size_t n)
{
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 0.8f);
    std::vector<cf> y(n);
    for (auto& v : y)
        v = { normal(random), normal(random) };
    return y;
}

//! Three hidden layers (two at width 32), noise predictor [Re, Im] -> [Re, Im], deterministic steps.
void network(benchmark::State& state, const std::string& act)
{
    const size_t width = state.range(0), steps = state.range(1), batch = state.range(2);
    const std::vector<size_t> hidden(3, width);
    receiver r(model::parse("bench", receiver_file(16, false, hidden, act, "iq", 1000).bytes()), steps);
    r.set_noise_var(0.1);
    const auto y = observations(batch);
    std::vector<cf> x(batch);
    for (auto _ : state)
        r.denoise(y.data(), x.data(), batch);
    flops(state, 2.0 * double(batch * steps) * double(2 * width + 2 * width * width + 2 * width));
    state.counters["symbols"] = benchmark::Counter(double(batch),
                                                   benchmark::Counter::kIsIterationInvariantRate);
}

//! A receiver of the shape that ships: posterior of m points with Gaussian skip, soft bits or symbols.
void posterior(benchmark::State& state, bool soft)
{
    const size_t m = state.range(0), width = state.range(1), batch = 4096;
    receiver r(model::parse("bench", receiver_file(m, true, { width, width }).bytes()));
    r.set_noise_var(0.1);
    const auto y = observations(batch);
    std::vector<cf> x(batch);
    std::vector<float> llr(batch * 8);
    for (auto _ : state)
        soft ? r.llr(y.data(), llr.data(), batch) : r.denoise(y.data(), x.data(), batch);
    state.counters["symbols"] = benchmark::Counter(double(batch),
                                                   benchmark::Counter::kIsIterationInvariantRate);
}

//! One row-major layer of the estimators: a convolution of width 3 over 64 positions.
void convolution(benchmark::State& state, activation act)
{
    const size_t channels = state.range(0), outputs = state.range(1), positions = 64;
    std::vector<float> w(3 * channels * outputs, 0.01f), in((positions + 2) * channels, 0.5f),
        out(positions * outputs);
    const packed_dense layer(3 * channels, outputs, w.data(), nullptr, act);
    for (auto _ : state)
        layer.run(in.data(), channels, out.data(), outputs, positions);
    flops(state, 2.0 * double(3 * channels * outputs * positions));
}

void table(benchmark::State& state, bool soft)
{
    const size_t m = state.range(0), batch = 8192;
    tabulated_receiver::config c;
    c.soft_bits = soft;
    c.symbols = !soft;
    c.max_nodes = c.nodes;
    c.noise_var = 0.0316; // 15 dB
    tabulated_receiver r(model::parse("bench", receiver_file(m, true, { 32, 32 }).bytes()), 1, c);
    const auto y = observations(batch);
    std::vector<cf> x(batch);
    std::vector<float> llr(batch * 8);
    for (auto _ : state)
        r.process(y.data(), soft ? nullptr : x.data(), soft ? llr.data() : nullptr, batch);
    state.counters["symbols"] = benchmark::Counter(double(batch),
                                                   benchmark::Counter::kIsIterationInvariantRate);
    state.counters["rms_error"] = soft ? r.accuracy().rms_soft : r.accuracy().rms;
}

} // namespace

int main(int argc, char** argv)
{
    benchmark::RegisterBenchmark("peak", peak);
    for (const char* act : { "relu", "silu", "softplus", "tanh" }) {
        auto* b = benchmark::RegisterBenchmark((std::string("network/") + act).c_str(), network, act);
        b->ArgNames({ "width", "steps", "batch" });
        for (long batch : { 64, 8192 })
            b->Args({ 128, 10, batch });
        for (long width : { 16, 32, 64, 256 })
            b->Args({ width, 1, 8192 });
        b->Args({ 128, 1, 1 });
        b->Args({ 128, 1, 1024 });
    }
    for (bool soft : { false, true })
        benchmark::RegisterBenchmark(soft ? "posterior/llr" : "posterior/mean", posterior, soft)
            ->ArgNames({ "points", "width" })->ArgsProduct({ { 4, 16, 64, 256 }, { 32 } });
    for (auto [name, act] : { std::pair{ "relu", activation::relu }, std::pair{ "silu", activation::silu } })
        benchmark::RegisterBenchmark((std::string("convolution/") + name).c_str(), convolution, act)
            ->ArgNames({ "channels", "outputs" })
            ->Args({ 64, 64 })
            ->Args({ 2, 64 })
            ->Args({ 64, 2 })
            ->Args({ 16, 16 });
    for (bool soft : { false, true })
        benchmark::RegisterBenchmark(soft ? "table/llr" : "table/symbols", table, soft)
            ->ArgNames({ "points" })
            ->ArgsProduct({ { 4, 16, 64, 256 } });
    benchmark::AddCustomContext("simd_target", kernels().target);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 2;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}
