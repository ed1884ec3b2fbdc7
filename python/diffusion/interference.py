# SPDX-License-Identifier: GPL-3.0-or-later
"""Structured interference: bursts, chirps, narrowband signals, other modulations. Its law is learned from recordings
of it, and symbols of any constellation are received jointly with it.

The prior is a mixture of zero-mean circular Gaussians over windows of samples. Added noise keeps it a mixture, so its
score, and with it the denoiser E[i | i + w], is a closed form at every level of the forward diffusion. Reception is
expectation propagation over both unknowns, in turns: the symbols' posterior given what the interference leaves, the
interference's given what the symbols leave, each sample at the noise level that the other's uncertainty makes there. What
one tells the other about a sample is cleared of what it was told about that sample before (Minka, Expectation propagation
for approximate Bayesian inference, UAI 2001): else they come to agree on their errors.
"""
import json
import zipfile
from pathlib import Path

import numpy as np

from . import diffusion_python as _native
from .metrics import labels
from .one_thread import one_thread

SHORTEST = 2000  # samples of a recording
WINDOW, COMPONENTS = 16, 48
HELD = 5.0  # windows that the law's own weights count for beside those of a block
PERIODS = range(1, 9)
EARLY = 3   # turns that say nothing of the components yet
STEP = 0.5  # of a turn towards the new messages, which else may swing
STILL = 2e-4  # mean change of the symbols' posterior means, squared, over their power, at which turns end
LEAST = 1e-3  # variance that a message claims at least, over the symbols' power
NEAR = 8.0   # nats from the likeliest component of a window at which others are looked at again


class InterferenceLaw:
    """Generative prior of interference over windows of samples.

    weights (K,), basis (K, T, T) eigenvectors in columns, power (K, T) eigenvalues of the components' covariances;
    period: samples after which the interference's components come back (its samples a symbol), 1: none seen."""

    def __init__(self, weights, basis, power, floor=0.0, period=1):
        self.weights, self.basis, self.power, self.floor = weights, basis, power, float(floor)
        self.period = int(period)

    @property
    def window(self):
        return self.basis.shape[1]

    @property
    def variance(self):
        """E|i|^2."""
        return float(self.weights @ self.power.mean(1))

    @classmethod
    @one_thread()
    def fit(cls, recordings, noise_var=0.0, window=WINDOW, components=COMPONENTS, rounds=20, seed=1, most=5000):
        """Learned from recordings of the interference alone: complex (n,) or a list of such, 2000 samples or more, with
        noise of noise_var = E|n|^2 on it. Expectation maximisation on `most` random windows, seconds."""
        rows = [recordings] if np.ndim(recordings) == 1 and not isinstance(recordings, list) else list(recordings)
        rows = [np.asarray(r, np.complex128) for r in rows]
        if sum(r.size for r in rows) < SHORTEST or any(r.ndim != 1 or r.size < window for r in rows):
            raise ValueError(f"{sum(r.size for r in rows)} samples of interference; give rows longer than {window}, "
                             f"{SHORTEST} samples or more")
        if not all(np.isfinite(r).all() for r in rows):
            raise ValueError("the recording holds samples that are not finite; leave them out")
        if not (2 <= window <= 64 and 1 <= components <= 256):
            raise ValueError(f"window {window}, components {components}: use 2 to 64, 1 to 256")
        rng = np.random.default_rng(seed)
        windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(r, window) for r in rows])
        windows = windows[rng.permutation(len(windows))[:most]]
        total = np.mean(np.abs(windows) ** 2)
        floor = max(noise_var, 1e-3 * total)
        # Start: a window each (which sets a frequency), at the window's own power.
        start = windows[rng.permutation(len(windows))[:components]]
        common = windows.T @ windows.conj() / len(windows)
        cov = 0.9 * start[:, :, None] * start[:, None].conj() + 0.1 * common + floor * np.eye(window)
        weights = np.full(len(start), 1 / len(start))
        for _ in range(rounds):
            p = _posterior(windows, weights, *np.linalg.eigh(cov))
            count = p.sum(0)
            weights = (count + 0.5) / (count + 0.5).sum()
            for k in range(len(cov)):  # shrunk towards white noise of the component's power
                mean = (windows * p[:, k:k + 1]).T @ windows.conj() / (count[k] + 1e-9)
                prior = np.real(np.trace(mean)) / (window * total) * common
                cov[k] = (count[k] * mean + 2 * prior) / (count[k] + 2) + 1e-2 * floor * np.eye(window)
        power, basis = np.linalg.eigh(cov)
        keep = weights > 2e-4
        law = cls(weights[keep] / weights[keep].sum(), basis[keep], np.maximum(power[keep] - noise_var, 1e-6 * total),
                  noise_var)
        law.period = law._find_period([r for r in rows if r.size >= 4 * window][:60], total)
        return law

    def _find_period(self, rows, total):
        """That of PERIODS under which what half of a recording's windows say of the components tells most of the others."""
        worth = np.zeros(len(PERIODS))
        for row in rows:
            windows = np.lib.stride_tricks.sliding_window_view(row[:2000], self.window)
            logs = _log_parts(windows, np.ones(self.weights.size), self.power + 0.1 * total, self.basis)
            likely = np.exp(logs - logs.max(1, keepdims=True))
            p = likely * self.weights
            p /= p.sum(1, keepdims=True)
            # Blocks of two windows in turns, so that both halves hold every residue.
            half = (np.arange(len(p)) // (2 * self.window)) % 2
            for i, period in enumerate(PERIODS):
                residue = np.arange(len(p)) % period
                for side in (0, 1):
                    weights = self._held_weights(p[half != side], residue[half != side], period, self.window)
                    worth[i] += np.log((likely * weights[residue])[half == side].sum(1)).sum() / self.window
        # A period is taken for more than chance: its double is as likely, and no simpler.
        good = worth >= worth.max() - max(3.0, 0.02 * abs(worth.max() - worth[0]))
        return int(PERIODS[int(np.argmax(good))]) if rows else 1

    def _held_weights(self, p, residue, period, overlap):
        """(period, K): weights by position, from posteriors of windows that overlap, the law's own counting too."""
        sums = np.zeros((period, p.shape[1]))
        np.add.at(sums, residue, p / overlap)
        return (sums + HELD * self.weights) / (np.bincount(residue, minlength=period)[:, None] / overlap + HELD)

    def scaled(self, variance):
        """The law with E|i|^2 = variance."""
        return InterferenceLaw(self.weights, self.basis, self.power * (variance / self.variance), self.floor, self.period)

    def denoise(self, z, level, held=None, counts=True):
        """(E[i | i + w = z], its error variance a sample) for complex (n,) z, E|w|^2 = level: a number or (n,).

        held: a dictionary that lives through several calls on one block; what the block's windows said of the components
        before, by their position modulo the period, then counts as their prior: interference stays what it is (not yet if
        counts is false), and components that were far from likely there are not looked at again."""
        z = np.asarray(z, np.complex128)
        T = self.window
        if z.size < T:
            raise ValueError(f"{z.size} samples; give {T} or more")
        step = max(1, T // 4)
        starts = np.unique(np.r_[np.arange(0, z.size - T + 1, step), z.size - T])
        weights = held["weights"][starts % self.period] if held and "weights" in held else np.broadcast_to(self.weights, (starts.size, len(self.weights)))
        at = starts[:, None] + np.arange(T)
        if np.ndim(level) == 0 or np.ptp(level) == 0:
            p, mean, left = self._even(z[at], float(np.mean(level)), weights)
        else:
            active = held.get("active") if held else None
            p, mean, left, near = self._uneven(z[at], np.asarray(level, float)[at], weights, active)
            if held is not None:
                held["active"] = near
        if held is not None and counts:
            held["weights"] = self._held_weights(p, starts % self.period, self.period, T // step)
        taper = np.hanning(T + 2)[1:-1]
        out, seen, spread = np.zeros(z.size, complex), np.zeros(z.size), np.zeros(z.size)
        np.add.at(out, at, taper * mean)
        np.add.at(spread, at, taper * left)
        np.add.at(seen, at, np.broadcast_to(taper, at.shape))
        return out / seen, spread / seen

    def _even(self, windows, level, weights):
        """(components' probabilities, posterior means, error variances a sample) of windows in noise of one level."""
        p = _posterior(windows, weights, self.power + level, self.basis)
        shrink = self.power / (self.power + level)
        mean, left, square = np.zeros_like(windows), np.zeros(windows.shape), np.zeros(windows.shape)
        for k in np.flatnonzero(p.max(0) > 1e-4):
            rows = np.flatnonzero(p[:, k] > 1e-4)
            part = ((windows[rows] @ self.basis[k].conj()) * shrink[k]) @ self.basis[k].T
            weight = p[rows, k:k + 1]
            mean[rows] += weight * part
            square[rows] += weight * np.abs(part) ** 2
            left[rows] += weight * np.real((np.abs(self.basis[k]) ** 2) @ (shrink[k] * level))
        return p, mean, left + np.maximum(square - np.abs(mean) ** 2, 0)

    def _uneven(self, windows, level, weights, active=None):
        """The same in noise of another level at every sample, (n, T); active: (n, K) components worth looking at. Also those
        worth it next time.

        A component is F a with a ~ CN(0, I) and F (T, r) of its eigenvalues that stand out of the noise, so that the
        posterior of a needs r x r matrices: A = I + F^H D^-1 F, mean A^-1 F^H D^-1 z."""
        floor = 0.05 * level.min()
        over = windows / level
        common = np.log(level).sum(1) + np.real(over * windows.conj()).sum(1)
        logs, parts = np.full((len(windows), len(self.weights)), -np.inf), {}
        for k, (power, basis) in enumerate(zip(self.power, self.basis)):
            rows = np.arange(len(windows)) if active is None else np.flatnonzero(active[:, k])
            keep = power >= min(floor, power.max())
            if rows.size == 0:
                continue
            factor = basis[:, keep] * np.sqrt(power[keep])
            size = factor.shape[1]
            products = (factor.conj()[:, :, None] * factor[:, None, :]).reshape(len(factor), -1)
            a = np.eye(size) + ((1 / level[rows]) @ products).reshape(-1, size, size)
            b = over[rows] @ factor.conj()
            inverse = np.linalg.inv(a)
            x = np.matmul(inverse, b[:, :, None])[:, :, 0]
            logs[rows, k] = (np.log(weights[rows, k]) - np.linalg.slogdet(a)[1] + np.real(b.conj() * x).sum(1) - common[rows])
            parts[k] = rows, factor, inverse, x
        logs -= logs.max(1, keepdims=True)
        p = np.exp(logs)
        p /= p.sum(1, keepdims=True)
        mean, left, square = np.zeros_like(windows), np.zeros(windows.shape), np.zeros(windows.shape)
        for k, (rows, factor, inverse, x) in parts.items():
            some = p[rows, k] > 1e-4
            if not some.any():
                continue
            rows, weight = rows[some], p[rows[some], k:k + 1]
            part = x[some] @ factor.T
            mean[rows] += weight * part
            square[rows] += weight * np.abs(part) ** 2
            left[rows] += weight * np.real((np.matmul(factor, inverse[some]) * factor.conj()).sum(-1))
        return p, mean, left + np.maximum(square - np.abs(mean) ** 2, 0), logs > -NEAR

    def score(self, z, level):
        """Score of i + w, complex: (denoise(z) - z) / (level / 2)."""
        return (self.denoise(z, level)[0] - np.asarray(z)) / (np.mean(level) / 2)

    def save(self, path):
        """To an npz file that load() and the block interference_receiver take."""
        np.savez(path, description=json.dumps({"format": 1, "kind": "interference_law", "floor": self.floor,
                                               "period": self.period}),
                 weights=self.weights, basis=self.basis.astype(np.complex64), power=self.power.astype(np.float32))

    @classmethod
    def load(cls, path):
        try:
            with np.load(path, allow_pickle=False) as file:
                description = json.loads(str(file["description"]))
                if description.get("kind") != "interference_law" or description.get("format") != 1:
                    raise ValueError("format 1 of kind interference_law is expected")
                law = cls(file["weights"].astype(float), file["basis"].astype(complex), file["power"].astype(float),
                          description["floor"], description.get("period", 1))
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
            raise ValueError(f"{path} is no interference law: {e}") from None
        k, t = law.power.shape
        if law.basis.shape != (k, t, t) or law.weights.shape != (k,) or not all(
                np.isfinite(a).all() for a in (law.weights, law.basis, law.power)) or not (
                (law.power > 0).all() and (law.weights > 0).all() and 1 <= law.period <= 64):
            raise ValueError(f"{path} is no interference law: its arrays do not fit together")
        return law


def _log_parts(windows, weights, power, basis):
    """(n, K) log of weight times density, up to a constant; weights (K,) or (n, K)."""
    return np.log(weights) + np.stack([-np.log(e).sum() - (np.abs(windows @ b.conj()) ** 2 / e).sum(1)
                                       for e, b in zip(power, basis)], 1)


def _posterior(windows, weights, power, basis):
    """(n, K) probabilities of the components."""
    logs = _log_parts(windows, weights, power, basis)
    p = np.exp(logs - logs.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


class InterferenceReceiver:
    """Symbols of any constellation under interference of a learned law.

    constellation: name or complex (M,) labelled by index; law: InterferenceLaw or its file. When called, noise_var is
    E|n|^2 of the Gaussian noise beside it, with E|x|^2 = 1. estimate: scale the law to the power that y has beyond symbols and noise."""

    def __init__(self, constellation, law, rounds=24, estimate=True):
        points = _native.constellation(constellation) if isinstance(constellation, str) else constellation
        self.points = np.asarray(points).astype(np.complex128)
        self.bits = int(np.log2(self.points.size))
        if 1 << self.bits != self.points.size:
            raise ValueError(f"the constellation has {self.points.size} points, no power of two")
        self.law = InterferenceLaw.load(law) if isinstance(law, (str, Path)) else law
        if not 1 <= int(rounds) <= 50:
            raise ValueError(f"rounds is {rounds}, use 1 to 50")
        self.rounds, self.estimate = int(rounds), bool(estimate)

    def _symbols(self, z, variance):
        """Posterior mean and variance of symbols in circular noise of that variance a sample, and log-likelihoods."""
        logs = -np.abs(z[:, None] - self.points) ** 2 / variance[:, None]
        p = np.exp(logs - logs.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        mean = p @ self.points
        return mean, np.maximum(p @ np.abs(self.points) ** 2 - np.abs(mean) ** 2, 1e-9), logs

    @one_thread()
    def __call__(self, y, noise_var):
        """(x_hat, llr) of equalised symbols y complex (n,), one a sample."""
        y = np.asarray(y).astype(np.complex128)
        if y.ndim != 1 or not np.isfinite(y).all():
            raise ValueError("y must be one row of finite complex samples")
        if not (noise_var > 0 and np.isfinite(noise_var)):
            raise ValueError(f"noise_var is {noise_var}; use a positive variance E|n|^2")
        power = float(np.mean(np.abs(self.points) ** 2))
        law = self.law.scaled(max(float(np.mean(np.abs(y) ** 2)) - power - noise_var, 1e-3)) if self.estimate else self.law
        # What the symbols tell of the interference: a Gaussian a sample, mean `seen` and variance `level`.
        seen, level = y, np.full(y.size, noise_var + power)
        least, most = LEAST * power, noise_var + 5 * power
        held, fresh = {}, np.zeros(y.size, complex)
        for turn in range(self.rounds):
            posterior, left = law.denoise(seen, level, held, turn >= EARLY)
            # Without the sample's own word, which the symbols gave: what the neighbours say of the interference.
            precision = 1 / np.minimum(left, 0.999 * level) - 1 / level
            variance = np.maximum(1 / precision, least)
            around = (posterior / np.minimum(left, 0.999 * level) - seen / level) / precision
            before = fresh
            fresh, spread, logs = self._symbols(y - around, noise_var + variance)
            if turn > EARLY and np.mean(np.abs(fresh - before) ** 2) < STILL * power:
                break
            # The interference's moments given this and the symbols, without what the neighbours said of it.
            share = variance / (variance + noise_var)
            moment = around + share * (y - fresh - around)
            precision = 1 / (share * noise_var + share ** 2 * spread) - 1 / variance
            told = precision > 1 / most
            precision = np.where(told, precision, 1 / most)
            told = np.where(told, (moment / (share * noise_var + share ** 2 * spread) - around / variance) / precision, y - fresh)
            precision = np.minimum(precision, 1 / noise_var)
            # Natural parameters are what is moved by a part of the way.
            both = (1 - STEP) / level + STEP * precision
            seen = ((1 - STEP) * seen / level + STEP * precision * told) / both
            level = 1 / both
        table = labels(self.bits)
        from scipy.special import logsumexp
        llr = np.stack([logsumexp(logs[:, table[:, k] == 1], 1) - logsumexp(logs[:, table[:, k] == 0], 1)
                        for k in range(self.bits)], 1)
        return fresh.astype(np.complex64), np.clip(llr, -87, 87).astype(np.float32)
