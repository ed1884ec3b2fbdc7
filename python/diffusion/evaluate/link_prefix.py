# SPDX-License-Identifier: GPL-3.0-or-later
"""`evaluate link --study prefix`: packets lost over the length of the cyclic prefix, paths from one sample to
beyond it."""
import dataclasses

import numpy as np

from .. import metrics
from ..cli.common import progress, write_json
from .link_trials import Trials

SNRS, PREFIXES = (8.0, 20.0), (16, 24, 32)


def run(args, chosen):
    rows = []
    for setting in progress(chosen, desc="prefix"):
        for cp_len in PREFIXES:
            trials = Trials(args.frames, dataclasses.replace(setting, cp_len=cp_len), args.seed)
            for snr_db in SNRS:
                ok, _, _ = trials.run(trials.receive(snr_db), "lmmse")
                low, high = metrics.wilson(int(np.sum(~ok)), len(ok))
                rows.append({"study": "prefix", "scene": setting.scene, "cp_len": cp_len, "snr_db": snr_db,
                             "estimator": "lmmse",
                             "frames": len(ok), "lost": int(np.sum(~ok)), "per": float(1 - np.mean(ok)),
                             "per_low": low, "per_high": high})
            write_json(args.json, {"rows": rows, "frames": args.frames, "seed": args.seed})
    print(f"frames lost of {args.frames}\n\n| scene | prefix | " + " | ".join(f"{s:g} dB" for s in SNRS) +
          " |")
    print("| --- " * (2 + len(SNRS)) + "|")
    for scene, cp_len in dict.fromkeys((r["scene"], r["cp_len"]) for r in rows):
        lost = [str(r["lost"]) for r in rows if (r["scene"], r["cp_len"]) == (scene, cp_len)]
        print(f"| {scene} | {cp_len} | " + " | ".join(lost) + " |")
