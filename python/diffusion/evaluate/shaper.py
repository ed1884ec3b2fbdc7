# SPDX-License-Identifier: GPL-3.0-or-later
"""Shaped constellations beside uniform, Maxwell-Boltzmann, Blahut-Arimoto and capacity.

Studies: awgn (16-, 64-, 256-QAM), impaired (64-QAM through PA, phase noise and ADC), length (rate loss of
the matcher), literature (16- and 64-QAM: noise at the link's SNR, reverse process, histogram; AWGN and
Laplacian noise), coded (what arrives: amplitude shaping around an LDPC code against uniform with the best
code), blackbox (the pmf found from samples of a link alone, judged by its law), geometric (trained points,
with and without a pmf, AWGN), points (points and pmf together on the impaired link), speed (of the matchers).
mi_bits: I(X;Y) by quadrature (Laplacian: Monte Carlo); net_rate: mi_bits less the rate loss of the matcher at
--block symbols, what an ideal code behind it would deliver.

example:
    gr-diffusion evaluate shaper --json shaper.json --plots plots
    gr-diffusion evaluate shaper --study awgn --step 1
"""
import math
from pathlib import Path

import numpy as np

MODELS = {"qam16": 4, "qam64": 6, "qam256": 8}
STUDIES = ("awgn", "impaired", "length", "literature", "coded", "blackbox", "geometric", "points", "speed")


def add_arguments(parser):
    from ..cli.common import common_options

    parser.add_argument("--study", choices=STUDIES + ("papers",), action="append",
                        help="only this one (may be repeated); papers is literature")
    parser.add_argument("--step", type=float, default=0.1, metavar="DB", help="SNR grid of study awgn (0.1)")
    parser.add_argument("--block", type=int, default=4096, help="symbols per block of the matcher (4096)")
    parser.add_argument("--words", type=int, default=200, help="code words at each SNR of study coded (200)")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write plots of pmfs and rates there")
    common_options(parser)


def rate_loss(pmf, class_of, length):
    """Bits per symbol that blocks of that length lose, for a pmf (M,) constant over classes."""
    from .. import quantize_composition, shaping_code

    return shaping_code(class_of, quantize_composition(np.bincount(class_of, pmf), length)).rate_loss


def row(study, setting, snr_db, scheme, mi, best, loss=0.0, **more):
    return {"study": study, "setting": setting, "snr_db": round(float(snr_db), 2), "scheme": scheme,
            "mi_bits": float(mi), "percent_of_ba": 100 * float(mi) / best if best else None,
            "net_rate": float(mi - loss), **more}


def awgn(step, block):
    """Rows of every scheme at every SNR of the grid."""
    from .. import Shaper
    from ..baselines import shaper as baseline
    from ..cli.common import progress
    from ..square_grid import orbits, rail_levels

    rows = []
    for name, bits in MODELS.items():
        model = Shaper(f"ps-{name}", block)
        levels = rail_levels(1 << bits // 2)
        class_of = orbits(model.constellation)[0].astype(np.uint8)
        low, high = model.snr_db
        for snr in progress(np.arange(low, high + step / 2, step), desc=f"awgn {name}"):
            best, rail, gap = baseline.blahut_arimoto_awgn(levels, snr)
            boltzmann, rail_mb = baseline.maxwell_boltzmann(levels, snr)
            grid = lambda p: np.outer(p, p).ravel()
            pmf = model.pmf(snr)
            mi = baseline.mi_awgn_square(levels, pmf.reshape(levels.size, -1), snr)
            add = lambda *a, **k: rows.append(row("awgn", name, snr, *a, **k))
            add("uniform", baseline.mi_uniform(levels, snr), best)
            add("maxwell-boltzmann", boltzmann, best, rate_loss(grid(rail_mb), class_of, block))
            add("blahut-arimoto", best, best, rate_loss(grid(rail), class_of, block), gap_bits=gap)
            add("diffusion", mi, best, model.code(snr).rate_loss)
            add("capacity", baseline.capacity(snr), best)
    return rows


def impaired(block, snrs=(10, 12, 15, 17, 20), phases=(0, 3, 6), bits=(3, 4, 5, 6)):
    """64-QAM through the impaired link, each scheme at its best drive (the model at the one it names)."""
    from .. import Shaper
    from ..baselines.shaper_impaired import ImpairedLink
    from ..cli.common import progress
    from ..square_grid import orbits

    model = Shaper("ps-qam64", block)
    class_of = orbits(model.constellation)[0].astype(np.uint8)
    states = [(s, p, b) for p in phases for b in bits for s in snrs]
    rows = []
    for snr, phase, adc in progress(states, desc="impaired"):
        link = ImpairedLink(snr, phase, adc)
        setting = f"qam64 phase {phase} deg, ADC {adc} bits"
        best, pmf, drive, gap = link.best()
        add = lambda *a, **k: rows.append(row("impaired", setting, snr, *a, **k))
        uniform = link.uniform()
        add("uniform", uniform[0], best, drive=uniform[2])
        mb = link.maxwell_boltzmann()
        add("maxwell-boltzmann", mb[0], best, rate_loss(mb[1], class_of, block), drive=mb[2])
        # Four-fold symmetry only: classes of four.
        quarter = np.unique(np.round(pmf, 12), return_inverse=True)[1]
        add("blahut-arimoto", best, best, rate_loss(pmf, _pow2(quarter), block), drive=drive, gap_bits=gap)
        hardware = {"phase_noise_deg": phase, "adc_bits": adc}
        drive = float(np.abs(model.points(snr, hardware)[0] / model.constellation[0]))
        add("diffusion", link.information(model.pmf(snr, hardware), drive), best,
            model.code(snr, hardware).rate_loss, drive=drive)
        plain = model.pmf(snr)
        drive = link._best_drive(lambda d: link.information(plain, d))
        add("diffusion, hardware unknown", link.information(plain, drive), best, model.code(snr).rate_loss,
            drive=drive)
    return rows


def _pow2(groups):
    """Classes with a power of two of members: those of another size fall apart into single symbols."""
    out, following = np.empty(groups.size, np.uint8), 0
    for g in np.unique(groups):
        at = np.flatnonzero(groups == g)
        single = at.size & (at.size - 1) != 0
        out[at] = following + (np.arange(at.size) if single else 0)
        following += at.size if single else 1
    return out


def length(lengths=(64, 128, 256, 512, 1024, 2048, 4096, 8192)):
    """What finite blocks cost, 12 dB (16-QAM: 8 dB, 256-QAM: 17 dB) AWGN."""
    from .. import Shaper
    from ..baselines import shaper as baseline
    from ..square_grid import rail_levels

    rows = []
    for name, snr in (("qam16", 8.0), ("qam64", 12.0), ("qam256", 17.0)):
        levels = rail_levels(1 << MODELS[name] // 2)
        best = baseline.blahut_arimoto_awgn(levels, snr)[0]
        for n in lengths:
            for scheme, matcher in (("diffusion", "ccdm"), ("diffusion, spheres", "ess")):
                code = Shaper(f"ps-{name}", n, matcher).code(snr)
                mi = baseline.mi_awgn_square(levels, code.pmf.reshape(levels.size, -1), snr)
                rows.append(row("length", f"{name} block {n}", snr, scheme, mi, best, code.rate_loss,
                                rate_loss=code.rate_loss))
        uniform = baseline.mi_uniform(levels, snr)
        rows.append(row("length", f"{name} unshaped", snr, "uniform", uniform, best))
    return rows


def speed(seed, lengths=(64, 1024, 8192), seconds=0.3):
    """[{matcher, classes, length, encode and decode in Msym/s}] of the matcher alone, one thread, CPU time,
    best of the runs."""
    import time
    from .. import distribution_matcher, quantize_composition, sphere_matcher

    rng, out = np.random.default_rng(seed), []
    for kind, classes in (("ccdm", 3), ("ccdm", 10), ("ccdm", 36), ("ccdm", 256), ("ess", 4), ("ess", 16),
                          ("ess", 64)):
        for n in lengths:
            if kind == "ccdm":
                pmf = np.exp(-3 * np.linspace(0, 1, classes) ** 2)
                matcher = distribution_matcher(quantize_composition(pmf, n))
            else:  # one quadrant of 16-, 64-, 256-QAM
                side = np.arange(math.isqrt(classes)) * (np.arange(math.isqrt(classes)) + 1) // 2
                energy = np.add.outer(side, side).ravel()
                matcher = sphere_matcher.of(np.exp(-3 * energy / energy.max()), n, energy.tolist())
            bits = rng.integers(0, 2, max(1, 200000 // n) * matcher.bits, dtype=np.uint8)
            symbols, best = matcher.match(bits), {}
            for name, f, x in (("encode", matcher.match, bits), ("decode", matcher.dematch, symbols)):
                end, runs = time.thread_time() + seconds / 2, []
                while not runs or time.thread_time() < end:
                    start = time.thread_time()
                    f(x)
                    runs.append(time.thread_time() - start)
                best[f"{name}_msym_s"] = symbols.size / min(runs) / 1e6
            out.append({"matcher": kind, "classes": classes, "length": n, **best})
            print(f"{kind}: {classes} symbols, blocks of {n}: encode {best['encode_msym_s']:.1f}, "
                  f"decode {best['decode_msym_s']:.1f} Msym/s")
    return out


def gain_db(rows, scheme="diffusion"):
    """{setting: {snr: dB}}: how much more SNR uniform needs for the scheme's net rate (AWGN)."""
    gains = {}
    for name in MODELS:
        mine = {r["snr_db"]: r["net_rate"] for r in rows
                if r["study"] == "awgn" and r["setting"] == name and r["scheme"] == scheme}
        uniform = sorted((r["snr_db"], r["net_rate"]) for r in rows
                         if r["study"] == "awgn" and r["setting"] == name and r["scheme"] == "uniform")
        if not uniform:
            continue
        x, y = np.array(uniform).T
        keep = np.concatenate([[True], np.diff(y) > 1e-9])
        gains[name] = {s: float(np.interp(v, y[keep], x[keep]) - s) for s, v in mine.items()
                       if y[0] < v < 0.999 * y[-1] and s < x[-1] - 2}
    return gains


def summary(rows):
    """Worst cases over the grids, for the table and the card."""
    out = {}
    for name in MODELS:
        at = lambda scheme: {r["snr_db"]: r["mi_bits"] for r in rows if r["study"] == "awgn"
                             and r["setting"] == name and r["scheme"] == scheme}
        mi, best, uniform = at("diffusion"), at("blahut-arimoto"), at("uniform")
        if mi:
            out[f"awgn {name}"] = {
                "points": len(mi),
                "percent_of_ba_min": min(100 * mi[s] / best[s] for s in mi),
                "percent_of_shaping_gain_min": min(100 * (mi[s] - uniform[s]) / (best[s] - uniform[s])
                                                   for s in mi if best[s] - uniform[s] > 0.02)}
    hard = {}
    for r in rows:
        if r["study"] == "impaired":
            hard.setdefault((r["setting"], r["snr_db"]), {})[r["scheme"]] = r["mi_bits"]
    if hard:
        over = {k: 100 * (v["diffusion"] / v["maxwell-boltzmann"] - 1) for k, v in hard.items()}
        band = [over[k] for k in hard if 15 <= k[1] <= 20]
        out["impaired qam64"] = {
            "links": len(hard),
            "percent_of_ba_min": min(100 * v["diffusion"] / v["blahut-arimoto"] for v in hard.values()),
            "percent_over_maxwell_boltzmann_min": min(over.values()),
            "percent_over_maxwell_boltzmann_15_to_20_db": [min(band), float(np.median(band)), max(band)]}
    gains = gain_db(rows)
    for name, gain in gains.items():
        out[f"net gain {name}"] = {"max_db": max(gain.values()),
                                   **{f"at_{s}_db": round(gain[s], 3)
                                      for s in (8.0, 10.0, 12.0, 14.0, 16.0, 18.0)
                                      if s in gain}}
    return out


def run(args):
    from ..cli.common import write_json

    studies = args.study or STUDIES
    rows = []
    if "awgn" in studies:
        rows += awgn(args.step, args.block)
    if "impaired" in studies:
        rows += impaired(args.block)
    if "length" in studies:
        rows += length()
    if "literature" in studies or "papers" in studies:
        from .shaper_literature import literature
        rows += literature(args.seed)
    if "coded" in studies:
        from .shaper_coded import SETTINGS, coded, show as show_coded
        rows += coded(args.seed, args.words, SETTINGS)
        show_coded(rows)
    if "blackbox" in studies:
        from .shaper_blackbox import blackbox
        rows += blackbox(args.seed)
        for r in rows:
            if "reason" in r:
                print(f"{r['setting']} {r['snr_db']} dB: {r['reason']}")
    if "geometric" in studies:
        from .shaper_autoencoder import geometric
        rows += geometric(args.seed)
    if "points" in studies:
        from .shaper_free import free_points
        rows += free_points()
    found = summary(rows)
    show(rows)
    for name, values in found.items():
        print(f"{name}: " + ", ".join(f"{k} {_text(v)}" for k, v in values.items()))
    write_json(args.json, {"rows": rows, "summary": found, "block": args.block, "seed": args.seed,
                           "speed": speed(args.seed) if "speed" in studies else None})
    if args.plots:
        from .shaper_plots import plots
        for path in plots(rows, args.plots):
            print(f"wrote {path}")


def _text(v):
    return " / ".join(f"{x:.3f}"
                      for x in v) if isinstance(v, list) else f"{v:.3f}" if isinstance(v, float) else v


def show(rows):
    """A table a study: one line a setting and SNR (whole multiples of 5 dB in AWGN), schemes side by side."""
    for study in STUDIES:
        mine = [r for r in rows if r["study"] == study and r["mi_bits"] is not None]
        schemes = list(dict.fromkeys(r["scheme"] for r in mine))
        lines = {}
        for r in mine:
            if study == "awgn" and not math.isclose(r["snr_db"] % 5, 0, abs_tol=1e-6):
                continue
            lines.setdefault((r["setting"], r["snr_db"]), {})[r["scheme"]] = r
        if lines:
            value = "net_rate" if study == "length" else "mi_bits"
            print(f"\n{study} ({value})\n{'setting':<34}{'SNR dB':>7}  " +
                  "  ".join(f"{s:>17}" for s in schemes))
        for (setting, snr), cells in lines.items():
            print(f"{setting:<34}{snr:>7.1f}  " + "  ".join(
                f"{cells[s][value]:>17.4f}" if s in cells else " " * 17 for s in schemes))
    print()
