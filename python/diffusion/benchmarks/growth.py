# SPDX-License-Identifier: GPL-3.0-or-later
"""How cost grows: with the batch, the network's width, the steps, the points of the constellation, the
carriers."""
import tempfile
from pathlib import Path

import numpy as np

from .timing import cpu_seconds, mlp_weights, write_mlp

CARRIERS = ("ce-ofdm64-fast", "ce-ofdm64", "ce-ofdm256", "ce-ofdm1024")


def measure_growth(quick, seed):
    """{"batch" | "width" | "steps": {value: ns a symbol}, "constellation": {points: {"mean", "llr", "table"}
    ns a symbol}, "carriers": {model: us an estimate}}, CPU time."""
    least = 0.02 if quick else 0.1
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        def ns(width, steps, batch):
            from gnuradio import diffusion
            path = write_mlp(Path(folder) / "net.safetensors", mlp_weights([2] + [width] * 3 + [2], seed),
                             "silu", 1000)
            rx = diffusion.engine_receiver(path, steps)
            rx.set_noise_var(0.1)
            y = (rng.standard_normal((batch, 2)) @ [1, 1j]).astype(np.complex64)
            return 1e9 * median(lambda: rx.denoise(y), least, quick) / batch

        results = {"batch": {b: ns(128, 1, b) for b in (16, 64, 256, 1024, 4096, 8192)},
                   "width": {w: ns(w, 1, 1024) for w in (16, 32, 64, 96, 128, 192, 256)},
                   "steps": {s: ns(128, s, 1024) for s in (1, 2, 3, 5, 10)}}
    results["constellation"] = constellations(least, quick, rng)
    results["carriers"] = carriers(least, quick, rng)
    return results


def median(call, least, quick):
    return float(np.median([cpu_seconds(call, least) for _ in range(1 if quick else 5)]))


def constellations(least, quick, rng):
    """The shipped receivers at 15 dB: symbols and soft bits from the network, symbols from the table."""
    from gnuradio import diffusion
    y = (0.8 * rng.standard_normal((4096, 2)) @ [1, 1j]).astype(np.complex64)
    found = {}
    for points, name in ((2, "rx-bpsk"), (4, "rx-qpsk"), (16, "rx-qam16"), (64, "rx-qam64"),
                         (256, "rx-qam256")):
        try:
            rx = diffusion.engine_receiver(name)
            table = diffusion.engine_table(name, 0.0316)
        except ValueError:
            continue
        rx.set_noise_var(0.0316)
        found[points] = {kind: 1e9 * median(call, least, quick) / y.size for kind, call in (
            ("mean", lambda: rx.denoise(y)), ("llr", lambda: rx.llr(y)), ("table", lambda: table.denoise(y)))}
    return found


def carriers(least, quick, rng):
    """The shipped estimators, a quarter of the carriers pilots, 10 dB, one frame a call."""
    from gnuradio import diffusion
    found = {}
    for name in CARRIERS:
        try:
            estimator = diffusion.Estimator(name)
        except ValueError:
            continue
        pilots = np.arange(0, estimator.n, 4)
        y = (rng.standard_normal((1, pilots.size, 2)) @ [1, 1j]).astype(np.complex64)
        found[name] = 1e6 * median(lambda: estimator(y, pilots, 0.1), least, quick)
    return found
