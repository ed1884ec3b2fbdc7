# SPDX-License-Identifier: GPL-3.0-or-later
"""Study "interference" of `evaluate receiver`: QAM symbols under structured interference, received jointly with it.

Interference of unit power, scaled to 1/SIR, one sample a symbol, drawn anew in every block:
- chirp: bursts of 64 to 200 samples, 60% of the time, each a linear sweep between random frequencies;
- qam: QPSK at a quarter of our symbol rate, unknown symbols, timing and phase, root raised cosine pulses;
- narrowband: one carrier of random frequency that wanders.

All receivers know the noise variance and estimate the interference's power from what they receive. The learned law saw
150 recordings of 200 samples of interference alone. The matched network saw labelled symbols of its constellation
under that interference, as many as it liked; other constellations it cannot receive.
"""
import numpy as np
from gnuradio import diffusion

from .. import metrics
from ..baselines import receiver as baselines
from ..cli.common import JobError, progress
from ..interference import InterferenceLaw, InterferenceReceiver
from ..waveforms import PulseWaveform
from .receiver_noise import circular

SNR_DB = 20.0
SIRS = (-5, 0, 5)
LENGTH = 1500
#: Window and components of the law.
SHAPES = {"chirp": (16, 64), "qam": (12, 128), "narrowband": (32, 64)}
TITLES = {"clean": "no interference (bound)", "white": "taken for noise", "whitened": "whitened (Gaussian law)",
          "notch": "notch / erasure", "network": "matched network", "learned": "learned law, jointly"}


def chirp(rng, n):
    out, at = np.zeros(n, complex), -int(rng.integers(0, 200))
    while at < n:
        length = int(rng.integers(64, 201))
        k = np.arange(length)
        f0, f1 = rng.uniform(-0.45, 0.45, 2)
        burst = np.exp(2j * np.pi * (f0 * k + (f1 - f0) * k * k / (2 * length) + rng.random()))
        a, b = max(at, 0), min(n, at + length)
        if b > a:
            out[a:b] = burst[a - at:b - at]
        at += length + int(rng.integers(20, 156))
    return out / np.sqrt(0.6)


def qam(rng, n, rate=4, fine=8):
    pulse = PulseWaveform(rate * fine, 0.25, 12, 8).pulse
    count = n // rate + 60
    grid = np.zeros(count * rate * fine, complex)
    grid[::rate * fine] = np.exp(1j * np.pi * (rng.integers(0, 4, count) / 2 + 0.25))
    shaped = np.convolve(grid, pulse, "same")[20 * rate * fine + int(rng.integers(0, rate * fine)):]
    return shaped[::fine][:n] * np.exp(2j * np.pi * rng.random()) * np.sqrt(rate * fine)


def narrowband(rng, n):
    frequency = rng.uniform(-0.5, 0.5) + np.cumsum(rng.standard_normal(n)) * 2e-5
    return np.exp(2j * np.pi * (np.cumsum(frequency) + rng.random()))


KINDS = {"chirp": chirp, "qam": qam, "narrowband": narrowband}


def power_of(y, noise_var):
    """E|i|^2 by moments: what the received power has beyond symbols and noise."""
    return max(float(np.mean(np.abs(y) ** 2)) - 1 - noise_var, 1e-3)


def notch(y, points, noise_var, width=64):
    """LLRs after the usual remedies: spectral bins of a sliding transform that stand out by 6 dB are cut to the
    median level; the noise variance is what the cut leaves."""
    hop, window = width // 2, np.sqrt(np.hanning(width + 1)[:-1])
    padded = np.pad(y, width)
    out = np.zeros_like(padded)
    for at in range(0, padded.size - width + 1, hop):
        bins = np.fft.fft(window * padded[at:at + width])
        size = np.abs(bins)
        level = 2 * np.median(size)
        out[at:at + width] += window * np.fft.ifft(np.where(size > level, bins * (level / np.maximum(size, 1e-9)), bins))
    cleaned = out[width:-width]
    left = max(float(np.mean(np.abs(cleaned) ** 2)) - 1, noise_var)
    return baselines.bit_llr(-np.abs(cleaned[:, None] - points) ** 2 / left)


def fitted_law(kind, seed, effort=1.0):
    """The learned law, and the Gaussian one (one component: a whitening filter) of the same recordings."""
    rng = np.random.default_rng([seed, 5])
    recordings = [KINDS[kind](rng, 200) for _ in range(150)]
    window, components = SHAPES[kind]
    components, rounds = max(8, int(components * effort)), max(5, int(20 * effort))
    return [InterferenceLaw.fit(recordings, window=window, components=c, rounds=rounds, seed=seed) for c in (components, 1)]


def matched_network(kind, points, seed, effort=1.0):
    from ..baselines import sequence_demapper
    noise_var, table = 10 ** (-SNR_DB / 10), metrics.labels(int(np.log2(points.size)))

    def draw(rng, n):
        index, sir = rng.integers(0, points.size, n), rng.uniform(-7, 7)
        return (points[index] + 10 ** (-sir / 20) * KINDS[kind](rng, n) + np.sqrt(noise_var) * circular(rng, n),
                table[index])

    return sequence_demapper.train(draw, table.shape[1], steps=int(800 * effort), seed=seed)


def measure_point(kind, constellation, sir, laws, network, seed, blocks=8, snr_db=SNR_DB):
    """Rows of one point; all receivers see the same blocks."""
    points = np.asarray(diffusion.constellation(constellation)).astype(complex)
    rng = np.random.default_rng([seed, list(KINDS).index(kind), points.size, sir + 100])
    noise_var, table = 10 ** (-snr_db / 10), metrics.labels(int(np.log2(points.size)))
    llr, sent = {}, []
    learned, whitened = [InterferenceReceiver(points, law, rounds) for law, rounds in zip(laws, (12, 1))]
    for _ in range(blocks):
        index = rng.integers(0, points.size, LENGTH)
        clean = points[index] + np.sqrt(noise_var) * circular(rng, LENGTH)
        y = clean + 10 ** (-sir / 20) * KINDS[kind](rng, LENGTH)
        sent.append(table[index])
        receivers = {
            "clean": lambda: baselines.bit_llr(-np.abs(clean[:, None] - points) ** 2 / noise_var),
            "white": lambda: baselines.bit_llr(-np.abs(y[:, None] - points) ** 2 / (noise_var + power_of(y, noise_var))),
            "notch": lambda: notch(y, points, noise_var),
            "whitened": lambda: whitened(y, noise_var)[1]}
        if network:
            receivers["network"] = lambda: network(y)
        receivers["learned"] = lambda: learned(y, noise_var)[1]
        for k, f in receivers.items():
            llr.setdefault(k, []).append(f())
    sent = np.concatenate(sent)
    rows = []
    for k, v in llr.items():
        v = np.concatenate(v)
        ber, lo, hi = metrics.ber(sent, v)
        gains = metrics.gmi_samples(sent, v)
        per_block = gains.reshape(blocks, -1).mean(1)  # symbols of a block share their interference
        rows.append({"study": "interference", "setting": f"{kind}, {constellation}", "snr_db": snr_db, "sir_db": sir,
                     "receiver": k, "ber": ber, "ber_lo": lo, "ber_hi": hi, "gmi": float(gains.mean()),
                     "gmi_half": float(metrics.Z95 * per_block.std(ddof=1) / np.sqrt(blocks))})
    return rows


def table(rows):
    """Markdown: GMI, a line a point."""
    names = list(TITLES)
    lines = ["| interference | constellation | SIR dB | " + " | ".join(TITLES[k] for k in names) + " |",
             "| --- | --- | --- |" + " --- |" * len(names)]
    for setting, sir in dict.fromkeys((r["setting"], r["sir_db"]) for r in rows):
        cells = {r["receiver"]: r for r in rows if (r["setting"], r["sir_db"]) == (setting, sir)}
        kind, constellation = setting.split(", ")
        lines.append(f"| {kind} | {constellation} | {sir:g} | " + " | ".join(
            f"{cells[k]['gmi']:.2f} +- {cells[k]['gmi_half']:.2f}" if k in cells else "-" for k in names) + " |")
    return "\n".join(lines)


def measure(seed, kinds=tuple(KINDS), trained="qam16", others=("qpsk", "qam64"), sirs=SIRS, blocks=6, network=True,
            effort=1.0):
    """Rows; the matched network is trained for one constellation, the others nobody saw. effort: of the trainings."""
    rows = []
    for kind in kinds:
        laws = fitted_law(kind, seed, effort)
        points = np.asarray(diffusion.constellation(trained)).astype(complex)
        net = matched_network(kind, points, seed, effort) if network else None
        jobs = [(c, s) for c in (trained, *others) for s in sirs]
        for c, s in progress(jobs, desc=kind):
            rows += measure_point(kind, c, s, laws, net if c == trained else None, seed, blocks)
        print(table([r for r in rows if r["setting"].startswith(kind)]), flush=True)
    return rows


def measure_study(args, names):
    """`evaluate receiver --study interference`."""
    try:
        import torch  # noqa: F401, the matched network's
    except ImportError:
        raise JobError("the interference study trains a network to compare with: start it as './run evaluate', "
                       "or pip install torch safetensors") from None
    if getattr(args, "quick", False):
        return measure(args.seed, others=("qpsk",), sirs=(0,), blocks=2, effort=0.2)
    return measure(args.seed)
