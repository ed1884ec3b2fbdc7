# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings in the SigMF format: NAME.sigmf-data (samples) and NAME.sigmf-meta (JSON).

Samples stream to and from the disk, so a recording may be larger than the memory. What was sent, the radio
and its settings stand in the namespace "gr_diffusion" of the global object. Needs the package sigmf from
PyPI.
"""
import base64
import binascii
import datetime
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pmt
from gnuradio import gr

META, DATA = ".sigmf-meta", ".sigmf-data"
SPACE = "gr_diffusion"
CHUNK = 1 << 16           # samples converted at once
LARGEST_SENT = 1 << 20    # bytes of a sent file that are kept in the metadata
# component type, offset, full scale
TYPES = {"cf32_le": ("<f4", 0.0, 1.0), "ci16_le": ("<i2", 0.0, 32768.0), "ci8": ("i1", 0.0, 128.0),
         "cu8": ("u1", 127.5, 127.5)}


class RecordingError(RuntimeError):
    """The recording cannot be used; the message says what to do."""


def _sigmf():
    try:
        import sigmf
    except ImportError as e:
        raise RecordingError("recordings need the package sigmf: './run record' and './run replay' install "
                             "it, elsewhere pip install 'sigmf==1.2.10' 'numpy<2'") from e
    return sigmf


def stem(path):
    """The path without SigMF's endings."""
    path = Path(path)
    return path.with_suffix("") if path.suffix in (META, DATA) else path


def _file(path, ending):
    return path.with_name(path.name + ending)  # a name may hold dots


def write_metadata(path, metadata):
    """Checks metadata (a dictionary) against SigMF's schema and writes it in one piece or not at all."""
    checked = _sigmf().SigMFFile(metadata=metadata)
    try:
        checked.validate()
    except Exception as e:  # jsonschema's errors
        raise RecordingError(f"the metadata is no valid SigMF: {str(e).splitlines()[0]}") from e
    target = _file(path, META)
    part = target.with_name(target.name + ".part")
    part.write_text(checked.dumps(pretty=True) + "\n")
    os.replace(part, target)


# ---- writing ---------------------------------------------------------------------------------------

def sent_description(packets, data, name, settings):
    """What was sent, for the metadata: a file (data) in the packets of gnuradio.diffusion.link.split.

    settings: modulation, fec, payload and the like; with transmitted=True the recording holds the whole
    transmission, so that packets without any trace count as lost.
    """
    sent = {"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
            "packets": len(packets),
            **settings}
    if len(data) <= LARGEST_SENT:
        sent["data"] = base64.b64encode(data).decode()
    return sent


class recording_sink(gr.sync_block):
    """Writes samples to a recording, at most count of them; the flowgraph ends then.

    The metadata is on the disk before the first sample: a recorder that is killed leaves a usable recording.
    A tag rx_time inside the stream (the radio lost samples) begins a new capture. close() completes it.
    """

    def __init__(self, path, rate, frequency, count, hardware="", description="", details=None,
                 overwrite=False):
        gr.sync_block.__init__(self, "recording_sink", [np.complex64], [])
        self.path = stem(path)
        self._rate, self._frequency, self._left = float(rate), float(frequency), int(count)
        self.count, self.peak, self.power, self.error = 0, 0.0, 0.0, None
        self._hash = hashlib.sha512()
        if not overwrite and _file(self.path, DATA).exists():
            raise RecordingError(f"{_file(self.path, DATA)} exists; take another name, or say --overwrite")
        self.metadata = {
            "global": {"core:datatype": "cf32_le", "core:version": "1.0.0", "core:num_channels": 1,
                       "core:sample_rate": self._rate, "core:recorder": "gr-diffusion",
                       "core:hw": hardware, "core:description": description,
                       "core:extensions": [{"name": SPACE, "version": "1.0.0", "optional": True}],
                       **{f"{SPACE}:{key}": value for key, value in (details or {}).items()}},
            "captures": [], "annotations": []}
        self._capture(0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_metadata(self.path, self.metadata)
            self._out = open(_file(self.path, DATA), "wb")
        except OSError as e:
            raise RecordingError(f"{self.path} cannot be written: {e.strerror}") from e

    def _capture(self, start):
        now = datetime.datetime.now(datetime.timezone.utc)
        self.metadata["captures"].append({"core:sample_start": start, "core:frequency": self._frequency,
                                          "core:datetime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")})

    def work(self, input_items, output_items):
        x = input_items[0][:self._left]
        if not len(x):
            return -1
        for tag in self.get_tags_in_window(0, 0, len(x), pmt.intern("rx_time")):
            if tag.offset > self.metadata["captures"][-1]["core:sample_start"]:
                self._capture(tag.offset)
        try:
            self._out.write(x.data)
        except OSError as e:
            self.error = e.strerror  # a full disk ends the recording, what is there stays usable
            return -1
        self._hash.update(x.data)
        power = x.real ** 2 + x.imag ** 2
        self.peak = max(self.peak, float(np.max(np.abs(x.view(np.float32)))))
        self.power += float(np.sum(power, dtype=np.float64))
        self.count += len(x)
        self._left -= len(x)
        return len(x)

    def close(self, annotations=(), details=None):
        """Completes the metadata; annotations: dictionaries with core:sample_start, in order."""
        self._out.close()
        self.metadata["annotations"] = list(annotations)
        own = {"samples": self.count, "peak": self.peak,
               "rms": float(np.sqrt(self.power / max(1, self.count)))}
        self.metadata["global"].update({f"{SPACE}:{key}": value
                                        for key, value in {**own, **(details or {})}.items()})
        if self.error is None:
            self.metadata["global"]["core:sha512"] = self._hash.hexdigest()
        write_metadata(self.path, self.metadata)


# ---- reading ---------------------------------------------------------------------------------------

@dataclass
class Recording:
    """An open recording; problems says in sentences what is wrong with it but does not hinder its use."""
    path: Path
    raw: np.ndarray             # (samples, 2) memory map of the data
    datatype: str
    rate: float
    frequency: float
    metadata: dict
    problems: list = field(default_factory=list)
    bad_samples: int = 0        # NaN and Inf that were replaced by 0

    def __len__(self):
        return len(self.raw)

    def read(self, start, count):
        """complex64 samples, full scale 1.0; NaN and Inf become 0 and are counted."""
        rails = self.raw[start:start + count]
        _, offset, scale = TYPES[self.datatype]
        x = np.ascontiguousarray((rails.astype(np.float32) - np.float32(offset)) / np.float32(scale))
        y = x.view(np.complex64)[:, 0]
        bad = ~np.isfinite(y)
        if bad.any():
            self.bad_samples += int(np.count_nonzero(bad))
            y = np.where(bad, np.complex64(0), y)
        return y

    def detail(self, key, default=None):
        """A field of this module's namespace."""
        return self.metadata["global"].get(f"{SPACE}:{key}", default)

    @property
    def annotations(self):
        """Those that lie within the samples that are there."""
        return [a for a in self.metadata["annotations"]
                if a["core:sample_start"] + a.get("core:sample_count", 0) <= len(self)]

    def sent_data(self):
        """The file that was sent, None if the recording does not hold it."""
        sent = self.detail("sent")
        if not isinstance(sent, dict) or "data" not in sent:
            return None
        try:
            data = base64.b64decode(sent["data"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            data = b""
        if hashlib.sha256(data).hexdigest() != sent.get("sha256"):
            self.problems.append("the copy of what was sent is damaged: no BER")
            return None
        return data


def open_recording(path, datatype=None, rate=None, check=True):
    """Opens a recording. With datatype (and rate) the metadata is not looked at: what is left when it is
    lost.

    Usable in part: a truncated data file (to its last whole sample), a wrong checksum, annotations beyond the
    end; problems says so. check: read all data once and compare its SHA-512.
    """
    path = stem(path)
    data = _file(path, DATA)
    if not data.is_file():
        raise RecordingError(f"{data} is missing: a recording is NAME{DATA} and NAME{META}")
    if datatype is None:
        metadata = _read_metadata(path)
    else:
        metadata = {"global": {"core:datatype": datatype, "core:sample_rate": float(rate or 1e6)},
                    "captures": [{"core:sample_start": 0}], "annotations": []}
    top = metadata["global"]
    datatype = top["core:datatype"]
    if datatype not in TYPES:
        raise RecordingError(f"{path}: samples are '{datatype}', this reads {', '.join(TYPES)}")
    if top.get("core:num_channels", 1) != 1:
        raise RecordingError(f"{path} has {top['core:num_channels']} channels, this reads recordings of one")
    component = np.dtype(TYPES[datatype][0])
    size, whole = data.stat().st_size, data.stat().st_size // (2 * component.itemsize)
    if not whole:
        raise RecordingError(f"{data} holds no sample")
    raw = np.memmap(data, component, "r", shape=(whole, 2))
    first = metadata["captures"][0] if metadata["captures"] else {}
    recording = Recording(path, raw, datatype, float(top.get("core:sample_rate", rate or 1e6)),
                          float(first.get("core:frequency", 0.0)), metadata)
    _look_for_problems(recording, data, size, check)
    return recording


def _read_metadata(path):
    sigmf = _sigmf()
    meta = _file(path, META)
    remedy = f"its samples can still be replayed: --type {'|'.join(TYPES)} --rate HZ"
    if not meta.is_file():
        raise RecordingError(f"{meta} is missing; {remedy}")
    try:
        metadata = json.loads(meta.read_text())
        sigmf.SigMFFile(metadata=metadata).validate()
    except (UnicodeDecodeError, json.JSONDecodeError) as e:
        raise RecordingError(f"{meta} is truncated or corrupted ({e}); {remedy}") from e
    except Exception as e:  # jsonschema's errors and what sigmf makes of nonsense
        raise RecordingError(f"{meta} is no valid SigMF ({(str(e) or repr(e)).splitlines()[0]}); {remedy}") from e
    rate = metadata["global"].get("core:sample_rate", 1.0)
    if not np.isfinite(rate) or rate <= 0:
        raise RecordingError(f"{meta}: the sample rate is {rate}; {remedy}")
    return metadata


def _look_for_problems(recording, data, size, check):
    r, problems = recording, recording.problems
    rest = size - len(r) * 2 * r.raw.dtype.itemsize
    promised = r.detail("samples")
    if isinstance(promised, int) and promised > len(r):
        problems.append(f"truncated: {len(r)} of {promised} samples are there")
    elif rest:
        problems.append(f"the last sample is incomplete ({rest} bytes are left out)")
    lost = len(r.metadata["annotations"]) - len(r.annotations)
    if lost:
        problems.append(f"{lost} annotations lie beyond the end")
    wanted = r.metadata["global"].get("core:sha512")
    if wanted and check and not problems:
        with open(data, "rb") as f:
            digest = hashlib.sha512()
            for block in iter(lambda: f.read(1 << 20), b""):
                digest.update(block)
        if digest.hexdigest() != wanted:
            problems.append("the samples are not those that were recorded (the checksum is wrong)")


class recording_source(gr.sync_block):
    """The samples of an open Recording, then zeros: a last frame must not end with the file."""

    def __init__(self, recording, padding=4000):
        gr.sync_block.__init__(self, "recording_source", [], [np.complex64])
        self.recording, self._at, self._end = recording, 0, len(recording) + padding

    def work(self, input_items, output_items):
        out = output_items[0]
        n = min(len(out), CHUNK, self._end - self._at)
        if n <= 0:
            return -1
        x = self.recording.read(self._at, n)
        out[:len(x)] = x
        out[len(x):n] = 0
        self._at += n
        return n
