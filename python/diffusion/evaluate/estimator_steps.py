# SPDX-License-Identifier: GPL-3.0-or-later
"""What the receivers' shortcuts cost their channel estimator: fewer steps where nearly every carrier is
known, and the second look at a packet with the belief of the first. NMSE on the carriers in use, paired.

example:
    gr-diffusion evaluate estimator_steps --frames 100
"""

import time

import numpy as np
from gnuradio import diffusion

from .. import metrics
from ..cli.common import common_options, progress, write_json
from ..train import channels
from . import estimator

# how much less noise the second look has: a packet of ten symbols against its preamble and pilots
GAIN_DB = 5
USED = np.concatenate([np.arange(6, 32), np.arange(33, 59)])  # of 64 carriers, as in both waveforms


def add_arguments(parser):
    parser.add_argument("--frames", type=int, default=200, help="channels a scene (200)")
    parser.add_argument("--snr", type=float, nargs="+", default=[5, 10, 20, 30],
                        help="SNR in dB (5 10 20 30)")
    parser.add_argument("--markdown", metavar="FILE", help="the table for a document")
    common_options(parser)


def scenes(frames, seed):
    rng = np.random.default_rng([seed, 1])
    made = {name: h[rng.permutation(len(h))[:frames]] for name, h in estimator.cities(64).items()}
    made["synthetic-city"] = channels.unseen_city(rng, frames, 64)
    made["exponential-mixture"] = channels.mixture(rng, frames, 64)
    return made


def candidates():
    """name -> f(y, better, noise_var, better_var) -> h, err_var"""
    made = {}
    for name, steps in [("ce-ofdm64", s) for s in (4, 3, 2, 1)] + [("ce-ofdm64-fast", 2)]:
        net = diffusion.pilot_estimator("diffusion", 0, name)
        net.pilots, net.steps = USED.tolist(), steps
        label = f"{steps} step" + "s" * (steps > 1) if name == "ce-ofdm64" else name
        made[label] = lambda y, better, v, w, net=net: net(y, v)
        if name == "ce-ofdm64" and steps == 2:
            made["second look, 2 steps"] = lambda y, better, v, w, net=net: net(better, w)
            made["second look, belief kept"] = lambda y, better, v, w, net=net: refined(net, y, better, v, w)
    return made


def refined(net, y, better, noise_var, better_var):
    parts = []
    for first, second in zip(y, better):
        net(first[None], noise_var)
        parts.append(net.refine(second[None], better_var))
    return tuple(np.concatenate(p) for p in zip(*parts))


def measure(name, h, snr_db, seed):
    rng = np.random.default_rng([seed, int(10 * snr_db) + 1000, estimator.hash_of(name)])
    v, gain = 10 ** (-snr_db / 10), 10 ** (-GAIN_DB / 10)
    noise, other = (np.sqrt(v) * channels.rayleigh(rng, (len(h), len(USED))) for _ in range(2))
    truth = h[:, USED]
    y = (truth + noise).astype(np.complex64)
    # holds the first look
    better = (truth + gain * noise + np.sqrt(gain - gain**2) * other).astype(np.complex64)
    power = np.sum(np.abs(truth) ** 2, 1)
    ratio = lambda p: 10 * np.log10(p[:, 0].sum() / p[:, 1].sum())
    rows = []
    for label, estimate in candidates().items():
        start = time.perf_counter()
        found, believed = estimate(y, better, v, gain * v)
        spent = time.perf_counter() - start
        error = np.sum(np.abs(found[:, USED] - truth) ** 2, 1)
        pairs = np.stack([error, power], 1)
        low, high = metrics.bootstrap(pairs, ratio, resamples=200, seed=seed)
        rows.append({"study": "steps", "scene": name, "pilots": f"used-{len(USED)}", "bits": None,
                     "snr_db": snr_db,
                     "us_per_estimate": 1e6 * spent / len(h), "estimator": label, "nmse_db": ratio(pairs),
                     "nmse_db_low": low,
                     "nmse_db_high": high,
                     "believed_over_actual": float(believed[:, USED].sum() / error.sum())})
    return rows


def table(rows):
    names = list(dict.fromkeys(r["estimator"] for r in rows))
    lines = ["| scene | SNR dB | " + " | ".join(names) + " |", "| --- " * (2 + len(names)) + "|"]
    for key in dict.fromkeys((r["scene"], r["snr_db"]) for r in rows):
        found = {r["estimator"]: r for r in rows if (r["scene"], r["snr_db"]) == key}
        cells = [f"{found[n]['nmse_db']:.1f} ({found[n]['believed_over_actual']:.1f})" for n in names]
        lines.append(f"| {key[0]} | {key[1]:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run(args):
    rows = []
    for name, h in progress(scenes(args.frames, args.seed).items(), desc="scenes"):
        for snr_db in args.snr:
            rows += measure(name, h, snr_db, args.seed)
    print(table(rows))
    if args.markdown:
        with open(args.markdown, "w", encoding="utf-8") as f:
            f.write(table(rows) + "\n")
    write_json(args.json, {"rows": rows, "frames": args.frames, "seed": args.seed})
