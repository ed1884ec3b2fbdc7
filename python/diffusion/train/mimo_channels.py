# SPDX-License-Identifier: GPL-3.0-or-later
"""MIMO channels and pilots to train and test on. Channels complex64 (n, Nr, Nt) of unit mean power each;
half-wavelength planar arrays [columns, rows], antenna index = column * rows + row."""

import math
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


def clusters(rng, n, rx, tx, most=6, rays=12, factors=False):
    """Dense clusters of rays: 1 to ``most`` directions with Laplacian angular spread of 0.5 to 35 degrees at
    either end; in two of five 2 degrees at the base station and 35 at the user, the urban macro cell of 3GPP
    TR 25.996. Half have separable (Kronecker) statistics, half tie each departure cluster to one of arrival.

    Given its clusters a channel is Gaussian, of unit power on average; with ``factors`` also returned is
    what covariance() needs. A linear array (one row) sees sin(azimuth), a planar one elevation too.
    """
    size = most * rays
    count = rng.integers(1, most + 1, (n, 1))
    power = rng.random((n, most)) * (np.arange(most) < count)
    power = np.repeat(power / np.maximum(power.sum(1, keepdims=True), 1e-9), rays, 1) / rays
    macro = rng.random((n, 1, 1)) < 0.4

    def end(shape, degrees):
        spread = np.where(macro, degrees, 10 ** rng.uniform(math.log10(0.5), math.log10(35), (n, most, 1)))
        offset = rng.laplace(size=(n, most, rays)) * spread / math.sqrt(2)
        azimuth = np.radians(rng.uniform(-90, 90, (n, most, 1)) + offset).reshape(n, size)
        offset = rng.laplace(size=(n, most, rays)) * spread / math.sqrt(2)
        elevation = np.radians(rng.uniform(-30, 30, (n, most, 1)) + offset).reshape(n, size)
        if shape[1] == 1:
            return steering(0.5 * np.sin(azimuth), np.zeros_like(azimuth), shape)
        return steering(0.5 * np.sin(azimuth) * np.cos(elevation), 0.5 * np.sin(elevation), shape)

    a, b = end(rx, 35.0), end(tx, 2.0)
    member = np.arange(size) // rays
    tied = (rng.random(n) < 0.5)[:, None, None] & (member[:, None] != member)
    weight = np.where(tied, 0, np.sqrt(power[:, :, None] * power[:, None, :]))
    weight /= np.sqrt(np.sum(weight**2, axis=(1, 2), keepdims=True))
    gain = rng.standard_normal((n, size, size)) + 1j * rng.standard_normal((n, size, size))
    h = (a.transpose(0, 2, 1) @ (weight * gain / math.sqrt(2)) @ b).astype(np.complex64)
    return (h, (a, weight, b)) if factors else h


def covariance(factors):
    """Covariance (n, Nr Nt, Nr Nt) of the channels that clusters() drew, row-major vec: what a genie
    knows."""
    a, weight, b = factors
    left = np.einsum("nir,nis->nirs", a, a.conj())
    right = np.einsum("nij,njt,nju->nitu", weight**2, b, b.conj(), optimize=True)
    c = np.einsum("nirs,nitu->nrtsu", left, right, optimize=True)
    return c.reshape(len(c), c.shape[1] * c.shape[2], -1)


def turned(rng, h, rx, tx):
    """The same scenes seen by turned arrays: phase ramps shift all directions of an end alike."""
    n = len(h)
    a = steering(rng.uniform(-0.5, 0.5, n), rng.uniform(-0.5, 0.5, n), rx)
    b = steering(rng.uniform(-0.3, 0.3, n), rng.uniform(-0.06, 0.06, n), tx)
    return (h * a[:, :, None] * b[:, None, :]).astype(np.complex64)


def real_array(rng, h, rx, tx):
    """Unknown errors of the arrays, drawn for each channel: gain 1 dB and phase 10 degrees (rms) for each
    element, coupling between neighbours of -15 dB with random phase, elements off their place by 5% of the
    wavelength (rms along each axis of the array; the field there is interpolated from the true places with
    sinc weights)."""

    def moved(shape):
        def axis(count, index):
            # spacing: half a wavelength
            place = index + 0.1 * rng.standard_normal((len(h), shape[0] * shape[1]))
            return np.sinc(place[..., None] - np.arange(count))

        column, row = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
        a = axis(shape[0], column)
        if shape[1] == 1:
            return a
        return (a[..., :, None] * axis(shape[1], row)[..., None, :]).reshape(len(h), len(column), -1)

    def matrix(shape):
        n = shape[0] * shape[1]
        column, row = np.divmod(np.arange(n), shape[1])
        near = np.abs(column[:, None] - column) + np.abs(row[:, None] - row) == 1
        phase = np.exp(2j * np.pi * rng.random((len(h), 1, 1)))
        element = 10 ** (rng.standard_normal((len(h), n)) / 20) * np.exp(
            1j * np.radians(10) * rng.standard_normal((len(h), n))
        )
        return ((np.eye(n) + 10 ** (-15 / 20) * phase * near) * element[:, None, :]) @ moved(shape)

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
        return np.exp(-2j * np.pi * np.outer(np.arange(nt), np.arange(nt)) /
                      nt).astype(np.complex64) / nt**0.5
    p = 1 - 2 * rng.integers(2, size=(2, nt, count))
    return ((p[0] + 1j * p[1]) / np.sqrt(2 * nt)).astype(np.complex64)


def observe(rng, h, p, noise_var):
    """y = H P + n; noise_var a number or one for each channel."""
    shape = (len(h), h.shape[1], p.shape[1])
    n = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    level = np.sqrt(np.broadcast_to(noise_var, len(h)) / 2)[:, None, None]
    return (h @ p + level * n).astype(np.complex64)
