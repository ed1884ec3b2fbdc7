# SPDX-License-Identifier: GPL-3.0-or-later
"""Paired packet trials of receivers for digital.ofdm_tx: one stream of IQ, many receivers.

Every receiver returns a boolean array: packet i arrived, byte for byte. The genie is plain numpy and
shares no code with the receivers it bounds.
"""
import os
import tempfile
from dataclasses import dataclass

import numpy as np
from gnuradio import blocks, digital, gr
from gnuradio.digital import ofdm_txrx

FFT, CP = 64, 16
SYMBOL = FFT + CP
BACKOFF = CP // 4
RAYLEIGH = np.exp(-np.arange(6) / 2)
#: ADC full scale in units of a rail's RMS (signal and noise), by bits
CLIP = {1: 1.2, 2: 1.8, 3: 2.3}


@dataclass(frozen=True)
class Setting:
    channel: str            # "awgn" or "rayleigh"
    bits: int               # ADC bits per rail, 0: float
    cfo: float              # subcarriers

    @property
    def name(self):
        adc = f"{self.bits} bit" if self.bits else "float"
        return f"{'AWGN' if self.channel == 'awgn' else '6-tap Rayleigh'}, {adc}, CFO {self.cfo:g}"


def transmit(count, seed, length=96):
    """count packets of digital.ofdm_tx (BPSK header, QPSK payload): waveforms (count, n), payloads (count,
    length)."""
    data = np.random.default_rng(seed).integers(0, 256, (count, length), dtype=np.uint8)
    tb = gr.top_block()
    source = blocks.vector_source_b(data.ravel().tolist())
    tagger = blocks.stream_to_tagged_stream(gr.sizeof_char, 1, length, "packet_length")
    modulator = digital.ofdm_tx(bps_header=1, bps_payload=2)
    sink = blocks.vector_sink_c()
    tb.connect(source, tagger, modulator, sink)
    tb.run()
    return np.array(sink.data(), np.complex64).reshape(count, -1), data


class Trials:
    """Packets through a channel. The same packets, gaps, fading and (scaled) noise at every SNR."""

    def __init__(self, count, setting, seed):
        self.setting, self.seed, self.count = setting, seed, count
        self.sent, self.payloads = transmit(count, seed)
        self.power = float(np.mean(np.abs(self.sent) ** 2))
        rng = np.random.default_rng([seed, 1])
        n = self.sent.shape[1]
        gaps = rng.integers(100, 300, count)
        self.starts = 400 + np.cumsum(gaps) + np.arange(count) * n
        self.total = int(self.starts[-1] + n + 4000)
        if setting.channel == "rayleigh":
            taps = rng.standard_normal((count, 6)) + 1j * rng.standard_normal((count, 6))
            self.taps = taps * np.sqrt(RAYLEIGH / RAYLEIGH.sum() / 2)
        else:
            self.taps = np.exp(2j * np.pi * rng.uniform(size=(count, 1)))
        stream = np.zeros(self.total, complex)
        for tap in range(self.taps.shape[1]):
            at = self.starts[:, None] + tap + np.arange(n)
            stream[at] += self.sent * self.taps[:, tap:tap + 1]
        self.clean = (stream * np.exp(2j * np.pi * setting.cfo / FFT *
                                      np.arange(self.total))).astype(np.complex64)

    def noise_var(self, snr_db):
        return self.power * 10 ** (-snr_db / 10)

    def receive(self, snr_db):
        """The stream at this SNR: packet power / noise variance in the full sampling bandwidth."""
        from gnuradio import diffusion
        rng = np.random.default_rng([self.seed, 2])
        noise = rng.standard_normal((self.total, 2),
                                    np.float32) * np.float32(np.sqrt(self.noise_var(snr_db) / 2))
        y = self.clean + noise.view(np.complex64)[:, 0]
        if self.setting.bits:
            rail = np.sqrt((self.power + self.noise_var(snr_db)) / 2)
            y = diffusion.quantizer(self.setting.bits, CLIP.get(self.setting.bits, 3.0) * rail)(y)
        return y.astype(np.complex64)

    def arrived(self, received):
        """Which packets are among the received byte strings."""
        received = set(received)
        return np.array([p.tobytes() in received for p in self.payloads])


# ---- the stock receiver ---------------------------------------------------------------------------

class _Threshold:
    """digital.ofdm_rx has its detection threshold built in: swaps the block that holds it."""

    def __init__(self, threshold):
        self.threshold = threshold

    def __enter__(self):
        self.original = ofdm_txrx.digital.ofdm_sync_sc_cfb
        if self.threshold is not None:
            ofdm_txrx.digital.ofdm_sync_sc_cfb = lambda fft, cp: self.original(fft, cp, False, self.threshold)

    def __exit__(self, *_):
        ofdm_txrx.digital.ofdm_sync_sc_cfb = self.original


def _run_on_file(y, make, sinks):
    """Runs block make() on samples from a file (a vector source would hold Python objects)."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "iq.cf32")
        y.tofile(path)
        tb = gr.top_block()
        source, block = blocks.file_source(gr.sizeof_gr_complex, path), make()
        tb.connect(source, block)
        for port, sink in enumerate(sinks):
            tb.connect((block, port), sink)
        tb.run()


def stock(trials, y, threshold=None):
    with _Threshold(threshold):
        sink = blocks.vector_sink_b()
        _run_on_file(y, lambda: digital.ofdm_rx(bps_header=1, bps_payload=2), [sink])
    data, n = bytes(sink.data()), trials.payloads.shape[1]
    # A false length is possible, so packets are cut where the tags say.
    cuts = sorted(t.offset for t in sink.tags() if str(t.key) == "packet_length") + [len(data)]
    return trials.arrived(data[a:b] for a, b in zip(cuts, cuts[1:]) if b - a == n)


def stock_detects(trials, y, threshold):
    """Packets in whose preamble (or the symbol after it) the stock synchroniser triggers."""
    sinks = blocks.null_sink(gr.sizeof_float), blocks.vector_sink_b()
    _run_on_file(y, lambda: digital.ofdm_sync_sc_cfb(FFT, CP, False, threshold), sinks)
    at = np.flatnonzero(sinks[1].data())
    low = np.searchsorted(at, trials.starts)
    return low < np.searchsorted(at, trials.starts + 3 * SYMBOL)


# ---- ours -------------------------------------------------------------------------------------------

def ours(trials, y, **settings):
    from gnuradio import diffusion
    receiver = diffusion.stock_receiver(bps_payload=2, **settings)
    frames = receiver(y) + receiver.flush()
    return trials.arrived(f.payload for f in frames if f.payload_ok)


def ours_genie_sync(trials, y, snr_db, **settings):
    """Our demodulator, told where each packet starts, its CFO and the noise."""
    from gnuradio import diffusion
    receiver = diffusion.stock_receiver(bps_payload=2, **settings)
    n = trials.sent.shape[1]
    variance = trials.noise_var(snr_db)
    good = []
    for start, payload in zip(trials.starts, trials.payloads):
        frame = receiver.demodulate(y[start:start + n], trials.setting.cfo, variance, 52.0)
        good.append(frame.payload_ok and frame.payload == payload.tobytes())
    return np.array(good)


def our_sync(trials, y):
    """For each packet the nearest frame found: (found, timing error, CFO in subcarriers)."""
    from gnuradio import diffusion
    sync = diffusion.frame_sync()
    frames = sync(y) + sync.flush()
    offsets, cfos = np.array([f.offset for f in frames], np.int64), np.array([f.cfo for f in frames])
    if len(frames) == 0:
        return np.zeros(trials.count, bool), np.zeros(trials.count, int), np.zeros(trials.count)
    right = np.clip(np.searchsorted(offsets, trials.starts), 1, max(len(offsets) - 1, 1))
    right = np.minimum(right, len(offsets) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(offsets[left] - trials.starts) <= np.abs(offsets[right] - trials.starts), left,
                       right)
    error = offsets[nearest] - trials.starts
    return np.abs(error) <= CP, error, cfos[nearest]


# ---- the genie --------------------------------------------------------------------------------------

def genie(trials, y, sync=None, header_list=False):
    """Perfect channel knowledge, hard decisions. sync: result of our_sync(), None for perfect too.

    With the synchroniser's errors the channel is known as that timing and CFO make it, including the
    phase of every symbol. A packet counts if all header bits (32) and payload bits are right;
    header_list: header bits counted right always, the bound of decoding the CRC-8 as a code."""
    count, n = trials.sent.shape
    cfo = trials.setting.cfo
    if sync is None:
        found, shift, guess = np.ones(count, bool), np.zeros(count, int), np.full(count, cfo)
    else:
        found, shift, guess = sync
        shift = np.where(found, shift, 0)
    symbols = n // SYMBOL
    window = CP - BACKOFF + SYMBOL * np.arange(2, symbols)[:, None] + np.arange(FFT)     # header, payload
    at = trials.starts[:, None, None] + shift[:, None, None] + window
    turn = np.exp(-2j * np.pi / FFT * guess[:, None, None] * (at - trials.starts[:, None, None]))
    carriers = np.arange(-26, 27)
    received = np.fft.fft(y[at] * turn, axis=-1)[..., carriers] / FFT
    delay = np.arange(trials.taps.shape[1])
    h = trials.taps @ np.exp(-2j * np.pi / FFT * np.outer(delay, carriers))
    # The window starts BACKOFF early and shift late; the CFO's phase runs on over the whole stream.
    h = h[:, None, :] * np.exp(2j * np.pi / FFT * carriers * (shift[:, None, None] - BACKOFF))
    middle = at[..., :1] + (FFT - 1) / 2
    phase = 2 * np.pi / FFT * (cfo * middle - guess[:, None, None] * (middle - trials.starts[:, None, None]))
    x = received / (h * np.exp(1j * phase))
    sent = np.fft.fft(trials.sent.reshape(count, symbols, SYMBOL)[:, 2:, CP:], axis=-1)[..., carriers] / FFT
    data = [i for i, k in enumerate(carriers) if k not in (-21, -7, 0, 7, 21)]
    x, sent = x[..., data], sent[..., data]
    header = np.all((x[:, 0, :32].real > 0) == (sent[:, 0, :32].real > 0), axis=1)
    used = np.abs(sent[:, 1:]) > 0.5 # the last symbol is not full
    rails = ((x[:, 1:].real > 0) == (sent[:, 1:].real > 0)) & ((x[:, 1:].imag > 0) == (sent[:, 1:].imag > 0))
    payload = np.all(rails | ~used, axis=(1, 2))
    return found & payload & (header | header_list)
