# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: a file through an impaired, quantized link, received in three ways from the same samples.

Everything runs in GNU Radio flowgraphs: a transmitter in a process of its own sends each waveform once over
the virtual radio to this process (or, without processes, through the in-memory medium), then each receiver
gets the same IQ in a flowgraph of its own, so that its CPU time can be told apart.
"""
import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pmt
from gnuradio import blocks, digital, gr

from .carousel import join, split
from .link_figures import figures
# noqa: F401  (part of the job's names)
from .link_settings import (ALL_PILOTS, CHAINS, LENGTH_TAG, MODULATIONS, UNIFORM,
                            Settings)
from .medium import medium, power_profile
from .ofdm import ofdm_rx, ofdm_tx
from .radio import driver_of, exchange
from .virtual_link import VirtualLink

# ---- flowgraphs ------------------------------------------------------------------------------------

class Collector(gr.basic_block):
    """Keeps the messages of its port "in"."""

    def __init__(self):
        gr.basic_block.__init__(self, "collector", [], [])
        self.messages = []
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self._keep)

    def _keep(self, message):
        self.messages.append(message)


def packet_source(packets, repeat=False):
    """The packets as a tagged byte stream."""
    tags, at = [], 0
    for p in packets:
        tags.append(gr.tag_utils.python_to_tag((at, pmt.intern(LENGTH_TAG), pmt.from_long(len(p)))))
        at += len(p)
    return blocks.vector_source_b(list(b"".join(packets)), repeat, 1, tags)


def packets_in(sink):
    """The packets in a vector sink of tagged bytes."""
    data = bytes(sink.data())
    starts = [(t.offset, pmt.to_long(t.value)) for t in sink.tags() if pmt.eq(t.key, pmt.intern(LENGTH_TAG))]
    return [data[at:at + n] for at, n in sorted(starts)]


class Transmission:
    """Packets through one waveform's transmitter and the medium: IQ, and the channel of each frame.

    radio: the VirtualLink of settings.device "loopback" and driver=loopback.
    """

    def __init__(self, settings, waveform, packets, seed, radio=None):
        s = settings
        self.waveform, self.packets, self.taps_of = waveform, packets, []
        if s.device == "loopback":
            (self.iq, self.taps_of), = radio.transmit([s], waveform, packets, seed)
            return
        if s.device != "memory" and driver_of(s.device) == "loopback":
            self.iq = radio.transmit_over(s, waveform, packets)
            return
        tb = gr.top_block("transmission")
        source = packet_source(packets)
        tx = transmitter(s, waveform)
        sink = blocks.vector_sink_c()
        if s.device == "memory":
            channel = medium(s.snr_db, s.adc_bits, s.preset, power_profile(s.taps), True, seed)
            tb.connect(source, *tx, channel, sink)
            tb.run()
            # A live receiver is never at the end of its samples; a file's last frame must not be either.
            self.iq = np.concatenate([np.array(sink.data(), np.complex64), np.zeros(4000, np.complex64)])
            self.taps_of = channel.fading.taps_of
        else:
            tb.connect(source, *tx, sink)
            tb.run()
            self.iq = exchange(sink.data(), s.device, s.rate, s.frequency, s.tx_gain, s.rx_gain)


    def first(self, frames):
        """The same with the first frames only."""
        part = object.__new__(Transmission)
        part.waveform, part.packets, part.taps_of = self.waveform, self.packets[:frames], self.taps_of[:frames]
        end = self.taps_of[frames][0] if frames < len(self.taps_of) else len(self.iq)
        part.iq = self.iq[:end]
        return part

    @classmethod
    def several(cls, points, waveform, packets, seed, radio):
        """One transmission over the virtual radio, heard by a receiver for each of the settings."""
        out = []
        for iq, taps_of in radio.transmit(points, waveform, packets, seed):
            one = object.__new__(cls)
            one.waveform, one.packets, one.iq, one.taps_of = waveform, packets, iq, taps_of
            out.append(one)
        return out


def transmitter(settings, waveform):
    """The blocks from tagged packets to IQ of unit mean power, in a list to connect."""
    if waveform == UNIFORM:
        settings = settings.uniform()
    if waveform in ("native", ALL_PILOTS, UNIFORM):
        tx = ofdm_tx("stream", settings.modulation, settings.fec,
                     pilots="full" if waveform == ALL_PILOTS else settings.pilots)
        if settings.shaping:
            tx.set_shaping_snr_db(settings.mode_snr_db() + 2)  # ofdm_tx takes 2 dB off by itself
        return [tx]
    # The guard of the native frames: the same medium sees the same signal.
    return [digital.ofdm_tx(bps_payload=2, packet_length_tag_key=LENGTH_TAG),
            digital.burst_shaper_cc([1.0, 1.0], 0, 160, False, LENGTH_TAG),
            blocks.multiply_const_cc(stock_scale())]


def stock_scale():
    """Factor to unit mean power for what digital.ofdm_tx puts out with its defaults."""
    tb = gr.top_block("stock power")
    source, sink = packet_source([bytes(range(96))] * 4), blocks.vector_sink_c()
    tx = digital.ofdm_tx(bps_payload=2, packet_length_tag_key=LENGTH_TAG)
    tb.connect(source, tx, sink)
    tb.run()
    return float(1 / np.sqrt(np.mean(np.abs(sink.data()) ** 2)))


@dataclass
class Reception:
    """What one receiver made of the IQ."""
    packets: list                                # payloads whose CRC fits
    frames: list = field(default_factory=list)   # dictionaries of the "frames" port
    cpu_s: float = 0.0


def receive_stock(iq):
    """digital.ofdm_rx, as a user would otherwise have it."""
    tb = gr.top_block("stock receiver")
    source, sink = blocks.vector_source_c(iq.tolist()), blocks.vector_sink_b()
    rx = digital.ofdm_rx(bps_payload=2, packet_length_tag_key=LENGTH_TAG)
    tb.connect(source, rx, sink)
    cpu = _run(tb)
    return Reception(packets_in(sink), cpu_s=cpu)


def receive(iq, estimator, demapper, **options):
    """The native receiver with these stages."""
    tb = gr.top_block("native receiver")
    source, sink, collector = blocks.vector_source_c(iq.tolist()), blocks.vector_sink_b(), Collector()
    rx = ofdm_rx("native", estimator, demapper, **options)
    tb.connect(source, rx, sink)
    tb.msg_connect(rx, "frames", collector, "in")
    cpu = _run(tb)
    frames = [pmt.to_python(m) for m in collector.messages]
    return Reception(packets_in(sink), frames, cpu)


def _run(tb):
    start = time.process_time()
    tb.run()
    return time.process_time() - start


def packets_of_file(data, settings):
    """The file round and round. Shaped: its short last packet, which costs a whole code word, in the first
    round only."""
    packets = split(data, settings.payload, settings.frames)
    if not settings.shaping:
        return packets
    first = int.from_bytes(packets[0][2:4], "big")  # of a round
    more = split(data, settings.payload, 2 * settings.frames + first)[first:]
    full = [p for p in more if len(p) == settings.payload]
    return packets[:first] + full[:max(settings.frames - first, 0)]


def run(settings, sweep=(), progress=lambda text: None):
    """The whole job; returns the results of --json and what the plots need."""
    settings.check()
    settings = settings.shaped()
    data = Path(settings.file).read_bytes()
    if not data:
        raise ValueError(f"{settings.file} is empty: there is nothing to send")
    packets = packets_of_file(data, settings)
    points = [settings] + [dataclasses.replace(settings, snr_db=settings.snr_db + offset,
                                               backoff_db=settings.backoff_db + offset)  # the same mode
                           for offset in (sweep if settings.ours else ())]
    shorter = max(40, len(packets) // 3)  # frames of the sweep's points
    sent = send(points, packets, shorter, progress)
    receivers = one_point(settings, sent[0], progress)
    packets_of = {name: detail["packets"] for name, (_, detail) in receivers.items()}
    arrived = {name: join(received) == data for name, received in packets_of.items()}
    details = {name: detail for name, (_, detail) in receivers.items()}
    curve = []
    for point, pair in zip(points[1:], sent[1:]):
        progress(f"sweep: SNR {point.snr_db:.0f} dB")
        part = one_point(point, pair, lambda text: None)
        curve.append((point.snr_db, {name: figure for name, (figure, _) in part.items()}))
    return {"data": data, "packets": packets, "receivers": {n: f for n, (f, _) in receivers.items()},
            "arrived": arrived, "details": details, "curve": curve, "packets_of": packets_of}


def send(points, packets, shorter, progress):
    """[{waveform: Transmission}] for each of the settings; all but the first with fewer frames."""
    # digital.ofdm_tx cannot take packets of a whole long code word.
    first, waveforms = points[0], ("native",) if points[0].shaping else ("stock", "native")
    if first.pilots != "full":
        waveforms += (ALL_PILOTS,)
    if first.shaping and first.uniform():
        waveforms += (UNIFORM,)
    if first.device == "loopback" or driver_of(first.device) == "loopback":
        with VirtualLink() as radio:
            if not first.ours:
                return [{w: Transmission(first, w, packets, first.seed, radio) for w in waveforms}]
            sent = {}
            for w in waveforms:
                progress(f"{w} waveform over the virtual radio")
                sent[w] = Transmission.several(points, w, packets, first.seed, radio)
            return [{w: sent[w][i] if i == 0 else sent[w][i].first(shorter) for w in waveforms}
                    for i in range(len(points))]
    out = []
    for point in points:
        progress(f"transmission at SNR {point.snr_db:.0f} dB")
        out.append({w: Transmission(point, w, packets if not out else packets[:shorter], point.seed)
                    for w in waveforms})
    return out


def one_point(settings, sent, progress):
    """All receivers on their waveform's transmission: {name: (figures, detail)}."""
    receptions = {}
    if "stock" in sent:
        progress("stock receiver")
        receptions["stock"] = (receive_stock(sent["stock"].iq), sent["stock"])
    if ALL_PILOTS in sent:
        progress("classical receiver, all pilots")
        receptions["classical, all pilots"] = (receive(sent[ALL_PILOTS].iq, *CHAINS["classical"]),
                                               sent[ALL_PILOTS])
    for name, (estimator, demapper) in CHAINS.items():
        progress(f"{name} receiver ({estimator}, {demapper})")
        receptions[name] = (receive(sent["native"].iq, estimator, demapper), sent["native"])
    if UNIFORM in sent:
        progress("diffusion receiver, uniform constellation")
        receptions["uniform, diffusion"] = (receive(sent[UNIFORM].iq, *CHAINS["diffusion"]), sent[UNIFORM])
    out = {}
    for name, (reception, transmission) in receptions.items():
        figure, detail = figures(reception, transmission,
                                 settings.uniform() if transmission.waveform == UNIFORM else settings)
        detail["packets"] = reception.packets
        out[name] = (figure, detail)
    return out
