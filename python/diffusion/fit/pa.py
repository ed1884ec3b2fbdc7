# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit a memory polynomial to the measured input and output of a power amplifier.

The measurement is an npz file of complex baseband samples, aligned in time: train_input, train_output,
val_input, val_output, test_input, test_output; or just input and output, of which the first 60% train,
the next 20% choose memory and order, the last 20% test. The coefficients go to a JSON file that
impairments_cc takes as its amplifier.

example:
    gr-diffusion fit pa amplifier.npz -o pa-lab.json
    gr-diffusion fit pa amplifier.npz -o pa-lab.json --taps 4 8 --order 5 --cross 0 1
"""
import json
import zipfile
from pathlib import Path

import numpy as np

from .. import metrics
from ..cli.common import JobError, common_options, progress, write_json

SPLITS = ("train", "val", "test")
MAX_LAG = 64


def add_arguments(parser):
    parser.add_argument("measurement", type=Path, help="npz file with input and output samples")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file for the coefficients")
    parser.add_argument("--taps", type=int, nargs="+", default=[1, 4, 8, 12, 16], metavar="N",
                        help="memory lengths to try, samples (1 4 8 12 16)")
    parser.add_argument("--order", type=int, nargs="+", default=[1, 3, 5, 7], metavar="N",
                        help="numbers of envelope powers |x|^0, |x|^1, ... to try (1 3 5 7)")
    parser.add_argument("--cross", type=int, nargs="+", default=[0], metavar="N",
                        help="envelope lags before and after a sample to try, generalised memory polynomial "
                             "(0)")
    parser.add_argument("--margin", type=float, default=0.1, metavar="DB",
                        help="the smallest model within this of the best validation NMSE is kept (0.1 dB)")
    parser.add_argument("--source", default="", help="where the measurement is from, kept in the file")
    common_options(parser)


def load(path):
    """{split: (input, output)} complex128, and the sample rate in Hz or None."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {k: file[k] for k in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise JobError(f"{path} is no npz file of plain arrays: {e}") from e
    if "train_input" in arrays:
        names = {s: (f"{s}_input", f"{s}_output") for s in SPLITS}
        missing = [n for pair in names.values() for n in pair if n not in arrays]
        if missing:
            raise JobError(f"{path} lacks {', '.join(missing)}")
        data = {s: tuple(arrays[n] for n in pair) for s, pair in names.items()}
    elif "input" in arrays and "output" in arrays:
        n = len(arrays["input"])
        edges = [0, int(0.6 * n), int(0.8 * n), n]
        data = {s: (arrays["input"][a:b], arrays["output"][a:b]) for s, a, b in zip(SPLITS, edges, edges[1:])}
    else:
        raise JobError(f"{path} has {', '.join(arrays) or 'nothing'}; it needs train_input, train_output, "
                       "... or input and output")
    for split, (x, y) in data.items():
        if x.shape != y.shape or x.ndim != 1 or x.size < 10 * MAX_LAG:
            raise JobError(f"{path}: {split} input {x.shape} and output {y.shape} must be equally long rows "
                           f"of at least {10 * MAX_LAG} samples")
        if not (np.isfinite(x).all() and np.isfinite(y).all() and np.any(x) and np.any(y)):
            raise JobError(f"{path}: {split} samples must be finite and not all zero")
    rate = arrays.get("fs_hz")
    pairs = {s: (x.astype(complex), y.astype(complex)) for s, (x, y) in data.items()}
    return pairs, None if rate is None else float(rate)


def branch_list(taps, order, cross):
    """[(delay, envelope_delay, number of coefficients)] of a (generalised) memory polynomial."""
    branches = [(q, 0, order) for q in range(taps)]
    for q in range(taps):  # |x|^0 of a cross term would repeat the plain one, and is left at 0
        branches += [(q, e, order) for e in range(-cross, cross + 1) if e and 0 <= q + e <= MAX_LAG
                     and order > 1]
    return branches


def basis(x, branches, saturation):
    """(n, k): what each coefficient multiplies, by the library's own amplifier (one truth)."""
    from gnuradio import diffusion
    columns = []
    for delay, envelope, order in branches:
        for k in range(1 if envelope else 0, order):
            unit = np.zeros(k + 1)
            unit[k] = 1
            columns.append(diffusion.power_amplifier.memory_polynomial([(delay, envelope, unit)],
                                                                       saturation)(x))
    return np.stack(columns, 1).astype(complex)


def solve(x, y, branches, saturation):
    """Least-squares coefficients; ridge 1e-10 of the mean column power keeps high orders bounded."""
    a = basis(x, branches, saturation)[MAX_LAG:]
    gram = a.conj().T @ a
    scale = np.sqrt(np.real(np.diag(gram)))
    gram = gram / np.outer(scale, scale) + 1e-10 * np.eye(len(scale))
    return np.linalg.solve(gram, a.conj().T @ y[MAX_LAG:] / scale) / scale


def nmse(x, y, branches, saturation, coefficients):
    return metrics.nmse_db((basis(x, branches, saturation) @ coefficients)[MAX_LAG:], y[MAX_LAG:])


def interval(estimate, truth, block=64, seed=1):
    """95% interval of the NMSE in dB, bootstrapped over blocks (neighbouring samples are dependent)."""
    n = truth.size // block * block
    rows = np.stack([np.abs(estimate - truth)[:n] ** 2, np.abs(truth)[:n] ** 2],
                    1).reshape(-1, block, 2).sum(1)
    low, high = metrics.bootstrap(rows, lambda r: 10 * np.log10(r[:, 0].sum() / r[:, 1].sum()), seed=seed)
    return [float(low), float(high)]


def as_json(branches, coefficients, saturation, gain):
    items, at = [], 0
    pair = lambda z: [float(np.float32(z.real)), float(np.float32(z.imag))]
    for delay, envelope, order in branches:
        count = order - (1 if envelope else 0)
        values = ([0j] if envelope else []) + list(coefficients[at:at + count])
        at += count
        items.append({"delay": delay, "envelope_delay": envelope, "coefficients": [pair(v) for v in values]})
    return {"format": 1, "kind": "memory_polynomial", "saturation": float(saturation), "gain": pair(gain),
            "branches": items}


def fit(data, taps, orders, crosses, margin):
    """The model chosen on the validation split, and every candidate's figures."""
    x, y = data["train"]
    saturation = float(np.abs(x).max())
    candidates = [(t, o, c) for t in taps for o in orders for c in crosses]
    rows = []
    for candidate in progress(candidates, desc="fit"):
        branches = branch_list(*candidate)
        coefficients = solve(x, y, branches, saturation)
        rows.append({"taps": candidate[0], "order": candidate[1], "cross": candidate[2],
                     "coefficients": len(coefficients),
                     "val_nmse_db": nmse(*data["val"], branches, saturation, coefficients)})
    best = min(r["val_nmse_db"] for r in rows)
    chosen = min((r for r in rows if r["val_nmse_db"] <= best + margin), key=lambda r: r["coefficients"])
    branches = branch_list(chosen["taps"], chosen["order"], chosen["cross"])
    coefficients = solve(x, y, branches, saturation)
    # The gain that small and large signals share best, as the ensemble of the training signal has them.
    gain = np.vdot(x, y) / np.vdot(x, x)
    return as_json(branches, coefficients, saturation, gain), chosen, rows


def run(args):
    from gnuradio import diffusion

    for name, values, low, high in (("--taps", args.taps, 1, MAX_LAG), ("--order", args.order, 1, 16),
                                    ("--cross", args.cross, 0, 16)):
        if not all(low <= v <= high for v in values):
            raise JobError(f"{name} {values}: use {low} to {high}")
    data, rate = load(args.measurement)
    model, chosen, rows = fit(data, args.taps, args.order, args.cross, args.margin)
    results = {"chosen": chosen, "candidates": rows, "sample_rate_hz": rate}
    model["fitted"] = {"source": args.source or args.measurement.name, "sample_rate_hz": rate,
                       "input_rms": float(np.sqrt(np.mean(np.abs(data["train"][0]) ** 2)))}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(model) + "\n")
    # The figures are those of the file as the library reads it.
    for split in SPLITS:
        x, y = data[split]
        out = diffusion.power_amplifier.load(str(args.output))(x)[MAX_LAG:]
        linear = np.vdot(x, y) / np.vdot(x, x) * x[MAX_LAG:]
        results[split] = {"nmse_db": metrics.nmse_db(out, y[MAX_LAG:]),
                          "nmse_db_95": interval(out, y[MAX_LAG:], seed=args.seed),
                          "linear_gain_nmse_db": metrics.nmse_db(linear, y[MAX_LAG:])}
    model["fitted"].update({f"{s}_nmse_db": round(results[s]["nmse_db"], 2) for s in SPLITS})
    args.output.write_text(json.dumps(model) + "\n")
    print(f"chosen on the validation split: {chosen['taps']} taps, {chosen['order']} envelope powers, "
          f"{chosen['cross']} cross lags, {chosen['coefficients']} coefficients")
    for split in SPLITS:
        r = results[split]
        print(f"{split:<6} NMSE {r['nmse_db']:6.2f} dB  (95%: {r['nmse_db_95'][0]:.2f} to "
              f"{r['nmse_db_95'][1]:.2f}; linear gain alone {r['linear_gain_nmse_db']:.2f})")
    print(f"wrote {args.output}: diffusion.impairments_cc(pa=\"{args.output}\", backoff_db=...)")
    write_json(args.json, results)
