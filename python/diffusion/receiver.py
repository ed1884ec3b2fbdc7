# SPDX-License-Identifier: GPL-3.0-or-later
"""The denoising receiver without a flowgraph: numpy in and out, on the C++ engine (no torch)."""
import threading

import numpy as np

from . import diffusion_python as _native
from .metrics import labels
from .noise import NoiseLaw, as_law, fit_in_noise

FOLDS = 4
CLEAR = 3.0     # standard errors; of few symbols, whose folds are poorer fits, more
LESS_CLEAR = 1.0  # the same where the network is what speaks first
LONG = 1000     # symbols from which a call refines a fit
MOST = 50000    # symbols that do
MOVED = 1.5     # ratio of noise variances beyond which known symbols do not count
SMALLEST, LARGEST = 1e-12, 1e12  # noise variances that single precision can take through the network


class Receiver:
    """A denoising receiver and soft demapper.

    name: a shipped model ("rx-qam16", see diffusion.models()) or the path of a model file.
    steps: of the deterministic sampler; 0 is the model's default."""

    def __init__(self, name, steps=0):
        if not isinstance(name, (str, bytes)) and not hasattr(name, "__fspath__"):
            raise TypeError(f"model is {name!r}; give a shipped model's name or a path")
        if int(steps) != steps or steps < 0:
            raise ValueError(f"steps is {steps}, use 0 (the model's default) or a positive number")
        self._engine = _native.fitted_receiver(str(name), int(steps))
        self._lock = threading.Lock()
        self._known = None     # (index, y, noise_var) that fit() got, if more samples may refine it
        self._refined = False  # whether they have
        self._fresh = True     # nothing was fitted, given or loaded
        #: What fit() chose: "ideal" (nothing fitted), "cells", "network", "gaussian", "linear" or "noise".
        self.choice = "ideal"
        if self.law.fitted:  # a file that save_model() wrote
            self.choice = self._engine.path_name
            self._fresh = False

    @property
    def name(self):
        """Name in the model file."""
        return self._engine.name

    @property
    def constellation(self):
        """complex64 (M,), unit power, labelled by the bits of the index, most significant first."""
        return self._engine.constellation

    @property
    def bits_per_symbol(self):
        return self._engine.bits_per_symbol

    @property
    def law(self):
        """The symbol_law it stands on."""
        return self._engine.law

    @property
    def snr_db(self):
        """(lowest, highest) SNR in dB that the model was trained on."""
        return self._engine.snr_db

    def __repr__(self):
        fit = f", {self.choice} fit from {self.law.known_symbols} symbols" if self.law.fitted else ""
        return f"<Receiver {self.name}{fit}>"

    def __call__(self, y, noise_var=None, prior=None, amplitude=None, adapt=True):
        """(x_hat, llr): denoised symbols complex64 (n,) and LLRs float32 (n, bits_per_symbol).

        y: complex (n,), equalised, E|x|^2 = 1. noise_var: E|n|^2 including distortion, > 0 (held to
        1e-12 to 1e12); None estimates it from y, or, with a learned noise law, takes the law as it was
        learned (a number scales the law to that variance). prior: probabilities of the points (M,) if they
        are not equally likely, such as Shaper.pmf(snr_db); y is then around amplitude * constellation,
        amplitude None being the one of unit mean power under the prior (Shaper.points() has it). LLRs are
        posterior: prior included. adapt: let a y of 1000 symbols or more tell of a link behind a converter,
        fitted from few symbols or not at all, see adapted() (not with a prior). LLRs: most significant bit
        first, positive means 1 (digital.constellation_soft_decoder_cf)."""
        y = _samples(y, "y")
        if noise_var is not None:
            noise_var = min(max(_variance(noise_var), SMALLEST), LARGEST)
        if prior is None:
            prior, amplitude = [], None
            if adapt and (self._fresh or self._known is not None) and y.size >= LONG:
                return self.adapted(y, noise_var)(y, noise_var, adapt=False)
            if noise_var is None and self._refined:
                noise_var = self.law.link["noise_var"]
        with self._lock:
            self._engine.set_prior(np.asarray(prior, np.float64).ravel(), 0.0 if amplitude is None
                                   else float(amplitude))
            if noise_var is None and self._engine.uses_noise_law:
                noise_var = self._engine.noise.variance
            elif noise_var is None:
                noise_var = self._engine.estimate_noise_var(y)
            return self._engine(y, min(max(_variance(noise_var), SMALLEST), LARGEST))

    def adapted(self, y, noise_var=None):
        """A receiver whose law also takes what received symbols tell that nobody knows.

        Not fitted: the converter of 1 to 6 bits that y shows, and the radio as far as y tells, gain and
        rotation near those of an AGC and an equaliser; itself if y lies on no grid. Fitted:

        y: complex (n,); noise_var: of y, None: to be estimated with the rest. Expectation maximisation,
        together with the known symbols of fit(), which it needs: the same object, not one from a file. Only
        for fits behind a converter of 1 to 6 bits (choice "cells"); others, and samples off the converter's
        grid, leave it as it is."""
        y = _samples(y, "y")
        if noise_var is not None:
            noise_var = _variance(noise_var)
        if self._fresh:
            return self._behind_converter(y, noise_var)
        if self._known is None or self.choice != "cells":
            return self
        index, seen, at = self._known
        link = self.law.link
        if noise_var is not None and not 1 / MOVED < noise_var / at < MOVED:
            return self  # the known symbols tell of another noise
        cell = y.view(np.float32) / np.float32(link["step"])
        if np.mean(np.abs(cell - np.floor(cell) - 0.5) < 0.02) < 0.999:
            return self
        part = y[::max(1, y.size // MOST)]
        other = self.with_law(self.law.refined(index, seen, part, -1 if noise_var is None else noise_var),
                              "cells")
        other._refined = True
        return other

    def _behind_converter(self, y, noise_var):
        with self._lock:
            guess = noise_var or float(self._engine.estimate_noise_var(y))
        law = _native.symbol_law.behind_converter(self.constellation, y[::max(1, y.size // MOST)],
                                                  noise_var or -1, guess)
        if not law.cells_known:
            return self
        other = self.with_law(law, "cells")
        other._refined = True
        return other

    def fit(self, x, y, noise_var=None, noise=None):
        """A receiver conditioned on the hardware that turned the known symbols x into y.

        x: complex (n,) constellation points sent, n >= 8; y: complex (n,) received; noise_var: E|n|^2.
        Cross-validation on these symbols decides what to stand on: behind a converter of 1 to 6 bits the law
        before it, integrated over its cells; else the network on the fitted law, the law's Gaussians alone,
        the linear receiver, or the ideal link; so none is taken that does worse than the linear receiver on
        the data at hand.

        noise: a NoiseLaw (or its file) in place of noise_var: the known symbols then tell, robustly, where
        each symbol lies and how much Gaussian distortion comes on top; the rest is the law's."""
        y = _samples(y, "y")
        index = self._index(_samples(x, "x"))
        if noise is None:
            noise_var = _variance(noise_var)
        if index.size != y.size:
            raise ValueError(f"x has {index.size} symbols and y {y.size}; give one y for each x")
        if index.size < 8:
            raise ValueError(f"{index.size} known symbols are too few to fit; use at least 8")
        if noise is not None:
            return self._fit_in_noise(index, y, noise)
        laws = self._laws(index, y, noise_var)
        choice = self._cross_validate(index, y, noise_var, laws)
        fitted = self._with(choice, laws[choice])
        fitted._known = (index, y, noise_var) if choice == "cells" else None
        fitted.choice = choice
        return fitted

    def with_law(self, law, path="network"):
        """A copy that stands on the given symbol_law. path: "network" on top of it, its Gaussians alone
        ("gaussian"), or the law before its converter integrated over the converter's cells ("cells")."""
        other = Receiver(self._engine.path, self._engine.steps)
        other._engine.set_law(law, path)
        other.choice = path
        other._fresh = False
        return other

    def with_noise(self, noise):
        """A copy for noise of a learned law (NoiseLaw, or its file) around where this receiver has its
        symbols.

        The network is not used: it knows Gaussian noise only. Any constellation, nothing is retrained."""
        other = Receiver(self._engine.path, self._engine.steps)
        other._engine.set_law(self.law, "gaussian")
        other._engine.set_noise_law(as_law(noise))
        other.choice = "noise"
        other._fresh = False
        return other

    def _fit_in_noise(self, index, y, noise):
        law, level = fit_in_noise(self.constellation, index, y, NoiseLaw(as_law(noise)))
        return self.with_law(law, path="gaussian").with_noise(NoiseLaw(as_law(noise)).diffused(level))

    def _with(self, choice, law):
        """A copy for one of CHOICES; law: of the known symbols."""
        if choice == "ideal":
            return self.with_law(_native.symbol_law(self.constellation))
        return self.with_law(law, path="gaussian" if choice == "linear" else choice)

    def _laws(self, index, y, noise_var):
        """{choice: the law it stands on}"""
        points = self.constellation
        fitted = _native.symbol_law.fit(points, index, y, noise_var)
        laws = {"network": fitted, "gaussian": fitted, "ideal": fitted,
                "linear": _native.symbol_law.fit_linear(points, index, y, noise_var)}
        return {"cells": fitted, **laws} if fitted.cells_known else laws

    def _cross_validate(self, index, y, noise_var, laws):
        """The choice among laws (of all known symbols) by the loss of held-out known symbols."""
        folds = min(FOLDS, index.size // 4)
        fold = np.arange(index.size) % folds
        sign = np.where(labels(self.bits_per_symbol)[index] == 1, 1.0, -1.0)
        loss = {choice: np.full(index.size, np.inf) for choice in laws}
        for k in range(folds):
            train, test = fold != k, fold == k
            if train.sum() < 8:
                train = np.ones_like(train)
            parts = self._laws(index[train], y[train], noise_var)
            for choice in loss.keys() & parts.keys():
                llr = self._with(choice, parts[choice])(y[test], noise_var)[1]
                loss[choice][test] = np.logaddexp(0, -sign[test] * llr).sum(1)
        best = min(loss, key=lambda choice: loss[choice].mean())
        # Behind a converter the law knows best, elsewhere the network on it; only clear evidence says
        # otherwise.
        cells = "cells" in loss and np.isfinite(loss["cells"]).all()
        first, clear = ("cells", CLEAR) if cells else ("network", LESS_CLEAR)
        lead = loss[first] - loss[best]
        if lead.mean() <= clear * (1 + 50 / lead.size) * lead.std() / np.sqrt(lead.size):
            return first
        return best

    def _index(self, x):
        points = self.constellation
        distance = np.abs(x[:, None] - points)
        index = distance.argmin(1)
        spacing = np.abs(points[:, None] - points)[~np.eye(points.size, dtype=bool)].min()
        off = np.flatnonzero(distance[np.arange(x.size), index] > spacing / 4)
        if off.size:
            raise ValueError(f"x[{off[0]}] is {x[off[0]]:.3g}, no point of {self.name}'s constellation "
                             "(unit power; see .constellation)")
        return index.astype(np.int32)

    def state(self):
        """The fit as float64 numbers; what save() and message() carry."""
        return self._engine.state()

    def with_state(self, state):
        """A copy with a state() that the same constellation's receiver gave."""
        other = Receiver(self._engine.path, self._engine.steps)
        other._engine.set_state(np.asarray(state, np.float64))
        other.choice = other._engine.path_name
        other._fresh = False
        return other

    def __getstate__(self):
        """For copies and other processes, which read the model file anew."""
        noise = self._engine.noise.state() if self._engine.uses_noise_law else None
        return {"model": self._engine.path, "steps": self._engine.steps, "fit": self.state(), "noise": noise,
                "choice": self.choice, "known": self._known, "refined": self._refined, "fresh": self._fresh}

    def __setstate__(self, saved):
        self.__init__(saved["model"], saved["steps"])
        self._engine.set_state(saved["fit"])
        if saved["noise"] is not None:
            self._engine.set_noise_law(_native.noise_law.from_state(saved["noise"]))
        self.choice, self._known = saved["choice"], saved["known"]
        self._refined, self._fresh = saved["refined"], saved["fresh"]

    def message(self):
        """The PMT that makes a running denoiser_cc or soft_demapper_cf take this model and fit (port cmd)."""
        import pmt
        message = pmt.dict_add(pmt.make_dict(), pmt.intern("model"), pmt.intern(self._engine.path))
        state = self.state()
        return pmt.dict_add(message, pmt.intern("fit"), pmt.init_f64vector(state.size, state.tolist()))

    def save(self, path):
        """Writes model name and fit to path (.npz)."""
        np.savez(path, model=self.name, path=self._engine.path, state=self.state(), choice=self.choice)

    def save_model(self, path, facts=None):
        """Writes a model file (.safetensors) that holds the fit: the same weights, for
        diffusion.Receiver(path) and for the message (model . path) to a running block. facts: what else its
        description says of the fit."""
        from pathlib import Path

        from . import model_file
        fit = {**{k: v for k, v in (facts or {}).items()}, "choice": self.choice,
               "state": self.state().tolist()}
        return model_file.write_copy(self._engine.path, path,
                                     {"name": Path(path).stem, "measured": None, "fit": fit})

    @classmethod
    def load(cls, path, model=None):
        """A receiver saved by save(); model: name or path in place of the saved one's."""
        with np.load(path, allow_pickle=False) as saved:
            if not {"model", "path", "state", "choice"} <= set(saved.files):
                raise ValueError(f"{path} is no saved fit of a receiver")
            try:
                rx = cls(model or str(saved["model"]))
            except ValueError:
                if model:
                    raise
                rx = cls(str(saved["path"]))
            rx = rx.with_state(saved["state"])
            rx.choice = str(saved["choice"])
            return rx


def _samples(values, name):
    values = np.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"{name} has shape {values.shape}; give one dimension (n,)")
    if values.dtype.kind not in "fciub":
        raise TypeError(f"{name} has dtype {values.dtype}; give complex samples")
    values = np.ascontiguousarray(values, np.complex64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] is not finite; leave such samples out")
    return values


def _variance(value):
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"noise_var is {value!r}; give one number, E|n|^2 with E|x|^2 = 1") from None
    if not (value > 0 and np.isfinite(value)):
        raise ValueError(f"noise_var is {value}; use a positive variance E|n|^2 with E|x|^2 = 1")
    return value
