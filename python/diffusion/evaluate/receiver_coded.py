# SPDX-License-Identifier: GPL-3.0-or-later
"""Coded links: block error rate with gr-fec's LDPC at rates 1/2 and 3/4, fed by our LLRs, MAP's and Gaussian ones.

One link is `WORDS` code words behind one hardware, with known symbols of its own to fit from; each word's bits are
interleaved. All receivers decode the same words from the same noise, with dsp/ldpc (sum product on gr-fec's
matrix; `tests/python/test_receiver_studies.py` holds it against gr-fec's decoder). The SNR at BLER 1e-2 is
interpolated in log BLER; its distance to MAP's has a paired bootstrap interval: links are drawn, then their words."""
import sys

import numpy as np
from gnuradio import diffusion

from ..baselines import receiver as baselines
from .. import metrics
from . import receiver as evaluation
from .ldpc import RATES, Ldpc

TARGET = 1e-2
SETTINGS = (("rx-qam16", "S2-3bit"), ("rx-qam64", "S2"), ("rx-qam16", "S1"), ("rx-qam64", "S1"))
KNOWN = (50,)
WORDS = 100         # a link
LINKS = 12          # a point
STEP_DB = 0.3
RECEIVERS = ("map", "fit", "fit-alone", "class-gaussian", "linear")


def receivers_of(rx, study, snr_db, noise_var, known, seen):
    """{name: function of y that gives LLRs}; every receiver of known symbols gets the same."""
    points = rx.constellation
    fitted = rx.fit(points[known], seen, noise_var)
    hw = evaluation.STUDIES[study]
    chunks = lambda f: lambda y: evaluation.in_chunks(lambda z: baselines.bit_llr(f(z)), y, points.size)
    return {"map": chunks(lambda z: baselines.map_known_law(hw, points, snr_db, z)),
            "fit": lambda y: fitted(y, noise_var)[1],
            "fit-alone": lambda y: fitted(y, noise_var, adapt=False)[1],
            "class-gaussian": chunks(lambda z: baselines.class_conditional(points, known, seen, noise_var, z)),
            "linear": chunks(lambda z: baselines.lmmse_min_distance(points, known, seen, noise_var, z))}


def point(rx, code, study, snr_db, n_known, links, seed):
    """({receiver: failed words (links * WORDS,) bool}, {receiver: bit errors, bits, GMI, calibration})."""
    hw, points, m = evaluation.STUDIES[study], rx.constellation, rx.bits_per_symbol
    noise_var = hw.noise_var(snr_db)
    failed, soft = {}, {}
    for link in range(links):
        rng = np.random.default_rng([seed, int(round(100 * snr_db)) + 10000, n_known, link])
        bits = rng.integers(0, 2, (WORDS, code.k)).astype(np.uint8)
        order = rng.permutation(code.n)
        words = code.encode(bits)
        coded = words[:, order]
        labels = coded.reshape(-1, m)
        index = labels @ (1 << np.arange(m)[::-1])
        known = rng.integers(0, points.size, n_known)
        seen = hw.transmit(points, known, snr_db, rng.integers(2 ** 62))
        y = hw.transmit(points, index, snr_db, rng.integers(2 ** 62))
        for name, f in receivers_of(rx, study, snr_db, noise_var, known, seen).items():
            llr = f(y)
            ordered = np.empty((WORDS, code.n))
            ordered[:, order] = llr.reshape(WORDS, code.n)
            # Words that fail take long: a receiver that lost its first two links is not decoded further.
            lost = link > 1 and failed[name][0].all() and failed[name][1].all()
            failed.setdefault(name, []).append(np.ones(WORDS, bool) if lost else
                                               (code.decode_words(ordered) != words).any(1))
            soft.setdefault(name, []).append((labels, llr))
    return ({k: np.concatenate(v) for k, v in failed.items()},
            {k: [np.concatenate(part) for part in zip(*v)] for k, v in soft.items()})


def needed_snr(snrs, blers):
    """SNR at which log BLER crosses the target, by interpolation; NaN where it does not."""
    logs = np.log(np.maximum(blers, 1e-6))
    for i in range(len(snrs) - 1):
        a, b = logs[i], logs[i + 1]
        if a >= np.log(TARGET) > b:
            return snrs[i] + (a - np.log(TARGET)) / (a - b) * (snrs[i + 1] - snrs[i])
    return np.nan


def study_curve(rx, rate, study, n_known, seed, links=LINKS):
    """Rows of one code, setting and number of known symbols, and {receiver: (SNR needed, gap, gap_lo, gap_hi)}; or
    [] and None if MAP itself does not carry that rate."""
    code = Ldpc(rate)
    # Upwards from where MAP carries the code's rate in information, until the last receiver has come under.
    snr = first_snr(rx, study, rate, seed)
    if snr is None:
        return [], None
    rows, results = [], {}
    while len(results) < 14:
        failed, soft = point(rx, code, study, snr, n_known, links, seed)
        results[snr] = failed
        for name, f in failed.items():
            lo, hi = metrics.wilson(int(f.sum()), f.size)
            row = evaluation.row_of(f"coded {rate}", f"{study}, {n_known} known symbols, known noise variance", snr,
                                    name, *soft[name])
            unscaled = float(metrics.gmi_samples(*soft[name], 1).mean())
            rows.append({"model": rx.name, **row, "bler": float(f.mean()), "bler_lo": lo, "bler_hi": hi,
                         "llr_scale": metrics.gmi_scale(*soft[name]), "gmi_unscaled": unscaled})
        print(f"{rx.name} {study} rate {rate}, {n_known} known, {snr:.2f} dB: "
              + ", ".join(f"{k} {v.mean():.4f}" for k, v in failed.items()), file=sys.stderr, flush=True)
        if max(failed[k].mean() for k in ("map", "fit")) < TARGET / 2:
            break
        snr = round(snr + STEP_DB, 4)
    snrs = np.array(sorted(results))
    rng = np.random.default_rng(seed)
    table = {}
    for name in RECEIVERS:
        curve = np.array([results[s][name].mean() for s in snrs])
        bound = np.array([results[s]["map"].mean() for s in snrs])
        gaps = []
        for _ in range(300):
            a, b = np.empty(len(snrs)), np.empty(len(snrs))
            for i, s in enumerate(snrs):
                pick = (WORDS * rng.integers(0, links, links)[:, None] + rng.integers(0, WORDS, (links, WORDS))).ravel()
                a[i], b[i] = results[s][name][pick].mean(), results[s]["map"][pick].mean()
            gaps.append(needed_snr(snrs, a) - needed_snr(snrs, b))
        gaps = np.array(gaps)[np.isfinite(gaps)]
        here = needed_snr(snrs, curve)
        table[name] = (here, here - needed_snr(snrs, bound),
                       *(np.quantile(gaps, [0.025, 0.975]) if gaps.size > 30 else (np.nan, np.nan)))
    return rows, table


def first_snr(rx, study, rate, seed):
    """A little above the SNR at which MAP's GMI is the code's rate, to 0.3 dB; None if there is no such SNR."""
    hw, points, m = evaluation.STUDIES[study], rx.constellation, rx.bits_per_symbol
    wanted = m * eval_rate(rate) * (1.2 if rate == "1/2" else 1.06)
    for snr in np.arange(-5, 36, STEP_DB):
        rng = np.random.default_rng([seed, 77])
        index = rng.integers(0, points.size, 4000)
        y = hw.transmit(points, index, snr, 78)
        llr = baselines.bit_llr(baselines.map_known_law(hw, points, snr, y))
        if metrics.gmi(metrics.labels(m)[index], llr, 1) > wanted:
            return float(round(snr, 4))
    return None


def eval_rate(rate):
    a, b = rate.split("/")
    return int(a) / int(b)


def measure_study(args, names):
    """Rows of all settings; prints the table."""
    lines = ["| model, setting | code | known | " + " | ".join(
        f"{evaluation.TITLES[r]}: dB at BLER 1e-2" + ("" if r == "map" else " (above MAP [95%])") for r in RECEIVERS) + " |",
             "| --- |" * 1 + " --- |" * (2 + len(RECEIVERS))]
    rows = []
    quick = getattr(args, "quick", False)
    settings = [(n, s) for n, s in SETTINGS if n in names][:1 if quick else None]
    for name, study in settings:
        rx = diffusion.Receiver(name)
        for rate in list(RATES)[:1 if quick else None]:
            for n_known in (args.known or KNOWN)[:1 if quick else None]:
                links = LINKS if not args.symbols else max(2, args.symbols * rx.bits_per_symbol // (1800 * WORDS))
                more, table = study_curve(rx, rate, study, n_known, args.seed, links)
                rows += more
                if table is None:
                    lines.append(f"| {name}, {study} | {rate} | {n_known} | MAP does not carry this rate at any SNR |" +
                                 " |" * (len(RECEIVERS) - 1))
                    continue
                cells = []
                for r in RECEIVERS:
                    at, gap, lo, hi = table[r]
                    cells.append("not in range" if not np.isfinite(at) else f"{at:.2f}" if r == "map" else
                                 f"{at:.2f} ({gap:+.2f} [{lo:+.2f}, {hi:+.2f}])")
                lines.append(f"| {name}, {study} | {rate} | {n_known} | " + " | ".join(cells) + " |")
                print(lines[-1], file=sys.stderr, flush=True)
    print("\n".join(lines))
    return rows
