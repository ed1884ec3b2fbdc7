# SPDX-License-Identifier: GPL-3.0-or-later
"""How far Receiver.fit is from bitwise MAP: every constellation, S1 and S2 with 1 to 5 bits, few and many known
symbols, known and estimated noise variance. All receivers of a point see the same symbols and noise."""
import sys

import numpy as np
from gnuradio import diffusion

from ..cli.common import progress
from . import receiver as evaluation

SNRS = (0, 5, 10, 15, 20, 25, 30, 35)
KNOWN = (50, 500, 2000)
SETTINGS = [f"{s}-{b}bit" for s in ("S1", "S2") for b in (1, 2, 3)] + ["S1", "S2-4bit", "S2"]
RECEIVERS = ("fit", "fit-estimated", "fit-alone", "class-gaussian", "linear", "law")
WITHIN_BER, WITHIN_GMI = 1.01, 0.01


def verdict(row, bound):
    """(BER as good as the bound's: within 1% or its 95% interval, GMI within 0.01 bit)."""
    return (row["ber"] <= max(WITHIN_BER * bound["ber"], bound["ber_hi"]), row["gmi"] >= bound["gmi"] - WITHIN_GMI)


def points_of(rows):
    """{(model, study, snr, setting's known symbols): {receiver: row}}"""
    points = {}
    for r in rows:
        known = int(r["setting"].split()[0])
        points.setdefault((r["model"], r["study"], r["snr_db"], known), {})[r["receiver"]] = r
    return points


def summary(rows):
    """Markdown: by setting and known symbols how many points each receiver has at the bound, and its worst."""
    points = points_of(rows)
    lines = ["| setting | known | receiver | BER at the bound | GMI at the bound | worst GMI gap, bit (where) | mean gap |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for study in SETTINGS:
        for n_known in sorted({key[3] for key in points}):
            some = {k: p for k, p in points.items() if k[1] == study and k[3] == n_known}
            for name in RECEIVERS if some else ():
                good = np.array([verdict(p[name], p["map"]) for p in some.values()])
                gap = {k: p["map"]["gmi"] - p[name]["gmi"] for k, p in some.items()}
                worst = max(gap, key=gap.get)
                lines.append(f"| {study} | {n_known} | {evaluation.TITLES[name]} | {good[:, 0].sum()} of {len(good)} | "
                             f"{good[:, 1].sum()} of {len(good)} | {gap[worst]:.3f} ({worst[0]}, {worst[2]:g} dB) | "
                             f"{np.mean(list(gap.values())):.4f} |")
    return "\n".join(lines)


def measure_study(args, names):
    """Rows of all points; prints the summary."""
    settings = SETTINGS[::3] if getattr(args, "quick", False) else SETTINGS
    jobs = [(name, study, snr, n) for name in names for study in settings for snr in args.snr or SNRS
            for n in args.known or KNOWN]
    rows = []
    for i, (name, study, snr, n_known) in enumerate(progress(jobs, desc="points")):
        rx = diffusion.Receiver(name)
        learned = {k: f for k, f in evaluation.learned_of(rx).items() if k in RECEIVERS}
        rows += [{"model": name, **r} for r in evaluation.measure_point(
            rx.constellation, study, snr, args.symbols or 20000, n_known, args.seed, learned)]
        if (i + 1) % 50 == 0:
            print(f"{i + 1} of {len(jobs)} points", file=sys.stderr, flush=True)
    print(summary(rows))
    if args.plots:
        from .receiver_plots import examination
        for file in examination(rows, args.plots):
            print(f"wrote {file}")
    return rows
