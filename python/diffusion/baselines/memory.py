# SPDX-License-Identifier: GPL-3.0-or-later
"""Classical remedies for an amplifier with memory: linear equaliser and generalised memory polynomial.

Both are linear in their coefficients and fitted by least squares; the same features serve as post-distorter
(window around the sample) and as model of the amplifier (window behind it).
"""
import numpy as np


def features(y, taps, order=1, cross=0, centred=True):
    """(n, k): y[n - q] |y[n - q - e]|^p, |e| <= cross, p < order (Morgan et al. 2006), q over a window of
    taps.

    centred: window around the sample, else behind it. Beyond the ends there are zeros."""
    first = -((taps - 1) // 2) if centred else 0
    y = np.asarray(y, np.complex128)
    reach = taps + cross
    padded = np.pad(y, reach)
    envelope = np.abs(padded)
    at = lambda v, q: v[reach - q:reach - q + y.size]
    columns = []
    for q in range(first, first + taps):
        signal = at(padded, q)
        for e in range(-cross, cross + 1):
            power = at(envelope, q + e) if order > 1 else None
            column = signal
            for p in range(order):
                if p or e == 0:
                    columns.append(column)
                if p + 1 < order:
                    column = column * power
    return np.stack(columns, 1)


def ridge(gram, cross, weight):
    """Coefficients from normal equations, columns scaled to unit power; weight: of the ridge."""
    scale = np.sqrt(np.real(np.diag(gram))) + 1e-300
    return np.linalg.solve(gram / np.outer(scale, scale) + weight * np.eye(len(scale)), cross / scale) / scale


class Regression:
    """target ~ features(source) w, by least squares with a ridge of `weight`."""

    def __init__(self, taps, order=1, cross=0, centred=True, weight=1e-7):
        self.shape, self.weight, self.w = (taps, order, cross, centred), weight, None

    def fit(self, source, target, noise_var=0.0, repeats=1, seed=1):
        """noise_var: E|n|^2 added to the source, so that it becomes the fit for that noise."""
        rng = np.random.default_rng(seed)
        gram = cross = 0
        for _ in range(repeats if noise_var > 0 else 1):
            noise = rng.standard_normal((2, source.size)) * np.sqrt(noise_var / 2)
            a = features(source + noise[0] + 1j * noise[1], *self.shape)
            gram = gram + a.conj().T @ a
            cross = cross + a.conj().T @ target
        self.w = ridge(gram, cross, self.weight)
        return self

    def __call__(self, source):
        return features(source, *self.shape) @ self.w


def linear_equaliser(taps=7):
    return Regression(taps)


def post_distorter(taps=7, order=7, cross=1):
    """The generalised memory polynomial: 7 taps, 7 envelope powers, neighbouring envelopes."""
    return Regression(taps, order, cross)
