# SPDX-License-Identifier: GPL-3.0-or-later
"""MIMO channels and pilots to train and test on. Channels complex64 (n, Nr, Nt) of unit mean power each;
half-wavelength planar arrays [columns, rows], antenna index = column * rows + row."""

from pathlib import Path

import numpy as np


def unit(h):
    power = np.mean(np.abs(h) ** 2, axis=(1, 2), keepdims=True)
    return (h / np.sqrt(np.maximum(power, 1e-30))).astype(np.complex64)


def steering(u, v, shape):
    """u, v (...,): phase step along columns and rows in cycles -> (..., antennas)."""
    a = np.exp(2j * np.pi * u[..., None] * np.arange(shape[0]))
    b = np.exp(2j * np.pi * v[..., None] * np.arange(shape[1]))
    return (a[..., :, None] * b[..., None, :]).reshape(*u.shape, -1)


def plane_waves(rng, n, rx, tx, most=12):
    """1 to ``most`` plane waves around 1 to 4 directions, powers falling by 0 to 25 dB."""
    paths = rng.integers(1, most + 1, n)
    clusters = rng.integers(4, size=(n, most)) % rng.integers(1, 5, n)[:, None]
    spread = 10 ** rng.uniform(-2.5, -0.8, (n, 1))

    def direction(scale):
        centre = np.take_along_axis(rng.uniform(-0.5, 0.5, (n, 4)) * scale, clusters, 1)
        return centre + spread * rng.standard_normal((n, most))

    a = steering(direction(1.0), direction(1.0), rx)
    b = steering(direction(0.87), direction(0.5), tx)
    decay = rng.uniform(0, 25, (n, 1)) * rng.random((n, most))
    gain = 10 ** (-decay / 20) * (rng.standard_normal((n, most)) + 1j * rng.standard_normal((n, most)))
    gain = np.where(np.arange(most) < paths[:, None], gain, 0)
    return unit(np.einsum("np,npr,npt->nrt", gain, a, b))


def turned(rng, h, rx, tx):
    """The same scenes seen by turned arrays: phase ramps shift all directions of an end alike."""
    n = len(h)
    a = steering(rng.uniform(-0.5, 0.5, n), rng.uniform(-0.5, 0.5, n), rx)
    b = steering(rng.uniform(-0.3, 0.3, n), rng.uniform(-0.06, 0.06, n), tx)
    return (h * a[:, :, None] * b[:, None, :]).astype(np.complex64)


def real_array(rng, h, rx, tx):
    """Unknown errors of the arrays, drawn for each channel: gain 1 dB and phase 10 degrees (rms) for each
    element, coupling between neighbours of -15 dB with random phase."""

    def matrix(shape):
        n = shape[0] * shape[1]
        column, row = np.divmod(np.arange(n), shape[1])
        near = np.abs(column[:, None] - column) + np.abs(row[:, None] - row) == 1
        phase = np.exp(2j * np.pi * rng.random((len(h), 1, 1)))
        element = 10 ** (rng.standard_normal((len(h), n)) / 20) * np.exp(
            1j * np.radians(10) * rng.standard_normal((len(h), n))
        )
        return (np.eye(n) + 10 ** (-15 / 20) * phase * near) * element[:, None, :]

    return unit(matrix(rx) @ h @ matrix(tx).transpose(0, 2, 1))


class RayTraced:
    """mimo_upa_*.npz in a folder: training channels, and those of the masts held out by scene."""

    def __init__(self, folder, held_out=(4,)):
        train, test = [], {}
        for path in sorted(Path(folder).glob("mimo_upa_*.npz")):
            with np.load(path) as f:
                h, out = unit(f["h"]), np.isin(f["tx_id"], held_out)
            train.append(h[~out])
            test.setdefault(path.stem.split("_")[2], []).append(h[out])
        if not train:
            raise SystemExit(f"error: no mimo_upa_*.npz in {folder}")
        self.train = np.concatenate(train)
        self.test = {k: np.concatenate(v) for k, v in test.items()}


def pilots(rng, nt, count):
    """(Nt, count) with columns of unit power: random QPSK, or for 0 the orthogonal full set (DFT)."""
    if not count:
        return np.exp(-2j * np.pi * np.outer(np.arange(nt), np.arange(nt)) / nt).astype(np.complex64) / nt**0.5
    p = 1 - 2 * rng.integers(2, size=(2, nt, count))
    return ((p[0] + 1j * p[1]) / np.sqrt(2 * nt)).astype(np.complex64)


def observe(rng, h, p, noise_var):
    """y = H P + n; noise_var a number or one for each channel."""
    shape = (len(h), h.shape[1], p.shape[1])
    n = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    level = np.sqrt(np.broadcast_to(noise_var, len(h)) / 2)[:, None, None]
    return (h @ p + level * n).astype(np.complex64)
