# SPDX-License-Identifier: GPL-3.0-or-later
"""Study "guidance": ways to bring few pilots into a diffusion model, with a score that is exact.

The prior is the converged mixture of Gaussians of the baselines, whose denoiser D(x, s) = E[h | h + s n = x]
and Tweedie covariance are closed forms: what differs between the rows is the guidance alone, not a network's
quality. All are deterministic (DDIM, variance exploding, from x = 0 at the largest s down) and start and stop
at fixed levels.

- "score-diagonal": D corrected by its pilots with the covariance r^2 I, r^2 the mean Tweedie variance (the
  approximation of pseudo-inverse guidance: Song et al., 2023);
- "score-tweedie": the same with the full Tweedie covariance, s^2 dD/dx (Finzi et al., 2023; Boys et al.,
  2023);
- "flow-projection": a flow from noise to channels along straight lines; every predicted channel is replaced
  on its pilots by what was observed, weighed by the noise (projection, Martin et al., "PnP-Flow", 2024);
- "mixture-posterior": the exact posterior mean of the same prior: the bound for all of these;
- beside them the pattern-conditioned, unrolled networks, and textbook SBL.
"""

import numpy as np

from ..baselines import estimator as baselines

TOP, BOTTOM = 3.0, 0.03


class Score:
    """Denoiser and Tweedie covariance of a mixture of Gaussians."""

    def __init__(self, mixture):
        self.log_weight = np.log(mixture.weight)
        value, self.vector = np.linalg.eigh(mixture.c)
        self.value = np.maximum(value, 0)
        self.inside = {}  # each component's posterior covariance, by level

    def __call__(self, x, s, spread=True):
        """x (n, carriers) -> D (n, carriers), covariance (n, carriers, carriers) or its mean diagonal
        (n,)."""
        turned = np.tensordot(x, self.vector.conj(), (1, 1))
        total = self.value + s**2
        log = self.log_weight - np.sum(np.log(total) + np.abs(turned) ** 2 / total, 2)
        share = np.exp(log - log.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        gain = self.value / total
        means = ((gain * turned).transpose(1, 0, 2) @ self.vector.transpose(0, 2, 1)).transpose(1, 0, 2)
        d = np.einsum("nk,nki->ni", share, means)
        apart = means - d[:, None]
        if not spread:
            inner = (gain * s**2).mean(1)
            return d, share @ inner + np.einsum("nk,nki,nki->n", share, apart, apart.conj()).real / x.shape[1]
        if s not in self.inside:
            self.inside[s] = (self.vector * (gain * s**2)[:, None]) @ self.vector.conj().transpose(0, 2, 1)
        between = (share[..., None] * apart).transpose(0, 2, 1) @ apart.conj()
        return d, np.tensordot(share, self.inside[s], 1) + between


def score(prior, full, steps=12):
    levels = np.geomspace(TOP, BOTTOM, steps)

    def estimate(y, pilots, noise_var):
        x = np.zeros((len(y), prior.vector.shape[1]), complex)
        for i, s in enumerate(levels):
            d, v = prior(x, s, full)
            rest = y - d[:, pilots]
            if full:
                inner = v[:, pilots][:, :, pilots] + noise_var * np.eye(len(pilots))
                d = d + (v[:, :, pilots] @ np.linalg.solve(inner, rest[..., None]))[..., 0]
            else:
                d[:, pilots] += (v / (v + noise_var))[:, None] * rest
            x = d + (levels[i + 1] / s) * (x - d) if i + 1 < steps else d
        return x

    return estimate


def flow(prior, steps=12):
    """x_t = t h + (1 - t) n, so that x_t / t is h in noise of level (1 - t) / t; t from 1 / (1 + TOP) on."""
    t = 1 / (1 + np.geomspace(TOP, BOTTOM, steps))

    def estimate(y, pilots, noise_var):
        x = np.zeros((len(y), prior.vector.shape[1]), complex)
        for i in range(steps):
            d, v = prior(x / t[i], (1 - t[i]) / t[i], False)
            d[:, pilots] += (y - d[:, pilots]) * (v / (v + noise_var))[:, None]
            if i + 1 == steps:
                return prior(d, np.sqrt(noise_var), False)[0] if noise_var > BOTTOM**2 else d
            noise = (x - t[i] * d) / (1 - t[i])
            x = t[i + 1] * d + (1 - t[i + 1]) * noise

    return estimate


def estimators(mixture, carriers, models):
    prior = Score(mixture)
    return {
        "score-diagonal": score(prior, False),
        "score-tweedie": score(prior, True),
        "flow-projection": flow(prior),
        "mixture-posterior": mixture,
        "sbl": baselines.native("sbl", carriers,
                                np.ones(baselines.diffusion.pilot_estimator("sbl", carriers).grid)),
        **{m: baselines.native("diffusion", 0, model=m) for m in models},
    }
