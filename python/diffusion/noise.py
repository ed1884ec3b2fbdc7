# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise that is not Gaussian: its law learned from noise-only samples, for any constellation.

The law is a Gaussian mixture, so its score is known in closed form at every level of the forward diffusion
(lib/dsp/noise_law.h); maximum likelihood and denoising score matching of such a family have the same optimum.
What a mixture costs against a network is nothing here: it is fitted in a second and needs no torch.
"""
import json
from pathlib import Path

import numpy as np

from . import diffusion_python as _native

FOLDS = 4
LEAST = 50            # noise-only samples
SCALES = 28           # variances on the grid of a scale mixture
PLANE_SIZES = (4, 8, 16)
FORMAT = 1


class NoiseLaw:
    """The law of additive noise: density, score, and what Receiver.with_noise() stands on.

    Made by fit() or load(). choice names the family that cross-validation took."""

    def __init__(self, law, choice="given", samples=0):
        self._law, self.choice, self.samples = law, choice, int(samples)

    @classmethod
    def fit(cls, noise, seed=1):
        """Learned from noise-only samples, complex (n,), n >= 50 (500 are plenty for simple laws), as the
        receiver gets them: after equaliser and gain, where symbols have unit power.

        Families, the likeliest on held-out quarters of the samples is taken: one Gaussian, circular or
        elliptic; independent Laplacian rails; a scale mixture of independent rails; one that hits both rails
        together (impulses); 4, 8 or 16 Gaussians anywhere in the plane (carriers, synchronous interferers).
        About a second for 3000 samples."""
        noise = _samples(noise)
        power = float(np.mean(np.abs(noise) ** 2))
        if power == 0:
            raise ValueError("the noise is all zeros; record it with the receiver's gain as in use")
        rms = np.sqrt(np.median(np.abs(noise) ** 2)) or np.sqrt(power)
        unit = noise / rms
        rng = np.random.default_rng(seed)
        fold = rng.permutation(noise.size) % FOLDS
        scores = {}
        for name, family in FAMILIES.items():
            if noise.size < family.least:
                continue
            held = np.concatenate([family.fit(unit[fold != k], np.random.default_rng(seed))
                                   .log_density(unit[fold == k]) for k in range(FOLDS)])
            scores[name] = held
        best = max(scores, key=lambda k: scores[k].mean())
        # A simpler family (they stand in this order) within a standard error of the difference is as likely.
        for name in scores:
            gap = scores[best] - scores[name]
            if gap.mean() <= gap.std() / np.sqrt(gap.size):
                best = name
                break
        law = _scaled(FAMILIES[best].fit(unit, np.random.default_rng(seed)), rms)
        return cls(law, best, noise.size)

    @property
    def noise_var(self):
        """E|n|^2 of the law (of heavy tails: of what the samples showed)."""
        return self._law.variance

    @property
    def components(self):
        """How many Gaussians it is made of."""
        state = self._law.state()
        return int(state[2] + state[3])

    def __repr__(self):
        return f"<NoiseLaw {self.choice}, {self.components} Gaussians, noise_var {self.noise_var:.3g}>"

    def log_density(self, n, level=0.0):
        """Natural log of the density of n + w, w circular Gaussian of E|w|^2 = level."""
        return self._at(level).log_density(np.asarray(n))

    def score(self, n, level=0.0):
        """Gradient of log_density, d/dRe + j d/dIm: the score of the forward diffusion at that level."""
        return self._at(level).score(np.asarray(n))

    def denoise(self, n, level):
        """E[noise | noise + w = n], E|w|^2 = level: Tweedie's formula."""
        return np.asarray(n) + level / 2 * self.score(n, level)

    def diffused(self, level):
        """The law with Gaussian noise of E|w|^2 = level added, e.g. a link's residual distortion."""
        return NoiseLaw(self._law.diffused(float(level)), self.choice, self.samples)

    def scaled(self, noise_var):
        """The law with its amplitude changed so that E|n|^2 = noise_var."""
        if not (noise_var > 0 and np.isfinite(noise_var)):
            raise ValueError(f"noise_var is {noise_var}; use a positive variance E|n|^2")
        return NoiseLaw(_scaled(self._law, np.sqrt(noise_var / self.noise_var)), self.choice, self.samples)

    def sample(self, n, seed=None):
        """n samples of the law, complex128."""
        rng = np.random.default_rng(seed)
        state = self._law.state()
        parts = np.split(state[4:].reshape(-1, 6), [int(state[2])])
        drawn = [part[rng.choice(len(part), n, p=part[:, 0] / part[:, 0].sum())] for part in parts
                 if len(part)]
        if len(drawn) == 2:
            rails = [p[:, 1] + np.sqrt(p[:, 3]) * rng.standard_normal(n) for p in drawn]
            return rails[0] + 1j * rails[1]
        c, = drawn
        a, b = rng.standard_normal((2, n))
        low = c[:, 5] / np.sqrt(c[:, 3])
        return c[:, 1] + np.sqrt(c[:, 3]) * a + 1j * (c[:, 2] + low * a + np.sqrt(c[:, 4] - low ** 2) * b)

    def state(self):
        """As float64 numbers."""
        return self._law.state()

    def save(self, path):
        """Writes it to a JSON file, which load() and Receiver.with_noise() take."""
        Path(path).write_text(json.dumps({
            "format": FORMAT, "kind": "noise_law", "choice": self.choice, "samples": self.samples,
            "noise_var": self.noise_var, "state": self.state().tolist()}) + "\n")

    @classmethod
    def load(cls, path):
        """A law that save() or `gr-diffusion fit noise` wrote."""
        try:
            content = json.loads(Path(path).read_text())
            if content["format"] != FORMAT or content["kind"] != "noise_law":
                raise ValueError(f"format {FORMAT} of kind noise_law is expected")
            law = _native.noise_law.from_state(np.asarray(content["state"], np.float64))
            return cls(law, str(content["choice"]), int(content["samples"]))
        except OSError:
            raise
        except (KeyError, TypeError, ValueError) as e:
            raise ValueError(f"{path} is no noise law of `fit noise`: {e}") from None

    def _at(self, level):
        return self._law.diffused(float(level)) if level else self._law


def as_law(noise):
    """A NoiseLaw, or the path of one, as the engine's noise_law."""
    if isinstance(noise, NoiseLaw):
        return noise._law
    if isinstance(noise, (str, Path)):
        return NoiseLaw.load(noise)._law
    raise TypeError(f"noise is {noise!r}; give a diffusion.NoiseLaw or the path of one")


def fit_in_noise(points, index, y, law, rounds=8):
    """(symbol_law, level): centroids of the known symbols points[index] received as y in noise of that law,
    and E|d|^2 of the Gaussian distortion beyond it.

    y is cleaned of its noise with the law's own score and the centroids are fitted to the rest, in turns: an
    impulse weighs nothing, where least squares would follow it."""
    y = np.asarray(y, np.complex128)
    levels = np.r_[0, np.geomspace(1e-4, 0.3, 12)]
    level, centroid = 0.0, points.astype(np.complex128)
    fitted = None
    for _ in range(rounds):
        residual = y - centroid[index]
        level = levels[np.argmax([law.log_density(residual, v).sum() for v in levels])]
        # A Newton step from the centroid along the score: psi / E[psi'], with E[psi'] = E|psi|^2 / 2 a rail.
        psi = -law.score(residual, level)
        step = psi / max(np.mean(np.abs(psi) ** 2) / 2, 1e-12)
        cleaned = (centroid[index] + step).astype(np.complex64)
        spread = max(float(np.mean(np.abs(step) ** 2)), 1e-9)
        fitted = _native.symbol_law.fit(points, index, cleaned, spread)
        centroid = np.array([complex(g[0], g[1]) for g in fitted.at(spread)])
    return fitted, float(level)


def _samples(noise):
    noise = np.asarray(noise)
    if noise.ndim != 1 or noise.dtype.kind not in "fciu":
        raise TypeError(f"noise has shape {noise.shape} and dtype {noise.dtype}; give complex samples (n,)")
    if noise.size < LEAST:
        raise ValueError(f"{noise.size} noise samples are too few to learn a law; use at least {LEAST}")
    noise = noise.astype(np.complex128)
    if not np.isfinite(noise).all():
        raise ValueError("noise holds samples that are not finite; leave them out")
    return noise


def _scaled(law, factor):
    state = law.state()
    parts = state[4:].reshape(-1, 6)
    parts[:, 1:3] *= factor
    parts[:, 3:] *= factor ** 2
    return _native.noise_law.from_state(state)


def _centred(weights, variances):
    """Mixture rows of zero mean."""
    out = np.zeros((len(weights), 6))
    out[:, 0] = weights / weights.sum()
    out[:, 3] = out[:, 4] = variances
    return out


def _scale_weights(log_kernel, rounds=200):
    """Weights of a mixture from (n, K) log kernels, by expectation maximisation from the flat start (which,
    stopped, is smooth where the samples say little)."""
    kernel = np.exp(log_kernel - log_kernel.max(1, keepdims=True))
    w = np.full(kernel.shape[1], 1 / kernel.shape[1])
    for _ in range(rounds):
        w = w * ((1 / (kernel @ w)) @ kernel) / len(kernel)
    return w


def _variance_grid(squares):
    """Log-spaced variances from far below the median square up to the largest."""
    middle = np.median(squares[squares > 0]) if np.any(squares > 0) else 1.0
    return np.geomspace(1e-3 * middle, max(squares.max(), 10 * middle), SCALES)


class _Circular:
    least = LEAST

    @staticmethod
    def fit(n, rng):
        half = np.mean(np.abs(n) ** 2) / 2
        return _native.noise_law.plane([[1, 0, 0, half, half, 0]])


class _Gaussian:
    least = LEAST

    @staticmethod
    def fit(n, rng):
        mean = n.mean()
        c = np.cov(np.stack([n.real, n.imag])) + 1e-6 * np.eye(2)
        return _native.noise_law.plane([[1, mean.real, mean.imag, c[0, 0], c[1, 1], c[0, 1]]])


class _Laplacian:
    """exp(-|u|/b)/2b = the normals of variance s averaged over s ~ exponential of mean 2 b^2."""
    least = LEAST
    # Weights of the variances s / (2 b^2) = t of e^-t: midpoints of equal steps in log t.
    grid = np.geomspace(1e-6, 25, 64)
    weights = grid * np.exp(-grid)

    @classmethod
    def fit(cls, n, rng):
        rails = [_centred(cls.weights, np.maximum(2 * np.mean(np.abs(r)) ** 2, 1e-9) * cls.grid)
                 for r in (n.real, n.imag)]
        return _native.noise_law.rails(*rails)


class _Rails:
    least = 200

    @staticmethod
    def fit(n, rng):
        both = np.concatenate([n.real, n.imag]) ** 2
        grid = _variance_grid(both)
        w = _scale_weights(-both[:, None] / (2 * grid) - np.log(grid) / 2)
        return _native.noise_law.rails(_centred(w, grid), _centred(w, grid))


class _Radial:
    least = 200

    @staticmethod
    def fit(n, rng):
        squares = np.abs(n) ** 2
        grid = _variance_grid(squares / 2)
        w = _scale_weights(-squares[:, None] / (2 * grid) - np.log(grid))
        return _native.noise_law.plane(_centred(w, grid))


class _Plane:
    least = 400

    def __init__(self, size):
        self.size = size

    def fit(self, n, rng, starts=4):
        """The likeliest of several starts: expectation maximisation finds the nearest optimum, not the
        best."""
        laws = [self._climb(n, rng) for _ in range(starts)]
        return max(laws, key=lambda law: law.log_density(n).sum())

    def _climb(self, n, rng, rounds=40):
        """Expectation maximisation from spread-out starting points, with a floor under the covariances."""
        z = np.stack([n.real, n.imag], 1)
        centre = [z[rng.integers(len(z))]]
        for _ in range(self.size - 1):  # k-means++ on clipped distances: outliers are not to have all of them
            d = np.min([((z - c) ** 2).sum(1) for c in centre], 0)
            d = np.minimum(d, np.quantile(d, 0.95)) + 1e-12
            centre.append(z[rng.choice(len(z), p=d / d.sum())])
        mean, floor = np.array(centre), 1e-3
        c = np.cov(z.T) / self.size + floor * np.eye(2)
        rr, ii, ri = (np.full(self.size, v) for v in (c[0, 0], c[1, 1], c[0, 1]))
        w = np.full(self.size, 1 / self.size)
        x, y = z.T
        features = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1)
        for _ in range(rounds):
            det = rr * ii - ri * ri
            a, b, d = ii / det, -ri / det, rr / det  # inverse covariances
            mx, my = mean.T
            form = np.stack([np.log(w) - np.log(det) / 2 - (a * mx * mx + 2 * b * mx * my + d * my * my) / 2,
                             a * mx + b * my, b * mx + d * my, -a / 2, -d / 2, -b])
            p = features @ form
            p = np.exp(p - p.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            moments = p.T @ features
            total = moments[:, 0] + 1e-9
            w, mean = total / total.sum(), moments[:, 1:3] / total[:, None]
            rr, ii, ri = (moments[:, 3:] / total[:, None] - np.stack(
                [mean[:, 0] ** 2, mean[:, 1] ** 2, mean[:, 0] * mean[:, 1]], 1)).T
            rr, ii = np.maximum(rr, 0) + floor, np.maximum(ii, 0) + floor
        return _native.noise_law.plane(np.column_stack([w, mean, rr, ii, ri]))


FAMILIES = {"gaussian": _Circular, "elliptic gaussian": _Gaussian, "laplacian rails": _Laplacian,
            "scale mixture of rails": _Rails, "scale mixture": _Radial,
            **{f"{k} Gaussians": _Plane(k) for k in PLANE_SIZES}}
