# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the guard of denoiser_cc and soft_demapper_cf: false alarms, what it catches, and how soon.

False alarms: S1 and S2 at -10 to 35 dB without an ADC and with 1 to 5 bits, fitted from 500 known symbols; random
links (train/hardware.py) fitted from 300; ideal and mild random links not fitted. Half of the runs are told the noise variance. A run
is 20 blocks of 512 symbols; an alarm needs three bad ones in a row.
Caught: 16000 to 20000 good symbols, then 24576 of what the model was not made for: other constellations, noise levels
outside training, broken AGC, lost synchronisation, no signal. Delay: symbols from there to the alarm (median, 90%), with
a test every 4096 symbols, as a block that is not short of time has it. The guard never sees what was sent. Beside it for
another constellation: the symbols that a likelihood-ratio test would need which knows both laws, but for the noise level of
the model's (1 in 1000 false, 95% caught).

example:
    gr-diffusion evaluate guard --json guard.json
"""
import dataclasses

import numpy as np
from gnuradio import diffusion

from .. import metrics
from ..cli.common import common_options, progress, write_json
from ..train import hardware

MODELS = ("bpsk", "qpsk", "qam16", "qam64", "qam256")
RUN = 20          # blocks
TO_ALARM = 3
TAIL = 48 * 512      # symbols of a fault


def add_arguments(parser):
    parser.add_argument("--runs", type=int, default=40, metavar="N",
                        help="runs a row; half as many where faults are caught (40)")
    common_options(parser)


def trained_range(rx):
    """SNR range that the guard holds a receiver to: training's, where the network decides (guard_stage.cc)."""
    return rx.snr_db if rx.choice in ("ideal", "network") else (-200.0, 200.0)


def bad_blocks(law, snr_db, y, noise_var=None):
    """Reasons of the blocks of y ('' for a good one), each judged by itself."""
    guard = diffusion.input_guard(law, snr_db)
    given = noise_var
    if noise_var is None:
        given = diffusion.estimate_noise_var(law, np.asarray(y[:20000], np.complex64))
    guard.set_noise_var(given, noise_var is not None)
    n = guard.block
    return [guard.test(np.ascontiguousarray(y[at:at + n], np.complex64))["reason"]
            for at in range(0, len(y) - n + 1, n)]


def alarms(reasons):
    """The reason of the first alarm, or ''."""
    in_row = 0
    for reason in reasons:
        in_row = in_row + 1 if reason else 0
        if in_row == TO_ALARM:
            return reason
    return ""


def noisy(points, snr_db, n, rng):
    x = np.asarray(points)[rng.integers(0, len(points), n)]
    return (x + rng.standard_normal((n, 2)) @ [1, 1j] * 10 ** (-snr_db / 20) / np.sqrt(2)).astype(np.complex64)


def row_of(case, kind, outcomes, delays=(), **more):
    """A row: how many runs raised an alarm, with the reasons and the delays of those that did."""
    n, hit = len(outcomes), sum(bool(o) for o in outcomes)
    low, high = metrics.wilson(hit, n)
    delay = [float(np.quantile(delays, q)) for q in (0.5, 0.9)] if len(delays) else [None, None]
    return {"study": "guard", "case": case, "kind": kind, **more, "runs": n, "alarms": hit, "rate": hit / n,
            "rate_lo": low, "rate_hi": high, "delay": delay[0], "delay_90": delay[1],
            "reasons": sorted({o for o in outcomes if o})}


def fitted_run(rx, hw, snr, known, said, rng):
    """The reason of an alarm on good input, or ''."""
    points, noise = rx.constellation, hw.noise_var(snr)
    send = lambda n: rng.integers(0, points.size, n)
    over = lambda index: hw.transmit(points, index, snr, int(rng.integers(2 ** 62)))
    index = send(known)
    fit = rx.fit(points[index], over(index), noise)
    return alarms(bad_blocks(fit.law, trained_range(fit), over(send(RUN * 512)), noise if said else None))


def false_alarms(links=100, seed=1, least_bits=1):
    """Random links fitted from 300 known symbols: a row."""
    rng, outcomes = np.random.default_rng([seed, 7]), []
    for k in progress(range(links), desc="random hardware"):
        hw = hardware.draw(rng, least_bits=least_bits)
        rx = diffusion.Receiver(f"rx-{MODELS[k % 4]}")
        outcomes.append(fitted_run(rx, hw, rng.uniform(0, 32), 300, k % 2, rng))
    return row_of("random hardware, fitted from 300 known symbols", "false alarm", outcomes, setting="random")


def reference_rows(runs, seed):
    """S1 and S2, all bits, and all of them together; Laplacian noise, which nothing was fitted to, apart."""
    rows = []
    for law in ("gaussian", "laplacian"):
        kind, all_of = ("false alarm" if law == "gaussian" else "out of distribution, harmless"), []
        for setting in ("S1", "S2"):
            for bits in (0, 1, 2, 3, 4, 5):
                hw, outcomes = dataclasses.replace(hardware.REFERENCE[setting], bits=bits, law=law), []
                rng = np.random.default_rng([seed, bits, setting == "S2", law == "laplacian"])
                name = f"{setting}, {f'{bits}-bit ADC' if bits else 'no ADC'}"
                for k in progress(range(runs), desc=f"{name}, {law}"):
                    rx = diffusion.Receiver(f"rx-{MODELS[k % 5]}")
                    outcomes.append(fitted_run(rx, hw, rng.uniform(-10, 35), 500, (k // 5) % 2, rng))
                all_of += outcomes
                if law == "gaussian":
                    rows.append(row_of(name, kind, outcomes, setting=setting, adc_bits=bits))
        name = "S1 and S2, all of these" if law == "gaussian" else "S1 and S2, all of these, Laplacian noise"
        rows.append(row_of(name, kind, all_of, setting="S1, S2", noise=law))
    return rows


def ideal_rows(runs, seed):
    """Not fitted, no hardware."""
    rows, rng = [], np.random.default_rng([seed, 11])
    for model in MODELS:
        rx, outcomes = diffusion.Receiver(f"rx-{model}"), []
        for k in range(runs):
            snr = rng.uniform(-10, 35)
            y = noisy(rx.constellation, snr, RUN * 512, rng)
            outcomes.append(alarms(bad_blocks(rx.law, rx.snr_db, y, 10 ** (-snr / 10) if k % 2 else None)))
        rows.append(row_of(f"no hardware, rx-{model} not fitted", "false alarm", outcomes, setting="ideal",
                           model=f"rx-{model}"))
    return rows


def mild_row(runs, seed):
    """Random hardware, bent a third as much as fits are made for, not fitted."""
    rng, outcomes = np.random.default_rng([seed, 12]), []
    for k in progress(range(runs), desc="mild hardware"):
        hw, rx = dataclasses.replace(hardware.draw(rng, warp=0.3), bits=0), diffusion.Receiver(f"rx-{MODELS[k % 5]}")
        snr = rng.uniform(-10, 35)
        y = hw.transmit(rx.constellation, rng.integers(0, rx.constellation.size, RUN * 512), snr, int(rng.integers(2 ** 62)))
        outcomes.append(alarms(bad_blocks(rx.law, rx.snr_db, y, hw.noise_var(snr) if (k // 5) % 2 else None)))
    return row_of("mild random hardware, not fitted", "false alarm", outcomes, setting="mild")


def needed_symbols(own, sent, snr_db, grid=96):
    """Of the likelihood-ratio test between both laws, `own` at the noise variance that is likeliest for what is sent; by
    integration over the plane, LLRs of many symbols being nearly Gaussian."""
    noise = 10 ** (-snr_db / 10)
    edge = np.abs(sent).max() + 4 * np.sqrt(noise)
    axis = np.linspace(-edge, edge, grid)
    z = (axis[:, None] + 1j * axis).ravel()

    def density(points, variance):
        p = sum(np.exp(-np.abs(z - c) ** 2 / variance) for c in points) / variance + 1e-300
        return p / p.sum()

    true = density(sent, noise) if len(sent) < 4096 else density([0], 1 + noise)
    levels = noise * 1.12 ** np.arange(int(np.log((1 + noise) / noise) / np.log(1.12)) + 1)
    model = max((density(own, v) for v in levels), key=lambda p: true @ np.log(p))
    ratio = np.log(true / model)
    mean = lambda p: p @ ratio
    spread = lambda p: np.sqrt(max(p @ ratio ** 2 - mean(p) ** 2, 0))
    return ((3.09 * spread(model) + 1.645 * spread(true)) / max(mean(true) - mean(model), 1e-9)) ** 2


def watch(rx, good, bad, noise_var):
    """(reason or '', delay) of a stream that turns bad; None where the good part raised it."""
    guard, n = diffusion.input_guard(rx.law, trained_range(rx)), diffusion.input_guard.block
    guard.set_sparing(False)
    good, bad = np.asarray(good, np.complex64), np.asarray(bad, np.complex64)
    guard.set_noise_var(noise_var or diffusion.estimate_noise_var(rx.law, good), noise_var is not None)
    guard.feed(good)
    if guard.alarm:
        return None
    for at in range(0, bad.size, n):
        if at == 4 * n and noise_var is None and np.isfinite(bad).all():  # as the block's estimator follows
            guard.set_noise_var(diffusion.estimate_noise_var(rx.law, bad[:at]), False)
        guard.feed(bad[at:at + n])
        if guard.alarm:
            return guard.report["reason"], at + n
    return "", None


def caught(case, rx, good, bad, runs, rng, noise_var=None, **more):
    """A row of runs; good(n) and bad(n) make symbols."""
    outcomes = [watch(rx, good(16000 + int(rng.integers(0, 4096))), bad(TAIL), noise_var) for _ in range(runs)]
    outcomes = [o for o in outcomes if o is not None]
    return row_of(case, "caught", [o[0] for o in outcomes], [o[1] for o in outcomes if o[0]], **more)


def sources(rng):
    """{name: points}"""
    ring = lambda n: np.exp(2j * np.pi * np.arange(n) / n)
    return {**{name: diffusion.constellation(name) for name in MODELS}, "8-PSK": ring(8),
            "16-APSK (4+12)": np.r_[0.4 * ring(4), 1.13 * ring(12)],
            "noise only": rng.standard_normal((4096, 2)) @ [1, 1j] / np.sqrt(2)}


def constellation_rows(runs, seed):
    """Every constellation into every model; the noise variance is estimated."""
    rows = []
    for model in ("qpsk", "qam16", "qam64"):
        rx = diffusion.Receiver(f"rx-{model}")
        for snr in (10, 15, 20, 25, 30):
            rng = np.random.default_rng([seed, snr])
            good = lambda n: noisy(rx.constellation, snr, n, rng)
            for name, points in sources(rng).items():
                if name == model:
                    continue
                rows.append(caught(f"{name} into rx-{model}", rx, good, lambda n: noisy(points, snr, n, rng), runs,
                                   rng, model=f"rx-{model}", snr_db=snr, setting="ideal", group="constellation",
                                   needed=needed_symbols(rx.constellation, points, snr)))
    return rows


def fault_rows(runs, seed):
    """Noise, gain, clipping, synchronisation and dead inputs, 16-QAM at 20 dB, no fit; the noise variance is said."""
    rows, rng, snr = [], np.random.default_rng([seed, 9]), 20
    rx = diffusion.Receiver("rx-qam16")
    good = lambda n: noisy(rx.constellation, snr, n, rng)
    unit = lambda y: y / np.sqrt(np.mean(np.abs(y) ** 2))
    clip = lambda y, at: np.clip(y.real, -at, at) + 1j * np.clip(y.imag, -at, at)
    turn = lambda n, per: np.exp(2j * np.pi * np.arange(n) / per)
    cases = {("gain", f"gain {db:+g} dB"): (lambda n, db=db: good(n) * 10 ** (db / 20))
             for db in (-6, -3, -2, -1, 1, 2, 3, 6)}
    cases.update({("gain", "gain pumping by 3 dB every 2048 symbols"):
                  lambda n: good(n) * 10 ** (0.15 * turn(n, 2048).real)})
    cases.update({("clipping", f"rails clipped at {at:g} RMS, power restored"):
                  (lambda n, at=at: unit(clip(good(n), at / np.sqrt(2)))) for at in (1.3, 1.1, 0.9, 0.7)})
    cases.update({("noise", f"{db} dB more noise than said"):
                  (lambda n, db=db: noisy(rx.constellation, snr - db, n, rng))
                  for db in (6, 9, 12, 15)})
    cases.update({("synchronisation", "carrier 1e-3 of the symbol rate off"): lambda n: good(n) * turn(n, 1000),
                  ("synchronisation", "phase off by 20 degrees"): lambda n: good(n) * np.exp(1j * np.deg2rad(20)),
                  ("dead", "zeros"): lambda n: np.zeros(n), ("dead", "a constant"): lambda n: np.full(n, 0.7 + 0.1j),
                  ("dead", "half the samples NaN"): lambda n: np.where(rng.random(n) < 0.5, np.nan, good(n))})
    for (group, name), bad in cases.items():
        rows.append(caught(name, rx, good, bad, runs, rng, 10 ** (-snr / 10), model="rx-qam16", snr_db=snr,
                           setting="ideal", group=group))
    for model in ("qpsk", "qam16", "qam64"):
        rx = diffusion.Receiver(f"rx-{model}")
        for snr in (-20, -16, -12, 38, 42):
            at_once = []  # a level from the start
            for _ in range(runs):
                y = noisy(rx.constellation, snr, TAIL, rng)
                at_once.append(watch(rx, y[:0], y, 10 ** (-snr / 10)))
            rows.append(row_of(f"SNR of {snr} dB, trained on {rx.snr_db[0]:g} to {rx.snr_db[1]:g} dB, rx-{model}", "caught",
                               [o[0] for o in at_once], [o[1] for o in at_once if o[0]], model=f"rx-{model}",
                               snr_db=snr, setting="ideal", group="SNR outside training"))
    return rows


def link_rows(runs, seed):
    """The same faults over S2's hardware with an ADC, 16-QAM fitted from 500 known symbols; gain before the ADC."""
    rows = []
    for bits in (0, 2, 3, 4):
        hw, snr = dataclasses.replace(hardware.REFERENCE["S2"], bits=bits), 20
        rng = np.random.default_rng([seed, bits, 13])
        rx = diffusion.Receiver("rx-qam16")
        points, noise = rx.constellation, hw.noise_var(snr)

        def over(sent, n, gain_db=0.0):
            radio = dataclasses.replace(hw, bits=0)
            y = radio.transmit(sent, rng.integers(0, len(sent), n), snr, int(rng.integers(2 ** 62)))
            y = y * np.float32(10 ** (gain_db / 20))
            return diffusion.quantizer(bits, hw.full_scale(snr))(y) if bits else y

        index = rng.integers(0, points.size, 500)
        fit = rx.fit(points[index], hw.transmit(points, index, snr, 1), noise)
        cases = {f"gain {db:+g} dB before it": (lambda n, db=db: over(points, n, db)) for db in (-6, -3, 3, 6, 12)}
        cases.update({f"{name} sent": (lambda n, p=p: over(np.asarray(p, np.complex64), n))
                      for name, p in sources(rng).items() if name not in ("qam16", "noise only")})
        for name, bad in cases.items():
            case = f"S2, {f'{bits}-bit ADC' if bits else 'no ADC'}, fitted: {name}"
            rows.append(caught(case, fit, lambda n: over(points, n), bad, runs, rng, noise, model="rx-qam16",
                               snr_db=snr, setting="S2", adc_bits=bits, group="fitted link"))
    return rows


def table(rows):
    lines = ["| input | SNR dB | alarms | 95% | delay, symbols: median, 90% | reasons | likelihood ratio needs |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        delay = "" if r["delay"] is None else f"{r['delay']:.0f}, {r['delay_90']:.0f}"
        lines.append(f"| {r['case']} | {r.get('snr_db', '')} | {r['alarms']} of {r['runs']} | "
                     f"{100 * r['rate_lo']:.1f}-{100 * r['rate_hi']:.1f}% | {delay} | {', '.join(r['reasons'])} | "
                     f"{'%.2g' % r['needed'] if 'needed' in r else ''} |")
    return "\n".join(lines)


def run(args):
    rows = reference_rows(args.runs, args.seed) + [false_alarms(2 * args.runs, args.seed)]
    rows += [*ideal_rows(args.runs, args.seed), mild_row(5 * args.runs, args.seed)]
    few = max(5, args.runs // 2)
    rows += constellation_rows(few, args.seed) + fault_rows(few, args.seed) + link_rows(few, args.seed)
    for kind in dict.fromkeys(r["kind"] for r in rows):
        print(f"\n{kind}\n\n{table([r for r in rows if r['kind'] == kind])}")
    write_json(args.json, rows)
    return 0
