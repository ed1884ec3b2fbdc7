# SPDX-License-Identifier: GPL-3.0-or-later
"""Receiver for links with memory: symbols behind a power amplifier whose output depends on its past.

A waveform regressor, learned or polynomial, sees the amplifier but not the symbols. This receiver is a
deterministic posterior sampler over the symbols: a sequence denoiser gives the first waveform estimate; then,
in turns, the symbols' posterior mean at the matched noise level (the prior's x0 estimate) is remodulated,
sent through a model of the amplifier, and what is left of the received samples corrects the symbols. numpy
and the engine; no torch.
"""
import zipfile

import numpy as np
from scipy.special import log_ndtr, logsumexp

from . import diffusion_python as _native
from .baselines.memory import Regression
from .metrics import labels

LEAST = 2000       # samples for a fit
GAINS = np.linspace(0.86, 1.16, 31)
FORWARD = (24, 5, 1, False)  # taps, order, cross of a fitted amplifier


def load_model(name):
    """{"description", "denoiser", "amplifier"} of a model that `train memory` wrote: a path, or a shipped
    name. The networks are the engine's."""
    found = _native.model(str(name))
    if found.task != "sequence":
        raise ValueError(f"model '{name}' is for the task '{found.task}', a SequenceReceiver needs one for "
                         "'sequence'")
    return {"description": found.description, "denoiser": _native.sequence_net(str(name), "denoiser"),
            "amplifier": _native.sequence_net(str(name), "amplifier")}


class SequenceReceiver:
    """Receives QAM symbols of a linear waveform through an amplifier with memory.

    waveform: OfdmWaveform or PulseWaveform; constellation: name ("qam64") of a square one.
    model: what `train memory` made of that amplifier ("seq-dpa200"), or None: then fit() first.
    rounds: of data consistency at most, it stops when nothing moves; 0 is one decision after the first
    estimate."""

    def __init__(self, waveform, constellation, model=None, rounds=6):
        self.waveform, self.rounds = waveform, int(rounds)
        self.points = np.asarray(_native.constellation(constellation)).astype(np.complex128)
        self.bits = int(np.log2(self.points.size))
        self.levels = np.unique(np.round(self.points.real, 6))
        if self.levels.size ** 2 != self.points.size:
            raise ValueError(f"{constellation} is not square; use qpsk, qam16, qam64 or qam256")
        if not 0 <= self.rounds <= 20:
            raise ValueError(f"rounds is {rounds}, use 0 to 20")
        self.gain, self.model, self._forward, self._known = 1.0, None, None, None
        self._model_noise = 0.0
        self._cache = {}
        #: What gives the first waveform estimate: "network", "polynomial", or None before a fit.
        self.choice = None
        if model is not None:
            self.model = load_model(model)
            self.choice = "network"
            self._forward = self.model["amplifier"]
            self._model_noise = 10 ** (self.model["description"]["measured"]["amplifier"]["validation_nmse_db"] / 10)

    def fit(self, x, y):
        """A receiver for the amplifier that turned the known waveform x (complex (n,), unit power, n >= 2000)
        into y.

        Two thirds of the samples fit, the last third chooses: first estimate by the model's denoiser (if
        there is one) or by a memory polynomial, model of the amplifier by the model's network or a
        polynomial."""
        x, y = _complex(x, "x"), _complex(y, "y")
        if x.size != y.size or x.size < LEAST:
            raise ValueError(f"x has {x.size} and y {y.size} samples; give as many of each, {LEAST} or more")
        other = SequenceReceiver.__new__(SequenceReceiver)
        other.__dict__.update(self.__dict__)
        other._cache = {}
        other.gain = np.vdot(x, y) / np.vdot(x, x)
        if other.gain == 0:
            raise ValueError("y has nothing of x in it; is it aligned in time?")
        y = y / other.gain
        a, b = slice(0, 2 * x.size // 3), slice(2 * x.size // 3, x.size)
        candidates = [(e, Regression(*shape, weight=1e-8).fit(x[a], y[a])) for e, shape in
                      (("polynomial", FORWARD), ("polynomial", (24, 4, 0, False)),
                       ("polynomial", (12, 3, 0, False)))]
        if self.model is not None:
            candidates.append(("network", self.model["amplifier"]))
        errors = [np.mean(np.abs(f(x[b]) - y[b])[64:] ** 2) for _, f in candidates]
        best = int(np.argmin(errors))
        kind, other._forward = candidates[best]
        if kind == "polynomial":
            other._forward = Regression(*other._forward.shape, weight=1e-8).fit(x, y)
        other._model_noise = float(errors[best])
        other._known = (x, y)
        other.choice = kind
        return other

    def save_fit(self, path):
        """Writes what fit() found (.npz), for with_fit()."""
        if self._known is None:
            raise ValueError("nothing was fitted yet: fit() known samples first")
        x, y = self._known
        polynomial = self.choice == "polynomial"
        np.savez(path, x=x.astype(np.complex64), y=y.astype(np.complex64), gain=self.gain, choice=self.choice,
                 model_noise=self._model_noise, shape=np.array(self._forward.shape if polynomial else (),
                                                               int),
                 weights=self._forward.w if polynomial else np.zeros(0))

    def with_fit(self, path):
        """A copy with a fit that save_fit() wrote; one that chose the network needs a receiver with that
        model."""
        other = SequenceReceiver.__new__(SequenceReceiver)
        other.__dict__.update(self.__dict__)
        other._cache = {}
        try:
            with np.load(path, allow_pickle=False) as file:
                x, y, other.gain = file["x"], file["y"], complex(file["gain"])
                other.choice, other._model_noise = str(file["choice"]), float(file["model_noise"])
                shape, weights = tuple(int(v) for v in file["shape"]), file["weights"]
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as e:
            raise ValueError(f"{path} is no saved fit of a SequenceReceiver: {e}") from None
        if other.choice not in ("polynomial", "network") or x.shape != y.shape or x.ndim != 1 or not all(
                np.isfinite(v).all() for v in (x, y, weights, other.gain,
                                               other._model_noise)) or not other.gain:
            raise ValueError(f"{path} is no saved fit of a SequenceReceiver: its numbers do not fit together")
        if other.choice == "network" and self.model is None:
            raise ValueError(f"{path} stands on a model's network; give the receiver that model")
        other._known = (x.astype(np.complex128), y.astype(np.complex128))
        other._forward = self.model["amplifier"] if other.choice == "network" else None
        if other._forward is None:
            other._forward = Regression(*shape[:3], bool(shape[3]) if len(shape) == 4 else True, weight=1e-8)
            other._forward.w = weights
            if len(shape) != 4 or other._forward(other._known[0][:64]).size != 64:
                raise ValueError(f"{path} is no saved fit of a SequenceReceiver: its polynomial is not whole")
        return other

    def first_estimate(self, y, noise_var):
        """Waveform estimate without the symbol prior; y already divided by gain."""
        if self._known is None or self.choice == "network":
            return self.model["denoiser"](y, max(noise_var, 1e-5))
        level = round(10 * np.log10(max(noise_var, 1e-6)))
        key = ("first", level)
        if key not in self._cache:
            x, known = self._known
            shape = (21, 5, 1) if x.size >= 12000 else (21, 4, 0) if x.size >= 5000 else (11, 3, 0)
            self._cache[key] = Regression(*shape).fit(known, x, 10 ** (level / 10))
        return self._cache[key](y)

    def _correct(self, residual):
        """Linear inverse of the amplifier, for what its model leaves over."""
        if "inverse" not in self._cache:
            rng = np.random.default_rng(1)
            samples, symbols = self.waveform.block
            count = -(-8000 // samples) * symbols
            x = self.waveform.modulate(self.points[rng.integers(0, self.points.size, count)])
            out = self._forward(x)
            self._cache["inverse"] = Regression(41, weight=1e-4).fit(out, x)
        return self._cache["inverse"](residual)

    def __call__(self, y, noise_var):
        """(symbols, llr): posterior means complex64 (n,) and LLRs float32 (n, bits), most significant bit
        first, positive means 1. y: complex, whole blocks of the waveform; noise_var: E|n|^2 of its samples,
        without the ADC's."""
        result = self.receive(y, noise_var)
        return result["symbols"].astype(np.complex64), result["llr"].astype(np.float32)

    def receive(self, y, noise_var):
        """A dictionary: symbols, llr, waveform (posterior mean, unit power), linear (symbols before the
        prior's decision, over their gain), variance (of those), first (the first waveform estimate)."""
        y = _complex(y, "y")
        if self.choice is None:
            raise ValueError("nothing is known of the amplifier yet: give a model, or fit() known samples")
        samples = self.waveform.block[0]
        if y.size == 0 or y.size % samples:
            raise ValueError(f"y has {y.size} samples; give whole blocks of {samples}")
        if not (noise_var > 0 and np.isfinite(noise_var)):
            raise ValueError(f"noise_var is {noise_var}; use a positive variance E|n|^2")
        grid = _native.adc_grid.detect(y.astype(np.complex64))
        raw, gain = y, self.gain
        y = y / gain
        thermal = noise_var / abs(gain) ** 2
        coarse = grid.step ** 2 / 6 / abs(gain) ** 2  # both rails' step^2 / 12
        noise_var = thermal + coarse
        first = self.first_estimate(y, noise_var)
        observed, prior = self._decide(first)
        for _ in range(self.rounds):
            predicted = self._forward(self.waveform.modulate(prior.mean))
            innovation = y - predicted
            if coarse > 0.1 * thermal:
                spread = thermal + self._model_noise + np.mean(prior.uncertainty)
                innovation = cell_innovation(raw, predicted * gain, spread * abs(gain) ** 2, grid) / gain
            observed = prior.mean + self.waveform.demodulate(self._correct(innovation))
            before = prior.variance
            prior.update(observed)
            if abs(prior.variance - before) < 0.003 * before:
                break
        return self._result(first, observed, prior)

    def demap(self, waveform):
        """What receive() gives, of a waveform estimate of unit power from elsewhere, with one decision and no
        amplifier."""
        return self._result(waveform, *self._decide(waveform))

    def _decide(self, waveform):
        observed = self.waveform.demodulate(waveform)
        prior = Prior(self.levels, self.waveform.gain_groups(observed.size))
        prior.update(observed)
        return observed, prior

    def _result(self, first, observed, prior):
        scaled = observed / prior.gain
        llr = self._llr(scaled, prior.variance / prior.gain ** 2)
        return {"symbols": prior.mean / prior.gain, "llr": llr, "linear": scaled, "variance": prior.variance,
                "waveform": self.waveform.modulate(prior.mean), "first": first}

    def _llr(self, z, variance):
        variance = np.broadcast_to(variance, z.shape)
        table = labels(self.bits)
        out = np.empty((z.size, self.bits))
        for a in range(0, z.size, 8192):
            part = slice(a, a + 8192)
            logs = -np.abs(z[part, None] - self.points) ** 2 / variance[part, None]
            for k in range(self.bits):
                out[part, k] = (logsumexp(logs[:, table[:, k] == 1], 1) -
                                logsumexp(logs[:, table[:, k] == 0], 1))
        return np.clip(out, -87, 87)


class Prior:
    """Posterior means of square-QAM symbols in noise of unknown variance and, per group, unknown real gain.

    Both are found by expectation maximisation on what was observed: no truth is needed."""

    def __init__(self, levels, groups):
        self.levels, self.groups = levels, groups
        self.gain = self.variance = self.mean = self.uncertainty = None

    def _moments(self, rails, gain, variance):
        """First and second posterior moments of the levels, and the log-likelihood, of (n, 2) rails."""
        logs = -(rails[..., None] - gain[:, None, None] * self.levels) ** 2 / variance
        top = logs.max(-1, keepdims=True)
        p = np.exp(logs - top)
        total = p.sum(-1, keepdims=True)
        p /= total
        return p @ self.levels, p @ self.levels ** 2, (top[..., 0] + np.log(total[..., 0])).sum(-1)

    def update(self, z, rounds=12):
        rails = np.stack([z.real, z.imag], -1)
        groups = self.groups
        sums = (lambda v: np.array([v.sum()])) if groups is None else (lambda v: np.bincount(groups, v))
        spread = (lambda v: np.repeat(v, z.size)) if groups is None else (lambda v: v[groups])
        if self.variance is None:
            self.variance = max(float(np.mean(np.abs(z) ** 2)) * 10 ** -1.8, 1e-7)  # silence has no variance
        variance = self.variance
        gain = np.ones(z.size)
        if groups is not None:
            power = sums(np.abs(z) ** 2) / sums(np.ones(z.size))
            base = np.sqrt(np.maximum(power - variance, 0.1 * power))
            value = np.array([sums(self._moments(rails, spread(base * g), variance)[2]) for g in GAINS])
            gain = spread(base * GAINS[value.argmax(0)])
        for _ in range(rounds):
            m1, m2, _ = self._moments(rails, gain, variance)
            if groups is not None:
                gain = spread(sums((rails * m1).sum(-1)) / sums(m2.sum(-1)))
            error = (rails ** 2 - 2 * gain[:, None] * rails * m1 + gain[:, None] ** 2 * m2).sum(-1)
            variance = max(float(error.mean()), 1e-7)
        m1, m2, _ = self._moments(rails, gain, variance)
        self.gain, self.variance = gain, variance
        self.mean = gain * (m1[:, 0] + 1j * m1[:, 1])
        self.uncertainty = gain ** 2 * (m2 - m1 ** 2).sum(-1)


def cell_innovation(y, predicted, variance, grid):
    """What a quantized sample y says beyond its prediction (circular Gaussian of that variance): the mean
    within the cell less the prediction, scaled to respond with slope 1 (the output step of GAMP, Rangan
    2011)."""
    sigma = np.sqrt(variance / 2)
    out, shrink = [], []
    for seen, mean in ((y.real, predicted.real), (y.imag, predicted.imag)):
        low = np.where(seen < -grid.top + grid.step / 4, -np.inf, seen - grid.step / 2)
        high = np.where(seen > grid.top - grid.step / 4, np.inf, seen + grid.step / 2)
        a, b = (low - mean) / sigma, (high - mean) / sigma
        flip = a + b > 0  # the tail that does not cancel
        a, b = np.where(flip, -b, a), np.where(flip, -a, b)
        log_mass = log_ndtr(b) + np.log1p(-np.exp(np.minimum(log_ndtr(a) - log_ndtr(b), -1e-12)))
        density = lambda t: np.exp(np.where(np.isfinite(t), -t * t / 2, -np.inf) -
                                   log_mass) / np.sqrt(2 * np.pi)
        pa, pb = density(a), density(b)
        first = pa - pb
        product = lambda t, p: np.where(np.isfinite(t), t, 0) * p
        second = 1 + product(a, pa) - product(b, pb) - first ** 2
        out.append(sigma * np.clip(np.where(flip, -first, first), -50, 50))
        shrink.append(np.clip(second, 0, 1))
    return (out[0] + 1j * out[1]) / max(1 - float(np.mean(shrink)), 1e-3)


def _complex(values, name):
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in "fciu":
        raise ValueError(f"{name} has shape {values.shape} and dtype {values.dtype}; give complex samples "
                         "(n,)")
    values = values.astype(np.complex128)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds samples that are not finite; leave such blocks out")
    return values
