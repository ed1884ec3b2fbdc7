# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure denoising receivers in the reference settings S1 and S2, beside the bound and the baselines.

All receivers see the same symbols and noise; those that learn see the same known symbols. BER with Wilson
intervals. Noise variance known, but for "fit-estimated". Further studies: "examination" (every constellation,
1 to 5 bits, 50 to 2000 known symbols: how far Receiver.fit is from MAP), "posterior" (how far any receiver must be),
"unfitted" (nothing known), "papers" (the literature's receiver), "coded" (block error rates with LDPC codes),
"calibration" (how far soft bits may be believed), "noise", "interference", "memory", "fit" (random links); "all" is
every one of them.

Rows of --json: study, setting, snr_db, receiver, ber, ber_lo, ber_hi, gmi, and more where a study has more. A study,
setting, SNR and receiver come together once.

example:
    gr-diffusion evaluate receiver --quick --json all.json
    gr-diffusion evaluate receiver --model rx-qam16 --json results.json
    gr-diffusion evaluate receiver --study examination --symbols 20000
"""
import dataclasses
import importlib
from pathlib import Path

import numpy as np
from gnuradio import diffusion

from ..baselines import receiver as baselines
from ..cli.common import common_options, progress, write_json
from .. import metrics
from ..train import hardware

SNRS = (-5, 0, 5, 10, 15, 20, 25, 30)
TITLES = {"map": "MAP, law known (bound)", "linear": "LMMSE + min-distance",
          "class-gaussian": "class-conditional Gaussian", "law": "our fitted Gaussian law, no network",
          "diffusion": "network on that law", "diffusion-unfitted": "network, not fitted",
          "fit": "Receiver.fit", "fit-estimated": "Receiver.fit, noise estimated",
          "fit-alone": "Receiver.fit, known symbols only", "dnn": "DNN demapper, all SNRs, unlimited labels"}


STUDIES = {**hardware.REFERENCE,
           **{f"S1-{b}bit": dataclasses.replace(hardware.S1, bits=b) for b in (1, 2, 3)},
           **{f"S2-{b}bit": dataclasses.replace(hardware.S2, bits=b) for b in (1, 2, 3, 4)}}


# Studies with a module of their own, receiver_NAME.py: measure_study(args, model names) -> rows, printed.
OWN_STUDIES = ("examination", "posterior", "unfitted", "papers", "coded", "calibration", "noise", "memory",
               "interference", "fit")
# What every row of every study has.
ROW_KEYS = ("study", "setting", "snr_db", "receiver", "ber", "ber_lo", "ber_hi", "gmi")
# What --quick sets where the user did not.
QUICK = {"study": ["all"], "model": ["rx-qam16", "rx-qam64"], "symbols": 4000, "snr": [10.0, 20.0],
         "known": [50, 2000]}


def add_arguments(parser):
    parser.add_argument("--study", action="append", choices=[*STUDIES, *OWN_STUDIES, "all"], metavar="NAME",
                        help=f"setting(s): {', '.join(STUDIES)} (S1 and S2); or one of {', '.join(OWN_STUDIES)}, all")
    parser.add_argument("--quick", action="store_true",
                        help="every study with few symbols and points, minutes; --study, --model, --symbols, --snr, --known "
                             "still count")
    parser.add_argument("--model", action="append", metavar="NAME", help="receiver model(s) (all shipped)")
    parser.add_argument("--known", type=int, nargs="+", metavar="N",
                        help="known symbols to fit from (2000; examination: 50 500 2000)")
    parser.add_argument("--symbols", type=int, metavar="N", help="test symbols per point (200000; other studies: see there)")
    parser.add_argument("--snr", type=float, nargs="+", metavar="DB", help="SNRs in dB")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="also write plots, where the study has some")
    parser.add_argument("--dnn", action="store_true",
                        help="also a DNN demapper trained on each setting, all SNRs (a minute each)")
    parser.add_argument("--data", type=Path, metavar="FILE",
                        help="study memory: a measured amplifier's npz, as `train memory` takes it")
    common_options(parser)


def learned_by(posterior, points):
    """What measure() takes, of a network function posterior(y, noise_var, law) -> log posteriors."""
    ideal = diffusion.symbol_law(points)

    def llr(nv, law):
        return lambda y: in_chunks(lambda z: baselines.bit_llr(posterior(z, nv, law)), y, points.size)

    return {"diffusion": lambda nv, law, known, seen: llr(nv, law),
            "diffusion-unfitted": lambda nv, law, known, seen: llr(nv, ideal)}


def learned_of(rx):
    """The same, of a diffusion.Receiver: as fit() makes it, with its variants, and the network by itself."""
    def fixed(receiver, *args, **options):
        return lambda y: receiver(y, *args, **options)[1]

    last = [None, None]  # the three variants of a point share its fit

    def fitted(nv, known, seen):
        if last[0] is not seen:
            last[:] = seen, rx.fit(rx.constellation[known], seen, nv)
        return last[1]

    return {"fit": lambda nv, law, known, seen: fixed(fitted(nv, known, seen), nv),
            "fit-estimated": lambda nv, law, known, seen: fixed(fitted(nv, known, seen)),
            "fit-alone": lambda nv, law, known, seen: fixed(fitted(nv, known, seen), nv, adapt=False),
            "diffusion": lambda nv, law, known, seen: fixed(rx.with_law(law), nv),
            "diffusion-unfitted": lambda nv, law, known, seen: fixed(rx, nv, adapt=False)}


def dnn(hw, points, seed):
    """The same, of a DNN demapper trained on that hardware (needs torch)."""
    from ..baselines import dnn_demapper
    demap = dnn_demapper.train(hw, points, seed=seed)
    snr = lambda noise_var: -10 * np.log10(noise_var - hw.distortion)
    return lambda nv, law, known, seen: lambda y: demap(y, snr(nv))


def law_likelihood(law, y, noise_var):
    """(n, M) log-likelihoods of a symbol_law, float64."""
    q2, q1 = law.coefficients(noise_var)
    y = y.astype(np.complex128)
    return np.stack([y.real, y.imag, y.real ** 2, y.imag ** 2, y.real * y.imag], -1) @ q2.T + q1


def in_chunks(f, y, m):
    """f over y, its (n, m) arrays held to tens of MB."""
    chunk = max(1000, (1 << 20) // m)
    return np.concatenate([f(y[a:a + chunk]) for a in range(0, len(y), chunk)])


def row_of(study, setting, snr_db, receiver, bits, llr):
    """One row of results: BER with its interval, GMI with half its interval."""
    ber, lo, hi = metrics.ber(bits, llr)
    density = metrics.gmi_samples(bits, llr)
    return {"study": study, "setting": setting, "snr_db": snr_db, "receiver": receiver, "ber": ber, "ber_lo": lo,
            "ber_hi": hi, "gmi": float(density.mean()),
            "gmi_half": float(metrics.Z95 * density.std() / np.sqrt(len(bits)))}


def soft_bits(points, study, snr_db, n, n_known, seed, learned):
    """(bits (n, m), {receiver: LLRs (n, m)}) of one setting and SNR. learned: {name: f(noise_var, fitted law,
    known indices, their y) -> a function of y that gives LLRs (n, bits)}."""
    hw = STUDIES[study]
    rng = np.random.default_rng([seed, int(round(10 * snr_db)) + 1000])
    noise_var = hw.noise_var(snr_db)
    known, index = rng.integers(0, points.size, n_known), rng.integers(0, points.size, n)
    seen = hw.transmit(points, known, snr_db, rng.integers(2 ** 62))
    y = hw.transmit(points, index, snr_db, rng.integers(2 ** 62))
    law = diffusion.symbol_law.fit(points, known, seen, noise_var)
    receivers = {
        "map": lambda z: baselines.map_known_law(hw, points, snr_db, z),
        "linear": lambda z: baselines.lmmse_min_distance(points, known, seen, noise_var, z),
        "class-gaussian": lambda z: baselines.class_conditional(points, known, seen, noise_var, z),
        "law": lambda z: law_likelihood(law, z, noise_var)}
    receivers = {k: (lambda z, f=f: in_chunks(lambda part: baselines.bit_llr(f(part)), z, points.size))
                 for k, f in receivers.items()}
    for name, f in learned.items():
        receivers[name] = f(noise_var, law, known, seen)
    return metrics.labels(int(np.log2(points.size)))[index], {name: f(y) for name, f in receivers.items()}


def measure_point(points, study, snr_db, n, n_known, seed, learned):
    """Rows of one setting and SNR; learned: see soft_bits."""
    bits, llr = soft_bits(points, study, snr_db, n, n_known, seed, learned)
    noise = lambda name: "estimated" if name.endswith("-estimated") else "known"
    return [row_of(study, f"{n_known} known symbols, {noise(name)} noise variance", snr_db, name, bits, values)
            for name, values in llr.items()]


def measure(points, n, n_known, seed, learned, snrs=SNRS, studies=("S1", "S2")):
    """Rows of the studies over the SNRs."""
    jobs = [(study, snr) for study in studies for snr in snrs]
    return [row for study, snr in progress(jobs, desc="measuring")
            for row in measure_point(points, study, snr, n, n_known, seed, learned)]


def table(rows, study):
    """Markdown: BER / GMI by SNR and receiver."""
    names = list(dict.fromkeys(r["receiver"] for r in rows))
    lines = ["| SNR dB | " + " | ".join(TITLES.get(n, n) for n in names) + " |",
             "| --- |" + " --- |" * len(names)]
    for snr in sorted({r["snr_db"] for r in rows if r["study"] == study}):
        cells = {r["receiver"]: r for r in rows if r["study"] == study and r["snr_db"] == snr}
        lines.append(f"| {snr:g} | " + " | ".join(
            f"{cells[n]['ber']:.3g} [{cells[n]['ber_lo']:.2g}, {cells[n]['ber_hi']:.2g}] / {cells[n]['gmi']:.3f}"
            for n in names) + " |")
    return "\n".join(lines)


def card(name, constellation, network, parameters, command, log, rows, symbols):
    """The model's card, Markdown."""
    return f"""# {name}

Denoising receiver for {constellation.upper()}: posteriors of the symbols, hence denoised symbols and LLRs. A
`film_mlp` of widths {network['hidden']} ({parameters} parameters) on top of the Gaussian law of the link, conditioned
on the noise level and on what `Receiver.fit` knows of the hardware. SNR range -10 to 35 dB.

**Trained on** {log['draws']} random memoryless links (`train/hardware.py`: IQ imbalance, DC, Rapp PA, phase noise,
residual EVM, AWGN, no ADC or 1 to 8 bits), a quarter of them without a fit, the others fitted from about 24 to
4000 known symbols (more for larger constellations). It never saw the settings below as such, but they lie inside the
range drawn. Not trained on other noise than Gaussian, nor on channels with memory.

    {command}

{log['steps']} steps, {log['seconds']:.0f} s on one core. Held-out weighted cross entropy {log['held_out_loss']:.4f};
the Gaussian law without the network {log['held_out_loss_gaussian']:.4f}.

**Measured** with {symbols} symbols a row, fit from 2000 known symbols, known noise variance, the same symbols and
noise for all: BER [95% interval] / GMI in bits.

S1 (kappa 0.1 + 0.1, 4-bit ADC):

{table(rows, "S1")}

S2 (PA at 3 dB back-off, IQ 1 dB / 5 degrees, DC 0.05, phase noise 4 degrees, kappa 0.05 + 0.05, 5-bit ADC):

{table(rows, "S2")}

It is a one-step denoiser: the posterior mean at the matched noise level, which is an MMSE regressor. These are figures of
the network by itself. `Receiver.fit` takes it only where no converter of 1 to 6 bits is seen; behind one it integrates the
law of the link before it and is ahead of the network and of the Gaussian law alike (docs/receiver.md: at MAP from 2000 known
symbols in S1 and S2 with 1 to 5 bits). Not fitted, it is for links that are nearly ideal or equalised: over S2's amplifier
and imbalance it is worse than the linear receiver.
"""


def checked(rows):
    """The rows, each of which has ROW_KEYS, finite numbers in them, and a place of its own."""
    places = set()
    for row in rows:
        lacking = [k for k in ROW_KEYS if k not in row]
        if lacking:
            raise KeyError(f"a row of study {row.get('study')} lacks {', '.join(lacking)}")
        if not all(isinstance(row[k], (int, float)) and np.isfinite(row[k]) for k in ROW_KEYS if k not in ("study", "setting", "receiver")):
            raise ValueError(f"a row of study {row['study']}, {row['setting']}, {row['receiver']} holds no number: {row}")
        place = tuple(row[k] for k in ROW_KEYS[:4])
        if place in places:
            raise ValueError(f"two rows of study {row['study']} are both {place[1:]}")
        places.add(place)
    return rows


def placed(row):
    """The row, its setting naming all that sets it apart: model, converter, interference."""
    setting = row["setting"]
    if "model" in row:
        setting = f"{row['model']}, {setting}"
    if "adc_bits" in row:
        setting += f", {row['adc_bits']}-bit ADC" if row["adc_bits"] else ", no ADC"
    if "sir_db" in row:
        setting += f", SIR {row['sir_db']:g} dB"
    return {**row, "setting": setting}


def run(args):
    if args.quick:
        for key, value in QUICK.items():
            if not getattr(args, key):
                setattr(args, key, value)
    studies = args.study or ["S1", "S2"]
    if "all" in studies:
        studies = ["S1", "S2", *OWN_STUDIES]
    results = []
    names = args.model or [m.name for m in diffusion.models() if m.task == "receiver"]
    own = [s for s in studies if s in OWN_STUDIES]
    studies = [s for s in studies if s in STUDIES]
    for name in names if studies else []:
        rx = diffusion.Receiver(name)
        for n_known in args.known or [2000]:
            rows = []
            for study in studies:
                learned = learned_of(rx)
                if args.dnn:
                    learned["dnn"] = dnn(STUDIES[study], rx.constellation, args.seed)
                rows += measure(rx.constellation, args.symbols or 200000, n_known, args.seed, learned,
                                args.snr or SNRS, [study])
            results += [{"model": name, **row} for row in rows]
            for study in studies:
                print(f"\n{name}, {study}, {n_known} known symbols: BER [95%] / GMI\n\n{table(rows, study)}", flush=True)
    for study in own:
        if len(studies) + len(own) > 1:
            print(f"\n# {study}\n", flush=True)
        rows = importlib.import_module(f".receiver_{study}", __package__).measure_study(args, names)
        results += [row if row["study"].startswith(study) else {**row, "study": f"{study} {row['study']}"}
                    for row in rows]
    results = [placed(row) for row in results]
    write_json(args.json, results)
    checked(results)
