# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time, side by side, and model files for the engine made with numpy alone."""
import json
import time

import numpy as np


def cpu_seconds(call, least=0.02):
    """CPU time of one call, from enough calls to last `least` seconds."""
    call()
    n = 1
    while True:
        start = time.process_time()
        for _ in range(n):
            call()
        spent = time.process_time() - start
        if spent >= least:
            return spent / n
        n = max(2 * n, int(1.2 * n * least / max(spent, 1e-6)))


def side_by_side(calls, rounds=5, least=0.02):
    """{name: [seconds, ...]}: each round measures every call once, so that load hits all alike."""
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(cpu_seconds(call, least))
    return times


def mlp_weights(widths, seed):
    """[(weight (n_out, n_in), bias)] of a random MLP."""
    rng = np.random.default_rng(seed)
    return [((rng.standard_normal((b, a)) / np.sqrt(a)).astype(np.float32),
             (0.1 * rng.standard_normal(b)).astype(np.float32))
            for a, b in zip(widths, widths[1:])]


def film_rows(weights, steps, seed):
    """(steps, 2 sum n_out) float32: what an embedding of the time step makes of every layer, [s_0, t_0, s_1,
    ...]."""
    rows = 2 * sum(len(b) for _, b in weights)
    return (0.1 * np.random.default_rng(seed).standard_normal((steps, rows))).astype(np.float32)


def write_mlp(path, weights, activation, steps, film=None):
    """A noise predictor on a schedule of `steps` steps as a model file. film: film_rows() or None."""
    condition = {"kind": "none"} if film is None else {"kind": "embedding", "steps": len(film)}
    description = {
        "format": 1, "name": path.stem, "task": "receiver", "prediction_type": "epsilon", "snr_db": [-10, 40],
        "network": {"kind": "film_mlp", "features": "iq", "hidden": [len(b) for _, b in weights[:-1]],
                    "outputs": 2, "activation": activation, "condition": condition, "skip": "none"},
        "schedule": {"num_train_timesteps": steps, "beta_schedule": "linear", "beta_start": 1e-4,
                     "beta_end": 0.02}}
    tensors = {f"layers.{i}.{kind}": t for i, pair in enumerate(weights)
               for kind, t in zip(("weight", "bias"), pair)}
    if film is not None:
        tensors["embedding.weight"] = film
    header, at = {"__metadata__": {"gr_diffusion": json.dumps(description)}}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(t.tobytes() for t in tensors.values()))
    return str(path)
