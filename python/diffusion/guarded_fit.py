# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver fitted to a capture, taken only if it beats the linear receiver on frames it has not seen.

Every fifth frame in turn is held out, the receiver is fitted to the others, and all held-out symbols together
are compared: bits wrong, and the cross entropy of the soft bits. The fit is used if its soft bits are better
and no more bits are wrong than chance would have it (one standard error of the paired difference; two, if the
soft bits are better by two standard errors). Else the model is the linear receiver itself (symbols), or the
classical path (frames of a waveform).
"""
from dataclasses import dataclass

import numpy as np

from . import diffusion_python as compiled
from . import metrics
from .capture import Known, bit_table

FOLDS = 5
MOST_SYMBOLS = 60000       # more teach nothing that the law can hold
LARGEST_GAIN_DB = 9.0      # of y over x: blocks take symbols of unit power; a 1-bit converter alone makes -6


class FitError(RuntimeError):
    """The capture cannot be fitted; the message says what to do."""


@dataclass
class Comparison:
    """Held-out figures of a receiver: what it made of bits that were sent."""
    bits: np.ndarray   # (n, m) uint8
    llr: np.ndarray    # (n, m)

    @property
    def errors(self):
        return int(np.count_nonzero((self.llr > 0) != self.bits))

    @property
    def loss(self):
        """Bits a symbol that its soft bits leave open."""
        sign = np.where(self.bits == 1, 1.0, -1.0)
        return np.logaddexp(0, -sign * self.llr).sum(1) / np.log(2)

    def figures(self):
        ber, low, high = metrics.ber(self.bits, self.llr)
        return {"ber": ber, "ber_lo": low, "ber_hi": high, "gmi": metrics.gmi(self.bits, self.llr),
                "bits": int(self.bits.size)}


@dataclass
class GuardedFit:
    """What guarded() decided."""
    receiver: object        # diffusion.Receiver
    kept: bool              # False: the linear receiver, or the classical path
    reason: str             # the guard's sentence
    noise_var: float        # E|n|^2 of the capture
    known_symbols: int
    linear: Comparison      # both held out
    fitted: Comparison


def gain_of(x, y):
    """Complex gain of least squares, and the error's variance relative to its power."""
    gain = np.vdot(x, y) / np.vdot(x, x).real
    return gain, float(np.mean(np.abs(y - gain * x) ** 2)) / max(float(np.abs(gain) ** 2), 1e-30)


def check_level(x, y):
    """Refuses what no fit can mend: symbols that are none of these, or of another level."""
    if not np.any(y):
        raise FitError("what was received is all zero: check antenna, gain and frequency")
    gain, error = gain_of(x, y)
    level = 20 * np.log10(max(abs(gain), 1e-15))
    if error > 10 or level < -60:
        raise FitError("what was received has nothing to do with the known symbols: check their order and "
                       "alignment")
    if abs(level) > LARGEST_GAIN_DB:
        raise FitError(f"y is {level:+.1f} dB against x; receivers take symbols of unit power: scale y by "
                       f"{10 ** (-level / 20):.3g}, and the running stream likewise")


def estimate_noise(rx, x, y):
    """E|n|^2, distortion included, from known symbols: what the fitted law leaves over."""
    law, index = compiled.symbol_law, rx._index(x)
    _, first = gain_of(x, y)
    fit = law.fit(rx.constellation, index, y, max(first, 1e-6)).at(max(first, 1e-6))
    residual = np.mean(np.abs(y - (fit[index, 0] + 1j * fit[index, 1])) ** 2)
    # The centroids took their share of the noise with them.
    share = min(0.5, min(2.0 * rx.constellation.size, 22.0) / (2 * x.size))
    return float(np.clip(residual / (1 - share), 1e-6, 10))


def soft_bits(rx, y, noise_var):
    """LLRs of symbols with a noise variance each: groups of 1 dB, as the running receiver takes them."""
    noise_var = np.broadcast_to(np.asarray(noise_var, np.float64), y.shape)
    out = np.empty((y.size, rx.bits_per_symbol), np.float32)
    level = np.round(10 * np.log10(noise_var)).astype(int)
    if np.ptp(noise_var) < 1e-9 * noise_var.max():
        return rx(y, float(noise_var[0]), adapt=False)[1]
    for db in np.unique(level):
        of = level == db
        group = 10 ** (db / 10)
        out[of] = rx(y[of], group, adapt=False)[1] * (group / noise_var[of])[:, None]
    return out


def classical(rx):
    """The receiver of the ideal constellation in Gaussian noise: the classical path as a model."""
    return rx.with_law(compiled.symbol_law(rx.constellation), path="gaussian")


def thin(known, most=MOST_SYMBOLS):
    """Known symbols of evenly chosen frames, most symbols at most."""
    frames = np.unique(known.frame)
    each = known.x.size / frames.size
    keep = max(FOLDS, int(most / each))
    if known.x.size <= most or keep >= frames.size:
        return known
    chosen = frames[np.linspace(0, frames.size - 1, keep).astype(int)]
    at = np.isin(known.frame, chosen)
    return Known(known.x[at], known.y[at], None if known.noise_var is None else known.noise_var[at],
                 known.frame[at], known.bits_per_symbol, known.problems, known.frames, known.waveform)


def fold_of(frame, folds=FOLDS):
    """Fold of each symbol: frames in turn."""
    _, number = np.unique(frame, return_inverse=True)
    return number % min(folds, number.max() + 1)


def _clean(noise_var):
    """Which symbols to learn from: not those on carriers where the channel has faded."""
    return noise_var <= 2 * np.median(noise_var)


def _fit(rx, x, y, noise_var):
    """rx fitted, at the noise level of the symbols it learned from."""
    if noise_var is None:
        return rx.fit(x, y, estimate_noise(rx, x, y))
    at = _clean(noise_var)
    if at.sum() < 8:
        at[:] = True
    return rx.fit(x[at], y[at], float(np.mean(noise_var[at])))


def _linear(rx, x, y, noise_var):
    law = compiled.symbol_law.fit_linear(rx.constellation, rx._index(x), y, noise_var)
    return rx._with("linear", law)


def guarded(rx, known, progress=lambda items: items):
    """rx fitted to the known symbols, or the linear receiver: see the top of this file.

    rx: a diffusion.Receiver of the constellation. known: capture.Known."""
    known = thin(known)
    x, y, given = known.x, known.y, known.noise_var
    check_level(x, y)
    if np.unique(known.frame).size < 2:
        raise FitError("all symbols belong to one frame; two or more are needed, so that one can be held out")
    fold = fold_of(known.frame)
    bits = bit_table(known.bits_per_symbol)[rx._index(x)]
    llr = {name: np.empty(bits.shape, np.float32) for name in ("linear", "fitted")}
    for k in progress(range(fold.max() + 1)):
        train, test = fold != k, fold == k
        noise = None if given is None else given[train]
        fitted = _fit(rx, x[train], y[train], noise)
        level = fitted.law.noise_var or estimate_noise(rx, x[train], y[train])
        if known.waveform:
            base = classical(rx)
        else:
            base = _linear(rx, x[train], y[train], level if given is None else float(np.mean(noise)))
        at = level if given is None else given[test]
        llr["linear"][test] = soft_bits(base, y[test], at)
        llr["fitted"][test] = soft_bits(fitted, y[test], at)
    linear, fitted = (Comparison(bits, llr[name]) for name in ("linear", "fitted"))
    kept, reason = judge(linear, fitted, "classical path" if known.waveform else "linear receiver")
    final = _fit(rx, x, y, given)
    noise_var = final.law.noise_var or (estimate_noise(rx, x, y) if given is None else float(np.mean(given)))
    if not kept:
        final = classical(rx) if known.waveform else _linear(rx, x, y, noise_var)
        final.choice = "classical" if known.waveform else "linear"
    return GuardedFit(final, kept, reason, noise_var, int(x.size), linear, fitted)


def judge(linear, fitted, name, evm_gain=None):
    """(whether the fit is taken, why). To ask for one standard error of the soft bits and for no bit more
    wrong refused 24 of 40 fits to 50 symbols of random radios, most of them better than the linear receiver:
    behind few bits errors say little. That halved what fits are worth and spared no significantly worse link.

    evm_gain: dB by which each held-out frame's EVM falls with the fit. Frames that carry nearly all bits
    already show it there first: their soft bits are worth the most there is, but for a few. Then EVM may
    speak for a fit whose soft bits are not worse beyond the 95% interval."""
    difference = fitted.loss - linear.loss
    gain, spread = -float(difference.mean()), float(difference.std() / np.sqrt(difference.size))
    wrong, wrong_linear = fitted.errors, linear.errors
    held = f"on {linear.bits.size} held-out bits the fit has {wrong} wrong, the {name} {wrong_linear}; its soft bits "
    held += f"are worth {gain:+.4f} bit a symbol more (+-{1.96 * spread:.4f})"
    clearer = False
    if evm_gain is not None and len(evm_gain) > 1:
        fall, error = float(np.mean(evm_gain)), float(np.std(evm_gain) / np.sqrt(len(evm_gain)))
        held += f", its EVM {fall:.1f} dB less (+-{1.96 * error:.1f})"
        clearer = fall > error and gain >= -1.96 * spread
    more = np.count_nonzero((fitted.llr > 0) != fitted.bits, axis=1).astype(float)
    more -= np.count_nonzero((linear.llr > 0) != linear.bits, axis=1)
    chance = np.sqrt(np.sum(more ** 2)) * (2 if gain > 2 * spread else 1)
    if (gain > 0 and wrong - wrong_linear <= chance) or (clearer and wrong <= wrong_linear):
        return True, f"{held}: the fit is taken"
    return False, f"{held}: the {name} stays, and that is what the model is"
