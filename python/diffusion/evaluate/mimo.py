# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure MIMO channel estimators beside their baselines: NMSE with intervals, time per estimate.

All see the same channels, pilots and noise; the noise variance is known. Rows named "errors" have unknown gain, phase
and coupling errors of the arrays, drawn for each channel. LMMSE is trained on the training channels (of
ideal arrays). SNR is that of a receive antenna: pilots have columns of unit power, channels unit mean power.

example:
    gr-diffusion evaluate mimo --data FOLDER --json mimo.json
"""

import time

import numpy as np

from ..baselines import mimo as baselines
from ..cli.common import common_options, progress, write_json
from ..train import mimo_channels as channels

PILOTS = ("orthogonal-64", "qpsk-64", "qpsk-32", "qpsk-16")


def add_arguments(parser):
    parser.add_argument("--model", action="append", metavar="NAME", help="model(s) (ce-mimo64x16)")
    parser.add_argument("--data", help="folder with mimo_upa_*.npz; none: synthetic scene only")
    parser.add_argument("--held-out", type=int, nargs="*", default=[4], help="masts never seen in training (4)")
    parser.add_argument("--frames", type=int, default=150, help="channels a scene at most (150)")
    parser.add_argument("--pilots", nargs="+", default=list(PILOTS), choices=PILOTS, help="pilots")
    parser.add_argument("--snr", type=float, nargs="+", default=[0, 10, 20], help="SNR in dB (0 10 20)")
    parser.add_argument("--only", nargs="+", help="estimators to run (all)")
    parser.add_argument("--markdown", metavar="FILE", help="the table for a document")
    common_options(parser)


def scenes(args, rng, rx, tx):
    """(name, test channels), and the training channels of LMMSE."""
    training = channels.plane_waves(rng, 1000, rx, tx)
    found = []
    if args.data:
        traced = channels.RayTraced(args.data, tuple(args.held_out))
        training = np.concatenate([traced.train, training])
        found = [(f"{k}-unseen-mast", h[rng.permutation(len(h))[: args.frames]]) for k, h in traced.test.items()]
        found += [(f"{name}-errors", channels.real_array(rng, h, rx, tx)) for name, h in found]
    found.append(("plane-waves", channels.plane_waves(rng, args.frames, rx, tx)))
    return found, training


def interval(error, power, rng, draws=400):
    pick = rng.integers(len(error), size=(draws, len(error)))
    return np.percentile(10 * np.log10(error[pick].sum(1) / power[pick].sum(1)), [2.5, 97.5]).tolist()


def run(args):
    from ..estimator import Estimator

    rng = np.random.default_rng(args.seed)
    models = [Estimator(name) for name in args.model or ["ce-mimo64x16"]]
    shape = channels_of(models[0])
    tests, training = scenes(args, rng, *shape)
    known = {
        "ls": baselines.ls,
        "lmmse": baselines.Lmmse(training),
        "omp": baselines.Omp(*shape, oversampling=1),
        "omp-2x": baselines.Omp(*shape),
    }
    for m in models:
        known[m.name] = m
    known = {k: v for k, v in known.items() if not args.only or k in args.only}
    rows = []
    settings = [(s, p, snr) for s in tests for p in args.pilots for snr in args.snr]
    for (scene, h), name, snr_db in progress(settings, desc="mimo"):
        kind, _, count = name.partition("-")
        p = channels.pilots(rng, h.shape[2], 0 if kind == "orthogonal" else int(count))
        noise_var = 10 ** (-snr_db / 10)
        y = channels.observe(rng, h, p, noise_var)
        power = np.sum(np.abs(h) ** 2, axis=(1, 2))
        for estimator, run_one in known.items():
            start = time.perf_counter()
            out = run_one(y, p, noise_var)
            spent = time.perf_counter() - start
            out, err_var = out if isinstance(out, tuple) else (out, None)
            error = np.sum(np.abs(out - h) ** 2, axis=(1, 2))
            row = {
                "study": "mimo",
                "scene": scene,
                "pilots": name,
                "bits": None,
                "snr_db": snr_db,
                "estimator": estimator,
                "nmse_db": 10 * np.log10(error.sum() / power.sum()),
                "interval_db": interval(error, power, rng),
                "channels": len(h),
                "us_per_estimate": 1e6 * spent / len(h),
            }
            if err_var is not None:
                row["believed_over_actual"] = float(err_var.mean() * h[0].size * len(h) / error.sum())
            rows.append(row)
    text = table(rows, list(known))
    print(text)
    if args.markdown:
        with open(args.markdown, "w") as f:
            f.write(text + "\n")
    write_json(args.json, {"rows": rows})


def channels_of(model):
    """Array shapes (rx, tx) from the model's description."""
    from .. import diffusion_python as native

    network = native.model(model.path).description["network"]
    return tuple(network["rx"]), tuple(network["tx"])


def table(rows, names):
    out = [
        "| scene | pilots | SNR dB | " + " | ".join(names) + " |",
        "| " + " | ".join(["---"] * (len(names) + 3)) + " |",
    ]
    for key in dict.fromkeys((r["scene"], r["pilots"], r["snr_db"]) for r in rows):
        found = {r["estimator"]: r["nmse_db"] for r in rows if (r["scene"], r["pilots"], r["snr_db"]) == key}
        best = min(found.values())
        cells = [f"**{found[n]:.1f}**" if found[n] == best else f"{found[n]:.1f}" for n in names]
        out.append(f"| {key[0]} | {key[1]} | {key[2]:g} | " + " | ".join(cells) + " |")
    return "\n".join(out)
