# SPDX-License-Identifier: GPL-3.0-or-later
"""Packet error rate of the whole native link with each channel estimator: SNR at 10% loss and the gain over
LS and LMMSE.

--study estimators: multipath (6-tap Rayleigh, two ray-traced cities that nothing was trained on), ADCs of 2
to 4 bits. --study aided: a quarter of the pilots, with rounds in which the decoder's beliefs are further
pilots, against all pilots. --study time: channels that move within a frame, against the Wiener filter in time
that knows Doppler and delay profile. --study prefix: frames lost over the length of the cyclic prefix.

All receivers see the same samples. SNR: mean received power of the frames over noise, in the full sampling
bandwidth. Intervals: Wilson for a rate, bootstrap over frames (paired) for an SNR and a gain.

example:
    gr-diffusion evaluate link --study estimators --json link.json
"""
import dataclasses
import time

import numpy as np

from .. import metrics
from ..cli.common import common_options, progress, write_json
from . import link_prefix, link_time
from .link_trials import Setting, Trials
from .ofdm import crossing

ESTIMATORS = ("ls", "lmmse", "nomp", "sbl", "diffusion")
STUDIES = ("estimators", "aided", "time", "prefix")


def settings_of(study):
    if study == "estimators":
        out = [Setting("rayleigh", bits, 2) for bits in (2, 3, 4)] + [Setting("rayleigh", 4, 4)]
        # Cities have paths beyond a prefix of 16.
        for city in ("florence", "san_francisco"):
            out += [Setting(city, 3, 2, cp_len=24), Setting(city, 4, 4, cp_len=24)]
        return out
    if study == "aided":
        return [Setting("rayleigh", 3, 2), Setting("rayleigh", 3, 2, doppler=0.02),
                Setting("rayleigh", 3, 2, doppler=0.05)]
    if study == "prefix":
        return [Setting(scene, 0, 2) for scene in ("rayleigh", "florence", "san_francisco")]
    return [Setting("rayleigh", 0, 2, doppler=d) for d in (0.01, 0.02, 0.05)] + \
        [Setting("florence", 0, 2, doppler=0.02, cp_len=24)]


def chains_of(study, names):
    """{name: (pilots, estimator, options of the receiver)}"""
    if study == "estimators":
        return {n: ("full", n, {}) for n in names}
    aided = {f"quarter, {r} rounds": ("quarter", "diffusion", {"data_aided_rounds": r}) for r in (1, 3)}
    return {"all pilots": ("full", "diffusion", {}), "quarter": ("quarter", "diffusion", {}), **aided}


def add_arguments(parser):
    common_options(parser)
    parser.add_argument("--study", choices=STUDIES, default="estimators", help="what to measure (estimators)")
    parser.add_argument("--frames", type=int, default=300, metavar="N", help="frames a point (300)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="estimators to run (all)")
    parser.add_argument("--scenes", nargs="+", metavar="NAME", help="scenes to run (all)")
    parser.add_argument("--range-db", type=float, default=10, metavar="DB",
                        help="how far to look for the SNR (10)")
    parser.add_argument("--quick", action="store_true", help="60 frames, one setting: under a minute")
    parser.add_argument("--plot", metavar="FILE", help="picture of PER over SNR (.png, .svg, .pdf)")


def estimate_us(name, carriers=64):
    """Microseconds for an estimate from all used carriers (the frame's known symbols cover them), one
    core."""
    from gnuradio import diffusion
    used = [k + carriers // 2 for k in diffusion.native_modulator().used_carriers]
    model = "ce-ofdm64" if name == "diffusion" else ""
    e = diffusion.pilot_estimator(name, 0 if model else carriers, model)
    e.pilots = used
    rng = np.random.default_rng(1)
    y = (rng.standard_normal((20, len(used))) + 1j *
         rng.standard_normal((20, len(used)))).astype(np.complex64)
    times = []
    for _ in range(5):
        start = time.process_time()
        e(y, 0.1)
        times.append((time.process_time() - start) / len(y))
    return 1e6 * float(np.median(times))


def walk(trials, run, guess, range_db, step, cache, target=0.1):
    """{snr: result of run(y)} around the SNR where the loss falls through the target; y is made once for
    all."""
    tried = {}

    def at(snr):
        if snr not in tried:
            if snr not in cache:
                if len(cache) >= 8:
                    cache.pop(next(iter(cache)))
                cache[snr] = trials.receive(snr)
            tried[snr] = run(cache[snr])
        return 1 - np.mean(tried[snr][0])

    snr, direction = guess, 1 if at(guess) >= target else -1
    while abs(snr - guess) < range_db:
        snr += direction * step
        if (at(snr) >= target) != (direction > 0):
            break
    for extra in (min(tried) - step, max(tried) + step):   # the bootstrap may cross a cell further
        at(extra)
    return tried


def measure(setting, args, chains, step=1.0, reference=("ls", "lmmse")):
    """Rows of one setting and its summary: {chain: SNR at PER 10%, gains over the reference chains,
    intervals}."""
    rows, oks, made = [], {}, {}
    guess = {2: 6.0, 4: 13.0, 6: 19.0}.get(setting.modulation, 10.0) + (0 if setting.bits else -1)
    for name, (pilots, estimator, options) in progress(chains.items(), desc=setting.name):
        if pilots not in made:  # the same channels whatever the pilots
            made[pilots] = Trials(args.frames, dataclasses.replace(setting, pilots=pilots), args.seed), {}
        trials, cache = made[pilots]
        tried = walk(trials, lambda y: trials.run(y, estimator, **options), guess, args.range_db, step, cache)
        snrs = np.array(sorted(tried))
        oks[name] = (snrs, np.array([tried[s][0] for s in snrs]))
        found = crossing(*oks[name])
        guess = guess if np.isnan(found) else float(np.round(found))
        for s in snrs:
            ok, error, seconds = tried[s]
            low, high = metrics.wilson(int(np.sum(~ok)), len(ok))
            seen = error[np.isfinite(error[:, 0])]
            rows.append({"study": args.study, "scene": setting.scene, "setting": setting.name,
                         "pilots": pilots,
                         "bits": setting.bits or None, "snr_db": float(s), "estimator": name,
                         "nmse_db": float(10 * np.log10(seen[:, 0].sum() / seen[:, 1].sum())) if len(seen)
                         else None,
                         "us_per_estimate": args.us.get(estimator), "us_per_frame": 1e6 * seconds,
                         "frames": len(ok), "per": float(1 - np.mean(ok)), "per_low": low, "per_high": high,
                         "modulation": setting.modulation, "doppler": setting.doppler,
                         "rounds": options.get("data_aided_rounds", 0)})
    return rows, summarise(oks, args, reference)


def summarise(oks, args, reference):
    rng = np.random.default_rng([args.seed, 9])
    picks = [rng.integers(0, args.frames, args.frames) for _ in range(300)]
    draws = {n: np.array([crossing(s, ok[:, p]) for p in picks]) for n, (s, ok) in oks.items()}
    point = {n: crossing(s, ok) for n, (s, ok) in oks.items()}
    out = {}
    for name in oks:
        out[name] = {"snr_db_at_per_10": point[name], "interval": interval(draws[name])}
        for other in reference:
            if other in oks and other != name:
                out[name][f"gain_over_{other}_db"] = point[other] - point[name]
                out[name][f"gain_over_{other}_interval"] = interval(draws[other] - draws[name])
    return out


def interval(draws):
    draws = draws[np.isfinite(draws)]
    return [float(v) for v in np.percentile(draws, [2.5, 97.5])] if len(draws) > 20 else [None, None]


def table(summaries, reference=("ls", "lmmse")):
    """SNR at PER 10% of every chain, and the last chain's gain over the reference ones."""
    names = list(next(iter(summaries.values())))
    last = names[-1]
    others = [r for r in reference if r in names and r != last]
    lines = ["| setting | " + " | ".join(names) + " | " + " | ".join(f"{last} over {o}" for o in others) +
             " |",
             "| --- |" + " --- |" * (len(names) + len(others))]
    for setting, row in summaries.items():
        cells = [f"{row[n]['snr_db_at_per_10']:.2f}" if np.isfinite(row[n]["snr_db_at_per_10"])
                 else "not reached"
                 for n in names]
        for o in others:
            gain, (low, high) = row[last][f"gain_over_{o}_db"], row[last][f"gain_over_{o}_interval"]
            cells.append(f"{gain:+.2f} ({low:+.2f} to {high:+.2f})" if np.isfinite(gain) and low is not None
                         else "-")
        lines.append(f"| {setting} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(rows, path):
    """PER over SNR with Wilson intervals, one panel for each setting."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    places = list(dict.fromkeys(r["setting"] for r in rows))
    names = list(dict.fromkeys(r["estimator"] for r in rows))
    across = min(len(places), 4)
    down = -(-len(places) // across)
    fig, axes = plt.subplots(down, across, figsize=(3.6 * across, 3 * down), squeeze=False, sharey=True)
    for a in axes.flat[len(places):]:
        a.set_visible(False)
    for a, place in zip(axes.flat, places):
        for c, name in enumerate(names):
            line = sorted((r for r in rows if (r["setting"], r["estimator"]) == (place, name)),
                          key=lambda r: r["snr_db"])
            if not line:
                continue
            y = np.array([r["per"] for r in line])
            band = np.abs([y - [r["per_low"] for r in line], [r["per_high"] for r in line] - y])
            a.errorbar([r["snr_db"] for r in line], np.maximum(y, 1e-3), band, color=f"C{c}", label=name,
                       marker=".",
                       lw=2 if c == len(names) - 1 else 1, capsize=2)
        a.axhline(0.1, color="0.6", lw=0.8)
        a.set_yscale("log")
        a.set_ylim(0.01, 1)
        a.set_title(place, fontsize=9)
        a.set_xlabel("SNR dB")
        a.grid(alpha=0.3, which="both")
    for a in axes[:, 0]:
        a.set_ylabel("PER")
    axes[0, 0].legend(fontsize=8)
    fig.tight_layout()
    fig.savefig(path, dpi=100)


def run(args):
    if args.quick:
        args.frames = min(args.frames, 60)
    chosen = [s for s in settings_of(args.study) if not args.scenes or s.scene in args.scenes]
    if not chosen:
        raise SystemExit(f"error: no scene of {', '.join(args.scenes)}; use rayleigh, florence, "
                         "san_francisco")
    if args.quick:
        chosen = chosen[:1]
    names = [n for n in ESTIMATORS if not args.only or n in args.only]
    args.us = {n: estimate_us(n) for n in names}
    if args.study in ("time", "prefix"):
        return (link_time if args.study == "time" else link_prefix).run(args, chosen)
    rows, summaries = [], {}
    reference = ("ls", "lmmse") if args.study == "estimators" else ("all pilots", "quarter")
    for setting in chosen:
        more, summaries[setting.name] = measure(setting, args, chains_of(args.study, names),
                                                reference=reference)
        rows += more
        write_json(args.json, {"rows": rows, "summary": summaries, "frames": args.frames, "seed": args.seed})
    print("SNR in dB at 10% packet loss\n\n" + table(summaries, reference), flush=True)
    if args.plot:
        plot(rows, args.plot)
