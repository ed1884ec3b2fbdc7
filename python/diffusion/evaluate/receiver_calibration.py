# SPDX-License-Identifier: GPL-3.0-or-later
"""How far soft bits may be believed: P(bit = 1) measured against what the LLR claims.

A bin of the LLR holds bits whose LLR lies in it (with their sign, so the table is symmetric); "expected
calibration error" is the mean over bits of the distance between claim and measurement, which is above 0 by
chance alone: MAP's, from the same symbols, is what chance gives. "Scale" is the one factor on all LLRs that
would maximise the GMI (1: calibrated); below 1 the receiver is too sure of itself."""
import sys

import numpy as np
from gnuradio import diffusion

from .. import metrics
from ..cli.common import progress
from . import receiver as evaluation

SETTINGS = ("S1", "S2", "S2-3bit")
SNRS = {1: 0, 2: 5, 4: 15, 6: 20, 8: 25}  # by bits a symbol: BER 1e-3 to 1e-1
KNOWN = (50, 2000)
EDGES = np.r_[0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 13, 1e9]
RECEIVERS = ("map", "fit", "fit-estimated", "law", "class-gaussian", "linear")


def measure_point(rx, study, snr_db, n, n_known, seed):
    """Rows of one setting."""
    learned = {k: f for k, f in evaluation.learned_of(rx).items() if k in RECEIVERS}
    bits, llr = evaluation.soft_bits(rx.constellation, study, snr_db, n, n_known, seed, learned)
    rows = []
    for name in RECEIVERS:
        noise = "estimated" if name.endswith("-estimated") else "known"
        row = evaluation.row_of(f"calibration {study}", f"{n_known} known symbols, {noise} noise variance",
                                snr_db, name,
                                bits, llr[name])
        scale, lo, hi = metrics.gmi_scale_interval(bits, llr[name])
        rng = np.random.default_rng(seed)
        errors = [metrics.calibration_error(bits[pick], llr[name][pick], EDGES)
                  for pick in (rng.integers(0, n, n) for _ in range(40))]
        rows.append({"model": rx.name, **row, "llr_scale": scale, "llr_scale_lo": lo, "llr_scale_hi": hi,
                     "calibration_error": metrics.calibration_error(bits, llr[name], EDGES),
                     "calibration_error_std": float(np.std(errors)),
                     "gmi_unscaled": float(metrics.gmi_samples(bits, llr[name], 1).mean()),
                     "reliability": metrics.reliability(bits, llr[name], EDGES).tolist()})
    return rows


def table(rows):
    """Markdown: scale [95%] and calibration error in percent, a line a setting."""
    lines = ["| model | setting, SNR | known | " + " | ".join(evaluation.TITLES[r] for r in RECEIVERS) + " |",
             "| --- | --- | --- |" + " --- |" * len(RECEIVERS)]
    key = lambda r: (r["model"], r["study"], r["snr_db"], r["setting"].split()[0])
    for point in dict.fromkeys(map(key, rows)):
        cells = {r["receiver"]: r for r in rows if key(r) == point}
        model, study, snr, known = point
        lines.append(f"| {model} | {study.split()[1]}, {snr:g} dB | {known} | " + " | ".join(
            f"{cells[k]['llr_scale']:.2f} [{cells[k]['llr_scale_lo']:.2f}, {cells[k]['llr_scale_hi']:.2f}]; "
            f"{100 * cells[k]['calibration_error']:.2f}%" for k in RECEIVERS) + " |")
    return "\n".join(lines)


def measure_study(args, names):
    """Rows of all settings; prints the table."""
    rows, settings = [], [s for s in SETTINGS]
    jobs = [(name, s, k) for name in names for s in settings for k in args.known or KNOWN]
    for name, study, n_known in progress(jobs, desc="points"):
        rx = diffusion.Receiver(name)
        for snr in args.snr or [SNRS[rx.bits_per_symbol]]:
            rows += measure_point(rx, study, snr, args.symbols or 20000, n_known, args.seed)
        print(f"{name} {study} {n_known} known", file=sys.stderr, flush=True)
    print("factor on the LLRs that would maximise the GMI [95%]; expected calibration error\n\n" +
          table(rows))
    if args.plots:
        from .receiver_plots import calibration
        for file in calibration(rows, args.plots):
            print(f"wrote {file}")
    return rows
