# SPDX-License-Identifier: GPL-3.0-or-later
"""Linear waveforms of unit power: symbols to oversampled samples and back, for SequenceReceiver."""
import numpy as np


class OfdmWaveform:
    """OFDM without guard interval: `tones` (integers, negative below the carrier) of nfft, one symbol each.

    groups: for tones whose constellation is scaled by an unknown real gain, drawn anew in each OFDM symbol,
    the group of each tone (tones of a group share the gain); None: all gains are 1."""

    def __init__(self, nfft, tones, groups=None):
        self.nfft, self.tones = int(nfft), np.asarray(tones, int)
        if np.unique(self.tones % self.nfft).size != self.tones.size or self.tones.size == 0:
            raise ValueError(f"{self.tones.size} tones of {nfft} must differ, and be 1 or more")
        self.groups = None if groups is None else np.asarray(groups, int)
        if self.groups is not None and self.groups.shape != self.tones.shape:
            raise ValueError(f"groups {self.groups.shape}: give one a tone, {self.tones.shape}")

    @classmethod
    def dpa200(cls, known_gains=False):
        """The waveform of the measured amplifier pa-dpa200: 10 channels of 20 MHz at 800 Msample/s, 59 tones
        of 312.5 kHz each, every channel scaled anew in each OFDM symbol."""
        first = -317 + 64 * np.arange(10)
        tones = (first[:, None] + np.arange(59)).ravel()
        return cls(2560, tones, None if known_gains else np.repeat(np.arange(10), 59))

    @property
    def block(self):
        """(samples, symbols) of one OFDM symbol."""
        return self.nfft, self.tones.size

    def modulate(self, symbols):
        """Symbols, whole OFDM symbols of them, to samples (complex128): mean power of a sample that of a
        symbol."""
        grid = np.zeros((symbols.size // self.tones.size, self.nfft), np.complex128)
        grid[:, self.tones % self.nfft] = np.reshape(symbols, (-1, self.tones.size))
        return np.fft.ifft(grid, axis=1).ravel() * self.nfft / np.sqrt(self.tones.size)

    def demodulate(self, samples):
        """Samples, whole OFDM symbols of them, to symbols: the inverse of modulate()."""
        grid = np.fft.fft(np.reshape(samples, (-1, self.nfft)), axis=1)
        return grid[:, self.tones % self.nfft].ravel() * np.sqrt(self.tones.size) / self.nfft

    def gain_groups(self, count):
        """For each of count symbols the index of its unknown gain, or None."""
        if self.groups is None:
            return None
        width = self.groups.max() + 1
        return (np.arange(count // self.tones.size)[:, None] * width + self.groups).ravel()


class PulseWaveform:
    """Single carrier with root raised cosine pulses: `sps` samples a symbol, `span` symbols long, in a block
    of `symbols` symbols."""

    def __init__(self, sps=4, rolloff=0.25, span=24, symbols=1024):
        if not (2 <= sps <= 32 and 0 < rolloff <= 1 and 4 <= span <= 128 and symbols >= 1):
            raise ValueError(f"sps {sps}, rolloff {rolloff}, span {span}, symbols {symbols}: use 2 to 32, up "
                             "to 1, 4 to 128, 1 or more")
        self.sps, self.symbols = int(sps), int(symbols)
        t = np.arange(-span * sps // 2, span * sps // 2 + 1) / sps
        with np.errstate(divide="ignore", invalid="ignore"):
            h = (np.sin(np.pi * t * (1 - rolloff)) + 4 * rolloff * t * np.cos(np.pi * t * (1 + rolloff))) / (
                np.pi * t * (1 - (4 * rolloff * t) ** 2))
        h[t == 0] = 1 - rolloff + 4 * rolloff / np.pi
        edge = np.isclose(np.abs(t), 1 / (4 * rolloff))
        h[edge] = rolloff / np.sqrt(2) * ((1 + 2 / np.pi) * np.sin(np.pi / (4 * rolloff)) +
                                          (1 - 2 / np.pi) * np.cos(np.pi / (4 * rolloff)))
        self.pulse = h / np.sqrt(np.sum(h ** 2))
        self.tail = self.pulse.size - 1

    @property
    def block(self):
        return self.symbols * self.sps + self.tail, self.symbols

    def modulate(self, symbols):
        """Symbols, whole blocks of them, to samples (complex128), the tail of each block's pulse included."""
        grid = np.zeros((symbols.size // self.symbols, self.block[0]), np.complex128)
        grid[:, :self.symbols * self.sps:self.sps] = np.reshape(symbols, (-1, self.symbols))
        return np.concatenate([np.convolve(row, self.pulse)[:row.size] for row in grid]) * np.sqrt(self.sps)

    def demodulate(self, samples):
        """Samples, whole blocks, to symbols: matched filter, sampled at the symbols."""
        rows = np.reshape(samples, (-1, self.block[0]))
        out = [np.convolve(row, self.pulse[::-1])[self.tail:self.tail + self.symbols * self.sps:self.sps]
               for row in rows]
        return np.concatenate(out) / np.sqrt(self.sps)

    def gain_groups(self, count):
        """None: no unknown gains."""
        return None
