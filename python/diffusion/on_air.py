# SPDX-License-Identifier: GPL-3.0-or-later
"""A file through any SoapySDR device: the transmitter that sends it round and round, the receiver that waits
for it."""
import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pmt
from gnuradio import blocks, gr

from .carousel import Assembly, split
from .link import Settings, packet_source
from .ofdm import ofdm_rx, ofdm_tx
from .radio import AMPLITUDE, RadioError, open_device

KEPT = 2000  # frames whose figures enter the medians


@dataclass
class Radio:
    """A device and how it is set; None is its own choice."""
    device: str = "driver=loopback"
    rate: float = 1e6
    frequency: float = 2.45e9
    gain: float = None
    antenna: str = None
    bandwidth: float = None
    lo_offset: float = None

    def open(self, direction):
        return open_device(direction, self.device, self.rate, self.frequency, self.gain, self.antenna,
                           self.bandwidth,
                           self.lo_offset)


class Listener(gr.basic_block):
    """Takes a receiver's payloads and metrics."""

    def __init__(self):
        gr.basic_block.__init__(self, "listener", [], [])
        self.assembly, self.heard = Assembly(), time.monotonic()
        self.figures = {"snr_db": [], "evm_db": [], "cfo": []}
        for name, handler in (("pdus", self._payload), ("metrics", self._metrics)):
            self.message_port_register_in(pmt.intern(name))
            self.set_msg_handler(pmt.intern(name), handler)

    def _payload(self, message):
        self.heard = time.monotonic()
        self.assembly.add(bytes(pmt.u8vector_elements(pmt.cdr(message))))

    def _metrics(self, message):
        for name, values in self.figures.items():
            value = pmt.dict_ref(message, pmt.intern(name), pmt.PMT_NIL)
            if pmt.is_number(value):
                values.append(pmt.to_double(value))
                del values[:-KEPT]

    def medians(self):
        return {name: float(np.median(values)) if values else None for name, values in self.figures.items()}


def frame_samples(settings, gap_s):
    """(samples of one frame with its gap, guard of ofdm_tx)."""
    guard = int(round(gap_s * settings.rate))
    tb = gr.top_block("one frame")
    source, sink = packet_source([bytes(settings.payload)]), blocks.null_sink(gr.sizeof_gr_complex)
    tx = ofdm_tx("stream", settings.modulation, settings.fec, "burst", 1.0, guard)
    tb.connect(source, tx, sink)
    tb.run()
    return sink.nitems_read(0), guard


def send(radio, settings, seconds=30.0, rounds=3, gap_s=0.004, amplitude=AMPLITUDE, stop=None,
         progress=lambda text: None):
    """Transmits settings.file round and round, for so many seconds of signal and rounds at least; seconds
    None: until stop (a threading.Event) is set. Returns what the command prints."""
    s = settings
    if not 0 <= gap_s <= 10:
        raise ValueError(f"the gap is {1000 * gap_s:g} ms, use 0 to 10000 ms")
    if not 0 < amplitude <= 1:
        raise ValueError(f"the amplitude is {amplitude:g}, use more than 0 and at most 1")
    stop = stop or threading.Event()
    data = Path(s.file).read_bytes()
    if not data:
        raise ValueError(f"{s.file} is empty: there is nothing to send")
    packets = split(data, s.payload, 1)
    per_frame, guard = frame_samples(s, gap_s)
    sink = radio.open("tx")
    tb = gr.top_block("transmitter")
    tx = ofdm_tx("stream", s.modulation, s.fec, "burst", amplitude, guard)
    if seconds is not None:
        rounds = max(rounds, math.ceil(seconds * s.rate / (per_frame * len(packets))))
        source = packet_source(packets * rounds)
    else:
        source = packet_source(packets, repeat=True)
    tb.connect(source, tx, sink)
    start = time.monotonic()
    progress(f"sending {s.file}, {len(data)} bytes in {len(packets)} frames, "
             f"{len(packets) * per_frame / s.rate:.2g} s a round")
    tb.start()
    finished = threading.Event()
    threading.Thread(target=lambda: (tb.wait(), finished.set()), daemon=True).start()
    try:
        while not finished.wait(0.1) and not stop.is_set():
            progress(f"{tx.sent()} frames sent")
    except KeyboardInterrupt:
        stop.set()
    ended = finished.is_set()
    tb.stop()
    finished.wait(10)
    return {"file": str(s.file), "bytes": len(data), "frames_a_round": len(packets), "frames_sent": tx.sent(),
            "rounds": tx.sent() / len(packets), "seconds": time.monotonic() - start, "complete": ended,
            "underflows": sensor(sink, "underflows"), "device": radio.device}


def receive(radio, estimator="diffusion", demapper="diffusion", timeout=60.0, max_cfo=2.0, stop=None,
            progress=lambda text: None):
    """Receives until a whole file is there, or no frame came for timeout seconds, or stop is set.

    Returns (data or None, what the command prints)."""
    stop = stop or threading.Event()
    source = radio.open("rx")
    rx, listener = ofdm_rx("native", estimator, demapper, max_cfo=max_cfo), Listener()
    sink = blocks.null_sink(gr.sizeof_char)
    tb = gr.top_block("receiver")
    tb.connect(source, rx, sink)
    tb.msg_connect(rx, "pdus", listener, "pdus")
    tb.msg_connect(rx, "metrics", listener, "metrics")
    start = listener.heard = time.monotonic()
    tb.start()
    why = "stopped"
    try:
        while listener.assembly.data is None and not stop.wait(0.05):
            there, needed = listener.assembly.progress()
            progress(f"{there} of {needed} parts" if needed else "waiting for the first frame")
            if time.monotonic() - listener.heard > timeout:
                why = f"no frame came for {timeout:g} s"
                break
    except KeyboardInterrupt:
        stop.set()
    there, needed = listener.assembly.progress()
    samples = source.nitems_written(0)
    overflows = sensor(source, "overflows")
    counters = rx.counters()
    tb.stop()
    tb.wait()
    if not samples:
        raise RadioError(f"device '{radio.device}' delivered no samples; try another --rate, or another USB "
                         "port")
    data, medians = listener.assembly.data, listener.medians()
    return data, {"file_intact": data is not None, "bytes": len(data) if data is not None else None,
                  "parts": there, "parts_needed": needed, "seconds": time.monotonic() - start,
                  "samples": samples,
                  "frames": counters, "snr_db": medians["snr_db"], "evm_db": medians["evm_db"],
                  "cfo_hz": medians["cfo"] * radio.rate / 64 if medians["cfo"] is not None else None,
                  "overflows": overflows, "device": radio.device, "why": why if data is None else ""}


def sensor(block, name):
    """A counter of the device, None if it has none."""
    try:
        return int(block.read_sensor(name))
    except Exception:
        return None


def settings_of(file, modulation, fec, payload, radio):
    """link.Settings of what is sent, checked."""
    s = Settings(file=file, modulation=modulation, fec=fec, payload=payload, rate=radio.rate,
                 device=radio.device)
    s.check()
    return s
