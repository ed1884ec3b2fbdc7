# SPDX-License-Identifier: GPL-3.0-or-later
"""Study "memory" of `evaluate receiver`: QAM through an amplifier with memory, waveform and symbols.

Parts, each a setting in the rows:
- measured (with --data, alone): the test split of a measured amplifier, noise added, ADC or none; NMSE of the waveform, BER, GMI;
- 64-QAM, 256-QAM: the same waveform through the model of that amplifier (pa-dpa200), 15 to 40 dB, 3 to 8 bits;
- pulses: single carrier 256-QAM with root raised cosine pulses through it;
- transfer: an amplifier never seen (random memory polynomials), fitted from a few thousand samples.

SNR: power of the received waveform over noise power in the whole sampling bandwidth. Every receiver but the plain
waveform estimates has the same soft demapper behind it: unknown gains and variance are estimated, never told.
"""
import numpy as np
from gnuradio import diffusion

from .. import metrics
from ..baselines import memory as baselines
from ..cli.common import JobError, progress
from ..sequence import SequenceReceiver
from ..train.hardware import adc_loading
from ..waveforms import OfdmWaveform, PulseWaveform

MODEL = "seq-dpa200"
MOST = 12800  # samples that the polynomials are fitted to
TITLES = {"linear": "linear, 7 taps", "polynomial": "polynomial, 7 taps, order 7", "polynomial-long":
          "polynomial, 31 taps", "denoiser": "sequence denoiser", "one-decision": "polynomial, 31 taps, symbols decided once",
          "network": "sequence denoiser", "diffusion": "SequenceReceiver"}
INPUT_RMS = 10 ** (-9.2 / 20)  # of the measured signal, peak 1


def circular(rng, n, power):
    return np.sqrt(power / 2) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))


def converter(y, bits, noise_var):
    """(samples behind an ADC of `bits` per rail, or y for 0; variance of its own noise)."""
    if not bits:
        return y, 0.0
    full_scale = adc_loading(bits) * np.sqrt((np.mean(np.abs(y) ** 2)) / 2)
    return np.asarray(diffusion.quantizer(bits, full_scale)(y.astype(np.complex64))).astype(complex), \
        (2 * full_scale / 2 ** bits) ** 2 / 6


def fitted_baselines(x, y, noise_var, long=True):
    """{name: f(y) -> waveform}, each fitted at this noise level on the known waveform."""
    shapes = {"linear": (baselines.linear_equaliser(), 2), "polynomial": (baselines.post_distorter(), 2)}
    if long:
        shapes["polynomial-long"] = (baselines.Regression(31, 5, 1), 1)  # 403 coefficients: MOST samples are plenty
    part = slice(0, MOST)
    return {k: r.fit(y[part], x[part], noise_var, repeats) for k, (r, repeats) in shapes.items()}


def rows_of(name, setting, snr, bits, truth, estimates):
    """truth: (waveform, symbols' bits, points sent); estimates: {receiver: result of receive() or demap()}."""
    x, sent, points = truth
    rows = []
    for receiver, out in estimates.items():
        ber, lo, hi = metrics.ber(sent, out["llr"])
        gains = metrics.gmi_samples(sent, out["llr"])
        block = 64
        e = np.stack([np.abs(out["waveform_for_nmse"] - x) ** 2, np.abs(x) ** 2], 1)
        e = e[:len(e) // block * block].reshape(-1, block, 2).sum(1)
        low, high = metrics.bootstrap(e, lambda r: 10 * np.log10(r[:, 0].sum() / r[:, 1].sum()), resamples=200)
        rows.append({"study": "memory", "model": name, "setting": setting, "snr_db": snr, "adc_bits": bits,
                     "receiver": receiver, "ber": ber, "ber_lo": lo, "ber_hi": hi, "gmi": float(gains.mean()),
                     "gmi_half": float(metrics.Z95 * gains.std() / np.sqrt(len(gains))),
                     "nmse_db": metrics.nmse_db(out["waveform_for_nmse"], x), "nmse_db_lo": float(low),
                     "nmse_db_hi": float(high), "evm_db": metrics.evm_db(out["linear"], points)})
    return rows


def point(rx, x_known, y_known, x, y_clean, sent, points, snr, bits, seed, setting, draws=1, long=True):
    """Rows of one SNR and converter. y_known: as received in the fit, scaled by rx.gain like y_clean."""
    rng = np.random.default_rng(seed)
    power = np.mean(np.abs(y_clean) ** 2)
    noise_var = power * 10 ** (-snr / 10)
    total, made = {}, None
    for _ in range(draws):
        y, own = converter(y_clean + circular(rng, y_clean.size, noise_var), bits, noise_var)
        if made is None:
            level = (noise_var + own) / abs(rx.gain) ** 2
            made = fitted_baselines(x_known, y_known / rx.gain, level, long)
        estimates = {}
        for k, f in made.items():
            wave = f(y / rx.gain)
            estimates[k] = {**rx.demap(wave), "waveform_for_nmse": wave}
        if long:
            once = estimates["polynomial-long"]
            estimates["one-decision"] = {**once, "waveform_for_nmse": once["waveform"]}
        out = rx.receive(y, noise_var)
        if rx.model is not None and rx.choice == "network":
            estimates["denoiser"] = {**rx.demap(out["first"]), "waveform_for_nmse": out["first"]}
        estimates["diffusion"] = {**out, "waveform_for_nmse": out["waveform"]}
        for k, v in estimates.items():
            total.setdefault(k, []).append(v)
    stacked = {k: {f: np.concatenate([v[f] for v in vs]) for f in ("llr", "linear", "waveform_for_nmse")}
               for k, vs in total.items()}
    return rows_of(rx.name, setting, snr, bits, (np.tile(x, draws), np.tile(sent, (draws, 1)), np.tile(points, draws)),
                   stacked)


def measured(path, model, seed, snrs=(15, 20, 25, 30, 40), bits=(3, 4, 5, 6, 8), draws=2):
    """Rows on the measured amplifier: fitted on its train and val splits, measured on its test split.

    The networks never saw val, which is most of what fit() holds out to choose by."""
    from ..fit.pa import load
    data, _ = load(path)
    rms = np.sqrt(np.mean(np.abs(data["train"][0]) ** 2))
    x_known, y_known = [np.concatenate([data[s][k] for s in ("train", "val")]) for k in (0, 1)]
    (x, y), x_known = (data["test"][0] / rms, data["test"][1]), x_known / rms
    rx = SequenceReceiver(OfdmWaveform.dpa200(), "qam64", model)
    rx.name = f"{model}, fitted" if model else "fitted"
    rx = rx.fit(x_known, y_known)
    # What was sent, from the noiseless input of the amplifier.
    clean = rx.demap(x)
    sent = (clean["llr"] > 0).astype(np.uint8)
    jobs = [(snr, 0) for snr in snrs] + [(30, b) for b in bits]
    rows = []
    for snr, b in progress(jobs, desc="measured amplifier"):
        rows += point(rx, x_known, y_known, x, y, sent, clean["linear"], snr, b, [seed, snr, b], "measured", draws)
    return rows


def amplified(pa):
    def send(x):
        pa.reset()
        return np.asarray(pa((x * INPUT_RMS).astype(np.complex64))).astype(complex)
    return send


def simulated(waveform, constellation, send, setting, jobs, seed, known_blocks, blocks, known_snr=40.0, model=None,
              long=False):
    """Rows through an amplifier's model: fitted on known blocks received at known_snr."""
    rng = np.random.default_rng([seed, 7])
    points = np.asarray(diffusion.constellation(constellation)).astype(complex)
    draw = lambda n: rng.integers(0, points.size, n * waveform.block[1])
    x_known, index = waveform.modulate(points[draw(known_blocks)]), draw(blocks)
    y_known = send(x_known)
    y_known = y_known + circular(rng, y_known.size, np.mean(np.abs(y_known) ** 2) * 10 ** (-known_snr / 10))
    x = waveform.modulate(points[index])
    y = send(x)
    rx = SequenceReceiver(waveform, constellation, model).fit(x_known, y_known)
    rx.name = "fitted"
    sent = metrics.labels(rx.bits)[index]
    rows = []
    for snr, b in progress(jobs, desc=setting):
        rows += point(rx, x_known, y_known, x, y, sent, points[index], snr, b, [seed, snr, b], setting, long=long)
    return rows


def random_amplifier(seed):
    """An amplifier nobody has seen: a random generalised memory polynomial with gain compression and AM-PM."""
    rng = np.random.default_rng([seed, 99])
    branches = []
    for delay in range(5):
        scale = 0.5 ** delay * (1 if delay == 0 else 0.25)
        c = scale * (rng.standard_normal(4) + 1j * rng.standard_normal(4)) * [1, 0.15, 0.12, 0.08]
        if delay == 0:
            c[0] = 1
            c[1:] = [0.1 * rng.standard_normal(), -0.35 + 0.25j * rng.standard_normal(), -0.1]
        branches.append((delay, 0, c.astype(np.complex64)))
    branches.append((0, 1, np.array([0, 0, 0.06 * rng.standard_normal()], np.complex64)))
    return diffusion.power_amplifier.memory_polynomial(branches, 1.0)


def table(rows, setting, columns=("nmse_db", "ber", "gmi")):
    """Markdown, a line a point."""
    rows = [r for r in rows if r["setting"] == setting]
    names = list(dict.fromkeys(r["receiver"] for r in rows))
    show = {"nmse_db": lambda r: f"{r['nmse_db']:.1f}" if r["nmse_db"] > -90 else "exact", "evm_db": lambda r: f"{r['evm_db']:.1f}",
            "ber": lambda r: f"{r['ber']:.2g}" if r["ber"] else f"0 [<{r['ber_hi']:.1g}]", "gmi": lambda r: f"{r['gmi']:.3f}"}
    lines = ["| SNR dB | ADC bits | " + " | ".join(TITLES[k] for k in names) + " |", "| --- | --- |" + " --- |" * len(names)]
    for snr, bits in dict.fromkeys((r["snr_db"], r["adc_bits"]) for r in rows):
        cells = {r["receiver"]: r for r in rows if (r["snr_db"], r["adc_bits"]) == (snr, bits)}
        lines.append(f"| {snr:g} | {bits or '-'} | " +
                     " | ".join(" / ".join(show[c](cells[k]) for c in columns) for k in names) + " |")
    return "\n".join(lines)


def plot(rows, setting, path):
    """NMSE of the waveform and EVM of the symbols over SNR, without ADC."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    rows = [r for r in rows if r["setting"] == setting and not r["adc_bits"]]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, key, title in zip(axes, ("nmse_db", "evm_db"), ("NMSE of the waveform, dB", "EVM before the decision, dB")):
        for name in dict.fromkeys(r["receiver"] for r in rows):
            own = sorted((r["snr_db"], r[key]) for r in rows if r["receiver"] == name)
            axis.plot(*zip(*own), marker="o", ms=3, lw=2 if name == "diffusion" else 1, label=TITLES[name])
        axis.set(xlabel="SNR, dB", ylabel=title)
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def measure_study(args, names):
    """`evaluate receiver --study memory`: rows, printed. With --data the measured part, else the others."""
    rows = []
    if args.data:
        if not args.data.is_file():
            raise JobError(f"--data {args.data} is no file; it is the npz that `train memory` takes")
        rows = measured(args.data, MODEL, args.seed)
    else:
        ofdm, pulses = OfdmWaveform.dpa200(known_gains=True), PulseWaveform(symbols=2048)
        send = amplified(diffusion.power_amplifier.load("pa-dpa200"))
        jobs = [(s, 0) for s in (15, 20, 25, 30, 40)] + [(30, b) for b in (3, 4, 5, 6, 8)] + [(40, 4)]
        quick = getattr(args, "quick", False)
        if quick:
            jobs = [(20, 0), (30, 3)]
        blocks = 2 if quick else 5
        for constellation in ("qam64", "qam256"):
            rows += simulated(ofdm, constellation, send, constellation, jobs, args.seed, 5, blocks)
        rows += simulated(pulses, "qam256", send, "pulses", [(20, 0), (30, 0), (40, 5)][:1 if quick else 3],
                          args.seed, 3, 2)
        for k in range(1 if quick else 3):
            rows += simulated(ofdm, "qam256", amplified(random_amplifier(k)), f"transfer-{k}", [(25, 0), (30, 5)],
                              args.seed + k, 3, 3)
    for setting in dict.fromkeys(r["setting"] for r in rows):
        print(f"\n{setting}: NMSE of the waveform in dB / BER / GMI in bits\n\n{table(rows, setting)}", flush=True)
    if args.plots:
        plot(rows, rows[0]["setting"], args.plots / ("memory.png" if args.data else "memory-simulated.png"))
    return rows
