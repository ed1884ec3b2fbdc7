# SPDX-License-Identifier: GPL-3.0-or-later
"""The literature's denoising receiver as it is described, beside every baseline: 16-QAM over impaired, quantized links
(S1 and S2), -25 to 30 dB, Gaussian noise and, without training anything again, Laplacian noise of the same variance.

The network is models/literature/ddpm-qam16 (train/literature_receiver). It is run in three ways: ancestral from
step T with the observation in place of pure noise, as the papers have it; ancestral from the step whose noise level
is the observation's; and five deterministic steps from there. Decisions go to the nearest point; soft values are
distances to the points, scaled as suits them best. Known noise variance, 2000 known symbols for those that learn."""
import dataclasses
from pathlib import Path

import numpy as np
from gnuradio import diffusion

from ..baselines import dnn_demapper
from ..baselines import receiver as baselines
from ..cli.common import JobError, progress
from .. import metrics
from ..train import hardware
from . import receiver as evaluation

SNRS = (-25, -15, -10, -5, 0, 5, 10, 15, 20, 30)
KNOWN, SYMBOLS = 2000, 10000
NOISES = ("gaussian", "laplacian")
DRAWS = 1500000      # for the law of Laplacian noise in the converter's cells
MODEL = Path("models/literature/ddpm-qam16.safetensors")
TITLES = {"map": "MAP, law known (bound)", "linear": "LMMSE + min-distance",
          "class-gaussian": "class-conditional Gaussian", "post-distorter": "widely linear + cubic",
          "dnn": "DNN, all SNRs (AWGN)", "fit": "Receiver.fit", "unfitted": "rx-qam16, not fitted",
          "ddpm-T": "literature: from step T", "ddpm-matched": "ancestral, matched step",
          "ddim-matched": "deterministic, matched step"}


def post_distorter(points, index, x_y, noise_var, y):
    """Log-likelihoods after a widely linear and cubic inverse, least squares with a ridge of the noise."""
    def terms(z):
        p = np.abs(z) ** 2
        return np.stack([z, z.conj(), np.ones_like(z), z * p, z.conj() * p], -1)

    a, x = terms(x_y.astype(complex)), points[index].astype(complex)
    w = np.linalg.solve(a.conj().T @ a + 1e-6 * len(index) * np.eye(5), a.conj().T @ x)
    centre = np.array([(a @ w)[index == i].mean() if np.any(index == i) else points[i] for i in range(points.size)])
    # The inverse of a noisy symbol shrinks: distances are to where the points end up on average.
    variance = np.mean(np.abs(a @ w - centre[index]) ** 2)
    return -np.abs((terms(y.astype(complex)) @ w)[:, None] - centre) ** 2 / variance


def map_by_histogram(hw, points, snr_db, y, seed):
    """The bound where no closed form is at hand: p(cell | symbol) by DRAWS draws of the true link."""
    step = 2 * hw.full_scale(snr_db) / 2 ** hw.bits
    half, m = 2 ** hw.bits // 2, points.size
    cell = lambda z: ((np.clip(np.floor(z.real / step), -half, half - 1).astype(int) + half) * 2 * half
                      + np.clip(np.floor(z.imag / step), -half, half - 1).astype(int) + half)
    counts = np.zeros((m, 4 * half * half))
    part = 500000
    for k in range(DRAWS // part):
        index = np.random.default_rng([seed, k]).integers(0, m, part)
        where = cell(hw.transmit(points, index, snr_db, seed * 1000 + k))
        counts += np.bincount(index * counts.shape[1] + where, minlength=counts.size).reshape(counts.shape)
    law = (counts + 0.02) / (counts + 0.02).sum(1, keepdims=True)
    return np.log(law).T[cell(y)]


def literature(path, y, noise_var, way, seed):
    """Symbol estimates of the literature's network."""
    rx = diffusion.engine_receiver(str(path), 5)
    if way != "ddim-matched":
        rx.set_ancestral(True, way == "ddpm-T", seed)
    rx.set_noise_var(noise_var)
    return rx.denoise(y)


def distances(points, x_hat):
    """LLRs of symbol estimates, up to the best scale: their signs are those of the nearest point."""
    table = metrics.labels(int(np.log2(points.size)))
    d = np.abs(x_hat[:, None] - points) ** 2
    return np.stack([d[:, table[:, k] == 0].min(1) - d[:, table[:, k] == 1].min(1) for k in range(table.shape[1])], 1)


def measure_point(rx, path, dnn, study, noise, snr_db, n, seed):
    """Rows of one setting, noise and SNR."""
    points = rx.constellation
    hw = dataclasses.replace(hardware.REFERENCE[study], law=noise)
    rng = np.random.default_rng([seed, int(snr_db) + 1000, NOISES.index(noise)])
    noise_var = hw.noise_var(snr_db)
    known, index = rng.integers(0, points.size, KNOWN), rng.integers(0, points.size, n)
    seen = hw.transmit(points, known, snr_db, rng.integers(2 ** 62))
    y = hw.transmit(points, index, snr_db, rng.integers(2 ** 62))
    bits = metrics.labels(rx.bits_per_symbol)[index]
    likelihoods = {
        "map": (lambda: baselines.map_known_law(hw, points, snr_db, y)) if noise == "gaussian" else
               (lambda: map_by_histogram(hw, points, snr_db, y, seed + 1)),
        "linear": lambda: baselines.lmmse_min_distance(points, known, seen, noise_var, y),
        "class-gaussian": lambda: baselines.class_conditional(points, known, seen, noise_var, y),
        "post-distorter": lambda: post_distorter(points, known, seen, noise_var, y)}
    llr = {k: baselines.bit_llr(f()) for k, f in likelihoods.items()}
    llr["dnn"] = dnn(y, snr_db)
    llr["fit"] = rx.fit(points[known], seen, noise_var)(y, noise_var)[1]
    llr["unfitted"] = rx(y, noise_var)[1]
    for way in ("ddpm-T", "ddpm-matched", "ddim-matched"):
        llr[way] = distances(points, literature(path, y, noise_var, way, seed))
    setting = f"qam16, {'AWGN' if noise == 'gaussian' else 'Laplacian'}, {KNOWN} known symbols, known noise variance"
    return [evaluation.row_of(f"papers {study}", setting, snr_db, name, bits, soft)
            for name, soft in llr.items()]


def table(rows, study, noise, value="ber"):
    """Markdown: BER [95%] or GMI by SNR and receiver."""
    some = [r for r in rows if r["study"] == f"papers {study}" and
            (("AWGN" in r["setting"]) == (noise == "gaussian"))]
    lines = ["| SNR dB | " + " | ".join(TITLES.values()) + " |", "| --- |" + " --- |" * len(TITLES)]
    for snr in sorted({r["snr_db"] for r in some}):
        cells = {r["receiver"]: r for r in some if r["snr_db"] == snr}
        lines.append(f"| {snr:g} | " + " | ".join(f"{cells[n][value]:.3g}" for n in TITLES) + " |")
    return "\n".join(lines)


def find_model():
    """The literature's network: as shipped, in the source tree or installed."""
    for folder in (Path("."), Path(diffusion.model_path("rx-qam16")).parent.parent):
        if (folder / MODEL).exists():
            return folder / MODEL
    raise JobError(f"{MODEL} is not there; make it with './run train literature_receiver'")


def measure_study(args, names):
    """Rows of all points; prints the tables."""
    rx, path = diffusion.Receiver("rx-qam16"), find_model()
    rows = []
    for study in ("S1", "S2"):
        dnn = dnn_demapper.train(hardware.REFERENCE[study], rx.constellation, hidden=(128, 128, 128),
                                 snr_db=(-25.0, 32.0), steps=100 if getattr(args, "quick", False) else 1000, batch=4096, seed=args.seed)
        for noise in NOISES:
            for snr in progress(args.snr or SNRS, desc=f"{study}, {noise}"):
                rows += measure_point(rx, path, dnn, study, noise, snr, args.symbols or SYMBOLS, args.seed)
            for value in ("ber", "gmi"):
                print(f"\n{study}, {noise} noise, {value.upper()}\n\n{table(rows, study, noise, value)}", flush=True)
    if args.plots:
        from .receiver_plots import papers
        for file in papers(rows, args.plots):
            print(f"wrote {file}")
    return rows
