# SPDX-License-Identifier: GPL-3.0-or-later
"""Study "noise" of `evaluate receiver`: demappers in noise that is not Gaussian, from noise-only samples.

Noises, as powers of E|n|^2 = 1/SNR: Gaussian; Laplacian rails; Bernoulli-Gaussian (a tenth of the samples 20
dB stronger); circular alpha-stable, alpha = 1.6, without a variance: its dispersion is that of Gaussian noise
of 1/SNR (characteristic function exp(-|t|^alpha (1/(4 SNR))^(alpha/2)), which alpha = 2 makes Gaussian); a
synchronous QPSK interferer 10 dB above a Gaussian floor.
"""
import numpy as np
from gnuradio import diffusion

from .. import metrics
from ..baselines import receiver as baselines
from ..cli.common import progress
from ..train.hardware import Hardware

IMPULSES, IMPULSE_POWER, ALPHA = 0.1, 100.0, 1.6
SNRS = (-5, 0, 5, 10, 15)
LEARNED = (500, 3000)
TITLES = {"law": "law known (bound)", "gaussian": "Gaussian demapper", "dnn": "DNN, trained in Gaussian "
                                                                              "noise",
          "blanking": "clipped at 3 sigma, Gaussian", "kde": "kernel density, 3000",
          "learned-500": "NoiseLaw, 500", "learned-3000": "NoiseLaw, 3000"}


def circular(rng, n):
    return np.sqrt(0.5) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))


def gaussian(rng, n):
    return circular(rng, n)


def laplacian(rng, n):
    return rng.laplace(0, 0.5, n) + 1j * rng.laplace(0, 0.5, n)


def bernoulli(rng, n):
    """Bernoulli-Gaussian impulses."""
    scale = np.where(rng.random(n) < IMPULSES, np.sqrt(IMPULSE_POWER),
                     1) / np.sqrt(1 - IMPULSES + IMPULSES * IMPULSE_POWER)
    return circular(rng, n) * scale


def alpha_stable(rng, n, alpha=ALPHA):
    """Circular: sqrt(A) G, A positive stable of index alpha/2 (Kanter 1975; Samorodnitsky & Taqqu 1994,
    2.5)."""
    a = alpha / 2
    u, e = rng.uniform(0, np.pi, n), rng.exponential(size=n)
    positive = np.sin(a * u) / np.sin(u) ** (1 / a) * (np.sin((1 - a) * u) / e) ** ((1 - a) / a)
    return np.sqrt(positive) * circular(rng, n)


def interferer(rng, n):
    """Synchronous QPSK of unknown symbols over a Gaussian floor."""
    return (np.exp(1j * np.pi * (rng.integers(0, 4, n) / 2 + 0.25)) + np.sqrt(0.1) *
            circular(rng, n)) / np.sqrt(1.1)


NOISES = {"gaussian": gaussian, "laplacian": laplacian, "bernoulli-gaussian": bernoulli,
          "alpha-stable": alpha_stable,
          "qpsk-interferer": interferer}


def log_density(name, n, noise_var):
    """The true law's, up to a constant; None where it has no closed form."""
    z = n / np.sqrt(noise_var)
    if name == "gaussian":
        return -np.abs(z) ** 2
    if name == "laplacian":
        return -2 * (np.abs(z.real) + np.abs(z.imag))
    if name == "bernoulli-gaussian":
        low = 1 / (1 - IMPULSES + IMPULSES * IMPULSE_POWER)
        high = IMPULSE_POWER * low
        return np.logaddexp(np.log((1 - IMPULSES) / low) - np.abs(z) ** 2 / low,
                            np.log(IMPULSES / high) - np.abs(z) ** 2 / high)
    if name == "qpsk-interferer":
        points = np.exp(1j * np.pi * (np.arange(4) / 2 + 0.25)) / np.sqrt(1.1)
        return np.logaddexp.reduce([-np.abs(z - p) ** 2 * 11 for p in points])
    return None


def kernel_density(noise):
    """log-density of a kernel estimate whose width cross-validation picks, circular normal kernels."""
    from scipy.special import logsumexp
    keep = noise[:3000]
    half = keep.size // 2

    def at(n, centres, width):
        out = np.empty(n.size)
        for a in range(0, n.size, 2000):
            out[a:a + 2000] = logsumexp(-np.abs(n[a:a + 2000, None] - centres) ** 2 / width ** 2, 1)
        return out - 2 * np.log(width)

    scale = np.median(np.abs(keep))
    widths = scale * np.geomspace(0.05, 1, 9)
    width = max(widths, key=lambda w: np.mean(np.maximum(at(keep[half:], keep[:half], w), -50)))
    return lambda n: at(n.ravel(), keep, width).reshape(n.shape)


def density_llr(points, density, y):
    """LLRs (n, bits) of an additive noise's log-density."""
    return baselines.bit_llr(density(y[:, None].astype(np.complex128) - points))


def measure_point(rx, noise, snr_db, n, seed, dnn=None):
    """Rows of one noise and SNR; all receivers see the same symbols, noise and noise-only samples."""
    points, noise_var = rx.constellation, 10 ** (-snr_db / 10)
    rng = np.random.default_rng([seed, int(round(10 * snr_db)) + 1000, list(NOISES).index(noise)])
    draw = lambda k: np.sqrt(noise_var) * NOISES[noise](rng, k)
    alone, index = draw(max(LEARNED)), rng.integers(0, points.size, n)
    y = (points[index] + draw(n)).astype(np.complex64)
    limit = 3 * np.sqrt(noise_var / 2)
    receivers = {}
    if log_density(noise, y[:1], noise_var) is not None:
        receivers["law"] = lambda z: density_llr(points, lambda v: log_density(noise, v, noise_var), z)
    receivers["gaussian"] = lambda z: baselines.bit_llr(-np.abs(z[:, None] - points) ** 2 / noise_var)
    if dnn:
        receivers["dnn"] = lambda z: dnn(z, snr_db)
    # A limiter in front of the Gaussian demapper: the usual remedy against impulses.
    level = np.abs(points.real).max() + limit
    receivers["blanking"] = lambda z: baselines.bit_llr(
        -np.abs((np.clip(z.real, -level, level) + 1j * np.clip(z.imag, -level, level))[:, None] -
                points) ** 2 / noise_var)
    # The kernel estimate costs thousands of exponentials a symbol: on a tenth of the symbols.
    density = kernel_density(alone)
    for k in LEARNED:
        law = diffusion.NoiseLaw.fit(alone[:k], seed=seed)
        receivers[f"learned-{k}"] = lambda z, r=rx.with_noise(law): r(z)[1]
    bits = metrics.labels(rx.bits_per_symbol)[index]
    rows = []
    few = min(n, 4000)
    for name, f, count in [*((k, f, n) for k, f in receivers.items()),
                           ("kde", lambda z: density_llr(points, density, z), few)]:
        chunk = max(1000, (1 << 20) // points.size)
        llr = np.concatenate([f(y[a:min(a + chunk, count)]) for a in range(0, count, chunk)])
        ber, lo, hi = metrics.ber(bits[:count], llr)
        gains = metrics.gmi_samples(bits[:count], llr)
        rows.append({"study": "noise", "setting": noise, "snr_db": snr_db, "receiver": name, "ber": ber,
                     "ber_lo": lo,
                     "ber_hi": hi, "gmi": float(gains.mean()),
                     "gmi_half": float(metrics.Z95 * gains.std() / np.sqrt(count))})
    return rows


def measure(rx, n, seed, snrs=SNRS, with_dnn=True, noises=tuple(NOISES)):
    """Rows over noises and SNRs."""
    dnn = None
    if with_dnn:
        from ..baselines import dnn_demapper
        dnn = dnn_demapper.train(Hardware(), rx.constellation, seed=seed)
    jobs = [(noise, snr) for noise in noises for snr in snrs]
    return [row for noise, snr in progress(jobs, desc="noise")
            for row in measure_point(rx, noise, snr, n, seed, dnn)]


def table(rows, noise):
    """Markdown: GMI by SNR and receiver."""
    rows = [r for r in rows if r["setting"] == noise]
    names = [k for k in TITLES if any(r["receiver"] == k for r in rows)]
    lines = ["| SNR dB | " + " | ".join(TITLES[k] for k in names) + " |", "| --- |" + " --- |" * len(names)]
    for snr in sorted({r["snr_db"] for r in rows}):
        cells = {r["receiver"]: r for r in rows if r["snr_db"] == snr}
        lines.append(f"| {snr:g} | " + " | ".join(f"{cells[k]['gmi']:.3f} +- {cells[k]['gmi_half']:.3f}"
                                                  for k in names) + " |")
    return "\n".join(lines)


def plot(rows, path):
    """GMI over SNR, a panel a noise."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, len(NOISES), figsize=(3.2 * len(NOISES), 3.2), layout="constrained",
                                   sharey=True)
    for axis, noise in zip(axes, NOISES):
        own = [r for r in rows if r["setting"] == noise]
        for name in [k for k in TITLES if any(r["receiver"] == k for r in own) and k != "learned-500"]:
            line = sorted((r["snr_db"], r["gmi"]) for r in own if r["receiver"] == name)
            axis.plot(*zip(*line), marker="o", ms=3, lw=2 if name.startswith("learned") else 1,
                      label=TITLES[name],
                      ls="--" if name == "law" else "-", color=f"C{list(TITLES).index(name)}",
                      zorder=3 if name == "law" else 2)
        axis.set(title=noise, xlabel="SNR, dB")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("GMI, bits a symbol")
    axes[0].legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def measure_study(args, names):
    """`evaluate receiver --study noise`."""
    from ..cli.common import JobError
    try:
        import torch  # noqa: F401, the DNN's
    except ImportError:
        raise JobError("the noise study trains a DNN to compare with: start it as './run evaluate', "
                       "or pip install torch safetensors") from None
    rows = []
    for name in names if args.model else ["rx-qam16"]:
        own = measure(diffusion.Receiver(name), args.symbols or 200000, args.seed,
                      args.snr if args.snr else SNRS)
        rows += [{"model": name, **row} for row in own]
        if args.plots:
            plot(own, args.plots / f"noise-{name}.png")
        for noise in NOISES:
            print(f"\n{name} in {noise} noise: GMI, bits\n\n{table(own, noise)}")
    return rows
