# SPDX-License-Identifier: GPL-3.0-or-later
"""`evaluate estimator --study quantized`: pilots y = Q(h + n) of converters of 1 to 3 bits, one model for all
of them.

Every estimator is told the noise before the converter and its full scale; the mean power of a channel is 1.
bussgang-lmmse, bussgang-genie (the channel's own covariance) and bussgang-gmm are Bussgang's linear model
with the covariances of the training, of the latent scene, of each component; 1 bit by the arcsine law, more
bits with the exact variance on the diagonal and the linear model beside it. qce-lmmse and qce-gmm are the
same by the package qce 0.1 (PyPI), run if it is installed.
"""
import time

import numpy as np

from ..baselines import estimator as baselines
from ..cli.common import progress, write_json

#: full scale in standard deviations of a rail
CLIP = {1: 1.2, 2: 1.8, 3: 2.3}


def quantise(y, bits, power):
    from gnuradio import diffusion
    return diffusion.quantizer(bits, CLIP[bits] *
                               np.sqrt(power / 2))(y.astype(np.complex64).ravel()).reshape(y.shape)


def bussgang(c, noise_var, bits, pilots):
    """(filter of the channel (…, carriers, pilots), covariance of the observations) for covariances c (…, n,
    n)."""
    from gnuradio import diffusion  # noqa: F401
    own = c[..., pilots, :][..., :, pilots] + noise_var * np.eye(len(pilots))
    power = 1 + noise_var  # what the converter's full scale was set to
    step = 2 * CLIP[bits] * np.sqrt(power / 2) / 2 ** bits
    rail = np.sqrt(np.maximum(np.real(np.diagonal(own, axis1=-2, axis2=-1)), 1e-12) / 2)
    k = np.arange(1, 2 ** (bits - 1))
    edges = k * step / rail[..., None]
    gain = step / rail / np.sqrt(2 * np.pi) * (1 + 2 * np.exp(-0.5 * edges ** 2).sum(-1))
    from scipy.special import erfc
    square = 2 * step ** 2 * (0.25 + (2 * k * erfc(edges / np.sqrt(2))).sum(-1))
    if bits == 1:
        scale = np.sqrt(2) * rail
        r = own / (scale[..., :, None] * scale[..., None, :])
        arcsine = lambda x: np.arcsin(np.clip(x, -1, 1))
        out = step ** 2 / np.pi * (arcsine(r.real) + 1j * arcsine(r.imag))
    else:
        out = gain[..., :, None] * own * gain[..., None, :]
        out[..., np.arange(len(pilots)), np.arange(len(pilots))] = square
    cross = c[..., :, pilots] * gain[..., None, :]
    return cross @ np.linalg.inv(out), out


class Lmmse:
    def __init__(self, c):
        self.c = c

    def __call__(self, y, pilots, noise_var, bits):
        return np.einsum("...cp,...p->...c", bussgang(self.c, noise_var, bits, pilots)[0], y)


class Gmm:
    """Bussgang's view of each component of a zero-mean mixture."""

    def __init__(self, mixture):
        self.weights, self.c = mixture.weight, mixture.c

    def __call__(self, y, pilots, noise_var, bits):
        filters, out = bussgang(self.c, noise_var, bits, pilots)
        sign, log_det = np.linalg.slogdet(out)
        fit = np.real(np.einsum("np,kpq,nq->nk", y.conj(), np.linalg.inv(out), y))
        log_p = np.log(self.weights + 1e-30) - log_det - fit
        p = np.exp(log_p - log_p.max(1, keepdims=True))
        return np.einsum("nk,kcp,np->nc", p / p.sum(1, keepdims=True), filters, y)


def model(name, rounds):
    from gnuradio import diffusion
    est = diffusion.Estimator(name)
    est.few_bit_rounds = rounds
    return lambda y, pilots, noise_var, bits: est(y, np.asarray(pilots), noise_var)[0]


def qce(weights, c):
    """The package qce's Bussgang LMMSE (one component) or GMM (several) with these covariances; None without
    the package. c None: whether there is one."""
    try:
        from qce.estimators._bussgang_mixture import build_bussgang_mixture_parameters, estimate_from_component_parameters
        from qce.quantizers import ScalarQuantizer
    except ImportError:
        return None

    if c is None:
        return True
    own = np.asarray(c, complex)
    own = (own + own.conj().swapaxes(-1, -2)) / 2  # it takes no diagonal with rounding in it

    def estimate(y, pilots, noise_var, bits):
        full = CLIP[bits] * np.sqrt((1 + noise_var) / 2)
        step = 2 * full / 2 ** bits
        edges = step * np.arange(-2 ** (bits - 1) + 1, 2 ** (bits - 1))
        kind = ScalarQuantizer(thresholds=edges, labels=np.append(edges, full) - step / 2)
        means = np.zeros((len(own), own.shape[-1]))
        p = build_bussgang_mixture_parameters(
            means_h=means, covariances_h=own, observation_matrix=np.eye(own.shape[-1])[pilots],
            noise_covariance=noise_var * np.eye(len(pilots)), n_bits=bits, quantizer=kind,
            quantizer_kind="lloyd_max")  # its name for the general case: any thresholds and labels
        if bits == 1:
            y = y * np.sqrt(2) / step  # its levels of one bit
        return estimate_from_component_parameters(
            y=y, weights=weights, means_x=means, means_y=p.means, covariances_y=p.covariances,
            cross_covariances=p.cross_covariances, select_components=lambda share, _: np.arange(len(share)),
            selection_parameter=1.0)
    return estimate


def run(args, scenes):
    rows = []
    for scene in scenes:
        c = baselines.covariance(scene.training)
        made = {"bussgang-lmmse": Lmmse(c)}
        mixture = baselines.Gmm(scene.training, args.gmm, seed=args.seed)
        made[f"bussgang-gmm{args.gmm}"] = Gmm(mixture)
        if qce(None, None):
            made["qce-lmmse"] = qce(np.ones(1), c[None])
            made[f"qce-gmm{args.gmm}"] = qce(mixture.weight, mixture.c)
        if scene.genie is not None:
            made["bussgang-genie"] = None
        for name in args.model or ["ce-ofdm64", "ce-ofdm64-dense"]:
            made[f"{name}, linear"], made[name] = model(name, 0), model(name, 5)
        for pattern in progress(args.patterns, desc=scene.name):
            for bits in (1, 2, 3):
                for snr_db in args.snr:
                    rows += measure(args, scene, made, pattern, bits, snr_db)
        write_json(args.json, {"rows": rows})
    print(table(rows))
    if args.markdown:
        with open(args.markdown, "w") as f:
            f.write(table(rows) + "\n")


def measure(args, scene, made, pattern, bits, snr_db, groups=5):
    from .estimator import draws, nmse
    noise_var = 10 ** (-snr_db / 10)
    drawn = draws(scene, pattern, snr_db, args.seed, groups)
    rows = []
    for name, estimate in made.items():
        error, elapsed = [], []
        for part, pilots, n in drawn:
            h = scene.h[part]
            y = quantise(h[:, pilots] + n, bits, 1 + noise_var)
            own = Lmmse(scene.genie[part]) if name == "bussgang-genie" else estimate
            start = time.perf_counter()
            found = own(y, pilots, noise_var, bits)
            elapsed.append((time.perf_counter() - start) / len(part))
            error.append(np.sum(np.abs(found - h) ** 2, 1))
        nmse_db, low, high = nmse(error, scene.h, args.seed)
        rows.append({"study": "quantized", "scene": scene.name, "pilots": pattern, "bits": bits,
                     "snr_db": snr_db, "estimator": name, "nmse_db": nmse_db, "nmse_db_low": low,
                     "nmse_db_high": high,
                     "us_per_estimate": 1e6 * float(np.median(elapsed)), "frames": len(scene.h)})
    return rows


def table(rows):
    names = list(dict.fromkeys(r["estimator"] for r in rows))
    lines = ["| scene | pilots | bits | SNR dB | " + " | ".join(names) + " |",
             "| --- " * (4 + len(names)) + "|"]
    for key in dict.fromkeys((r["scene"], r["pilots"], r["bits"], r["snr_db"]) for r in rows):
        values = {r["estimator"]: r["nmse_db"] for r in rows
                  if (r["scene"], r["pilots"], r["bits"], r["snr_db"]) == key}
        best = min(v for k, v in values.items() if k != "bussgang-genie")
        text = [f"**{values[n]:.1f}**" if n in values and n != "bussgang-genie" and values[n] <= best
                else f"{values[n]:.1f}" if n in values else "-"
                for n in names]
        lines.append(f"| {key[0]} | {key[1]} | {key[2]} | {key[3]:g} | " + " | ".join(text) + " |")
    return "\n".join(lines)
