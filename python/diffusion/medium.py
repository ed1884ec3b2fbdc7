# SPDX-License-Identifier: GPL-3.0-or-later
"""The in-process medium: everything between a transmitter's and a receiver's samples, as GNU Radio blocks."""
import numpy as np
import pmt
from gnuradio import analog, blocks, gr

from . import diffusion_python as compiled

# Full scale of the ADC in units of a rail's RMS, as measure.md's reference settings have it.
FULL_SCALE = {1: 1.2, 2: 1.8, 3: 2.3}
FULL_SCALE_ABOVE = 3.0


def power_profile(taps=6, decay=2.0):
    """Mean tap powers exp(-k / decay), of sum 1."""
    p = np.exp(-np.arange(taps) / decay)
    return p / p.sum()


class block_fading(gr.sync_block):
    """Rayleigh multipath that is static over a burst and drawn anew at every length tag.

    taps_of holds (sample number, taps) of every draw. For simulations, not for speed.
    """

    def __init__(self, powers, seed=0, length_tag_key="packet_len"):
        gr.sync_block.__init__(self, "block_fading", [np.complex64], [np.complex64])
        self._channel = compiled.multipath.rayleigh(list(map(float, powers)), 0.0, seed)
        self._key = pmt.intern(length_tag_key)
        self.taps_of = []

    def work(self, input_items, output_items):
        x, y = input_items[0], output_items[0]
        start = self.nitems_read(0)
        tags = self.get_tags_in_window(0, 0, len(x), self._key)
        cuts = sorted(t.offset - start for t in tags) + [len(x)]
        if cuts[0] > 0:
            y[:cuts[0]] = self._channel(x[:cuts[0]])
        for at, to in zip(cuts, cuts[1:]):
            self._channel.redraw()
            self.taps_of.append((start + at, np.array(self._channel.taps)))
            y[at:to] = self._channel(x[at:to])
        return len(x)


def received_power(preset, settings=None, seed=0):
    """Mean power behind the transmitter's impairments of a Gaussian (OFDM-like) signal of unit power."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal(65536) + 1j * rng.standard_normal(65536)).astype(np.complex64) / np.sqrt(2)
    y = compiled.impairments(preset, 1.0, seed, **(settings or {}))(x)
    return float(np.mean(np.abs(y) ** 2))


class medium(gr.hier_block2):
    """Transmitter impairments -> multipath -> noise -> ADC.

    preset: of impairments_cc; settings override it. snr_db: mean received power over noise power, in the
    full sampling bandwidth. adc_bits: per rail, 0 for none; the ADC's full scale follows the mean power, as
    a slow AGC would have it. powers: mean powers of the Rayleigh taps, drawn anew for every burst; (1,)
    without fading if static. The input has unit mean power in its bursts.
    """

    def __init__(self, snr_db=12.0, adc_bits=3, preset="mild", powers=(1.0,), fading=True, seed=0,
                 settings=None,
                 length_tag_key="packet_len"):
        gr.hier_block2.__init__(self, "medium", gr.io_signature(1, 1, gr.sizeof_gr_complex),
                                gr.io_signature(1, 1, gr.sizeof_gr_complex))
        if not 0 <= adc_bits <= 16:
            raise ValueError(f"medium: adc_bits is {adc_bits}, use 1 to 16 per rail, or 0 for no ADC")
        power = received_power(preset, settings, seed) * float(np.sum(powers))
        self.noise_var = power * 10 ** (-snr_db / 10)
        self.impairments = compiled.impairments_cc(preset, 1.0, 4 * seed + 1, **(settings or {}))
        self.fading = block_fading(powers, 4 * seed + 2, length_tag_key) if fading else None
        self.noise = analog.noise_source_c(analog.GR_GAUSSIAN, np.sqrt(self.noise_var), 4 * seed + 3)
        self.add = blocks.add_cc()
        chain = [self, self.impairments] + ([self.fading] if fading else []) + [self.add]
        if adc_bits:
            rail = np.sqrt((power + self.noise_var) / 2)
            self.adc = compiled.quantizer_cc(adc_bits, FULL_SCALE.get(adc_bits, FULL_SCALE_ABOVE) * rail)
            chain.append(self.adc)
        self.connect(*chain, self)
        self.connect(self.noise, (self.add, 1))
