# SPDX-License-Identifier: GPL-3.0-or-later
"""Estimator: channel estimates from pilots with a shipped or trained model, without a flowgraph or torch."""

import threading

import numpy as np

from . import diffusion_python as _native


class Estimator:
    """A channel estimator from a model file.

    model: the name of a shipped model (``ce-ofdm64``, ...) or the path of a .safetensors file. method:
    "diffusion" (the model), or a classical method on the same carriers or arrays: "ls", "nomp", "sbl" and for
    ofdm "lmmse". For mimo also "auto": model and nomp, weighed by what the pilots say (ideal arrays and few
    waves are nomp's ground, all else the model's); evidence is gathered from frame to frame of a call.

    ``kind``: "ofdm" or "mimo". ``n``: carriers, or for mimo (Nt, Nr). ``name``: the model's.

        h, err_var = est(y, pilots, noise_var)

    y (frames, pilots) complex: received / known pilot on each pilot carrier; pilots (pilots,) int: their
    carriers, 0 ... n-1 in ascending frequency, distinct, any pattern; noise_var: E|n|^2 of y, one
    number for all frames, or one for each. h complex64 (frames, n); err_var float32 (frames, n), what
    the model expects E|h - truth|^2 to be. The scale of y is free; the result is exactly equivariant
    to it and to a common phase.

    mimo: y (frames, Nr, Np) complex, pilots (Nt, Np) complex, any scale, y = h @ pilots + noise of
    variance noise_var; h complex64 (frames, Nr, Nt), err_var float32 of the same shape (the model gives the
    mean over the antenna pairs). Antenna index of a planar array = column * rows + row.

    Observations of a converter of 1 to 5 bits are recognised by their few levels (``adc_levels`` of a rail,
    0: none): they are undone as far as a linear view goes, and their distortion counted as noise (Bussgang;
    noise_var stays that before the converter). One bit leaves no scale: the channel is then taken to be of
    unit mean power. That view is where it starts: rounds of expectation propagation (``few_bit_rounds``, 5)
    bring in which cell of the converter each observation lies in; they cost an estimate each.
    """

    few_bit_rounds = 5  # of expectation propagation; 0: the linear view

    def __init__(self, model, method="diffusion"):
        if not isinstance(model, str) and not hasattr(model, "__fspath__"):
            raise TypeError(f"model is {model!r}; give a shipped model's name or a path")
        loaded = _native.model(str(model))
        if loaded.task != "estimator":
            raise ValueError(
                f"model '{model}' is for the task '{loaded.task}', an Estimator needs one for 'estimator'"
            )
        description = loaded.description
        channel = description.get("channel", {})
        self.kind = channel.get("kind", "ofdm") if isinstance(channel, dict) else None
        if self.kind not in ("ofdm", "mimo"):
            raise ValueError(f"{loaded.path}: its channel is {channel!r}, an Estimator knows the kinds ofdm "
                             "and mimo")
        self.name = loaded.name
        self.path = loaded.path
        if self.kind == "mimo":
            self._native = _native.mimo_estimator(loaded.path, method)
            self.n = (self._native.transmitters, self._native.receivers)
        else:
            self._native = _native.pilot_estimator("diffusion", 0, loaded.path)
            self.n = self._native.carriers
            if method != "diffusion":
                self._native = _native.pilot_estimator(method, self.n)
        self.method, self.adc_levels = method, 0
        self._lock = threading.Lock()  # of the engine's working memory: threads take turns

    def __call__(self, y, pilots, noise_var):
        y = np.asarray(y)
        if self.kind == "mimo":
            return self._mimo(y, np.asarray(pilots), noise_var)
        if y.ndim == 1:
            raise ValueError(f"y has shape {y.shape}: give (frames, pilots), for one frame y[None]")
        pilots = np.asarray(pilots)
        if pilots.ndim != 1 or not np.issubdtype(pilots.dtype, np.integer):
            raise ValueError(f"pilots must be a list of carrier indices, not {pilots.dtype} {pilots.shape}")
        if y.ndim != 2 or y.shape[1] != len(pilots):
            raise ValueError(
                f"y has shape {y.shape}, with {len(pilots)} pilots it must be (frames, {len(pilots)})"
            )
        y, noise_var = self._checked(y, noise_var)
        if pilots.size and not 0 <= int(pilots.min()) <= int(pilots.max()) < self.n:
            raise ValueError(f"pilots has carriers {pilots.min()} to {pilots.max()}; use 0 to {self.n - 1}")
        noise = np.broadcast_to(noise_var, y.shape[:1]).astype(np.float32)
        with self._lock:
            self._native.pilots = pilots.tolist()
            if len(y) and _native.few_bit_pilots(y, noise, 1.0)[0]:
                h, err_var, self.adc_levels = _native.few_bit_estimate(self._native, y, noise, 1.0,
                                                                       self.few_bit_rounds)
                return h, err_var
            return self._frames(y, noise_var, 1.0)

    def _mimo(self, y, pilots, noise_var):
        nt, nr = self.n
        if pilots.ndim != 2 or pilots.shape[0] != nt or not pilots.shape[1]:
            raise ValueError(f"pilots have shape {pilots.shape}, it must be (Nt, Np) with Nt = {nt}")
        if y.ndim != 3 or y.shape[1:] != (nr, pilots.shape[1]):
            raise ValueError(
                f"y has shape {y.shape}, with these pilots it must be (frames, {nr}, {pilots.shape[1]})"
            )
        y, noise_var = self._checked(y, noise_var)
        if pilots.dtype.kind not in "fciub":
            raise TypeError(f"pilots have dtype {pilots.dtype}; give complex values")
        power = float(np.sum(np.abs(pilots.astype(np.complex128)) ** 2) / pilots.shape[1])
        noise = np.broadcast_to(noise_var, y.shape[:1]).astype(np.float32)
        with np.errstate(over="ignore"), self._lock:
            self._native.set_pilots(pilots.astype(np.complex64))
            if len(y) and _native.few_bit_pilots(y, noise, power)[0]:
                found = _native.few_bit_estimate(self._native, y, noise, power, self.few_bit_rounds)
                h, err_var, self.adc_levels = found
            else:
                h, err_var = self._frames(y, noise_var, power)
        return h, np.broadcast_to(err_var[:, None, None], h.shape).copy()

    @staticmethod
    def _checked(y, noise_var):
        if y.dtype.kind not in "fciub":
            raise TypeError(f"y has dtype {y.dtype}; give complex observations")
        with np.errstate(over="ignore"):
            y = y.astype(np.complex64)
        if not np.isfinite(y).all():
            raise ValueError("y has a NaN, an Inf or a number beyond single precision: leave those frames "
                             "out")
        noise_var = np.asarray(noise_var, np.float64)
        if noise_var.ndim > 1 or (noise_var.ndim == 1 and noise_var.shape != y.shape[:1]):
            raise ValueError(
                f"noise_var has shape {noise_var.shape}: give one number, or one for each "
                f"of the {len(y)} frames"
            )
        if not (np.isfinite(noise_var).all() and (noise_var >= 0).all()):
            raise ValueError(f"noise_var is {noise_var}; use finite variances, none negative")
        return y, noise_var

    def _frames(self, y, noise_var, power):
        self.adc_levels, seen, noise = _native.few_bit_pilots(y, np.broadcast_to(noise_var, y.shape[:1]),
                                                              power)
        if self.adc_levels:
            y, noise_var = seen, noise
        if noise_var.ndim == 0:
            return self._native(y, float(noise_var))
        parts = [self._native(y[i : i + 1], v) for i, v in enumerate(noise_var)]
        if not parts:
            return self._native(y, 0.0)
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def __reduce__(self):
        """Copies and other processes read the model file anew."""
        return Estimator, (self.path, self.method)

    def __repr__(self):
        return f"Estimator({self.name!r}, n={self.n}, kind={self.kind!r})"
