# SPDX-License-Identifier: GPL-3.0-or-later
"""How long one call takes by the clock, under whatever load there is: calls of the scheduler into denoiser_cc
in a running flowgraph (a C++ program, bench_latency), and calls into the engine from Python."""
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from .timing import mlp_weights, write_mlp


def measure_latency(program, quick, seed, seconds=None):
    """{"denoiser_cc_exact_64": {"p50", "p99", "max", the same with _cpu, "calls", "above_5_ms",
    "above_5_ms_cpu", "involuntary", "page_faults", "seconds", "late": [...]}, ..., "denoise_64": {"p50",
    "p99", "max"}, ...} in microseconds. seconds: how long each flowgraph runs, without a break."""
    seconds = seconds or (1 if quick else 60)
    results = {}
    if program is not None:
        done = subprocess.run([str(program), str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()[-300:]}")
        results.update(json.loads(done.stdout))
    results.update(engine_calls(1 if quick else 5, seed))
    return results


def engine_calls(seconds, seed):
    """A network of width 32, one step, called from Python."""
    from gnuradio import diffusion
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = write_mlp(Path(folder) / "net.safetensors", mlp_weights([2, 32, 32, 32, 2], seed), "silu",
                         1000)
        rx = diffusion.engine_receiver(path, 1)
        rx.set_noise_var(0.1)
        rng = np.random.default_rng(seed)
        for batch in (64, 1024):
            y = (rng.standard_normal((batch, 2)) @ [1, 1j]).astype(np.complex64)
            times = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                start = time.perf_counter()
                rx.denoise(y)
                times.append(1e6 * (time.perf_counter() - start))
            p50, p99 = np.percentile(times, [50, 99])
            results[f"denoise_{batch}"] = {"p50": float(p50), "p99": float(p99), "max": float(max(times))}
    return results


def cause(call):
    """Where the time of a late call went, as one phrase."""
    if call["cpu_us"] > 0.5 * call["us"]:
        return "the call's own work"
    if call["major_faults"]:
        return "pages read from a file"
    if call["involuntary"]:
        return "core given to another program"
    if call["voluntary"]:
        return "waited (lock, page or file)"
    return "core taken from the machine (no switch of threads seen)"
