# SPDX-License-Identifier: GPL-3.0-or-later
"""Study "fit": what `fit receiver` makes of random radio pairs that training never saw.

Links are drawn by train/hardware.py under seeds of this study's own, SNR 8 to 32 dB, 16-QAM, noise variance not told.
Every receiver gets the same known symbols and demaps the same fresh ones. Figures are means over the links, with
bootstrap intervals over the links; "worse" counts links where a receiver makes significantly more bit errors than the
linear one (paired, 95%), "lost" the largest loss of GMI against it.
"""
import numpy as np
from gnuradio import diffusion

from .. import capture, guarded_fit, metrics
from ..baselines import receiver as baselines
from ..cli.common import progress
from ..train import hardware

KNOWN = (50, 500, 5000)
LINKS, QUICK_LINKS = 40, 6
TITLES = {"linear": "linear", "widely-linear": "widely linear + cubic", "class-gaussian": "class-conditional Gaussian",
          "in-context": "in-context network", "fit": "`fit receiver`", "fit-more": "the same, adapting to what it receives"}


def widely_linear(points, index, seen, noise_var, y):
    """Log-likelihoods after a widely-linear and cubic post-distorter fitted by least squares (slightly ridged)."""
    basis = lambda v: np.stack([v, np.conj(v), np.ones_like(v), v * np.abs(v) ** 2, np.conj(v) * np.abs(v) ** 2], 1)
    a, x = basis(seen.astype(complex)), points[index]
    w = np.linalg.solve(a.conj().T @ a + 2 * noise_var * np.eye(5), a.conj().T @ x + 2 * noise_var * np.eye(5)[0])
    error = np.mean(np.abs(a @ w - x) ** 2) * len(x) / max(1, len(x) - 5)
    z = basis(y.astype(complex)) @ w
    return -np.abs(z[:, None] - points) ** 2 / max(error, 1e-6)


def receivers(rx, known, seen, in_context):
    """{name: function y -> LLRs}, and the fit."""
    points = rx.constellation
    noise = guarded_fit.estimate_noise(rx, points[known], seen)
    fit = guarded_fit.guarded(rx, capture.from_symbols(points[known], seen))
    out = {"linear": lambda y: baselines.bit_llr(baselines.lmmse_min_distance(points, known, seen, noise, y)),
           "widely-linear": lambda y: baselines.bit_llr(widely_linear(points, known, seen, noise, y)),
           "class-gaussian": lambda y: baselines.bit_llr(baselines.class_conditional(points, known, seen, noise, y)),
           "fit": lambda y: fit.receiver(y, fit.noise_var, adapt=False)[1],
           "fit-more": lambda y: fit.receiver(y, fit.noise_var)[1]}
    if in_context:
        out["in-context"] = lambda y: baselines.bit_llr(in_context(known, seen, noise, y))
    return out, fit


def one_link(rx, rng, n_known, n, in_context):
    """{receiver: (bit errors, GMI)}, whether the guard kept the fit, and paired error differences to linear."""
    points = rx.constellation
    hw, snr = hardware.draw(rng), rng.uniform(8, 32)
    seeds = [int(s) for s in rng.integers(2 ** 62, size=2)]
    known, index = rng.integers(0, points.size, n_known), rng.integers(0, points.size, n)
    seen, y = hw.transmit(points, known, snr, seeds[0]), hw.transmit(points, index, snr, seeds[1])
    bits = metrics.labels(rx.bits_per_symbol)[index]
    made, fit = receivers(rx, known, seen, in_context)
    llr = {name: f(y) for name, f in made.items()}
    wrong = {name: ((v > 0) != bits).sum(1) for name, v in llr.items()}
    row = {name: (int(wrong[name].sum()), metrics.gmi(bits, v)) for name, v in llr.items()}
    worse = {}
    for name in wrong:
        d = wrong[name].astype(float) - wrong["linear"]
        worse[name] = bool(d.mean() > 1.96 * d.std() / np.sqrt(d.size) and d.sum() > 0)
    return row, fit.kept, worse


def measure(links, n, known, seed, in_context=None, model="rx-qam16"):
    """Rows for each number of known symbols and receiver."""
    rx, rows = diffusion.Receiver(model), []
    bits = n * rx.bits_per_symbol
    for n_known in known:
        results = [one_link(rx, np.random.default_rng([seed, 0xF17, n_known, k]), n_known, n, in_context)
                   for k in progress(range(links), desc=f"{n_known} known symbols")]
        for name in results[0][0]:
            errors = np.array([r[0][name][0] for r in results]) / bits
            gmi = np.array([r[0][name][1] for r in results])
            base = np.array([r[0]["linear"][1] for r in results])
            ber_lo, ber_hi = metrics.bootstrap(errors, seed=seed)
            gain_lo, gain_hi = metrics.bootstrap(gmi - base, seed=seed)
            # 20 dB: the middle of the links'
            rows.append({"study": "fit", "setting": f"{n_known} known symbols, {links} random links, 8 to 32 dB",
                         "snr_db": 20.0, "known": n_known, "receiver": name, "ber": float(errors.mean()), "ber_lo": float(ber_lo),
                         "ber_hi": float(ber_hi), "gmi": float(gmi.mean()), "gain": float((gmi - base).mean()),
                         "gain_lo": float(gain_lo), "gain_hi": float(gain_hi),
                         "worse": sum(r[2][name] for r in results), "lost": float(max(0.0, (base - gmi).max())),
                         "links": links, "kept": sum(r[1] for r in results) if name == "fit" else None})
    return rows


def table(rows):
    lines = ["| known | receiver | BER [95%] | GMI | more than linear [95%] | links worse | largest loss |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        kept = f" ({r['kept']} kept)" if r["kept"] is not None else ""
        lines.append(f"| {r['known']} | {TITLES[r['receiver']]}{kept} | {r['ber']:.4f} [{r['ber_lo']:.4f}, {r['ber_hi']:.4f}] | "
                     f"{r['gmi']:.3f} | {r['gain']:+.3f} [{r['gain_lo']:+.3f}, {r['gain_hi']:+.3f}] | "
                     f"{r['worse']} of {r['links']} | {r['lost']:.3f} |")
    return "\n".join(lines)


def measure_study(args, names):
    """For evaluate receiver --study fit; --symbols: fresh ones of a link (10000)."""
    from ..baselines import in_context
    points = diffusion.Receiver("rx-qam16").constellation
    if getattr(args, "quick", False):
        rows = measure(QUICK_LINKS, args.symbols, args.known, args.seed)
        print(f"random hardware, 16-QAM, 8 to 32 dB, {QUICK_LINKS} links\n\n{table(rows)}")
        return rows
    print("training the in-context receiver (three minutes)", flush=True)
    demap = in_context.train(points, args.seed, log=lambda text: print(text, flush=True))
    rows = measure(LINKS, args.symbols or 10000, args.known or KNOWN, args.seed, demap)
    print(f"\nrandom hardware, 16-QAM, 8 to 32 dB\n\n{table(rows)}")
    return rows
