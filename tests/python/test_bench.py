# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark harness: what it reads and writes (the figures themselves are no test)."""
import numpy as np
from gnuradio import diffusion
from gnuradio.diffusion import benchmarks
from gnuradio.diffusion.benchmarks import blocks, chains, kernels, timing


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


def test_report():
    results = {
        "peak_gflops": 100.0, "simd": "AVX2", "receiver": [], "convolution": [], "tables": [], "quick": True,
        "engine": [{"width": 32, "act": "silu", "steps": 1, "batch": 64, "percent_peak": 50.0, "msym_per_s": 10.0,
                    "vs_torch_eager": 2.5}],
        "blocks": {"copy": {"msym_per_s": 100.0}},
        "chains": {"estimator": {"msamples_per_s": 2.0, "msamples_per_cpu_s": 1.5, "packets_ok": 1.0}}, "latency_us": {"denoise_64": {"p50": 5.0, "p99": 6.0, "max": 9.0}},
        "machine": {"cpu": "x", "cores": 2, "load": 0.0}, "runtimes": {"torch_eager": "2"}}
    text = benchmarks.markdown(results)
    assert "| estimator | 2 | 1.5 | 100% |" in text
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
