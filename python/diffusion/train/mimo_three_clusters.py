# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels like those of the public 64 x 16 estimators that are measured on "3GPP, 3 clusters" (Koller et
al., "An asymptotically MSE-optimal estimator based on Gaussian mixture models", 2022; Fesl et al.,
"Diffusion-based generative prior for low-complexity MIMO channel estimation", 2024): linear arrays half a
wavelength apart, 64 antennas at the base station, 16 at the user; three clusters of random powers around
directions uniform over the half plane, Laplacian angular spectra of 2 degrees at the base station and 35 at
the user (3GPP's urban macro cell); the covariance is the Kronecker product of those of the two ends, one draw
of it for each channel, and the channel is Gaussian given that.

Written from that description: their code was not used, so the genie of this generator is the one to compare
with.
"""

import numpy as np

from .mimo_channels import steering


def covariances(rng, n, antennas, spread_deg, power, directions=256):
    """(n, antennas, antennas), mean diagonal 1: Laplacian spectra on a fine grid of angles."""
    centre = rng.uniform(-90, 90, (n, power.shape[1], 1))
    offset = (np.arange(directions) + 0.5) / directions * 2 - 1
    # Laplacian by its quantiles: equal weights, rms spread_deg
    quantile = -np.sign(offset) * np.log1p(-np.abs(offset)) * spread_deg / np.sqrt(2)
    angle = np.radians(centre + quantile).reshape(n, -1)
    a = steering(0.5 * np.sin(angle), np.zeros_like(angle), (antennas, 1))
    weight = np.repeat(power, directions, 1) / directions
    return np.einsum("nd,ndi,ndj->nij", weight, a, a.conj(), optimize=True)


def draw(rng, n, nr=16, nt=64, directions=256):
    """h (n, nr, nt) of unit mean power on average, and the genie's knowledge (rx, tx)."""
    power = rng.random((n, 3))
    power /= power.sum(1, keepdims=True)
    rx = covariances(rng, n, nr, 35.0, power, directions)
    tx = covariances(rng, n, nt, 2.0, power, directions)
    white = (rng.standard_normal((n, nr, nt)) + 1j * rng.standard_normal((n, nr, nt))) / np.sqrt(2)
    h = root(rx) @ white @ root(tx).transpose(0, 2, 1)
    return h.astype(np.complex64), (rx, tx)


def root(c):
    value, vector = np.linalg.eigh(c)
    return vector * np.sqrt(np.maximum(value, 0))[:, None, :] @ vector.conj().transpose(0, 2, 1)


def genie(y, p, noise_var, known):
    """LMMSE with each channel's own covariance; orthogonal pilots of unit power only: they make the noise
    white."""
    rx, tx = known
    seen = y @ p.conj().T
    rx_value, rx_vector = np.linalg.eigh(rx)
    tx_value, tx_vector = np.linalg.eigh(tx)
    g = rx_vector.conj().transpose(0, 2, 1) @ seen @ tx_vector.conj()
    value = np.maximum(rx_value, 0)[:, :, None] * np.maximum(tx_value, 0)[:, None, :]
    return rx_vector @ (g * value / (value + noise_var)) @ tx_vector.transpose(0, 2, 1)
