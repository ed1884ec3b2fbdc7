# SPDX-License-Identifier: GPL-3.0-or-later
"""Receivers of digital.ofdm_tx's packets: SNR at 10% packet loss, stock, ours, genie, and what lies between.

example:
    gr-diffusion evaluate ofdm --json ofdm.json

All receivers see the same IQ. SNR is packet power over noise variance in the full sampling bandwidth.
Intervals: Wilson for a packet error rate, bootstrap over packets for an SNR and for a loss to the genie.
"""
import time

import numpy as np

from .. import metrics
from ..cli.common import common_options, progress, write_json
from . import ofdm_trials as ot

TARGET = 0.1
STOCK = ("stock", "stock, threshold 0.5")
GENIE = "genie"


def receivers():
    """name -> f(trials, y, snr_db). Order is the order of the table's columns."""
    def estimator(name):
        return lambda t, y, snr: ot.ours(t, y, estimator=name)

    table = {
        STOCK[0]: lambda t, y, snr: ot.stock(t, y),
        STOCK[1]: lambda t, y, snr: ot.stock(t, y, 0.5),
        "our sync, LS": estimator("ls"),
        "ours (LMMSE)": estimator("lmmse"),
    }
    if _has(estimator="diffusion"):
        table["ours, diffusion estimator"] = estimator("diffusion")
    if _has(demapper="diffusion"):
        table["ours, diffusion demapper"] = lambda t, y, snr: ot.ours(t, y, demapper="diffusion")
    table.update({
        "ours, hard header": lambda t, y, snr: ot.ours(t, y, header_flips=0),
        "ours, one pass": lambda t, y, snr: ot.ours(t, y, max_passes=0),
        "genie sync, our estimation": lambda t, y, snr: ot.ours_genie_sync(t, y, snr),
        "our sync, genie CSI": lambda t, y, snr: ot.genie(t, y, ot.our_sync(t, y)),
        GENIE: lambda t, y, snr: ot.genie(t, y),
        "genie, header never wrong": lambda t, y, snr: ot.genie(t, y, header_list=True),
    })
    return table


def _has(**stage):
    from gnuradio import diffusion
    try:
        diffusion.stock_receiver(**stage)
        return True
    except (ValueError, RuntimeError):
        return False


def settings():
    return [ot.Setting(channel, bits, cfo)
            for channel, bits in (("awgn", 0), ("awgn", 8), ("awgn", 4), ("rayleigh", 0))
            for cfo in (0.0, 0.1)]


def crossing(snr, ok):
    """SNR at which the packet error rate falls through TARGET: logit-linear between grid points."""
    per = np.clip(1 - np.mean(ok, axis=1), 0.25 / ok.shape[1], 1 - 0.25 / ok.shape[1])
    logit = np.log(per / (1 - per)) - np.log(TARGET / (1 - TARGET))
    for i in range(len(snr) - 1, 0, -1):
        if logit[i - 1] >= 0 > logit[i]:
            return snr[i - 1] + (snr[i] - snr[i - 1]) * logit[i - 1] / (logit[i - 1] - logit[i])
    return np.nan


def measure(setting, args, names, table, stream_cache):
    """Walks each receiver over the SNR grid until its PER brackets the target."""
    trials = ot.Trials(args.packets, setting, args.seed)
    rayleigh = setting.channel == "rayleigh"
    step = 1.0 if rayleigh else 0.5
    guess = {name: (29.0 if rayleigh else 9.5) for name in names}
    guess.update({STOCK[0]: 32.0 if rayleigh else 17.5, STOCK[1]: 32.0 if rayleigh else 15.0,
                  "our sync, LS": 29.0 if rayleigh else 10.5})
    results = {}

    def received(snr):
        if snr not in stream_cache:
            if len(stream_cache) >= 6:
                stream_cache.pop(next(iter(stream_cache)))
            stream_cache[snr] = trials.receive(snr)
        return stream_cache[snr]

    stream_cache.clear()
    for name in progress(names, desc=setting.name):
        tried, seconds = {}, 0.0

        def at(snr):
            nonlocal seconds
            if snr not in tried:
                y = received(snr)
                start = time.process_time()
                tried[snr] = table[name](trials, y, snr)
                seconds += time.process_time() - start
            return 1 - np.mean(tried[snr])

        snr = guess[name]
        direction = 1 if at(snr) >= TARGET else -1
        while abs(snr - guess[name]) < args.range_db:
            snr += direction * step
            if (at(snr) >= TARGET) != (direction > 0):
                break
        for extra in (min(tried) - step, max(tried) + step):   # the bootstrap may cross a cell further
            at(extra)
        grid = np.array(sorted(tried))
        results[name] = {"snr_db": grid, "ok": np.array([tried[s] for s in grid]),
                         "seconds": seconds / len(grid)}
    return trials, results


def summarise(results, packets, seed):
    """SNR at the target and loss to the genie with bootstrap intervals (packets resampled together)."""
    rng = np.random.default_rng([seed, 3])
    picks = [rng.integers(0, packets, packets) for _ in range(400)]
    draws = {name: np.array([crossing(r["snr_db"], r["ok"][:, p]) for p in picks])
             for name, r in results.items()}
    out = {}
    for name, r in results.items():
        loss = draws[name] - draws[GENIE]
        point = crossing(r["snr_db"], r["ok"])
        out[name] = {
            "snr_db_at_per_10": point,
            "interval": _interval(draws[name]),
            "loss_to_genie_db": point - crossing(results[GENIE]["snr_db"], results[GENIE]["ok"]),
            "loss_interval": _interval(loss),
            "cpu_s": r["seconds"],
            "points": [{"snr_db": float(s), "packets": packets, "per": float(1 - np.mean(ok)),
                        "wilson": metrics.wilson(int(np.sum(~ok)), packets)}
                       for s, ok in zip(r["snr_db"], r["ok"])],
        }
    return out


def _interval(draws):
    draws = draws[np.isfinite(draws)]
    return [float(v) for v in np.percentile(draws, [2.5, 97.5])] if len(draws) > 20 else [None, None]


def detection(args):
    """Packets detected behind 1 to 3 bit converters."""
    rows = []
    for bits in (1, 2, 3):
        for cfo in (0.1,) if args.quick else (0.0, 0.1):
            trials = ot.Trials(args.packets, ot.Setting("awgn", bits, cfo), args.seed)
            for snr in (10.0,) if args.quick else (5.0, 10.0, 20.0):
                y = trials.receive(snr)
                found, _, cfos = ot.our_sync(trials, y)
                rows.append({"bits": bits, "cfo": cfo, "snr_db": snr, "packets": args.packets,
                             "stock": float(np.mean(ot.stock_detects(trials, y, 0.9))),
                             "stock, threshold 0.5": float(np.mean(ot.stock_detects(trials, y, 0.5))),
                             "ours": float(np.mean(found)),
                             "ours_wilson": metrics.wilson(int(np.sum(found)), args.packets),
                             "cfo_rms": float(np.sqrt(np.mean((cfos[found] - cfo) ** 2))) if found.any()
                             else None})
    return rows


def false_alarms(samples, seed):
    """Frames found in noise: float, and behind a 1 and a 4 bit converter."""
    from gnuradio import diffusion
    rows = []
    for bits in (0, 1, 4):
        rng, sync = np.random.default_rng([seed, 4, bits]), diffusion.frame_sync()
        adc = diffusion.quantizer(bits, ot.CLIP.get(bits, 3.0) * np.sqrt(0.5)) if bits else None
        frames, left, chunk = 0, int(samples), 4_000_000
        for _ in progress(range(-(-left // chunk)), desc=f"noise, {bits or 'float'}"):
            x = rng.standard_normal((min(left, chunk), 2),
                                    np.float32).view(np.complex64)[:, 0] * np.float32(0.5 ** 0.5)
            frames += len(sync(adc(x) if adc else x))
            left -= len(x)
        frames += len(sync.flush())
        rows.append({"bits": bits, "samples": int(samples), "frames": frames,
                     "expected_at_most": samples * 1e-12, "examined": sync.candidates})
    return rows


def table_text(results):
    names = list(next(iter(results.values())))
    lines = ["SNR in dB at 10% packet loss (loss to the genie)", "",
             "| setting | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for setting, row in results.items():
        cells = []
        for name in names:
            r = row[name]
            half = (r["interval"][1] - r["interval"][0]) / 2 if r["interval"][0] is not None else np.nan
            cells.append(f"{r['snr_db_at_per_10']:.2f} ± {half:.2f} ({r['loss_to_genie_db']:+.2f})"
                         if np.isfinite(r["snr_db_at_per_10"]) else "not reached")
        lines.append(f"| {setting} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def detection_text(rows):
    lines = ["Packets detected, AWGN", "", "| ADC | CFO | SNR dB | stock | stock, threshold 0.5 | ours |",
             "| --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        lines.append(f"| {r['bits']} bit | {r['cfo']:g} | {r['snr_db']:g} | {r['stock']:.3f} | "
                     f"{r['stock, threshold 0.5']:.3f} | {r['ours']:.3f} |")
    return "\n".join(lines)


def add_arguments(parser):
    common_options(parser)
    parser.add_argument("--packets", type=int, metavar="N", help="packets a point (1000; quick: 200)")
    parser.add_argument("--quick", action="store_true", help="AWGN float and 4 bit only, few packets: a "
                                                             "minute")
    parser.add_argument("--range-db", type=float, default=12, metavar="DB",
                        help="how far to look for the SNR (12)")
    parser.add_argument("--noise-samples", type=float, metavar="N",
                        help="noise samples searched for false frames (2e7; ten minutes at 1 Msample/s: 6e8)")
    parser.add_argument("--channel", choices=["awgn", "rayleigh"], help="loss rates in this channel only")
    parser.add_argument("--only", choices=["per", "detection", "noise"], help="one part of the study")


def run(args):
    args.packets = args.packets or (200 if args.quick else 1000)
    noise = args.noise_samples or (2e6 if args.quick else 2e7)
    results, table = {"packets": args.packets, "seed": args.seed, "target_per": TARGET}, receivers()
    if args.only in (None, "per"):
        chosen = [s for s in settings() if args.channel in (None, s.channel)]
        chosen = [s for s in chosen if not args.quick or (s.channel == "awgn" and s.bits in (0, 4) and s.cfo)]
        results["per"] = {}
        cache = {}
        for setting in chosen:
            _, measured = measure(setting, args, list(table), table, cache)
            results["per"][setting.name] = summarise(measured, args.packets, args.seed)
            write_json(args.json, results)  # what is there survives an interruption
        print(table_text(results["per"]), flush=True)
    if args.only in (None, "detection"):
        results["detection"] = detection(args)
        print("\n" + detection_text(results["detection"]), flush=True)
    if args.only in (None, "noise"):
        results["false_alarms"] = false_alarms(noise, args.seed)
        for r in results["false_alarms"]:
            print(f"\nnoise, {r['bits'] or 'float'}{' bit' if r['bits'] else ''}: {r['frames']} frames in "
                  f"{r['samples']:.3g} samples (the law allows {r['expected_at_most']:.2g})")
    write_json(args.json, results)
