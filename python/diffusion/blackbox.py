# SPDX-License-Identifier: GPL-3.0-or-later
"""The pmf for a link of which nothing is known but samples (x, y): what Shaper.fit returns.

A law q(y|x) is learned from one part of the samples: a Gaussian a point (centroids polynomial in x,
covariances of additive, multiplicative and phase noise: symbol_law), with tails if a mixture of scales
explains a second part better, or integrated over the cells of a converter whose grid shows. Whatever the law,
E[log q(y|x) / sum p(x') q(y|x')] on samples it has never seen is at most I(X;Y) in the mean (mismatched
decoding: Ganti, Lapidoth and Telatar 2000; Arnold et al. 2006), so bad learning can only understate a rate.
The pmf climbs that density on the learning part, the direction of Blahut and Arimoto; the diffusion model's
own pmfs, Maxwell-Boltzmann and uniform stand beside it, each at its best level of those recorded; a last
part, held out, judges.
"""
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from .square_grid import orbits

Z = 1.96  # 95%


@dataclass(frozen=True)
class Scheme:
    """A pmf at a level, judged on held-out samples: bits per symbol with the 95% interval of the mean."""
    pmf: np.ndarray
    level: float
    bits: float
    low: float
    high: float


class FittedShaper:
    """A pmf found from samples, and its blocks. Both ends need it: save() and load() it.

    pmf (M,), level (what the unit-power points are multiplied by), points as sent, choice (the scheme kept),
    schemes {name: Scheme}, reason (of the choice, a sentence)."""

    def __init__(self, constellation, pmf, level, choice, reason, schemes, block_length=4096, matcher="ccdm"):
        from . import quantize_composition, shaping_code

        self.constellation = np.asarray(constellation, np.complex64)
        self.pmf, self.level = np.asarray(pmf), float(level)
        self.choice, self.reason, self.schemes = choice, reason, schemes
        self.block_length, self.matcher = int(block_length), matcher
        if not 64 <= self.block_length <= 8192:
            raise ValueError(f"block_length is {block_length}, use 64 to 8192 symbols")
        class_of = orbits(self.constellation)[0].astype(np.uint8)
        share = np.bincount(class_of, self.pmf)
        if matcher == "ess":
            self.code = shaping_code.sphere(class_of, share.tolist(), self.block_length)
        elif matcher == "ccdm":
            self.code = shaping_code(class_of, quantize_composition(share.tolist(), self.block_length))
        else:
            raise ValueError(f"matcher is '{matcher}', use ccdm or ess")
        self.points = self.constellation * np.float32(self.level)

    def encode(self, bits):
        """bits uint8 (n,) -> symbol indices of whole blocks, the last filled with zeros."""
        bits = np.asarray(bits, np.uint8)
        return self.code.encode(np.pad(bits, (0, -bits.size % self.code.bits)))

    def decode(self, indices, bits):
        """The way back; bits: how many there were."""
        return self.code.decode(np.asarray(indices, np.uint8))[0][:bits]

    def modulate(self, indices):
        return self.points[np.asarray(indices, np.intp)]

    def save(self, path):
        data = {"constellation": [[float(c.real), float(c.imag)] for c in self.constellation],
                "pmf": self.pmf.tolist(),
                "level": self.level, "choice": self.choice, "reason": self.reason,
                "block_length": self.block_length,
                "matcher": self.matcher,
                "schemes": {k: {**vars(s), "pmf": s.pmf.tolist()} for k, s in self.schemes.items()}}
        Path(path).write_text(json.dumps(data))

    @classmethod
    def load(cls, path):
        try:
            d = json.loads(Path(path).read_text())
            constellation = np.array(d["constellation"]) @ [1, 1j]
            pmf = np.array(d["pmf"], float)
            if pmf.shape != constellation.shape or not (pmf >= 0).all() or not abs(pmf.sum() - 1) < 1e-6:
                raise ValueError("pmf does not fit the constellation")
            schemes = {k: Scheme(**{**s, "pmf": np.array(s["pmf"])}) for k, s in d["schemes"].items()}
            return cls(constellation, pmf, d["level"], d["choice"], d["reason"], schemes, d["block_length"],
                       d["matcher"])
        except (KeyError, TypeError, ValueError) as e:
            raise ValueError(f"{path} is no fitted shaper: {e}") from e


class Law:
    """log q(y | point) (n, K), learned from samples."""

    def __init__(self, points, index, y):
        from . import symbol_law

        a = np.vdot(points[index], y) / np.vdot(points[index], points[index])
        self.unit = np.sqrt(np.mean(np.abs(points) ** 2))
        self.gain = abs(a) * self.unit  # so that the law sees unit power on both sides
        self.noise = max(float(np.mean(np.abs(y - a * points[index]) ** 2)) / self.gain ** 2, 1e-9)
        self.law = symbol_law.fit((points / self.unit).astype(np.complex64), index.astype(np.int32),
                                  (y / self.gain).astype(np.complex64), self.noise)
        g = np.asarray(self.law.at(self.noise))
        det = g[:, 2] * g[:, 3] - g[:, 4] ** 2
        self.centroid, self.inverse = g[:, :2], np.stack([g[:, 3], g[:, 2], -g[:, 4]], 1) / det[:, None]
        self.log_norm = -0.5 * np.log(det) - np.log(2 * np.pi)
        self.scales, self.kind = (np.ones(1), np.ones(1)), "gaussian"
        m = self._distance(y, index[:, None])[:, 0]
        self.mixture = _scale_mixture(m)

    def _distance(self, y, columns):
        z = y / self.gain
        re = z.real[:, None] - self.centroid[columns, 0]
        im = z.imag[:, None] - self.centroid[columns, 1]
        q = self.inverse[columns]
        return q[..., 0] * re ** 2 + q[..., 1] * im ** 2 + 2 * q[..., 2] * re * im

    def kinds(self):
        return ["gaussian", "mixture"] + (["cells"] if self.law.cells_known else [])

    def log_likelihood(self, y, columns, kind=None):
        """(n, len(columns)) for the points of those numbers; up to a constant of the sample."""
        kind = kind or self.kind
        if kind == "cells":
            return np.concatenate([np.asarray(self.law.cell_log_likelihood((part / self.gain).astype(np.complex64), self.noise))
                                   [:, columns] for part in np.array_split(y, max(1, y.size // 2000))])
        m = self._distance(y, np.broadcast_to(columns, (y.size, len(columns))))
        share, scale = self.mixture if kind == "mixture" else self.scales
        parts = [np.log(w / k) - 0.5 * m / k for w, k in zip(share, scale)]
        return self.log_norm[columns] + (parts[0] if len(parts) == 1 else np.logaddexp.reduce(parts))


def _scale_mixture(m, rounds=60):
    """(shares, scales) of 2-D Gaussians of covariance scale x Sigma for squared distances m: expectation
    maximisation."""
    share, scale = np.full(3, 1 / 3), np.array([0.4, 1.0, 3.0])
    for _ in range(rounds):
        log = np.log(share / scale) - 0.5 * m[:, None] / scale
        r = np.exp(log - log.max(1, keepdims=True))
        r /= r.sum(1, keepdims=True)
        share = np.maximum(r.mean(0), 1e-6)
        scale = np.clip((r * m[:, None]).sum(0) / (2 * np.maximum(r.sum(0), 1e-9)), 1e-3, 1e4)
    return share / share.sum(), scale


class _Level:
    """The samples of one level, and what a pmf is worth on them."""

    def __init__(self, level, index, log_q, class_of):
        self.level, self.index, self.class_of = level, index, class_of
        self.top = log_q.max(1)
        self.q = np.exp(log_q - self.top[:, None])
        self.own = log_q[np.arange(index.size), index] - self.top
        self.of = class_of[index]
        self.count = np.bincount(self.of, minlength=class_of.max() + 1)

    def density(self, pmf):
        """log2 q(y|x) / sum p q of each sample."""
        return (self.own - np.log(np.maximum(self.q @ pmf, 1e-300))) / np.log(2)

    def classes(self, pmf):
        """Mean density of each class."""
        return np.bincount(self.of, self.density(pmf), self.count.size) / np.maximum(self.count, 1)

    def bits(self, pmf):
        return float(np.bincount(self.class_of, pmf) @ self.classes(pmf))


def _climb(at, energy, size, limit, rounds=80):
    """(bits, pmf): Blahut-Arimoto on the samples of a level; mean energy at most limit (None: free)."""
    def solve(slope):
        p = size / size.sum()
        for _ in range(rounds):
            d = at.classes((p / size)[at.class_of]) * np.log(2) - slope * energy
            p = p * np.exp(np.clip(d - p @ d, -3, 3))
            p /= p.sum()
        return p

    p = solve(0.0)
    if limit is not None and p @ energy > limit:
        low, high = 0.0, 16.0 / energy.max()
        for _ in range(9):
            middle = (low + high) / 2
            p = solve(middle)
            low, high = (middle, high) if p @ energy > limit else (low, middle)
        p = solve(high)
        if p @ energy > limit * 1.001:
            return -np.inf, (p / size)[at.class_of]
    pmf = (p / size)[at.class_of]
    return at.bits(pmf), pmf


def _parts(n, frame, rng):
    """Indices of the symbols that teach, choose and judge: half, a fifth, the rest; whole frames where frames
    are given."""
    if frame is None:
        return np.split(rng.permutation(n), [n // 2, n * 7 // 10])
    names, of = np.unique(frame, return_inverse=True)
    if of.shape != (n,) or names.size < 10:
        raise ValueError(f"frame names {names.size} frames for {np.size(frame)} of {n} symbols; give the "
                         "frame of each symbol, 10 frames or more, or none")
    shares = np.split(rng.permutation(names.size), [names.size // 2, names.size * 7 // 10])
    return [np.flatnonzero(np.isin(of, s)) for s in shares]


def fit(shaper, x, y, level=None, power="mean", block_length=4096, matcher="ccdm", seed=1, frame=None):
    """See Shaper.fit."""
    points = shaper.constellation.astype(complex)
    x, y, index, at_level, levels = _checked(points, x, y, level)
    class_of, size = orbits(points)
    energy = np.abs(points[[int(np.flatnonzero(class_of == k)[0]) for k in range(size.size)]]) ** 2
    if power == "mean":
        limit = float(np.mean(np.abs(x) ** 2))
    elif power == "free":
        limit = None
    else:
        limit = float(power)
        if not (limit > 0 and np.isfinite(limit)):
            raise ValueError(f"power is {power}; use 'mean', 'free' or a mean power E|x|^2 above 0")
    learn, choose, judge = _parts(x.size, frame, np.random.default_rng(seed))
    all_points = np.concatenate([s * points for s in levels])
    law = Law(all_points, (points.size * at_level + index)[learn], y[learn])

    def part(which, kind=None):
        out = []
        for k, s in enumerate(levels):
            mine = which[at_level[which] == k]
            columns = points.size * k + np.arange(points.size)
            out.append(_Level(s, index[mine], law.log_likelihood(y[mine], columns, kind), class_of))
        return out

    uniform = np.full(points.size, 1 / points.size)
    worth = {kind: np.mean([l.bits(uniform) for l in part(choose, kind)]) for kind in law.kinds()}
    law.kind = max(worth, key=worth.get)
    learned, held_out = part(np.concatenate([learn, choose])), part(judge)
    allowed = lambda pmf, s: limit is None or s ** 2 * (pmf @ np.abs(points) ** 2) <= limit * 1.001
    law_of = lambda a: np.exp(-a * (np.abs(points) ** 2 - 1)) / np.exp(-a * (np.abs(points) ** 2 - 1)).sum()
    slopes = np.linspace(-1, 4, 41)
    models = [shaper._core.pmf(i) for i in _states(shaper)]
    best = {}
    for k, l in enumerate(learned):
        found = [("samples", *_climb(l, energy, size, None if limit is None else limit / l.level ** 2))]
        if limit is not None and l.level ** 2 > limit:  # and the one that has just the power
            just = brentq(lambda a: l.level ** 2 * (law_of(a) @ np.abs(points) ** 2) - limit, 0, 60)
            boltzmann = [law_of(a) for a in (*slopes, just)]
        else:
            boltzmann = [law_of(a) for a in slopes]
        for name, pmfs in (("uniform", [uniform]), ("maxwell-boltzmann", boltzmann), ("model", models)):
            found += [(name, l.bits(p), p) for p in pmfs if allowed(p, l.level)]
        for name, bits, pmf in found:
            if name not in best or bits > best[name][0]:
                best[name] = bits, pmf, k
    if "uniform" not in best:
        raise ValueError(f"no level recorded has a mean power of {limit:.3g} or less with equally likely "
                         f"symbols; the lowest is {levels[0] ** 2:.3g}: record a lower level or give more "
                         "power")
    density = {}
    schemes = {}
    for name, (_, pmf, k) in best.items():
        d = held_out[k].density(pmf)
        density[name] = d
        bits, error = _stratified(held_out[k], pmf, d)
        schemes[name] = Scheme(pmf, levels[k], bits, bits - Z * error, bits + Z * error)
    choice, reason = _judge(schemes, best, held_out, density)
    kept = schemes[choice]
    fitted = FittedShaper(points, kept.pmf, kept.level, choice, reason, schemes, block_length, matcher)
    fitted.law = law.kind
    return fitted


def _stratified(at, pmf, values):
    """Mean of values under the pmf and its standard error, class by class."""
    share = np.bincount(at.class_of, pmf)
    mean = np.bincount(at.of, values, share.size) / np.maximum(at.count, 1)
    square = np.bincount(at.of, values ** 2, share.size) / np.maximum(at.count, 1)
    return float(share @ mean), float(np.sqrt(np.sum(share ** 2 * np.maximum(square - mean ** 2, 0) /
                                                     np.maximum(at.count - 1, 1))))


def _judge(schemes, best, held_out, density):
    """(name, reason): what is simple stays unless the held-out samples say that another carries more."""
    choice, reason = "uniform", "uniform kept: shaping shows no gain that held-out samples bear out"
    for name in ("maxwell-boltzmann", "model", "samples"):
        if name not in schemes:
            continue
        (_, pmf, k), (_, other, j) = best[name], best[choice]
        gain = schemes[name].bits - schemes[choice].bits
        half = lambda s: (s.high - s.low) / 2
        error = np.hypot(half(schemes[name]), half(schemes[choice]))
        if k == j:  # the same samples: what differs between the two counts
            share, rival = (np.bincount(held_out[k].class_of, p) for p in (pmf, other))
            at = held_out[k]
            influence = share[at.of] * density[name] - rival[at.of] * density[choice]
            mean = np.bincount(at.of, influence, share.size) / np.maximum(at.count, 1)
            square = np.bincount(at.of, influence ** 2, share.size) / np.maximum(at.count, 1)
            error = Z * np.sqrt(np.sum(np.maximum(square - mean ** 2, 0) / np.maximum(at.count - 1, 1)))
        if gain > error:
            reason = f"{name} kept: {gain:.4f} bit over {choice}, 95% interval {gain - error:.4f} to {gain + error:.4f}"
            choice = name
    return choice, reason


def _states(shaper):
    """Indices of the model that are tried: every 0.5 dB, and hardware every 2 dB if it knows any."""
    low, high = shaper.snr_db
    states = {shaper.index(s) for s in np.arange(low, high + 0.1, 0.5)}
    try:
        states |= {shaper.index(s, {"phase_noise_deg": p, "adc_bits": b})
                   for s in np.arange(8, 25, 2.0) for p in (0, 3, 6) for b in (3, 4, 5, 6)}
    except ValueError:
        pass
    return sorted(states)


def _checked(points, x, y, level):
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape}, y {y.shape}; give two vectors of one length")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("x or y has a NaN or Inf: leave such samples out")
    x, y = x.astype(complex), y.astype(complex)
    if level is None:
        level = np.full(x.size, np.abs(x.real).max() / np.abs(points.real).max() if x.size else 1.0)
    level = np.broadcast_to(np.asarray(level, float), x.shape)
    if not (np.isfinite(level).all() and (level > 0).all()):
        raise ValueError("level has a value that is not above 0; give E|x|^2 = level^2 of equally likely "
                         "points")
    levels, at = np.unique(np.round(level, 6), return_inverse=True)
    if levels.size * points.size > 4096:
        raise ValueError(f"{levels.size} levels of {points.size} points; use {4096 // points.size} levels or "
                         "fewer")
    nearest = np.argmin(np.abs(x[:, None] / level[:, None] - points), 1) if x.size < 50000 else \
        np.concatenate([np.argmin(np.abs(a[:, None] - points), 1)
                        for a in np.array_split(x / level, x.size // 20000)])
    off = np.abs(x / level - points[nearest]).max() if x.size else 0.0
    if off > 0.05 * np.abs(points[:, None] - points)[np.triu_indices(points.size, 1)].min():
        raise ValueError("x does not lie on the constellation: give the symbols as sent and, if they were "
                         "sent at several levels, the level of each (x = level * constellation[i])")
    class_of, size = orbits(points)
    least = min(np.bincount(class_of[nearest[at == k]], minlength=size.size).min()
                for k in range(levels.size)) if x.size else 0
    if least < 40:
        raise ValueError(f"a class of points has {least} samples at some level, at least 40 are needed: "
                         f"record more (about {60 * points.size} symbols a level, all points equally often)")
    return x, y, nearest, at.ravel(), levels
