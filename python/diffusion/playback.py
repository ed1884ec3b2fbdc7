# SPDX-License-Identifier: GPL-3.0-or-later
"""A recording through a receiver, frame by frame: the figures of the link's table, and annotations.

Nothing here grows with the recording but counters, the payloads that arrived (once each) and LLRs up to a
limit.
"""
import time

import numpy as np
import pmt
from gnuradio import blocks, digital, gr

from . import diffusion_python as compiled
from . import metrics
from .link import LENGTH_TAG, MODULATIONS, packets_in
from .ofdm import ofdm_rx
from .recording import SPACE, recording_source

MOST_LLRS = 2_000_000   # the GMI is worked out on the first so many bits
RESTART = 1000          # a frame counter that jumps further is another transmission


class Tally(gr.basic_block):
    """Counts what a receiver's port "frames" tells, and compares it with what was sent.

    packets: what was sent, in turn and over and over, or None if unknown. complete: the recording holds one
    whole transmission that begins with packets[0]; else frames count as sent from the first counter seen to
    the last. waveform "stock" gives only the packets. annotate: keep SigMF annotations of the
    frames. samples: the recording's length; a frame that goes beyond says nothing about BER and EVM.
    """

    def __init__(self, packets=None, complete=False, waveform="native", annotate=False, samples=None):
        gr.basic_block.__init__(self, "tally", [], [])
        self.packets, self.complete, self.native = packets, complete and bool(packets), waveform == "native"
        self._index = {p: i for i, p in enumerate(packets or [])}
        self._samples = samples
        self._annotating = annotate and self.native
        self.detected = self.ok = self._span = 0
        self.payloads, self.notes, self.annotations = {}, set(), []
        self._shift, self._last = (0 if self.complete else None), None
        self._error = self._signal = 0.0
        self._own_evm = []
        self._bits, self._llrs, self._held, self._bit_errors, self._bit_count, self._m = [], [], 0, 0, 0, None
        self._modem = compiled.native_modulator()
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self._frame)

    def _frame(self, message):
        f = pmt.to_python(message)
        self.detected += 1
        if "note" in f:
            self.notes.add(f["note"])
        if f["payload_ok"]:
            payload = bytes(f["payload"])
            self.ok += 1
            self.payloads.setdefault(payload, self.ok)
            self._count(f["frame"])
            if payload in self._index and not self.complete:
                self._shift = (self._index[payload] - f["frame"]) % len(self.packets)
        if self._annotating:
            self._annotate(f)
        if f["header_ok"]:
            if self.native and len(f["symbols"]) and self._is_whole(f):
                self._own_evm.append(10 ** (f["evm_db"] / 10))
                self._compare(f)

    def _count(self, number):
        step = 1 if self._last is None else (number - self._last) % 65536
        self._span += step if 1 <= step < RESTART else 1
        self._last = number

    def _is_whole(self, f):
        header = compiled.native_header(f["length"], MODULATIONS[f["modulation"]], f["fec"])
        return self._samples is None or f["offset"] + self._modem.frame_len(header) <= self._samples

    def _annotate(self, f):
        note = {"core:sample_start": int(f["offset"]), "core:sample_count": int(self._modem.front_len),
                "core:generator": "gr-diffusion", "core:label": "frame",
                "core:comment": "header not readable", f"{SPACE}:snr_db": round(float(f["snr_db"]), 2)}
        if f["header_ok"]:
            header = compiled.native_header(f["length"], MODULATIONS[f["modulation"]], f["fec"])
            note["core:sample_count"] = int(self._modem.frame_len(header))
            note["core:label"] = f"frame {f['frame']}"
            note["core:comment"] = (f"{f['modulation']}, {f['fec']}, {f['length']} bytes, "
                                    f"CRC {'ok' if f['payload_ok'] else 'wrong'}")
            note[f"{SPACE}:payload_ok"] = bool(f["payload_ok"])
        self.annotations.append(note)

    def _compare(self, f):
        """BER, EVM and LLRs of a frame whose packet is known."""
        if self._shift is None or not self.packets:
            return
        at = f["frame"] if self.complete else (f["frame"] + self._shift) % len(self.packets)
        if at >= len(self.packets) or f["length"] != len(self.packets[at]):
            return
        m = MODULATIONS[f["modulation"]]
        bits = self._modem.payload_bits(compiled.native_header(f["length"], m, f["fec"]), self.packets[at])
        llr = np.asarray(f["llr"], np.float32)
        if bits.size != llr.size:
            return
        x = compiled.qam(m).points[np.packbits(bits.reshape(-1, m), axis=1).ravel() >> (8 - m)]
        y = np.asarray(f["symbols"], np.complex64)
        weight = 1 / np.asarray(f["symbol_noise"], np.float64)
        self._error += float(np.sum(weight * np.abs(y - x) ** 2))
        self._signal += float(np.sum(weight * np.abs(x) ** 2))
        self._bit_errors += int(np.count_nonzero((llr > 0) != bits))
        self._bit_count += bits.size
        if self._held < MOST_LLRS and self._m in (None, m):
            self._m = m
            self._bits.append(np.asarray(bits, np.uint8))
            self._llrs.append(llr)
            self._held += bits.size

    def figures(self, cpu_s):
        """A row of the link's table."""
        ok = sum(p in self._index for p in self.payloads) if self.complete else self.ok
        sent = len(self.packets) if self.complete else self._span
        known = self._bit_count > 0
        evm = self._error / self._signal if known else np.mean(self._own_evm) if self._own_evm else None
        return {"frames_sent": sent, "frames_ok": ok, "per": 1 - ok / sent if sent else None,
                "per_interval": metrics.wilson(sent - ok, sent) if sent else None,
                "ber": self._bit_errors / self._bit_count if known else None,
                "evm_db": float(10 * np.log10(evm)) if evm else None,
                "gmi": metrics.gmi(np.concatenate(self._bits).reshape(-1, self._m),
                                   np.concatenate(self._llrs).reshape(-1, self._m)) if known else None,
                "nmse_db": None, "cpu_s": cpu_s}


def play(recording, waveform="native", estimator="lmmse", demapper="map", packets=None, complete=False,
         annotate=False, **options):
    """Runs a recording through ofdm_rx; returns (figures, Tally). options: of ofdm_rx, such as max_cfo."""
    tb = gr.top_block("replay")
    source, sink = recording_source(recording), blocks.null_sink(gr.sizeof_char)
    tally = Tally(packets, complete, waveform, annotate, len(recording))
    rx = ofdm_rx(waveform, estimator, demapper, **options)
    tb.connect(source, rx, sink)
    tb.msg_connect(rx, "frames", tally, "in")
    cpu = _run(tb)
    return tally.figures(cpu), tally


def play_stock(recording, packets=None, complete=False):
    """Runs a recording through digital.ofdm_rx; returns (figures, the packets it got)."""
    tb = gr.top_block("replay, stock")
    source, sink = recording_source(recording), blocks.vector_sink_b()
    rx = digital.ofdm_rx(bps_payload=2, packet_length_tag_key=LENGTH_TAG)
    tb.connect(source, rx, sink)
    cpu = _run(tb)
    got = packets_in(sink)
    known = bool(packets) and complete
    ok = len(set(got) & set(packets)) if known else len(got)
    sent = len(packets) if known else None
    return {"frames_sent": sent, "frames_ok": ok, "per": 1 - ok / sent if sent else None,
            "per_interval": metrics.wilson(sent - ok, sent) if sent else None, "ber": None, "evm_db": None,
            "gmi": None, "nmse_db": None, "cpu_s": cpu}, got


def _run(tb):
    start = time.process_time()
    tb.run()
    return time.process_time() - start


def fitting(annotations, samples):
    """Annotations in order, none beyond the end of the samples."""
    out = []
    for a in sorted(annotations, key=lambda a: a["core:sample_start"]):
        if a["core:sample_start"] < samples:
            out.append({**a, "core:sample_count": min(a["core:sample_count"],
                                                      samples - a["core:sample_start"])})
    return out
