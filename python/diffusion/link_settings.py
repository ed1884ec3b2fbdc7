# SPDX-License-Identifier: GPL-3.0-or-later
"""What the link job sends and through what."""
import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from . import diffusion_python as compiled
from .carousel import PREFIX

MODULATIONS = {"bpsk": 1, "qpsk": 2, "qam16": 4, "qam64": 6, "qam256": 8}
PILOTS = ("full", "half", "quarter")
ALL_PILOTS = "native-full"  # beside fewer pilots: the same packets in frames that have all of them
UNIFORM = "native-uniform"  # beside shaped frames: the same packets on equally likely points
LENGTH_TAG = "packet_len"
CHAINS = {"classical": ("lmmse", "map"), "diffusion": ("diffusion", "diffusion")}


@dataclass(frozen=True)
class ShapedFrame:
    """A shaped frame, and the code with which uniform points need as many symbols for its payload."""
    snr_db: float      # that shaped_mode() took
    fec: str
    index: int
    symbols: int
    payload: int       # bytes
    uniform_fec: str   # "" if there is none


@lru_cache(64)
def shaped_frame(bits, snr_db):
    """The best mode for that SNR or a little less at whose net rate there is an unshaped code too: so that
    the two can be compared at the same rate, power and length. Uniform frames leave information bits of their
    code away (shortened)."""
    best = None
    for at in snr_db - np.concatenate([np.arange(20) / 10, np.arange(2, 12, 0.2)]):
        fec, index, _ = compiled.shaped_mode(bits, float(at), 0.0)
        code = compiled.shaped_code(bits, fec, index)
        best = best or ShapedFrame(float(at), fec, index, code.symbols, code.bits // 8, "")
        for rate in compiled.ldpc_code.rates():
            plain = compiled.ldpc_code(rate)
            payload = (bits * code.symbols - (plain.n - plain.k)) // 8
            if code.bits * 0.985 <= 8 * payload <= code.bits and 8 * payload <= plain.k:
                return ShapedFrame(float(at), fec, index, code.symbols, payload, f"dvbs2-{rate}")
    return best


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
    # amplitude-shaped payloads for snr_db less backoff_db; payload is then one code word
    shaping: bool = False
    backoff_db: float = 5.0   # for fading: carriers and frames differ, the code's word is short

    def mode(self):
        """(fec, composition index or -1, bits a symbol) of the native frames."""
        if not self.shaping:
            return self.fec, -1, None
        found = shaped_frame(MODULATIONS[self.modulation], round(self.snr_db - self.backoff_db, 1))
        return found.fec, found.index, 8 * found.payload / found.symbols

    def mode_snr_db(self):
        """The SNR for which shaped_mode() has mode()."""
        return shaped_frame(MODULATIONS[self.modulation], round(self.snr_db - self.backoff_db, 1)).snr_db

    def shaped(self):
        """These settings with the mode's code, and the payload that fills one code word."""
        if not self.shaping:
            return self
        found = shaped_frame(MODULATIONS[self.modulation], round(self.snr_db - self.backoff_db, 1))
        return dataclasses.replace(self, fec=found.fec, payload=found.payload)

    def uniform(self):
        """Shaped settings -> those of the same packets, unshaped, in frames of as many symbols; None if no
        code makes such."""
        found = shaped_frame(MODULATIONS[self.modulation], round(self.snr_db - self.backoff_db, 1))
        return dataclasses.replace(self, shaping=False, fec=found.uniform_fec) if found.uniform_fec else None

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
            raise ValueError(f"shaping needs amplitudes: modulation is '{self.modulation}', use qam16, qam64 "
                             "or qam256")
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
