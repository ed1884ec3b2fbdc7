# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure channel estimators beside their baselines and the genie: NMSE with intervals, time per estimate.

All see the same channels, pilots and noise; the noise variance is known. LMMSE, GMM and the profile of
sbl-trained-profile are trained on the channels that the scene's class was trained on; sbl is the textbook's,
which starts from equal power at all delays. us_per_estimate: one core,
batches of equal pilots; estimators in Python (lmmse, omp, gmm, genie) are timed in Python.

Studies: "pilots", all of the above over patterns and SNR; "extrapolation", from the lower part of the band to
the rest (estimator_extrapolation.py); "guidance", ways to bring few pilots into a diffusion model
(estimator_guidance.py); "csi", measured channels with averaged neighbours in the truth's place
(estimator_csi.py); "quantized", pilots of converters of 1 to 3 bits (estimator_quantized.py).

example:
    gr-diffusion evaluate estimator --data FOLDER --json estimator.json
    gr-diffusion evaluate estimator --data FOLDER --study extrapolation
    gr-diffusion evaluate estimator --data FOLDER --study csi
"""

import argparse
import time
from pathlib import Path

import numpy as np

from .. import metrics
from ..baselines import estimator as baselines
from ..cli.common import common_options, progress, write_json
from ..train import channels
from . import estimator_csi as csi
from . import estimator_extrapolation as extrapolation
from . import estimator_guidance as guidance
from . import estimator_quantized

CITIES = Path(__file__).with_name("cities")  # ray-traced, for tests only: see its README
PATTERNS = ("irregular-16", "irregular-8", "irregular-4", "comb-4", "comb-8", "block-16", "all")


def pattern_name(text):
    kind, _, number = text.partition("-")
    if text != "all" and not (kind in ("irregular", "comb", "block") and number.isdigit() and int(number)):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no pilot pattern, use irregular-N, comb-N, block-N or all"
        )
    return text


def add_arguments(parser):
    parser.add_argument(
        "--model", action="append", metavar="NAME", help="model(s) (the shipped ones for these carriers)"
    )
    parser.add_argument(
        "--study", choices=["pilots", "extrapolation", "csi", "guidance", "quantized"], default="pilots",
        help="what to measure (pilots)"
    )
    parser.add_argument("--carriers", type=int, default=64, help="carriers of the OFDM symbol (64)")
    parser.add_argument("--data", help="folder with ray-traced files; none: synthetic scenes only")
    parser.add_argument(
        "--held-out", type=int, nargs="*", default=[4], help="masts that the models never saw (4)"
    )
    parser.add_argument("--frames", type=int, default=300, help="channels a scene (300)")
    parser.add_argument(
        "--patterns",
        nargs="+",
        default=list(PATTERNS),
        type=pattern_name,
        metavar="KIND-N",
        help="irregular-N (pilots), comb-N (every Nth), block-N (pilots), all (" + " ".join(PATTERNS) + ")",
    )
    parser.add_argument(
        "--snr", type=float, nargs="+", default=[0, 10, 20, 30], help="SNR in dB (0 10 20 30)"
    )
    parser.add_argument("--only", nargs="+", help="estimators to run (all)")
    parser.add_argument("--scenes", nargs="+", help="scenes to run (all)")
    parser.add_argument("--gmm", type=int, default=64, help="components of the GMM (64)")
    parser.add_argument(
        "--training", type=int, default=6000, help="channels that the baselines train on (6000)"
    )
    parser.add_argument("--plot", metavar="FILE", help="picture of NMSE over SNR (.png, .svg, .pdf)")
    parser.add_argument("--markdown", metavar="FILE", help="the table for a document")
    common_options(parser)


class Scene:
    """Test channels h, training channels, and where the law is known each channel's covariance."""

    def __init__(self, name, h, training, genie=None, seen=""):
        self.name, self.h, self.training, self.genie, self.seen = name, h, training, genie, seen


def scenes(args, rng):
    n, m, carriers = args.frames, args.training, args.carriers
    decay = np.asarray(channels.MIXTURE_DECAYS)[rng.integers(3, size=n)]
    k = np.arange(carriers)
    taps = np.arange(max(16, carriers // 4))
    f = np.exp(-2j * np.pi * np.outer(k - carriers // 2, taps) / carriers)
    power = np.exp(-taps / decay[:, None])
    h = channels.exponential(rng, n, carriers, decay)
    # unit power is per channel; the law of the normalised channel is that of the profile to first order
    genie = None
    if carriers <= 128:  # a covariance for each channel: too large beyond
        genie = np.einsum("ct,nt,dt->ncd", f, power / power.sum(1, keepdims=True), f.conj())
    out = [Scene("exponential-mixture", h, channels.mixture(rng, m, carriers), genie, "same laws, new draws")]
    training = channels.sparse(rng, m, carriers)
    if args.data:
        traced = channels.RayTraced(args.data, held_out=tuple(args.held_out))
        training = np.concatenate([traced.draw(rng, m // 2, carriers), training[: m - m // 2]])
        for name, test in traced.unseen(rng, carriers).items():
            out.append(
                Scene(
                    f"{name}-unseen-mast",
                    test[rng.permutation(len(test))[:n]],
                    training,
                    seen="city seen from other masts",
                )
            )
    for name, test in cities(carriers).items():
        pick = np.random.default_rng(args.seed).permutation(len(test))[:n]
        out.append(Scene(name, test[pick], training, seen="city never seen"))
    out.append(
        Scene("synthetic-city", channels.unseen_city(rng, n, carriers), training, seen="law never seen")
    )
    return out


def cities(carriers):
    """{name: channels (n, carriers)} of the ray-traced cities that nothing was trained on."""
    out = {}
    for file in sorted(CITIES.glob("siso_*.npz")) if carriers == 64 else []:
        with np.load(file) as f:
            pairs = f["h"].astype(np.float32)
        name = f"{file.stem[5:]}-unseen-city".replace("_", "-")
        out[name] = channels.unit_power(pairs[..., 0] + 1j * pairs[..., 1])
    return out


def patterns(name, rng, carriers, groups):
    """One pilot set for each group of frames."""
    kind, _, number = name.partition("-")
    if kind == "irregular":
        return [np.sort(rng.permutation(carriers)[: int(number)]) for _ in range(groups)]
    if kind == "comb":
        return [np.arange(0, carriers, int(number))] * groups
    if kind == "block":
        return [np.arange(int(number)) + rng.integers(carriers - int(number) + 1) for _ in range(groups)]
    return [np.arange(carriers)] * groups


_mixtures = {}  # training set and size: one mixture serves all scenes with the same training


def mixture_of(args, training):
    key = (id(training), args.gmm)
    if key not in _mixtures:
        _mixtures[key] = baselines.Gmm(training, args.gmm, seed=args.seed)
    return _mixtures[key]


def estimators(args, scene, models):
    carriers = scene.h.shape[1]
    grid = baselines.diffusion.pilot_estimator("sbl", carriers).grid
    profile = baselines.delay_profile(scene.training, grid)
    made = {
        "ls": lambda: baselines.native("ls", carriers),
        "lmmse": lambda: baselines.Lmmse(scene.training),
        "lmmse-shrunk": lambda: baselines.Lmmse(scene.training, True),
        "omp": lambda: baselines.Omp(carriers),
        "nomp": lambda: baselines.native("nomp", carriers),
        "sbl": lambda: baselines.native("sbl", carriers, np.ones(grid)),
        "sbl-trained-profile": lambda: baselines.native("sbl", carriers, profile),
        f"gmm{args.gmm}": lambda: mixture_of(args, scene.training),
    }
    if scene.genie is not None:
        made["genie"] = lambda: baselines.Genie(scene.genie)
    made.update({name: (lambda name=name: baselines.native("diffusion", 0, model=name)) for name in models})
    return {k: f() for k, f in made.items() if not args.only or k in args.only}


def draws(scene, pattern, snr_db, seed, groups):
    """[(frames, pilots, noise)] of one scene, pattern and SNR, the same for every estimator."""
    rng = np.random.default_rng([seed, hash_of(scene.name), hash_of(pattern), int(10 * snr_db) + 1000])
    parts = np.array_split(np.arange(len(scene.h)), groups)
    sets = patterns(pattern, rng, scene.h.shape[1], groups)
    scale = np.sqrt(10 ** (-snr_db / 10))
    return [(p, s, scale * channels.rayleigh(rng, (len(p), len(s)))) for p, s in zip(parts, sets)]


def nmse(error, h, seed):
    """(NMSE in dB, its 95% interval's ends) of squared errors summed over each frame, in parts."""
    return interval_of(seed)(np.stack([np.concatenate(error), np.sum(np.abs(h) ** 2, 1)], 1))


def measure(scene, made, pattern, snr_db, seed, groups=10, study="pilots"):
    """Rows of one scene, pattern and SNR; paired: every estimator sees the same y."""
    noise_var = 10 ** (-snr_db / 10)
    drawn = draws(scene, pattern, snr_db, seed, groups)
    rows = []
    for name, estimate in made.items():
        error, elapsed, believed = [], [], []
        for part, pilots, n in drawn:
            h = scene.h[part]
            y = (h[:, pilots] + n).astype(np.complex64)
            own = baselines.Genie(scene.genie[part]) if name == "genie" else estimate
            start = time.perf_counter()
            found = own(y, pilots, noise_var)
            elapsed.append((time.perf_counter() - start) / len(part))
            error.append(np.sum(np.abs(found - h) ** 2, 1))
            if hasattr(own, "err_var"):
                believed.append(np.sum(own.err_var, 1))
        nmse_db, low, high = nmse(error, scene.h, seed)
        rows.append(
            {
                "study": "ofdm" if study == "pilots" else study,
                "scene": scene.name,
                "pilots": pattern,
                "bits": None,
                "snr_db": snr_db,
                "estimator": name,
                "nmse_db": nmse_db,
                "nmse_db_low": low,
                "nmse_db_high": high,
                "us_per_estimate": 1e6 * float(np.median(elapsed)),
                "frames": len(scene.h),
                "believed_over_actual": (
                    float(np.concatenate(believed).sum() / np.concatenate(error).sum()) if believed else None
                ),
            }
        )
    return rows


def hash_of(text):
    import zlib

    return zlib.crc32(text.encode())


def level(snr_db):
    return "as measured" if snr_db is None else f"{snr_db:g}"


def table(rows, markdown=False):
    """One line for each scene, pattern and SNR; the best that is no genie is marked in Markdown."""
    names = list(dict.fromkeys(r["estimator"] for r in rows))
    lines = []
    if markdown:
        lines += [
            "| scene | pilots | SNR dB | " + " | ".join(names) + " |",
            "| --- " * (3 + len(names)) + "|",
        ]
    else:
        lines.append(f"{'scene':22s}{'pilots':14s}{'SNR':>4s}  " + "".join(f"{n[-14:]:>15s}" for n in names))
    for key in dict.fromkeys((r["scene"], r["pilots"], r["snr_db"]) for r in rows):
        values = {r["estimator"]: r["nmse_db"] for r in rows if (r["scene"], r["pilots"], r["snr_db"]) == key}
        best = min(v for k, v in values.items() if k != "genie")
        if markdown:
            text = [
                (
                    f"**{values[n]:.1f}**"
                    if n in values and values[n] <= best and n != "genie"
                    else f"{values[n]:.1f}" if n in values else "-"
                )
                for n in names
            ]
            lines.append(f"| {key[0]} | {key[1]} | {level(key[2])} | " + " | ".join(text) + " |")
        else:
            lines.append(
                f"{key[0]:22s}{key[1]:14s}{level(key[2]):>4s}  "
                + "".join(f"{values[n]:15.2f}" if n in values else f"{'-':>15s}" for n in names)
            )
    return "\n".join(lines)


def plot(rows, path):
    """NMSE over SNR with 95% intervals, one panel for each scene and pattern."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    places = list(dict.fromkeys(r["scene"] for r in rows))
    kinds = list(dict.fromkeys(r["pilots"] for r in rows))
    names = list(dict.fromkeys(r["estimator"] for r in rows))
    fig, axes = plt.subplots(
        len(kinds), len(places), figsize=(3.4 * len(places), 2.6 * len(kinds)), squeeze=False, sharex=True
    )
    for i, kind in enumerate(kinds):
        for j, place in enumerate(places):
            for c, name in enumerate(names):
                line = [r for r in rows if (r["scene"], r["pilots"], r["estimator"]) == (place, kind, name)]
                if line:
                    x, y = [r["snr_db"] for r in line], [r["nmse_db"] for r in line]
                    band = [
                        [a - r["nmse_db_low"] for a, r in zip(y, line)],
                        [r["nmse_db_high"] - a for a, r in zip(y, line)],
                    ]
                    ours = name.startswith("ce-")
                    axes[i, j].errorbar(
                        x,
                        y,
                        np.abs(band),
                        label=name,
                        color="k" if name == "genie" else f"C{c}",
                        lw=2.2 if ours else 1,
                        ls=":" if name == "genie" else "-",
                        marker="o" if ours else ".",
                    )
            axes[i, j].set_ylim(bottom=max(axes[i, j].get_ylim()[0], -40), top=2)
            axes[i, j].grid(alpha=0.3)
            if i == 0:
                axes[i, j].set_title(place, fontsize=10)
            if j == 0:
                axes[i, j].set_ylabel(f"{kind}\nNMSE dB", fontsize=9)
            if i == len(kinds) - 1:
                axes[i, j].set_xlabel("SNR dB")
    handles = {}
    for a in axes.flat:
        handles.update({label: h for h, label in zip(*a.get_legend_handles_labels())})
    height = 2.6 * len(kinds)
    fig.legend(handles.values(), handles.keys(), loc="lower center", ncol=6, fontsize=9)
    fig.tight_layout(rect=(0, 0.55 / height, 1, 1))
    fig.savefig(path, dpi=110)


def interval_of(seed):
    """pairs (frames, 2) of error and power -> NMSE in dB and its 95% interval."""

    def interval(pairs):
        ratio = lambda p: 10 * np.log10(p[:, 0].sum() / p[:, 1].sum())
        return (float(ratio(pairs)), *metrics.bootstrap(pairs, ratio, resamples=200, seed=seed))

    return interval


def measured_csi(args, models):
    """Rows of the study "csi"; what learns has the training channels of the networks."""
    rng = np.random.default_rng(args.seed)
    training = channels.sparse(rng, args.training // 2, 64)
    training = np.concatenate([channels.RayTraced(args.data).draw(rng, args.training // 2, 64), training])
    scene = Scene("intel5300", np.zeros((1, 64), np.complex64), channels.shifted(rng, training))
    return csi.rows(args, estimators(args, scene, models), interval_of(args.seed))


def run(args):
    rng = np.random.default_rng(args.seed)
    models = args.model or [
        m.name
        for m in baselines.diffusion.models()
        if m.task == "estimator" and m.name.split("-")[1] == f"ofdm{args.carriers}"
    ]
    rows, notes = [], {}
    if args.study == "quantized":
        chosen = [s for s in scenes(args, rng) if not args.scenes or s.name in args.scenes]
        return estimator_quantized.run(args, chosen)
    if args.study == "csi":
        rows = measured_csi(args, models)
        print(table(rows), flush=True)
    for scene in scenes(args, rng) if args.study != "csi" else []:
        if args.scenes and scene.name not in args.scenes:
            continue
        if args.study == "guidance":
            made = guidance.estimators(mixture_of(args, scene.training), args.carriers, models)
            made = {k: f for k, f in made.items() if not args.only or k in args.only}
        else:
            made = estimators(args, scene, models)
        notes[scene.name] = scene.seen
        for name in made:
            if name.startswith("gmm"):
                steps = made[name].likelihoods
                notes["gmm"] = f"{len(steps)} EM iterations, last gain {steps[-1] - steps[-2]:.3f} nat"
        if args.study == "extrapolation":
            made.pop("genie", None)
            for snr_db in progress(args.snr, desc=scene.name):
                rows += extrapolation.rows(scene, made, snr_db, args.seed, interval_of(args.seed))
        for pattern in progress(args.patterns,
                                desc=scene.name) if args.study in ("pilots", "guidance") else []:
            for snr_db in args.snr:
                rows += measure(scene, made, pattern, snr_db, args.seed, study=args.study)
        print(table([r for r in rows if r["scene"] == scene.name]), flush=True)
    if args.markdown:
        with open(args.markdown, "w") as f:
            f.write(table(rows, markdown=True) + "\n")
    if args.plot:
        plot(rows, args.plot)
    write_json(
        args.json,
        {
            "rows": rows,
            "notes": notes,
            "models": models,
            "settings": {k: v for k, v in vars(args).items() if k != "json"},
        },
    )
