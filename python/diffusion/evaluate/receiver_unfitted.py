# SPDX-License-Identifier: GPL-3.0-or-later
"""Study "unfitted": a shipped model as it is, no known symbols: how far from bitwise MAP.

As it is called (long calls read converter and radio off the samples themselves), with adapt=False (the
network, nothing learned of the link: what a block does without a message), each with known and with estimated
noise variance, beside the distance to the ideal points in noise of the known variance. All see the same
symbols and noise."""
import sys

import numpy as np
from gnuradio import diffusion

from .. import metrics
from ..baselines import receiver as baselines
from ..cli.common import progress
from . import receiver as evaluation
from .receiver_examination import SETTINGS, verdict

SNRS = (-10, 0, 10, 20, 30)
TITLES = {"unfitted": "as called", "unfitted-estimated": "noise estimated", "network": "network alone",
          "network-estimated": "network, noise estimated", "min-distance": "distance to the ideal points"}


def measure_point(rx, study, snr, n, seed):
    """{receiver: row}"""
    hw, points = evaluation.STUDIES[study], rx.constellation
    rng = np.random.default_rng([seed, 0xA110, int(snr) + 1000])
    noise, index = hw.noise_var(snr), rng.integers(0, points.size, n)
    y = hw.transmit(points, index, snr, int(rng.integers(2 ** 62)))
    bits = metrics.labels(rx.bits_per_symbol)[index]
    soft = lambda f: evaluation.in_chunks(lambda z: baselines.bit_llr(f(z)), y, points.size)
    llr = {"map": soft(lambda z: baselines.map_known_law(hw, points, snr, z)),
           "min-distance": soft(lambda z: -np.abs(z[:, None] - points) ** 2 / noise),
           "unfitted": rx(y, noise)[1], "unfitted-estimated": rx(y)[1],
           "network": rx(y, noise, adapt=False)[1], "network-estimated": rx(y, adapt=False)[1]}
    setting = lambda k: f"no known symbols, {'estimated' if k.endswith('estimated') else 'known'} noise variance"
    return {k: {"model": rx.name, **evaluation.row_of(study, setting(k), snr, k, bits, v)}
            for k, v in llr.items()}


def summary(points):
    """Markdown; points: {(model, study, snr): {receiver: row}}"""
    lines = ["| setting | " + " | ".join(TITLES.values()) + " |", "| --- |" + " --- |" * len(TITLES)]
    for study in SETTINGS:
        some = {k: p for k, p in points.items() if k[1] == study}
        cells = []
        for name in TITLES if some else ():
            good = np.array([verdict(p[name], p["map"]) for p in some.values()]).sum(0)
            gap = {k: p["map"]["gmi"] - p[name]["gmi"] for k, p in some.items()}
            worst = max(gap, key=gap.get)
            cells.append(f"{good[0]}, {good[1]}; {np.mean(list(gap.values())):.3f}, {gap[worst]:.3f} "
                         f"({worst[0][3:]} {worst[2]:g} dB)")
        if some:
            lines.append(f"| {study} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure_study(args, names):
    """Rows of all points; prints, of each setting, points at the bound by BER and by GMI, mean and worst GMI
    gap."""
    jobs = [(name, study, snr) for name in names for study in SETTINGS for snr in args.snr or SNRS]
    points = {}
    for i, (name, study, snr) in enumerate(progress(jobs, desc="points")):
        points[name, study, snr] = measure_point(diffusion.Receiver(name), study, snr, args.symbols or 10000,
                                                 args.seed)
        if (i + 1) % 45 == 0:
            print(f"{i + 1} of {len(jobs)} points", file=sys.stderr, flush=True)
    print(f"at the bound by BER, by GMI, of {len(jobs) // len(SETTINGS)} points; mean, worst GMI below "
          f"MAP\n\n{summary(points)}")
    return [row for p in points.values() for row in p.values()]
