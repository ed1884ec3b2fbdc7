# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark harness: what it reads and writes (the figures themselves are no test)."""
import sys

import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion import benchmarks
from gnuradio.diffusion.benchmarks import blocks, chains, growth, kernels, latency, runtimes, timing


def test_names_of_benchmarks_are_read():
    row = kernels.parsed({"run_name": "network/silu/width:128/steps:10/batch:64", "flops": 2e9, "other": 1})
    assert row == {"name": "network/silu", "width": 128, "steps": 10, "batch": 64, "flops": 2e9}


def test_model_written_without_torch_is_the_network(tmp_path):
    weights = timing.mlp_weights([2, 8, 2], 1)
    rx = diffusion.engine_receiver(timing.write_mlp(tmp_path / "net.safetensors", weights, "tanh", 100), 1)
    rx.set_noise_var(0.1)
    y = np.array([0.3 - 0.2j, 1j], np.complex64)
    h = y.view(np.float32).reshape(-1, 2) / np.sqrt(1.1)
    (w0, b0), (w1, b1) = weights
    np.testing.assert_allclose(rx.network(y), np.tanh(h @ w0.T + b0) @ w1.T + b1, atol=1e-5)


def test_a_block_has_a_rate():
    from gnuradio import blocks as stock
    y = np.ones(4096, np.complex64)
    assert blocks.rate(stock.copy(8), y, 1, True) > 1e6


def test_matcher_has_a_rate_both_ways():
    rates = blocks.measure_shaper(True, np.random.default_rng(1))
    assert set(rates) == {"shaper encode, ps-qam64", "shaper decode, ps-qam64"}
    assert all(r["msym_per_s"] > 0 for r in rates.values())


def test_both_matchers_have_rates_in_blocks():
    rates = blocks.measure_shaping_blocks(True, np.random.default_rng(1))
    assert set(rates) == {f"{b} {m}, blocks of 1024" for b in ("shaper_bc", "deshaper_cb")
                          for m in ("ccdm", "ess")}
    assert all(r["msym_per_s"] > 0 for r in rates.values())


def test_report():
    results = {
        "peak_gflops": 100.0, "simd": "AVX2", "receiver": [], "convolution": [], "tables": [], "quick": True,
        "engine": [{"width": 32, "act": "silu", "steps": 1, "batch": 64, "percent_peak": 50.0,
                    "msym_per_s": 10.0,
                    "vs_torch_eager": 2.5}],
        "blocks": {"copy": {"msym_per_s": 100.0}},
        "chains": {"estimator": {"msamples_per_s": 2.0, "msamples_per_cpu_s": 1.5, "packets_ok": 1.0,
                                 "cpu_ratio": {"to": "other", "median": 1.7, "low": 1.6, "high": 1.8}}},
        "latency_us": {"denoise_64": {"p50": 5.0, "p99": 6.0, "max": 9.0}, "denoiser_cc_exact_64": {
            "p50": 3.0, "p99": 4.0, "max": 8000.0, "p50_cpu": 2.0, "p99_cpu": 3.5, "max_cpu": 7.0,
            "calls": 10, "above_5_ms": 1,
            "above_5_ms_cpu": 0, "involuntary": 2, "page_faults": 5, "seconds": 1.0,
            "late": [{"us": 8000, "cpu_us": 6, "involuntary": 1, "voluntary": 0, "minor_faults": 0,
                      "major_faults": 0}]}},
        "growth": {"batch": {16: 700.0}, "width": {32: 60.0}, "steps": {1: 600.0},
                   "carriers": {"ce-ofdm64": 160.0},
                   "constellation": {4: {"mean": 40.0, "llr": 41.0, "table": 2.0}}},
        "machine": {"cpu": "x", "cores": 2, "load": 0.0}, "runtimes": {"torch_eager": "2"}}
    text = benchmarks.markdown(results)
    assert "| denoiser_cc_exact_64 | 3 | 4 | 8e+03 | 2 | 3.5 | 7 | 10 | 1 | 0 | 2 | 5 | 1 |" in text
    assert "| denoiser_cc_exact_64 | 8000 | 6 | 1 | 0 | 0 | core given to another program |" in text
    assert "| ns a symbol | 700 |" in text and "| 4 | 40 | 41 | 2 |" in text and "| ce-ofdm64 | 160 |" in text
    assert "| estimator | 2 | 1.5 | 100% | 1.70 (1.60 to 1.80) |" in text
    assert "| 32 | silu | 1 | 64 | 50% | 10 | 2.50x |" in text and "100 GFLOP/s" in text


def test_every_chain_gives_packets():
    for name, make in chains.candidates(1).items():
        chain = make()
        n = 40 * chain.frame if chain.frame else 1 << 15
        _, cpu, share = chains.timed_run(make, n)
        assert cpu > 0
        if chain.frame:
            assert 0.3 < share <= 1, name  # the stock receiver loses some
        if chain.frame and not name.startswith("stock"):
            assert share > 0.9, name


def test_ratio_of_two_chains_is_taken_turn_by_turn():
    ours, others = [(100, 0, 2.0, 1), (100, 0, 9.0, 1),
                    (100, 0, 4.0, 1)], [(50, 0, 0.5, 1), (50, 0, 3.0, 1), (50, 0, 1.0, 1)]
    assert chains.ratio(ours, others) == {"median": 2.0, "low": 1.5, "high": 2.0}
    assert all(name in chains.candidates(1) for pair in chains.AGAINST.items() for name in pair)


def test_torch_and_ours_compute_the_same(tmp_path):
    pytest.importorskip("torch")
    net = runtimes.Network(tmp_path, 32, "silu", 10, 50, 1)
    ours = net.native()()
    for maker in (runtimes.torch_eager, runtimes.torch_eager_folded):
        np.testing.assert_allclose(maker(net)().view(np.complex64)[:, 0], ours, atol=2e-5)


def test_runtimes_that_are_missing_say_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    makers, versions = runtimes.available(True)
    assert "openvino" not in makers and versions["openvino"] == "not available: openvino is not installed"
    assert "torch_compile" not in makers


def test_growth_has_every_axis():
    g = growth.measure_growth(True, 1)
    assert all(len(g[axis]) > 1 and min(g[axis].values()) > 0 for axis in ("batch", "width", "steps",
                                                                           "carriers"))
    assert g["steps"][10] > 3 * g["steps"][1]
    assert set(g["constellation"]) == {2, 4, 16, 64, 256}


def test_calls_in_a_flowgraph_are_timed():
    program = kernels.find_program("bench_latency")
    if program is None:
        pytest.skip("no benchmark programs in this build")
    times = latency.measure_latency(program, True, 1, 1)
    for name in ("denoiser_cc_exact_64", "denoiser_cc_table_1024", "denoise_64"):
        assert 0 < times[name]["p50"] <= times[name]["p99"] * 1.02 and times[name]["max"] > 0
    row = times["denoiser_cc_exact_64"]
    assert row["calls"] > 0 and row["seconds"] == 1 and 0 < row["p50_cpu"] <= row["max_cpu"]
    assert len(row["late"]) == min(row["above_5_ms"], 20) and row["above_5_ms_cpu"] <= row["above_5_ms"]


def test_one_section_is_enough():
    results = benchmarks.run_all(None, True, 1, only=["growth"])
    assert "growth" in results and "engine" not in results
    assert "## How cost grows" in benchmarks.markdown(results)
    assert "## Latency" not in benchmarks.markdown(results)
