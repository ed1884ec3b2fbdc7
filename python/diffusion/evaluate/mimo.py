# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure MIMO channel estimators beside their baselines: NMSE with intervals, time per estimate.

All see the same channels, pilots, noise and converters; the noise variance is known. Rows named "errors" have
unknown gain, phase, place and coupling errors of the arrays, drawn for each channel. LMMSE (Kronecker
covariance) and GMM (64 components, circulant covariances) learn from the training channels, array errors
among them as in the network's training. SNR is that of a receive antenna: pilots have columns of unit power,
channels unit mean power.

"auto" is the model and nomp weighed by the pilots (Estimator's method "auto").

Study "extrapolation": orthogonal pilots from a part of the transmit antennas only (whole columns of the
array), the error counts on the silent ones. Study "three-clusters": the public estimators' channels
(train/mimo_three_clusters.py), orthogonal pilots. Study "quantized": 1 to 3 bits a rail, full scale 1.2, 1.8,
2.3 standard deviations; the methods of Estimator have its rounds (few_bit_rounds), LMMSE, GMM, OMP and the
genie the linear view (Bussgang) that these start from.

example:
    gr-diffusion evaluate mimo --data FOLDER --json mimo.json
    gr-diffusion evaluate mimo --model ce-mimo16x4
    gr-diffusion evaluate mimo --study quantized --data FOLDER
    gr-diffusion evaluate mimo --study three-clusters --data FOLDER
"""

import time
from pathlib import Path

import numpy as np

from ..baselines import mimo as baselines
from ..cli.common import common_options, progress, write_json
from ..train import mimo_channels as channels
from ..train import mimo_three_clusters as clusters

PILOTS = {"orthogonal": 0, "full": 1, "half": 2, "quarter": 4}
# of the transmit antennas, study "extrapolation"
SOUNDED = {"half-array": 1 / 2, "three-quarters-array": 3 / 4}
STUDIES = ["pilots", "quantized", "extrapolation", "three-clusters"]
LOADING = {1: 1.2, 2: 1.8, 3: 2.3}


def add_arguments(parser):
    parser.add_argument("--model", action="append", metavar="NAME", help="model(s) of one geometry "
                                                                         "(ce-mimo64x16)")
    parser.add_argument("--study", choices=STUDIES, default="pilots", help="what to vary (pilots)")
    parser.add_argument("--data", help="folder with mimo_upa_*.npz; none: synthetic scenes only")
    parser.add_argument("--held-out", type=int, nargs="*", default=[4], help="masts never seen in training "
                                                                             "(4)")
    parser.add_argument("--frames", type=int, default=100, help="channels a scene at most (100)")
    parser.add_argument(
        "--pilots", nargs="+", default=["orthogonal", "half", "quarter"], choices=PILOTS,
        help="share of Nt, random QPSK"
    )
    parser.add_argument("--snr", type=float, nargs="+", default=[0, 10, 20], help="SNR in dB (0 10 20)")
    parser.add_argument("--scenes", nargs="+", help="scenes to run (all)")
    parser.add_argument("--only", nargs="+", help="estimators to run (all)")
    parser.add_argument("--markdown", metavar="FILE", help="the table for a document")
    common_options(parser)


def scenes(args, rng, rx, tx):
    """{name: (test channels, their covariances or None)}, and the training channels of LMMSE and GMM."""
    n, found = args.frames, {}
    training = [channels.plane_waves(rng, 2000, rx, tx), channels.clusters(rng, 2000, rx, tx)]
    if args.data:
        traced = channels.RayTraced(args.data, tuple(args.held_out))
        turned = np.concatenate([channels.turned(rng, traced.train, rx, tx) for _ in range(2)])
        training += [traced.train, turned]
        found = {f"{k}-unseen-mast": h for k, h in traced.test.items()}
    for path in sorted((Path(__file__).parent / "cities").glob("mimo_*.npz")):
        with np.load(path) as f:
            h = channels.unit(f["h"].astype(np.float32) @ np.array([1, 1j]))
        if h.shape[1:] == training[0].shape[1:] and rx[1] > 1:  # traced with planar arrays
            found[f"{path.stem[5:]}-unseen-city".replace("_", "-")] = h
    found = {k: h[rng.permutation(len(h))[:n]] for k, h in found.items()}
    found["plane-waves"] = channels.plane_waves(rng, n, rx, tx)
    found |= {f"{k}-errors": channels.real_array(rng, h, rx, tx) for k, h in found.items()}
    found = {k: (h, None) for k, h in found.items()}
    h, factors = channels.clusters(rng, n, rx, tx, factors=True)
    pairs = h[0].size
    # the genie's would fill the memory
    found["clusters"] = (h, channels.covariance(factors) if pairs <= 256 else None)
    training = np.concatenate(training)
    wrong = rng.random(len(training)) < 0.25
    training[wrong] = channels.real_array(rng, training[wrong], rx, tx)
    return found, training


def interval(error, power, rng, draws=400):
    pick = rng.integers(len(error), size=(draws, len(error)))
    return np.percentile(10 * np.log10(error[pick].sum(1) / power[pick].sum(1)), [2.5, 97.5]).tolist()


def quantized(y, bits, power):
    """Mid-rise, full scale in standard deviations of a rail; power E|y|^2."""
    top = LOADING[bits] * np.sqrt(power / 2)
    step = 2 * top / 2**bits

    def rail(x):
        return np.clip(np.floor(x / step) + 0.5, 0.5 - 2 ** (bits - 1), 2 ** (bits - 1) - 0.5) * step

    return (rail(y.real) + 1j * rail(y.imag)).astype(np.complex64)


def sounding(name, rng, nt):
    """Pilots (Nt, Np) of unit power, and the antennas on which the error counts."""
    if name not in SOUNDED:
        share = PILOTS[name]
        return channels.pilots(rng, nt, share and nt // share), slice(None)
    count = round(SOUNDED[name] * nt)
    p = np.zeros((nt, count), np.complex64)
    p[:count] = channels.pilots(rng, count, 0)
    return p, slice(count, None)


def run(args):
    from .. import diffusion_python as native
    from ..estimator import Estimator

    rng = np.random.default_rng(args.seed)
    models = [Estimator(name) for name in args.model or ["ce-mimo64x16"]]
    shape = channels_of(models[0])
    tests, training = scenes(args, rng, *shape)
    if args.study == "three-clusters":
        nr, nt = (a * b for a, b in shape)
        tests = {"three-clusters": clusters.draw(rng, args.frames, nr, nt)}
        training = np.concatenate([training, clusters.draw(rng, 2000, nr, nt)[0]])
    tests = {k: v for k, v in tests.items() if not args.scenes or k in args.scenes}
    made = {
        "ls": lambda: Estimator(models[0].path, "ls"),
        "lmmse": lambda: baselines.Lmmse(training),
        "gmm": lambda: baselines.Gmm(training, *shape),
        "omp": lambda: baselines.Omp(*shape),
        "nomp": lambda: Estimator(models[0].path, "nomp"),
        "sbl": lambda: Estimator(models[0].path, "sbl"),
        **{m.name: (lambda m=m: m) for m in models},
        "auto": lambda: Estimator(models[0].path, "auto"),
    }
    known = {k: f() for k, f in made.items() if not args.only or k in args.only}
    rows = []
    depths = [1, 2, 3] if args.study == "quantized" else [None]
    shares = {"pilots": args.pilots, "extrapolation": list(SOUNDED)}.get(args.study, ["orthogonal"])
    settings = [(s, p, b, snr) for s in tests for p in shares for b in depths for snr in args.snr]
    for scene, name, bits, snr_db in progress(settings, desc="mimo"):
        h, covariances = tests[scene]
        p, counted = sounding(name, rng, h.shape[2])
        # a DFT's columns are beams, one of which would hold all the power: turn the antennas at random
        if bits:
            p = p * np.exp(2j * np.pi * rng.random((len(p), 1))).astype(np.complex64)
        noise_var = 10 ** (-snr_db / 10)
        y = channels.observe(rng, h, p, noise_var)
        power = np.sum(np.abs(h[:, :, counted]) ** 2, axis=(1, 2))
        if bits:
            y = quantized(y, bits, 1 + noise_var)
        _, seen, noise = native.few_bit_pilots(y, np.full(len(y), noise_var, np.float32), 1.0)
        tried = dict(known)
        if args.study == "three-clusters":
            tried["genie"] = lambda y, p, noise_var: clusters.genie(y, p, noise_var, covariances)
        elif covariances is not None and args.study != "extrapolation":
            tried["genie"] = baselines.Genie(covariances)
        for estimator, run_one in tried.items():
            start = time.perf_counter()
            if isinstance(run_one, Estimator):
                out, err_var = run_one(y, p, noise_var)
            else:  # one noise level a call: all frames saw the same converter
                out, err_var = run_one(seen, p, float(noise.mean())), None
            spent = time.perf_counter() - start
            error = np.sum(np.abs(out - h)[:, :, counted] ** 2, axis=(1, 2))
            row = {
                "study": "mimo" if args.study == "pilots" else f"mimo-{args.study}",
                "scene": scene,
                "pilots": name if name in SOUNDED
                else f"{'qpsk' if PILOTS[name] else 'orthogonal'}-{p.shape[1]}",
                "bits": bits,
                "snr_db": snr_db,
                "estimator": estimator,
                "nmse_db": 10 * np.log10(error.sum() / power.sum()),
                "interval_db": interval(error, power, rng),
                "channels": len(h),
                "us_per_estimate": 1e6 * spent / len(h),
            }
            if err_var is not None and counted == slice(None):
                row["believed_over_actual"] = float(err_var.mean() * h[0].size * len(h) / error.sum())
            rows.append(row)
    names = list(known) + ["genie"] * any(r["estimator"] == "genie" for r in rows)
    text = table(rows, names)
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
    def key(r):
        return r["scene"], r["pilots"] + (f", {r['bits']} bit" if r["bits"] else ""), r["snr_db"]

    out = [
        "| scene | pilots | SNR dB | " + " | ".join(names) + " |",
        "| " + " | ".join(["---"] * (len(names) + 3)) + " |",
    ]
    for k in dict.fromkeys(key(r) for r in rows):
        found = {r["estimator"]: r["nmse_db"] for r in rows if key(r) == k}
        best = min(v for n, v in found.items() if n != "genie")
        cells = [
            "" if n not in found else f"**{found[n]:.1f}**" if found[n] == best else f"{found[n]:.1f}"
            for n in names
        ]
        out.append(f"| {k[0]} | {k[1]} | {k[2]:g} | " + " | ".join(cells) + " |")
    return "\n".join(out)
