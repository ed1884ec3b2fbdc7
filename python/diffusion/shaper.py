# SPDX-License-Identifier: GPL-3.0-or-later
"""Constellation shaping without a flowgraph: the pmf for a link, bits to symbols and back."""
import struct
from dataclasses import dataclass

import numpy as np

from .diffusion_python import shaper_core


@dataclass(frozen=True)
class ShapingState:
    """What a header carries so that the far end decodes: 8 bytes."""
    index: int         # composition index, 0 to 65535; follows from the SNR (and hardware)
    block_length: int  # symbols per full block
    bits: int          # payload bits in all
    matcher: str = "ccdm"  # or "ess"

    _FORMAT = "<HHI"
    _SPHERE = 0x8000  # highest bit of the block length, which takes 14

    def to_bytes(self):
        """What a frame's header carries; from_bytes() reads it."""
        flag = self._SPHERE if self.matcher == "ess" else 0
        return struct.pack(self._FORMAT, self.index, self.block_length | flag, self.bits)

    @classmethod
    def from_bytes(cls, data):
        try:
            index, length, bits = struct.unpack(cls._FORMAT, bytes(data))
            return cls(index, length & ~cls._SPHERE, bits, "ess" if length & cls._SPHERE else "ccdm")
        except struct.error as e:
            raise ValueError(f"a shaping state has 8 bytes, here are {len(data)}") from e


class Shaper:
    """A shaper model and its distribution matcher.

    model: name (ps-qam16, ps-qam64, ps-qam256) or path; block_length: symbols per full block, 64 to 8192
    (longer: less rate loss, more delay). A message's last block is as short as its bits allow. matcher:
    "ccdm" (constant composition) or "ess" (enumerative sphere shaping: less rate loss in short blocks).

    ``hardware``, where a method takes it, is None for AWGN or a dict with ``phase_noise_deg`` (RMS) and
    ``adc_bits`` for a link with power amplifier, phase noise and ADC (ps-qam64 only).
    SNR: E|x|^2 / E|n|^2 in dB of the shaped symbols; with hardware, saturation power over noise power.
    It is rounded to 0.1 dB and held to the trained range."""

    def __init__(self, model="ps-qam64", block_length=4096, matcher="ccdm"):
        if not isinstance(model, str) and not hasattr(model, "__fspath__"):
            raise TypeError(f"model is {model!r}; give a shipped model's name or a path")
        if not 64 <= int(block_length) <= 8192:
            raise ValueError(f"block_length is {block_length}, use 64 to 8192 symbols")
        self._model = str(model)
        self._core = shaper_core(self._model, int(block_length), str(matcher))
        self.bad_blocks = 0  #: blocks of the last decode() that no transmitter can have sent

    @property
    def name(self):
        return self._core.name

    @property
    def block_length(self):
        return self._core.block_length

    @property
    def matcher(self):
        return self._core.matcher

    @property
    def constellation(self):
        """Unit-power points (equally likely), complex64 (M,), labelled by index."""
        return self._core.constellation

    @property
    def snr_db(self):
        """(lowest, highest) SNR trained on."""
        return self._core.snr_db

    def __reduce__(self):
        """Copies and other processes read the model file anew."""
        return Shaper, (self._model, self.block_length, self.matcher)

    def __repr__(self):
        return f"<Shaper {self.name}, blocks of {self.block_length} symbols, {self.matcher}>"

    def index(self, snr_db, hardware=None):
        """The composition index of a link state."""
        try:
            snr_db = float(snr_db)
        except (TypeError, ValueError):
            raise TypeError(f"snr_db is {snr_db!r}; give one number, the SNR in dB") from None
        unknown = set(hardware or {}) - {"phase_noise_deg", "adc_bits"}
        if unknown:
            raise ValueError(f"hardware has '{sorted(unknown)[0]}'; use phase_noise_deg and adc_bits")
        if hardware is not None:
            hardware = {"phase_noise_deg": 0.0, "adc_bits": 6, **hardware}
        return self._core.index(snr_db, **(hardware or {}))

    def pmf(self, snr_db, hardware=None):
        """The diffusion model's pmf, float64 (M,), sum 1."""
        return self._core.pmf(self.index(snr_db, hardware))

    def points(self, snr_db, hardware=None):
        """The points as sent, complex64 (M,): unit power under the pmf, or driven into the amplifier."""
        return self._core.points(self.index(snr_db, hardware))

    def code(self, snr_db, hardware=None):
        """The code of full blocks: .pmf (exact in every block; with spheres the mean), .rate, .rate_loss,
        .bits, .length."""
        return self._core.code(self.index(snr_db, hardware))

    def modulate(self, indices, snr_db, hardware=None):
        """Symbol indices to complex64 samples."""
        return self.points(snr_db, hardware)[np.asarray(indices, np.intp)]

    def decide(self, y, snr_db, hardware=None):
        """Samples to the indices of the nearest points, uint8."""
        return self._core.decide(self.index(snr_db, hardware), _samples(y))

    def _codes(self, index, bits):
        """The blocks' codes for so many bits: full blocks, then the shortest multiple of 64 symbols that
        holds the rest. Both ends work it out from the state."""
        full = self._core.code(index)
        codes = [full] * (bits // full.bits)
        rest = bits % full.bits
        if rest:
            lo, hi = 0, -(-full.length // 64)  # in steps of 64; hi is enough
            while hi - lo > 1:
                middle = (lo + hi) // 2
                lo, hi = (lo, middle) if self._core.code_of_length(index,
                                                                   64 * middle).bits >= rest else (middle, hi)
            codes.append(self._core.code_of_length(index, 64 * hi) if 64 * hi < full.length else full)
        return codes

    def encode(self, bits, snr_db, hardware=None):
        """bits: uint8 0/1, any number -> (symbol indices uint8, ShapingState for the header)."""
        bits = np.asarray(bits)
        if bits.ndim != 1 or (bits.size and not np.isin(bits, (0, 1)).all()):
            raise ValueError(f"bits must be a vector of 0 and 1, this is {bits.dtype} of shape {bits.shape}")
        index = self.index(snr_db, hardware)
        state = ShapingState(index, self.block_length, int(bits.size), self.matcher)
        blocks, at = [np.zeros(0, np.uint8)], 0
        for code in self._codes(index, bits.size):
            block = bits[at:at + code.bits].astype(np.uint8)
            blocks.append(code.encode(np.pad(block, (0, code.bits - block.size))))
            at += code.bits
        return np.concatenate(blocks), state

    def decode(self, indices, state):
        """The way back: (symbol indices, state) -> bits uint8. Wrong symbols give wrong bits, never an error;
        bad_blocks counts the blocks in which that shows. Raises ValueError if the state is not of this model,
        the number of symbols not the state's, or an index none of the constellation's."""
        indices = np.asarray(indices)
        if not isinstance(state, ShapingState):
            raise TypeError(f"state is {type(state).__name__}; give the ShapingState that encode() returned")
        if indices.dtype.kind not in "iu":
            raise TypeError(f"indices are {indices.dtype}; give symbol indices (integers), from decide() or "
                            "encode()")
        if not (0 <= state.index <= 0xFFFF and 0 <= state.bits <= 0xFFFFFFFF):
            raise ValueError(f"{state} is no state that a header can carry")
        if (state.block_length, state.matcher) != (self.block_length, self.matcher):
            if not 64 <= state.block_length <= 8192:
                raise ValueError(f"state has block length {state.block_length}, lengths are 64 to 8192")
            other = Shaper(self._model, state.block_length, state.matcher)
            bits, self.bad_blocks = other.decode(indices, state), other.bad_blocks
            return bits
        full = self._core.code(state.index)
        fewest = state.bits // full.bits * full.length  # a false state must not fill the memory
        codes = self._codes(state.index, state.bits) if fewest <= indices.size else []
        symbols = sum(code.length for code in codes) or fewest
        if indices.ndim != 1 or indices.size != symbols:
            raise ValueError(f"indices of shape {indices.shape}, but the state says {symbols} symbols")
        points = self.constellation.size
        if indices.size and not 0 <= indices.min() <= indices.max() < points:
            raise ValueError(f"indices are {indices.min()} to {indices.max()}, symbols of {self.name} are "
                             f"0 to {points - 1}")
        out, at = [np.zeros(0, np.uint8)], 0
        self.bad_blocks = 0
        for code in codes:
            bits, bad = code.decode(indices[at:at + code.length])
            self.bad_blocks += bad
            out.append(bits)
            at += code.length
        return np.concatenate(out)[:state.bits]

    def fit(self, x, y, level=None, power="mean", block_length=None, matcher=None, seed=1,
            frame=None):
        """A pmf for a black-box link, from samples alone: symbols x sent (x = level * constellation[i], all
        points about equally often), y received. A pmf can only be judged at levels that were recorded: give
        several (1 to 1.8 in steps of 10%, say) and level, which x[n] was sent at; None: one level for all.

        frame: which frame x[n] is of; then whole frames are held out.
        power: "mean", E|x|^2 no larger than the recording's; a number, no larger than that; or "free", the
        amplifier limits. Returns a blackbox.FittedShaper: pmf, level, choice (uniform, maxwell-boltzmann,
        model or samples: what is simple stays unless held-out samples bear out a gain), reason, schemes with
        bits and intervals, encode, decode, save."""
        from .blackbox import fit
        return fit(self, x, y, level, power, block_length or self.block_length, matcher or self.matcher, seed,
                   frame)

    def posterior(self, y, noise_var, snr_db, hardware=None):
        """P(symbol | y) under the pmf, float64 (n, M): the diffusion model's output at noise level
        noise_var, for y around points(snr_db)."""
        if not (noise_var > 0 and np.isfinite(noise_var)):
            raise ValueError(f"noise_var is {noise_var}; use a positive variance E|n|^2")
        y, noise_var = _samples(y), max(float(noise_var), 1e-30)
        points = self.points(snr_db, hardware).astype(np.complex128)
        prior = np.log(self.pmf(snr_db, hardware))
        # -|y - c|^2 / v without the part that all symbols share.
        logits = (2 * np.outer(y, points.conj()).real - np.abs(points) ** 2) / noise_var + prior
        p = np.exp(logits - logits.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    def llr(self, y, noise_var, snr_db, hardware=None):
        """LLRs of the index's bits that know the prior, float32 (n, bits), most significant bit first:
        log P(bit = 1 | y) - log P(bit = 0 | y), the sign of digital.constellation_soft_decoder_cf."""
        p = self.posterior(y, noise_var, snr_db, hardware)
        width = int(np.log2(p.shape[1]))
        ones = (np.arange(p.shape[1])[:, None] >> np.arange(width)[::-1]) & 1
        floor = np.finfo(np.float32).tiny
        return np.log(np.maximum(p @ ones, floor) / np.maximum(p @ (1 - ones), floor)).astype(np.float32)

    def generate(self, n, snr_db, hardware=None, steps=200, seed=1):
        """n symbol indices out of pure noise by the reverse process (ancestral DDPM, Ho et al. 2020, with the
        posterior mean as x0). Their law is pmf() up to the error of finitely many steps."""
        rng = np.random.default_rng(seed)
        normal = lambda: (rng.standard_normal(n) + 1j * rng.standard_normal(n)) / np.sqrt(2)
        points = self.points(snr_db, hardware).astype(np.complex128)
        # Noise to signal power from 1e4 (nothing left of the symbol) to far below the points' distance.
        level = np.geomspace(1e4, 1e-5, steps)
        abar = 1 / (1 + level)
        x = normal()
        for t in range(steps):
            p = self.posterior(x / np.sqrt(abar[t]), level[t], snr_db, hardware)
            x0 = p @ points
            if t + 1 == steps:
                return p.argmax(1).astype(np.uint8)
            # From abar[t] to the cleaner abar[t + 1]; alpha is the step's signal factor squared.
            alpha, cleaner, noisier = abar[t] / abar[t + 1], abar[t + 1], abar[t]
            mean = (np.sqrt(cleaner) * (1 - alpha) * x0 + np.sqrt(alpha) * (1 - cleaner) * x) / (1 - noisier)
            x = mean + np.sqrt((1 - cleaner) / (1 - noisier) * (1 - alpha)) * normal()


def _samples(y):
    y = np.asarray(y)
    if y.ndim != 1 or y.dtype.kind not in "fciub":
        raise ValueError(f"y is {y.dtype} of shape {y.shape}; give complex samples of shape (n,)")
    if not np.isfinite(y).all():
        raise ValueError("y has a NaN or Inf: leave such samples out")
    return y
