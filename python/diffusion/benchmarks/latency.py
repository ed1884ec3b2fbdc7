# SPDX-License-Identifier: GPL-3.0-or-later
"""How long one call into the engine takes, by the clock, under whatever load there is."""
import tempfile
import time
from pathlib import Path

import numpy as np

from .timing import mlp_weights, write_mlp


def measure_latency(quick, seed):
    """{"denoise_64": {"p50", "p99", "max"}, "denoise_1024": ...} of a network of width 32, one step."""
    from gnuradio import diffusion
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = write_mlp(Path(folder) / "net.safetensors", mlp_weights([2, 32, 32, 32, 2], seed), "silu", 1000)
        rx = diffusion.engine_receiver(path, 1)
        rx.set_noise_var(0.1)
        rng = np.random.default_rng(seed)
        for batch in (64, 1024):
            y = (rng.standard_normal((batch, 2)) @ [1, 1j]).astype(np.complex64)
            times = []
            end = time.perf_counter() + (1 if quick else 10)
            while time.perf_counter() < end:
                start = time.perf_counter()
                rx.denoise(y)
                times.append(1e6 * (time.perf_counter() - start))
            p50, p99 = np.percentile(times, [50, 99])
            results[f"denoise_{batch}"] = {"p50": float(p50), "p99": float(p99), "max": float(max(times))}
    return results
