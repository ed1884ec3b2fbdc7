# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel estimators to compare with: sample-covariance LMMSE, OMP, GMM, genie; LS, NOMP and SBL are C++.

Each is an object ``f(y, pilots, noise_var) -> h``: y (frames, pilots) complex, pilots (pilots,) int, h
(frames, carriers). Those that learn take training channels (n, carriers) of unit mean power.
"""

import numpy as np
from gnuradio import diffusion


def native(method, carriers, profile=None, model=""):
    """ls, nomp, sbl, lmmse or diffusion of the C++ library; profile: mean power on its delay grid. What it
    believes of its last estimates is kept in its attribute err_var."""
    made = diffusion.pilot_estimator(method, carriers, model)
    if profile is not None:
        made.set_profile(np.asarray(profile, np.float32).tolist())

    def estimate(y, pilots, noise_var):
        made.pilots = np.asarray(pilots).tolist()
        h, estimate.err_var = made(np.asarray(y, np.complex64), float(noise_var))
        return h

    return estimate


def delay_profile(h, grid):
    """Mean power of training channels on a delay grid: the prior of sbl."""
    carriers = h.shape[1]
    padded = np.zeros((len(h), grid), complex)
    padded[:, (np.arange(carriers) - carriers // 2) % grid] = h * np.hanning(carriers + 2)[1:-1]
    return np.mean(np.abs(np.fft.ifft(padded, axis=1)) ** 2, 0)


def covariance(h):
    return h.T @ h.conj() / len(h)


def shrunk_covariance(h):
    """Ledoit and Wolf's (2004) shrinkage of the sample covariance towards a multiple of the identity."""
    n, carriers = h.shape
    s = covariance(h)
    level = np.trace(s).real / carriers
    distance = np.sum(np.abs(s - level * np.eye(carriers)) ** 2)
    spread = (np.sum(np.sum(np.abs(h) ** 2, 1) ** 2) / n - np.sum(np.abs(s) ** 2)) / n
    weight = min(1.0, max(0.0, spread / distance))
    return (1 - weight) * s + weight * level * np.eye(carriers)


def linear(c, y, pilots, noise_var):
    """LMMSE for a zero-mean law of covariance c (carriers, carriers) or one for each frame."""
    inner = c[..., pilots, :][..., :, pilots] + noise_var * np.eye(len(pilots))
    return (c[..., :, pilots] @ np.linalg.solve(inner, np.broadcast_to(y[..., None], (*y.shape, 1))))[..., 0]


class Lmmse:
    def __init__(self, h, shrinkage=False):
        self.c = shrunk_covariance(h) if shrinkage else covariance(h)

    def __call__(self, y, pilots, noise_var):
        return linear(self.c, y, pilots, noise_var)


class Omp:
    """Orthogonal matching pursuit on a delay grid of four points a sample; stops at the noise level
    (the residual's power falls to its expectation) or at half as many paths as pilots. Of atoms that fit
    equally - the aliases of a comb - the earliest is taken."""

    def __init__(self, carriers, oversampling=4):
        k, l = np.arange(carriers) - carriers // 2, np.arange(carriers * oversampling)
        self.atoms = np.exp(-2j * np.pi * np.outer(k, l) / len(l))

    def __call__(self, y, pilots, noise_var):
        a = self.atoms[pilots]
        earlier = 1 - 1e-6 * np.arange(a.shape[1])
        out = np.zeros((len(y), len(self.atoms)), complex)
        for i, row in enumerate(y):
            residual, chosen, gain = row, [], np.zeros(0)
            for _ in range(max(1, len(pilots) // 2)):
                if np.sum(np.abs(residual) ** 2) <= noise_var * len(pilots):
                    break
                chosen.append(int(np.argmax(np.abs(a.conj().T @ residual) * earlier)))
                gain = np.linalg.lstsq(a[:, chosen], row, rcond=None)[0]
                residual = row - a[:, chosen] @ gain
            out[i] = self.atoms[:, chosen] @ gain
        return out


class Gmm:
    """Mixture of zero-mean Gaussians fitted by EM to training channels, then the exact posterior mean
    (Koller et al., "An asymptotically MSE-optimal estimator based on Gaussian mixture models", 2022)."""

    def __init__(self, h, components=64, iterations=60, seed=1, tolerance=1e-3):
        rng = np.random.default_rng(seed)
        n, carriers = h.shape
        h = h.astype(np.complex64)
        load = 1e-4 * np.eye(carriers)
        share = rng.dirichlet(np.full(components, 0.3), n).astype(np.float32)
        before = -np.inf
        self.likelihoods = []
        for _ in range(iterations):
            mass = share.sum(0) + 1e-6
            self.c = np.stack([(h.T * share[:, k]) @ h.conj() / mass[k] for k in range(components)]) + load
            self.weight = mass / mass.sum()
            log = np.stack([self._log(h, k) for k in range(components)], 1)
            top = log.max(1, keepdims=True)
            total = np.exp(log - top).sum(1, keepdims=True)
            share = (np.exp(log - top) / total).astype(np.float32)
            now = float(np.mean(top + np.log(total)))
            self.likelihoods.append(now)
            if now - before < tolerance * carriers / 10:
                break
            before = now

    def _log(self, h, k):
        low = np.linalg.cholesky(self.c[k])
        white = np.linalg.inv(low).astype(np.complex64) @ h.T
        return np.log(self.weight[k]) - np.sum(np.abs(white) ** 2, 0) - 2 * np.sum(np.log(np.diag(low).real))

    def __call__(self, y, pilots, noise_var):
        inner = self.c[:, pilots][:, :, pilots] + noise_var * np.eye(len(pilots))
        inverse = np.linalg.inv(inner)
        solved = np.einsum("kij,nj->kni", inverse, y)
        log = (np.log(self.weight) - np.linalg.slogdet(inner)[1])[:, None] - np.sum(
            y.conj() * solved, -1
        ).real
        share = np.exp(log - log.max(0))
        share /= share.sum(0)
        return np.einsum("kci,kni,kn->nc", self.c[:, :, pilots], solved, share)


class Genie:
    """LMMSE that knows each channel's own covariance c (frames, carriers, carriers): an
    unreachable bound."""

    def __init__(self, c):
        self.c = c

    def __call__(self, y, pilots, noise_var):
        return linear(self.c, y, pilots, noise_var)
