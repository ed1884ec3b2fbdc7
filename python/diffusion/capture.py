# SPDX-License-Identifier: GPL-3.0-or-later
"""Known symbols out of a capture: what was sent beside what was received, for fitting a receiver.

A capture is a SigMF recording of native or stock frames (`gr-diffusion record`), or an npz file:

    x, y [, noise_var] [, frame]       known symbols (unit-power constellation points), what was received
                                       (equalised), E|n|^2, and the frame that each symbol belongs to
    iq [, waveform] [, payloads]       samples with native or stock frames in them; payloads: uint8 (k,
    bytes),
                                       what was sent, so that frames with a wrong CRC can be used as well

A frame whose CRC fits is known; the payload of another one is known if the capture says what was sent.
"""
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import diffusion_python as compiled
from .metrics import labels

CHUNK = 1 << 18
NAMES = {1: "bpsk", 2: "qpsk", 4: "qam16", 6: "qam64", 8: "qam256"}
WORST_BER = 0.35   # of a frame with a wrong CRC that is taken for the packet that fits best


class CaptureError(RuntimeError):
    """The capture cannot be used; the message says what to do."""


@dataclass
class Known:
    """Known symbols, n of them."""
    x: np.ndarray                  # complex64 (n,), constellation points
    y: np.ndarray                  # complex64 (n,), received, equalised
    noise_var: np.ndarray | None   # float64 (n,), None if the capture does not say
    frame: np.ndarray              # int (n,), ascending
    bits_per_symbol: int
    problems: list = field(default_factory=list)
    frames: list = field(default_factory=list)  # of waveforms: dictionaries, see _frame()
    waveform: str = ""             # native, stock, or "" for symbols
    read: object = None            # of waveforms: function (start, count) -> samples

    @property
    def constellation(self):
        return NAMES[self.bits_per_symbol]


def load(path, waveform=None, datatype=None, rate=None, most_frames=3000, max_cfo=2.0, condition=None,
         model=""):
    """Known symbols of the capture at path. CaptureError, recording.RecordingError say what is wrong.

    condition: function that samples go through first; model: of native frames' demapper, a file (MAP
    without)."""
    path = Path(path)
    options = {"most_frames": most_frames, "max_cfo": max_cfo, "condition": condition, "model": model}
    if path.suffix == ".npz":
        return _npz(path, waveform, options)
    from . import recording
    found = recording.open_recording(path, datatype, rate)
    packets, whole = sent_packets(found)
    sent = found.detail("sent")
    waveform = waveform or (sent.get("waveform") if isinstance(sent, dict) else None) or "native"
    samples = (found.read(at, CHUNK) for at in range(0, len(found), CHUNK))
    known = from_samples(samples, waveform, packets, whole, **options)
    known.problems = list(found.problems) + known.problems
    known.read = found.read
    if found.bad_samples:
        known.problems.append(f"{found.bad_samples} samples that are no numbers were taken as 0")
    return known


def sent_packets(found):
    """(packets in turn, whether the recording is one whole transmission) or (None, False)."""
    from . import link
    sent, data = found.detail("sent"), found.sent_data()
    if data is None:
        return None, False
    try:
        return link.split(data, int(sent["payload"]), int(sent["packets"])), bool(sent.get("transmitted"))
    except (KeyError, TypeError, ValueError) as e:
        found.problems.append(f"what was sent cannot be made again ({e}): only frames with a good CRC are "
                              "known")
        return None, False


# ---- symbols ---------------------------------------------------------------------------------------

def _npz(path, waveform, options):
    try:
        with np.load(path, allow_pickle=False) as f:
            arrays = {k: f[k] for k in f.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as e:
        raise CaptureError(f"{path} is no npz file of plain arrays: {e}") from e
    if "iq" in arrays:
        iq = np.asarray(arrays["iq"]).ravel().astype(np.complex64)
        bad = ~np.isfinite(iq)
        iq[bad] = 0
        packets = [bytes(p) for p in np.asarray(arrays["payloads"],
                                                np.uint8)] if "payloads" in arrays else None
        waveform = waveform or str(arrays.get("waveform", "native"))
        chunks = (iq[at:at + CHUNK] for at in range(0, iq.size, CHUNK))
        known = from_samples(chunks, waveform, packets, False, **options)
        known.read = lambda start, count: iq[start:start + count]
        if bad.any():
            known.problems.append(f"{bad.sum()} samples that are no numbers were taken as 0")
        return known
    if not {"x", "y"} <= set(arrays):
        raise CaptureError(f"{path} has {', '.join(arrays) or 'nothing'}; it needs x and y (known symbols "
                           "and what was received), or iq")
    return from_symbols(arrays["x"], arrays["y"], arrays.get("noise_var"), arrays.get("frame"))


def from_symbols(x, y, noise_var=None, frame=None):
    """Known symbols given as such; x any of the module's constellations."""
    x, y = (np.asarray(v).ravel() for v in (x, y))
    if x.size != y.size:
        raise CaptureError(f"x has {x.size} symbols and y {y.size}; give one y for each x")
    if x.dtype.kind not in "fciu" or y.dtype.kind not in "fciu":
        raise CaptureError(f"x and y have types {x.dtype} and {y.dtype}; give complex numbers")
    frame = np.arange(x.size) if frame is None else np.asarray(frame).ravel()
    if frame.size != x.size or frame.dtype.kind not in "iu":
        raise CaptureError(f"frame has {frame.size} values of {frame.dtype} for {x.size} symbols; give one "
                           "whole number each, or none")
    if noise_var is not None:
        noise_var = np.broadcast_to(np.asarray(noise_var, np.float64).ravel(), x.size) \
            if np.size(noise_var) in (1, x.size) else None
        if noise_var is None:
            raise CaptureError(f"noise_var must be one number or one for each of the {x.size} symbols")
        if not (np.isfinite(noise_var) & (noise_var > 0)).all():
            raise CaptureError("noise_var must be positive: E|n|^2 with E|x|^2 = 1")
    problems, good = [], np.isfinite(x) & np.isfinite(y)
    if not good.all():
        problems.append(f"{(~good).sum()} symbols that are no finite numbers were left out")
        x, y, frame = x[good], y[good], frame[good]
        noise_var = noise_var[good] if noise_var is not None else None
    if x.size < 8:
        raise CaptureError(f"{x.size} known symbols are too few to fit; use at least 8, better 50")
    order = np.argsort(frame, kind="stable")
    x, y, frame = x[order].astype(np.complex64), y[order].astype(np.complex64), frame[order]
    return Known(x, y, noise_var[order] if noise_var is not None else None, frame, _bits_of(x), problems)


def _bits_of(x):
    """Bits a symbol of the smallest constellation that holds all of x."""
    for bits, name in NAMES.items():
        points = compiled.constellation(name)
        spacing = np.abs(points[0] - points[1:]).min()
        if np.abs(x[:, None] - points).min(1).max() < 0.1 * spacing:
            return bits
    power = float(np.mean(np.abs(x) ** 2))
    raise CaptureError(f"x (mean power {power:.3g}) lies on none of the constellations "
                       f"{', '.join(NAMES.values())} of unit power; scale it, and see "
                       "diffusion.constellation(name) for the points")


# ---- frames ----------------------------------------------------------------------------------------

def _receiver(waveform, max_cfo, model):
    """A function (samples, last) -> frames, and one from a frame and its payload to the bits on its
    carriers."""
    if waveform == "native":
        rx, modem = compiled.native_receiver(max_cfo=max_cfo), compiled.native_modulator()
        if model:
            rx.set_demapper("diffusion", str(model))

        def bits_of(frame, payload):
            return modem.payload_bits(frame.header, payload) if len(payload) == frame.header.length else None
        return rx, bits_of
    if waveform != "stock":
        raise CaptureError(f"waveform is '{waveform}', use native or stock")
    rx = compiled.stock_receiver(max_cfo=max_cfo)

    def bits_of(frame, payload):
        # A packet whose CRC fits has the right signs; gr-digital sends the least significant bit first.
        if payload != frame.payload:
            return None
        return (frame.llr.reshape(-1, frame.bits_per_symbol)[:, ::-1] > 0).astype(np.uint8).ravel()
    return (lambda x, last: rx(x) + (rx.flush() if last else [])), bits_of


def _facts(frame, waveform):
    if waveform == "native":
        h = frame.header
        return {"bits": h.bits_per_symbol, "number": h.number, "length": h.length, "fec": h.fec}
    return {"bits": frame.bits_per_symbol, "number": frame.number, "length": frame.length, "fec": "none"}


def frames_in(chunks, waveform="native", max_cfo=2.0, condition=None, model=""):
    """Frames with a good header in an iterable of sample arrays, as dictionaries with the received frame."""
    rx, bits_of = _receiver(waveform, max_cfo, model)
    condition = condition or (lambda x: x)

    def frames():
        for chunk in chunks:
            yield from rx(condition(np.ascontiguousarray(chunk, np.complex64)), False)
        yield from rx(np.zeros(4000, np.complex64), True)
    for f in frames():
        if f.header_ok and len(f.symbols):
            yield {**_facts(f, waveform), "frame": f, "bits_of": bits_of}


def from_samples(chunks, waveform="native", packets=None, complete=False, most_frames=3000, max_cfo=2.0,
                 condition=None, model=""):
    """Known symbols of the frames in an iterable of sample arrays.

    packets: what was sent, in turn and over and over; complete: beginning with the first frame number 0."""
    found, unknown = [], 0
    for f in frames_in(chunks, waveform, max_cfo, condition, model):
        found.append(f)
        if len(found) >= most_frames:
            break
    if not found:
        raise CaptureError(f"no {waveform} frame with a readable header is in the capture: check level, "
                           "frequency and sample rate with `gr-diffusion replay`, or say --waveform")
    counts = {b: sum(f["bits"] == b for f in found) for b in {f["bits"] for f in found}}
    bits = max(counts, key=counts.get)
    problems = [] if len(counts) == 1 else [f"frames of {len(counts)} constellations: only those of "
                                            f"{NAMES[bits]} are used"]
    shift = _shift(found, packets, complete)
    kept = []
    for f in found:
        if f["bits"] != bits:
            continue
        frame, payload = f["frame"], None
        if frame.payload_ok:
            payload = frame.payload
        elif shift is not None and waveform == "native":
            payload = packets[(f["number"] + shift) % len(packets)]
        sent = None if payload is None else f["bits_of"](frame, payload)
        if sent is None or sent.size != len(frame.symbols) * bits:
            unknown += 1
            continue
        sent = np.asarray(sent, np.uint8)
        f.update(index=sent.reshape(-1, bits) @ (1 << np.arange(bits)[::-1]), sent=sent, payload=payload)
        kept.append(f)
    if unknown:
        problems.append(f"{unknown} of {len(found)} frames are not used: their CRC is wrong and what was "
                        "sent is not known")
    if not kept:
        raise CaptureError("no frame has a good CRC, and the capture does not say what was sent: record with "
                           "--send or --sent, or send a stronger code or a smaller constellation")
    points = compiled.qam(bits).points
    x = np.concatenate([points[f["index"]] for f in kept])
    y = np.concatenate([f["frame"].symbols for f in kept])
    noise = np.concatenate([f["frame"].symbol_noise for f in kept]).astype(np.float64)
    return Known(x, y, noise, np.repeat(np.arange(len(kept)), [len(f["index"]) for f in kept]), bits,
                 problems, kept,
                 waveform)


def _shift(found, packets, complete):
    """Packet number less frame number, or None if it cannot be told."""
    if not packets:
        return None
    if complete:
        return 0
    index = {p: i for i, p in enumerate(packets)}
    for f in found:
        if f["frame"].payload_ok and f["frame"].payload in index:
            return (index[f["frame"].payload] - f["number"]) % len(packets)
    # None arrived: the packet whose bits fit best says it, if it fits at all.
    frame = found[0]
    hard = np.asarray(frame["frame"].llr) > 0
    rates = [np.mean(hard != b) if b is not None and b.size == hard.size else 0.5
             for b in (frame["bits_of"](frame["frame"], p) for p in packets)]
    best = int(np.argmin(rates))
    return (best - frame["number"]) % len(packets) if rates[best] < WORST_BER else None


def bit_table(bits):
    """(M, bits) of 0 and 1."""
    return labels(bits)
