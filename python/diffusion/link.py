# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: a file through an impaired, quantized link, received in three ways from the same samples.

Everything runs in GNU Radio flowgraphs: a transmitter in a process of its own sends each waveform once over the
virtual radio to this process (or, without processes, through the in-memory medium), then each receiver gets the same
IQ in a flowgraph of its own, so that its CPU time can be told apart.
"""
import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pmt
from gnuradio import blocks, digital, gr

from . import diffusion_python as compiled
from . import metrics
from .carousel import PREFIX, join, split  # noqa: F401  (link's packets)
from .medium import medium, power_profile
from .ofdm import ofdm_rx, ofdm_tx
from .radio import driver_of, exchange
from .virtual_link import VirtualLink

MODULATIONS = {"bpsk": 1, "qpsk": 2, "qam16": 4, "qam64": 6, "qam256": 8}
PILOTS = ("full", "half", "quarter")
ALL_PILOTS = "native-full"  # beside fewer pilots: the same packets in frames that have all of them
UNIFORM = "native-uniform"  # beside shaped frames: the same packets on equally likely points
LENGTH_TAG = "packet_len"
CHAINS = {"classical": ("lmmse", "map"), "diffusion": ("diffusion", "diffusion")}


@dataclass
class Settings:
    """What the job sends and through what."""
    file: Path = None
    snr_db: float = 10.0
    adc_bits: int = 3
    preset: str = "mild"
    modulation: str = "qpsk"
    fec: str = "ldpc-1/2"
    payload: int = 112      # bytes a frame, PREFIX included: one LDPC word
    frames: int = 150       # at least; the file goes round until they are sent
    pilots: str = "full"    # of the native frames' payload: full, half, quarter
    taps: int = 6           # Rayleigh taps of the multipath, powers exp(-k/2), drawn for every frame
    # "memory": a medium within this process; "loopback": the same over the virtual radio, TX and RX as two
    # processes; else SoapySDR arguments, and a medium of the device's own
    device: str = "memory"
    rate: float = 1e6         # of the device, samples/s
    frequency: float = 2.45e9
    tx_gain: float = None
    rx_gain: float = None
    seed: int = 1
    shaping: bool = False     # amplitude-shaped payloads for snr_db less backoff_db; payload is then one code word
    backoff_db: float = 5.0   # for fading: carriers and frames differ, the code's word is short

    def mode(self):
        """(fec, composition index or -1, bits a symbol) of the native frames."""
        if not self.shaping:
            return self.fec, -1, None
        return compiled.shaped_mode(MODULATIONS[self.modulation], self.snr_db - self.backoff_db, 0.0)

    def shaped(self):
        """These settings with the mode's code, and the payload that fills one code word."""
        if not self.shaping:
            return self
        fec, index, _ = self.mode()
        bits = compiled.shaped_code(MODULATIONS[self.modulation], fec, index).bits
        return dataclasses.replace(self, fec=fec, payload=bits // 8)

    def uniform(self):
        """Shaped settings -> those of the same packets, unshaped: the lowest code of the family that holds one in a word
        (shortened to it); None if there is none."""
        for rate in ("3/5", "2/3", "11/15", "7/9", "37/45", "8/9"):
            if compiled.ldpc_code(rate).k >= 8 * self.payload + 32:  # payload and checksum
                return dataclasses.replace(self, shaping=False, fec=f"dvbs2-{rate}")
        return None

    @property
    def ours(self):
        """Whether the medium is what these settings say, not a device's own."""
        return self.device in ("memory", "loopback")

    def plain(self):
        """The fields as JSON has them."""
        return {**dataclasses.asdict(self), "file": str(self.file)}

    def check(self):
        if self.modulation not in MODULATIONS:
            raise ValueError(f"modulation is '{self.modulation}', use one of {', '.join(MODULATIONS)}")
        if self.shaping and MODULATIONS[self.modulation] < 4:
            raise ValueError(f"shaping needs amplitudes: modulation is '{self.modulation}', use qam16, qam64 or qam256")
        if self.fec not in compiled.fec_names():
            raise ValueError(f"fec is '{self.fec}', use one of {', '.join(compiled.fec_names())}")
        if self.pilots not in PILOTS:
            raise ValueError(f"pilots is '{self.pilots}', use one of {', '.join(PILOTS)}")
        if not PREFIX < self.payload <= 4096:
            raise ValueError(f"payload is {self.payload} bytes, use {PREFIX + 1} to 4096")
        if not 1 <= self.frames <= 60000:
            raise ValueError(f"frames is {self.frames}, use 1 to 60000")
        if not -20 <= self.snr_db <= 80:
            raise ValueError(f"snr_db is {self.snr_db}, use -20 to 80")
        compiled.impairments(self.preset)  # names the presets there are
        if not 0 <= self.adc_bits <= 16:
            raise ValueError(f"adc_bits is {self.adc_bits}, use 1 to 16, or 0 for no ADC")
        if not 1 <= self.taps <= 16:
            raise ValueError(f"taps is {self.taps}, use 1 to 16")
        if not self.rate > 0:
            raise ValueError(f"rate is {self.rate}, use a positive number of samples/s")


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
            tx.set_shaping_snr_db(settings.snr_db - settings.backoff_db + 2)  # ofdm_tx takes 2 dB off by itself
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


# ---- figures ---------------------------------------------------------------------------------------

def true_channel(taps, fft_len=64, early=4):
    """The channel of taps at all carriers (DC in the middle), seen by a DFT that starts early samples early."""
    k = np.arange(-fft_len // 2, fft_len // 2)
    return np.exp(-2j * np.pi * np.outer(k, np.arange(len(taps)) + early) / fft_len) @ taps


def figures(reception, transmission, settings):
    """frames_sent, frames_ok, per, ber, evm_db, gmi, nmse_db, cpu_s, and what the plots need."""
    sent = transmission.packets
    good = set(reception.packets) & set(sent)
    result = {"frames_sent": len(sent), "frames_ok": len(good), "per": 1 - len(good) / len(sent), "ber": None,
              "evm_db": None, "gmi": None, "nmse_db": None, "net_rate": None, "throughput": None,
              "cpu_s": reception.cpu_s}
    result["net_rate"] = net_rate(reception, good)
    if transmission.waveform != "stock" and not settings.shaping:
        result["throughput"] = throughput(good, transmission, settings)
    result["per_interval"] = metrics.wilson(len(sent) - len(good), len(sent))
    detail = {"symbols": [], "channel": None, "notes": sorted({f["note"] for f in reception.frames if "note" in f})}
    if not reception.frames:
        return result, detail
    modem = compiled.native_modulator()
    bits, llrs, errors, signals, channel_error, channel_power = [], [], 0.0, 0.0, 0.0, 0.0
    m = MODULATIONS[settings.modulation]
    used = np.array(modem.used_carriers) + 32
    for f in reception.frames:
        n = f.get("frame", -1)  # the transmitter counts from 0
        if not f["header_ok"] or not 0 <= n < len(sent) or f["length"] != len(sent[n]) or len(f["symbols"]) == 0:
            continue
        index = f.get("shaping", -1)
        header = compiled.native_header(len(sent[n]), m, f["fec"] if index >= 0 else settings.fec, index,
                                        f.get("pilots", "full"))
        true_bits = modem.payload_bits(header, sent[n])
        llr = np.asarray(f["llr"], np.float32)
        if true_bits.size != llr.size:
            continue
        x = header.constellation.points[np.packbits(true_bits.reshape(-1, m), axis=1).ravel() >> (8 - m)]
        y = np.asarray(f["symbols"], np.complex64)
        weight = 1 / np.asarray(f["symbol_noise"], np.float64)  # a faded carrier weighs what it is worth
        errors += np.sum(weight * np.abs(y - x) ** 2)
        signals += np.sum(weight * np.abs(x) ** 2)
        bits.append(true_bits)
        llrs.append(llr)
        if len(transmission.taps_of) == len(sent):
            # The medium's taps fix the channel up to the transmitter's gain and the receiver's timing.
            start, taps = transmission.taps_of[n]
            late = int(f["offset"]) - int(start)
            h = true_channel(taps, early=4 - late)[used]
            mine = np.asarray(f["channel"], np.complex64)[used]
            gain = np.vdot(h, mine) / np.vdot(h, h)
            channel_error += np.sum(np.abs(mine - gain * h) ** 2)
            channel_power += np.sum(np.abs(gain * h) ** 2)
            if detail["channel"] is None:
                detail["channel"] = (np.array(modem.used_carriers), gain * h, mine)
        if len(detail["symbols"]) < 12:
            detail["symbols"].append(y)
    if bits:
        bits, llrs = np.concatenate(bits), np.concatenate(llrs)
        result["ber"] = float(np.mean((llrs > 0) != bits))
        result["evm_db"] = float(10 * np.log10(errors / signals))
        if settings.shaping:  # LLRs know the prior: entropy less what stays uncertain (Boecherer 2014), no scaling
            unsure = np.logaddexp(0, np.where(bits, -llrs, llrs).astype(float)).sum() / np.log(2)
            result["gmi"] = float(max(header.constellation.entropy - unsure * m / bits.size, 0))
        else:
            result["gmi"] = metrics.gmi(bits.reshape(-1, m), llrs.reshape(-1, m))
        if channel_power:
            result["nmse_db"] = float(10 * np.log10(channel_error / channel_power))
    return result, detail


def net_rate(reception, good):
    """Payload bits that arrived intact per payload symbol received; None where the receiver shows no symbols."""
    symbols = sum(len(f["symbols"]) for f in reception.frames if f["header_ok"])
    return 8 * sum(len(p) for p in good) / symbols if symbols else None


def throughput(good, transmission, settings):
    """Payload bits that arrived intact per sample of the frames sent (native, plain): pilots and losses together."""
    modem = compiled.native_modulator()
    pilots = "full" if transmission.waveform == ALL_PILOTS else settings.pilots
    samples = sum(modem.frame_len(compiled.native_header(len(p), MODULATIONS[settings.modulation], settings.fec, -1,
                                                         pilots)) for p in transmission.packets)
    return 8 * sum(len(p) for p in good) / samples


def run(settings, sweep=(), progress=lambda text: None):
    """The whole job; returns the results of --json and what the plots need."""
    settings.check()
    settings = settings.shaped()
    data = Path(settings.file).read_bytes()
    if not data:
        raise ValueError(f"{settings.file} is empty: there is nothing to send")
    packets = split(data, settings.payload, settings.frames)
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
        receptions["classical, all pilots"] = (receive(sent[ALL_PILOTS].iq, *CHAINS["classical"]), sent[ALL_PILOTS])
    for name, (estimator, demapper) in CHAINS.items():
        progress(f"{name} receiver ({estimator}, {demapper})")
        receptions[name] = (receive(sent["native"].iq, estimator, demapper), sent["native"])
    if UNIFORM in sent:
        progress("diffusion receiver, uniform constellation")
        receptions["uniform, diffusion"] = (receive(sent[UNIFORM].iq, *CHAINS["diffusion"]), sent[UNIFORM])
    out = {}
    for name, (reception, transmission) in receptions.items():
        figure, detail = figures(reception, transmission, settings.uniform() if transmission.waveform == UNIFORM else settings)
        detail["packets"] = reception.packets
        out[name] = (figure, detail)
    return out
