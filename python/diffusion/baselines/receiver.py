# SPDX-License-Identifier: GPL-3.0-or-later
"""Classical receivers of a memoryless link, all as log-likelihoods (n, M) of the symbols.

bit_llr() turns any of them into LLRs by the exact sum over symbols (positive: bit 1).
"""
import numpy as np
from scipy.special import log_ndtr, logsumexp

from ..metrics import labels


def bit_llr(log_likelihood):
    """(n, M) log-likelihoods -> (n, bits) log p(bit = 1) / p(bit = 0)."""
    table = labels(int(np.log2(log_likelihood.shape[1])))
    return np.stack([logsumexp(log_likelihood[:, table[:, k] == 1], 1) -
                     logsumexp(log_likelihood[:, table[:, k] == 0], 1) for k in range(table.shape[1])], 1)


def gaussian(y, means, covariances):
    """Gaussian per symbol: means complex (M,), covariances (M, 3) [var re, var im, covariance]."""
    re, im = y.real[:, None] - means.real, y.imag[:, None] - means.imag
    vr, vi, c = np.asarray(covariances).T
    det = vr * vi - c * c
    return -(vi * re ** 2 + vr * im ** 2 - 2 * c * re * im) / (2 * det) - np.log(det) / 2


def lmmse_min_distance(points, index, x_y, noise_var, y):
    """The linear receiver: LMMSE gain from the known symbols (index, x_y), then distance to the ideal points.

    Soft values take the error of the known symbols as circular Gaussian noise."""
    x = points[index]
    gain = np.vdot(x, x_y) / np.vdot(x, x)
    error = np.sum(np.abs(x_y - gain * x) ** 2)
    variance = (error + 4 * noise_var) / (len(index) + 4) / abs(gain) ** 2
    return -np.abs(y[:, None] / gain - points) ** 2 / variance


def class_conditional(points, index, x_y, noise_var, y):
    """One sample centroid and sample covariance per symbol; symbols seen fewer than 4 times take the
    ideal point and the stated noise variance."""
    means = points.astype(np.complex128).copy()
    cov = np.tile([noise_var / 2, noise_var / 2, 0.0], (points.size, 1))
    for i in range(points.size):
        r = x_y[index == i].astype(np.complex128)
        if r.size >= 1:
            means[i] = r.mean()
        if r.size >= 4:
            d = r - means[i]
            cov[i] = [d.real.var(), d.imag.var(), np.mean(d.real * d.imag)]
    floor = 1e-3 * noise_var / 2  # a class that always falls into one ADC cell has no sample variance
    cov[:, :2] += floor
    cov[:, 2] *= 0.999
    return gaussian(y, means, cov)


def map_known_law(hardware, points, snr_db, y, full_scale=None, nodes=15):
    """The bound: the exact law of a Hardware. Cells of the ADC are integrated, phase noise by Gauss-Hermite
    quadrature (the rest is circular Gaussian given the phase)."""
    mu = hardware.means(points)
    sigma = np.sqrt(hardware.noise_var(snr_db) / 2)
    nodes = nodes if hardware.phase_std else 1
    angle, weight = np.polynomial.hermite_e.hermegauss(nodes)
    weight = np.log(weight / weight.sum())
    total = None
    if hardware.bits:
        full_scale = full_scale or hardware.full_scale(snr_db)
        step = 2 * full_scale / 2 ** hardware.bits
        half = 2 ** hardware.bits // 2
        edges = step * np.arange(-half, half + 1.0)
        edges[0], edges[-1] = -np.inf, np.inf
        cell = [np.clip(np.floor(rail / step).astype(int) + half, 0, 2 * half - 1)
                for rail in (y.real, y.imag)]

        def rail(level, cells):
            a, b = (edges[:-1, None] - level) / sigma, (edges[1:, None] - level) / sigma
            flip = a > 0  # the tail that does not cancel
            a, b = np.where(flip, -b, a), np.where(flip, -a, b)
            with np.errstate(divide="ignore"):
                table = log_ndtr(b) + np.log1p(-np.exp(np.minimum(log_ndtr(a) - log_ndtr(b), -1e-16)))
            return table[cells]
    for t, w in zip(angle, weight):
        m = mu * np.exp(1j * t * hardware.phase_std)
        if hardware.bits:
            one = rail(m.real, cell[0]) + rail(m.imag, cell[1])
        else:
            one = -np.abs(y[:, None] - m) ** 2 / (2 * sigma ** 2)
        total = one + w if total is None else np.logaddexp(total, one + w)
    return total
