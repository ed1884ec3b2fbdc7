# SPDX-License-Identifier: GPL-3.0-or-later
"""Square Gray constellations: unit power, points[i] labelled by the bits of i, most significant first."""
import numpy as np


def rail_levels(m):
    """(m,) amplitudes of an m-level rail by Gray label, so that m x m of them have unit mean power."""
    position = np.arange(m)
    label = position ^ (position >> 1)
    levels = np.empty(m)
    levels[label] = (2 * position - (m - 1)) * np.sqrt(1.5 / (m * m - 1))
    return levels


def square_qam(bits_per_symbol):
    """complex128 (2^bits,): the upper half of the bits labels I, the lower half Q."""
    half, odd = divmod(int(bits_per_symbol), 2)
    if odd or half < 1:
        raise ValueError(f"square QAM of {bits_per_symbol} bits; use 2, 4, 6, 8, ...")
    levels = rail_levels(1 << half)
    return (levels[:, None] + 1j * levels[None, :]).ravel()


def orbits(points):
    """(class_of (M,) int, members per class): points that rotations by 90 degrees and reflections map to
    each other, in order of rising energy; what a link without IQ imbalance and offset cannot tell apart."""
    points = np.asarray(points)
    a, b = np.abs(points.real), np.abs(points.imag)
    key = np.round(np.stack([np.abs(points) ** 2, np.maximum(a, b)], 1), 6)
    _, class_of, count = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    return class_of.ravel(), count
