# SPDX-License-Identifier: GPL-3.0-or-later
"""`evaluate link --study time`: the channel of every symbol of a frame that moves, NMSE and packet errors
over Doppler."""
import dataclasses

import numpy as np

from .. import metrics
from ..cli.common import progress, write_json
from .link_trials import Trials

SNRS = (10.0, 20.0)
#: name: (estimator, options of the receiver)
CHAINS = {"one channel a frame": ("diffusion", {"time_tracking": False}), "ls": ("ls", {}),
          "lmmse": ("lmmse", {}),
          "diffusion": ("diffusion", {}), "diffusion, 3 rounds": ("diffusion", {"data_aided_rounds": 3})}
WIENER = "wiener that knows"


def nmse(pairs, seed):
    """(dB, low, high) of (|error|^2, |h|^2) a frame."""
    ratio = lambda p: 10 * np.log10(p[:, 0].sum() / p[:, 1].sum())
    return (float(ratio(pairs)), *map(float, metrics.bootstrap(pairs, ratio, resamples=200, seed=seed)))


def run(args, chosen):
    rows = []
    for setting in progress(chosen, desc="time"):
        for pilots in ("full", "quarter"):
            trials = Trials(args.frames, dataclasses.replace(setting, pilots=pilots), args.seed)
            for snr_db in SNRS[:1] if args.quick else SNRS:
                y = trials.receive(snr_db)
                found = {name: trials.run(y, estimator, **options)
                         for name, (estimator, options) in CHAINS.items()}
                # Its filters need many equations: a part of the frames, for which everybody else is listed
                # too.
                some = range(min(args.frames, 60))
                bound = trials.wiener(y, snr_db, some)
                for name in [*CHAINS, WIENER]:
                    if name == WIENER:
                        pairs, ok, seconds = bound, None, None
                    else:
                        ok, error, seconds = found[name]
                        pairs = error[np.isfinite(error[:, 0])]
                    db, low, high = nmse(pairs, args.seed)
                    row = {"study": "time", "scene": setting.scene, "pilots": pilots,
                           "bits": setting.bits or None,
                           "snr_db": snr_db, "estimator": name, "nmse_db": db, "nmse_db_low": low,
                           "nmse_db_high": high,
                           "median_nmse_db": float(10 * np.log10(np.median(pairs[:, 0] / pairs[:, 1]))),
                           "us_per_estimate": None if seconds is None else 1e6 * seconds,
                           "doppler": setting.doppler,
                           "frames": len(pairs), "per": None if ok is None else float(1 - np.mean(ok))}
                    if ok is not None:
                        row["per_low"], row["per_high"] = metrics.wilson(int(np.sum(~ok)), len(ok))
                    rows.append(row)
                write_json(args.json, {"rows": rows, "frames": args.frames, "seed": args.seed})
    print(table(rows))


def table(rows):
    names = list(dict.fromkeys(r["estimator"] for r in rows))
    lines = ["median NMSE of a frame in dB / PER; us_per_estimate is the whole receiver's time a frame", "",
             "| scene | Doppler | pilots | SNR dB | " + " | ".join(names) + " |",
             "| --- " * (4 + len(names)) + "|"]
    for key in dict.fromkeys((r["scene"], r["doppler"], r["pilots"], r["snr_db"]) for r in rows):
        cells = {r["estimator"]: f"{r['median_nmse_db']:.1f}" +
                 ("" if r["per"] is None else f" / {r['per']:.3f}")
                 for r in rows if (r["scene"], r["doppler"], r["pilots"], r["snr_db"]) == key}
        lines.append(f"| {key[0]} | {100 * key[1]:g}% | {key[2]} | {key[3]:g} | "
                     + " | ".join(cells.get(n, "-") for n in names) + " |")
    return "\n".join(lines)
