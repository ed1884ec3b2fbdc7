# SPDX-License-Identifier: GPL-3.0-or-later
"""What two radios do to the native OFDM waveform, fitted to frames whose payload is known.

Every error e of an equalised carrier is explained, by least squares over all frames, by what the known
samples t of the transmitter say it sends beside the carriers (t, t*, t|t|^2, t|t|^4, t*|t|^2; see
lib/dsp/waveform_correction.h) and by the image and the DC that the receiver adds to its samples r. Receiver
first; then the frames are received again without its share, and the transmitter's is fitted to what is left.
"""
import numpy as np

from . import diffusion_python as compiled

FFT, CP = 64, 16
SYMBOL = FFT + CP
TERMS = 5
MOST_FRAMES = 600


class _Grid:
    """Carriers of the native waveform's payload symbols."""

    def __init__(self):
        modem = compiled.native_modulator()
        g = modem.geometry
        self.data = [np.array(s) + FFT // 2 for s in g.occupied_carriers]
        self.pilots = [np.array(s) + FFT // 2 for s in g.pilot_carriers]
        self.values = [np.array(s) for s in g.pilot_symbols]
        self.front = modem.front_len // SYMBOL   # symbols before the payload, two of them sync words
        self.scale = np.sqrt(len(modem.used_carriers))

    def of(self, count):
        """(symbols, 64) grid of pilots, data carriers (symbols, n) of count payload symbols."""
        s = np.arange(count) + self.front - 2
        data = np.stack([self.data[i % len(self.data)] for i in s])
        grid = np.zeros((count, FFT), complex)
        for row, i in zip(grid, s):
            row[self.pilots[i % len(self.pilots)]] = self.values[i % len(self.values)]
        return grid, data

    def samples(self, grid):
        return np.fft.ifft(np.fft.ifftshift(grid, axes=1), axis=1) * FFT / self.scale

    def carriers(self, samples):
        return np.fft.fftshift(np.fft.fft(samples, axis=1), axes=1) / FFT * self.scale


def _terms(t):
    p = np.abs(t) ** 2
    return [t, np.conj(t), t * p, t * p * p, np.conj(t) * p]


def _equations(grid, f, points, read):
    """(errors (n,), columns (n, 5 or 7), weights (n,)) of a frame; read: the capture's samples, or None."""
    r, x = f["frame"], points[f["index"]]
    per = grid.data[0].size
    count = x.size // per
    cells, at = grid.of(count)
    rows = np.arange(count)[:, None]
    cells[rows, at] = x[:count * per].reshape(count, per)
    z = np.asarray(r.symbols)[:count * per].reshape(count, per)
    columns = [grid.carriers(term)[rows, at] for term in _terms(grid.samples(cells))]
    if read is not None:
        length = (grid.front + count) * SYMBOL
        raw = np.asarray(read(r.sync.offset, length), complex)
        if raw.size < length:
            return None
        turn = np.exp(-2j * np.pi * r.sync.cfo / FFT * np.arange(length))
        first = (np.arange(count) + grid.front) * SYMBOL + CP - CP // 4
        index = first[:, None] + np.arange(FFT)
        dft = lambda v: np.fft.fftshift(np.fft.fft(v[index], axis=1), axes=1)[rows, at]
        h = np.asarray(r.channel)[at]
        y = dft(raw * turn)
        gain = np.sum(np.conj(z * h) * y, 1, keepdims=True) / np.sum(np.abs(z * h) ** 2, 1, keepdims=True)
        columns += [dft(np.conj(raw) * turn) / (gain * h), dft(turn) / (gain * h)]
    noise = np.asarray(r.symbol_noise)[:count * per]
    return ((z - cells[rows, at]).ravel(), np.stack([c.ravel() for c in columns], 1),
            1 / np.sqrt(np.maximum(noise, 1e-9)))


def regress(frames, bits, read=None):
    """Complex coefficients of the columns (5 of the transmitter; with read: image and DC of the receiver
    too)."""
    grid, points = _Grid(), compiled.qam(bits).points
    step = max(1, len(frames) // MOST_FRAMES)
    gram, right = 0, 0
    for f in frames[::step]:
        equations = _equations(grid, f, points, read)
        if equations is None:
            continue
        e, a, w = equations
        a, e = a * w[:, None], e * w
        gram, right = gram + a.conj().T @ a, right + a.conj().T @ e
    if np.ndim(gram) == 0:
        raise ValueError("no frame lies wholly within the capture")
    size = np.sqrt(np.real(np.diag(gram))) + 1e-30
    gram = gram / np.outer(size, size) + 1e-6 * np.eye(size.size)
    return np.linalg.solve(gram, right / size) / size


def numbers(image, dc, terms):
    """The 14 numbers of a waveform_correction."""
    z = np.concatenate([[image, dc], terms])
    return np.stack([z.real, z.imag], 1).ravel().tolist()


def correction(known, load, held_out):
    """The 14 numbers, fitted to the frames of a capture.

    known: capture.Known of it; load(condition) -> the same with the samples passed through condition(x)
    first; held_out(offset) -> whether to leave the frame that begins there alone."""
    bits = known.bits_per_symbol
    learn = [f for f in known.frames if not held_out(f["frame"].sync.offset)]
    first = regress(learn, bits, known.read)
    image, dc = first[TERMS], first[TERMS + 1]
    image *= min(1.0, 0.45 / max(abs(image), 1e-30))
    front = compiled.waveform_correction(numbers(image, dc, np.zeros(TERMS)))
    again = [f for f in load(front.condition).frames if not held_out(f["frame"].sync.offset)]
    if not again:
        raise ValueError("no frame is left without the receiver's image: the fit went wrong")
    terms = regress(again, bits)
    return numbers(image, dc, np.clip(terms.real, -5, 5) + 1j * np.clip(terms.imag, -5, 5))


def held_out_of(known, folds=5):
    """held_out() of every fifth frame; a frame received again begins within some samples of where it was."""
    starts = np.array([f["frame"].sync.offset for f in known.frames], np.int64)
    which = np.arange(starts.size) % folds == folds - 1

    def held_out(offset):
        at = int(np.argmin(np.abs(starts - int(offset))))
        return bool(which[at])
    return held_out


def paired(known, other, held_out):
    """(bits (n, m), LLRs of known, LLRs of other) of the held-out frames; a frame that other lacks tells
    nothing."""
    again = {int(round(int(f["frame"].sync.offset) / SYMBOL)): f for f in other.frames}
    bits, mine, theirs, m = [], [], [], known.bits_per_symbol
    for f in known.frames:
        offset = int(f["frame"].sync.offset)
        if not held_out(offset):
            continue
        near = int(round(offset / SYMBOL))
        g = next((again[k] for k in (near, near - 1, near + 1)
                  if k in again and abs(int(again[k]["frame"].sync.offset) - offset) < CP), None)
        llr = np.asarray(f["frame"].llr)
        bits.append(f["sent"])
        mine.append(llr)
        theirs.append(np.asarray(g["frame"].llr) if g is not None and g["sent"].size == f["sent"].size
                      else np.zeros_like(llr))
    if not bits:
        raise ValueError("no frame was held out")
    return tuple(np.concatenate(v).reshape(-1, m) for v in (bits, mine, theirs))
