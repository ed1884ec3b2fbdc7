# SPDX-License-Identifier: GPL-3.0-or-later
"""Paired trials of the native waveform: the same frames, fading, Doppler and (scaled) noise at every SNR,
many receivers.

No flowgraph: the modulator and the receiver of the blocks, numpy in and out. Channels: ``rayleigh`` (6 taps,
powers exp(-k/2), drawn for every frame) and the ray-traced cities that nothing was trained on. With Doppler
every tap is a sum of 32 waves whose angles of arrival are uniform (Clarke's model), new for every frame.
"""
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FFT = 64
GAP = 250
RAYLEIGH = np.exp(-np.arange(6) / 2) / np.exp(-np.arange(6) / 2).sum()
#: ADC full scale in units of a rail's RMS (signal and noise), by bits
CLIP = {1: 1.2, 2: 1.8, 3: 2.3}
CITIES = Path(__file__).with_name("cities")
LEAD = 4     # a city's band-limited taps begin this many samples before its first path


@dataclass(frozen=True)
class Setting:
    scene: str = "rayleigh"      # or a file cities/siso_SCENE.npz
    bits: int = 0                # of the ADC, per rail; 0: float
    modulation: int = 2          # bits a symbol
    doppler: float = 0.0         # largest, in subcarrier spacings
    pilots: str = "full"
    cp_len: int = 16
    fec: str = "ldpc-1/2"
    payload: int = 112           # bytes: one LDPC word

    @property
    def name(self):
        adc = f"{self.bits} bit" if self.bits else "float"
        kind = {1: "BPSK", 2: "QPSK", 4: "16-QAM", 6: "64-QAM", 8: "256-QAM"}[self.modulation]
        moving = f", Doppler {100 * self.doppler:g}%" if self.doppler else ""
        return f"{self.scene}, {kind}, {adc}{moving}"


def draw_taps(scene, count, rng):
    """(count, taps): complex taps, mean power 1; and how many samples before the first path they begin."""
    if scene == "rayleigh":
        g = rng.standard_normal((count, 6)) + 1j * rng.standard_normal((count, 6))
        return g * np.sqrt(RAYLEIGH / 2), 0
    with np.load(CITIES / f"siso_{scene}.npz") as f:
        h = f["h"].astype(np.float64)
    pick = rng.permutation(len(h))
    h = h[np.resize(pick, count)]
    g = np.fft.ifft(np.fft.ifftshift(h[..., 0] + 1j * h[..., 1], axes=1), axis=1)
    g = np.roll(g, LEAD, axis=1)
    return g / np.sqrt(np.sum(np.abs(g) ** 2, axis=1, keepdims=True)), LEAD


def gains(count, taps, doppler, samples, rng, waves=32):
    """(count, taps, samples): unit-power fading of each tap by Clarke's model."""
    angle = rng.uniform(0, 2 * np.pi, (count, taps, waves))
    phase = rng.uniform(0, 2 * np.pi, (count, taps, waves))
    coarse = np.arange(0, samples + 16, 16)          # smooth: a sixteenth of the samples says it all
    out = np.empty((count, taps, samples), np.complex64)
    turn = 2 * np.pi * doppler / FFT * np.cos(angle)
    for i in range(count):
        grid = np.exp(1j * (turn[i, :, :, None] * coarse + phase[i, :, :, None])).sum(1) / np.sqrt(waves)
        for t in range(taps):
            x = np.arange(samples)
            out[i, t] = np.interp(x, coarse, grid[t].real) + 1j * np.interp(x, coarse, grid[t].imag)
    return out


class Trials:
    """Frames through a channel; ``taps_of[i]``: (taps,) or with Doppler (taps, samples of the frame)."""

    def __init__(self, count, setting, seed):
        from gnuradio import diffusion
        self.setting, self.seed, self.count = setting, seed, count
        s = setting
        rng = np.random.default_rng([seed, 1])
        tx = diffusion.native_modulator(cp_len=s.cp_len)
        tx.bits_per_symbol, tx.fec = s.modulation, s.fec
        if s.pilots != "full":
            tx.pilots = s.pilots
        self.payloads = [rng.bytes(s.payload) for _ in range(count)]
        sent = np.stack([tx(p) for p in self.payloads])
        self.frame_len, self.symbol, self.sent = sent.shape[1], FFT + s.cp_len, sent
        # Draws that depend on the pilots' number would unpair settings: a stream of their own each.
        taps, self.lead = draw_taps(s.scene, count, np.random.default_rng([seed, 2]))
        if s.doppler:
            keep = np.flatnonzero(np.mean(np.abs(taps) ** 2, 0) > 1e-5)
            fading = gains(count, len(keep), s.doppler, self.frame_len, np.random.default_rng([seed, 3]))
        gaps = np.random.default_rng([seed, 4]).integers(GAP, GAP + 100, count)
        self.starts = 400 + np.cumsum(gaps) + np.arange(count) * self.frame_len
        self.total = int(self.starts[-1] + self.frame_len + 4000)
        self.taps_of = []
        stream = np.zeros(self.total, np.complex64)
        for i, at in enumerate(self.starts):
            if s.doppler:
                g = np.zeros((taps.shape[1], self.frame_len), np.complex64)
                g[keep] = taps[i, keep, None] * fading[i]
                for t in keep:
                    stream[at + t:at + t + self.frame_len] += g[t] * sent[i]
                self.taps_of.append(g)
            else:
                y = np.convolve(sent[i], taps[i])
                stream[at:at + len(y)] += y.astype(np.complex64)
                self.taps_of.append(taps[i])
        self.clean = stream

    def receive(self, snr_db):
        """The stream at this SNR: mean received power of the frames (1) over noise, in the full sampling
        bandwidth."""
        from gnuradio import diffusion
        rng = np.random.default_rng([self.seed, 5])
        variance = 10 ** (-snr_db / 10)
        noise = rng.standard_normal((self.total, 2), np.float32) * np.float32(np.sqrt(variance / 2))
        y = self.clean + noise.view(np.complex64)[:, 0]
        bits = self.setting.bits
        if bits:
            y = diffusion.quantizer(bits, CLIP.get(bits, 3.0) * np.sqrt((1 + variance) / 2))(y)
        return y.astype(np.complex64)

    def true_channel(self, i, offset, symbol):
        """Of frame i at all carriers, for a DFT window a quarter prefix early; mid of that symbol with
        Doppler."""
        g = self.taps_of[i]
        if g.ndim == 2:
            cp = self.setting.cp_len
            g = g[:, min(int(symbol * (FFT + cp) + cp + FFT // 2), self.frame_len - 1)]
        k = np.arange(-FFT // 2, FFT // 2)
        late = int(offset) - int(self.starts[i])
        delay = np.arange(len(g)) + self.setting.cp_len // 4 - late
        return np.exp(-2j * np.pi * np.outer(k, delay) / FFT) @ g

    def run(self, y, estimator, demapper="map", **options):
        """One receiver on the stream y: what arrived (count,), squared error and power of the estimates,
        seconds."""
        from gnuradio import diffusion
        rx = diffusion.native_receiver(cp_len=self.setting.cp_len)
        rx.set_estimator(estimator)
        rx.set_demapper(demapper)
        for name, value in options.items():
            setattr(rx, name, value)
        start = time.process_time()
        frames = rx(y, True)
        seconds = time.process_time() - start
        ok = np.zeros(self.count, bool)
        error = np.full((self.count, 2), np.nan)
        used = np.array(diffusion.native_modulator(cp_len=self.setting.cp_len).used_carriers) + FFT // 2
        for f in frames:
            i = f.header.number if f.header_ok else -1
            if not 0 <= i < self.count or abs(int(f.sync.offset) - int(self.starts[i]) - self.lead) > 64:
                continue
            ok[i] = f.payload_ok and f.payload == self.payloads[i]
            error[i] = self.error_of(f, i, used)
        return ok, error, seconds / self.count

    def error_of(self, f, i, used):
        """|error|^2 and |h|^2 over carriers, up to one gain; over carriers and symbols where the channel
        moves."""
        if self.taps_of[i].ndim == 1:
            h, mine = self.true_channel(i, f.sync.offset, 0)[used], np.asarray(f.channel)[used]
            gain = np.vdot(h, mine) / np.vdot(h, h)
            return np.sum(np.abs(mine / gain - h) ** 2), np.sum(np.abs(h) ** 2)
        symbols = self.frame_len // self.symbol
        mine = np.asarray(f.channels if len(f.channels) else [f.channel] * symbols)[:, used]
        h = np.stack([self.true_channel(i, f.sync.offset, s)[used] for s in range(len(mine))])
        # The receiver took the synchroniser's CFO for the carrier's: it is part of what it sees of the
        # channel.
        at = np.arange(len(mine)) * self.symbol + self.setting.cp_len + FFT // 2
        h = h * np.exp(-2j * np.pi * f.sync.cfo / FFT * at)[:, None]
        return np.sum(np.abs(mine - h) ** 2), np.sum(np.abs(h) ** 2)

    # ---- what knows the law of the channel ----------------------------------------------------------

    def known(self):
        """(symbols, carriers) sent in frame 0's places: mask of what a receiver knows once the header is
        read."""
        from gnuradio import diffusion
        tx = diffusion.native_modulator(cp_len=self.setting.cp_len)
        s = self.setting
        header = diffusion.native_header(s.payload, s.modulation, s.fec, -1, s.pilots)
        front = tx.front_len // self.symbol
        mask = np.zeros((self.frame_len // self.symbol, FFT), bool)
        used = np.array(tx.used_carriers) + FFT // 2
        mask[1:front, used] = True
        mask[0, used[used % 2 == 0]] = True
        for i in range(front, len(mask)):
            mask[i, np.array(tx.pilots_of(header, i - 2)) + FFT // 2] = True
        return mask, used

    def grid(self, x, at, early):
        """DFTs of the symbols of the frame that starts at sample at, shifted carriers, in units of H x."""
        n = self.frame_len // self.symbol
        index = at + np.arange(n)[:, None] * self.symbol + self.setting.cp_len - early + np.arange(FFT)
        return np.fft.fftshift(np.fft.fft(x[index], axis=1), axes=1) / FFT * np.sqrt(52)

    def wiener(self, y, snr_db, frames):
        """[(|error|^2, |h|^2)] of the Wiener filter over carriers and time that knows timing, mean delay
        profile, Doppler and noise (that of the motion between the carriers too): the linear bound, from the
        same known symbols."""
        from scipy.special import j0
        s, early = self.setting, self.setting.cp_len // 4
        mask, used = self.known()
        where = np.argwhere(mask)
        k, t = where[:, 1] - FFT // 2, where[:, 0]
        power = np.mean(np.abs([g.reshape(len(g), -1)[:, 0] for g in self.taps_of]) ** 2,
                        0) if s.scene != "rayleigh" \
            else RAYLEIGH
        delay = np.arange(len(power)) + early
        per_symbol = 2 * np.pi * s.doppler * self.symbol / FFT

        def covariance(ka, ta, kb, tb):
            lag = ka[:, None] - kb
            unique, back = np.unique(lag, return_inverse=True)
            over = (np.exp(-2j * np.pi * np.outer(unique, delay) / FFT) @ power)[back].reshape(lag.shape)
            return over * j0(per_symbol * (ta[:, None] - tb))

        ici = 1 - np.mean(j0(2 * np.pi * s.doppler *
                             np.abs(np.subtract.outer(np.arange(FFT), np.arange(FFT))) / FFT))
        noise = 10 ** (-snr_db / 10) * 52 / FFT + ici
        out = []
        ka, ta = np.meshgrid(used - FFT // 2, np.arange(len(mask)))
        own = covariance(k, t, k, t)
        cross = covariance(ka.ravel(), ta.ravel(), k, t)
        filters = {}
        for i in frames:
            x = self.grid(np.pad(self.sent[i], (0, FFT)), 0, 0)[mask]
            levels = np.round(np.abs(x) ** 2, 3)
            key = levels.tobytes()
            if key not in filters:
                filters[key] = np.linalg.solve(own + np.diag(noise / np.abs(x) ** 2), cross.conj().T).conj().T
            ls = self.grid(y, int(self.starts[i]), early)[mask] / x
            h = np.stack([self.true_channel(i, self.starts[i], q)[used] for q in range(len(mask))])
            found = (filters[key] @ ls).reshape(h.shape)
            out.append((np.sum(np.abs(found - h) ** 2), np.sum(np.abs(h) ** 2)))
        return np.array(out)
