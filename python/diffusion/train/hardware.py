# SPDX-License-Identifier: GPL-3.0-or-later
"""Memoryless links over imperfect radios: the reference settings S1 and S2, and random ones around them.

The chain, in order: IQ imbalance, DC, PA, renormalised constellation, i.i.d. phase noise, residual EVM
(diffusion.impairments), noise of variance 1/SNR (diffusion.awgn), ADC (diffusion.quantizer).
"""
from dataclasses import dataclass, field

import numpy as np
from gnuradio import diffusion


def adc_loading(bits):
    """Full scale of a b-bit converter over the rail's RMS."""
    return {1: 1.2, 2: 1.8, 3: 2.3}.get(bits, 3.0)


@dataclass(frozen=True)
class Hardware:
    """One radio pair. settings: keyword arguments of diffusion.impairments; bits: of the ADC, 0 for none;
    loading: full scale over the reference one."""
    settings: dict = field(default_factory=dict)
    bits: int = 0
    loading: float = 1.0
    law: str = "gaussian"

    @property
    def distortion(self):
        """Variance of the residual EVM, E|x|^2 = 1."""
        kt, kr = self.settings.get("kappa_tx", 0.0), self.settings.get("kappa_rx", 0.0)
        return kt ** 2 + kr ** 2 * (1 + kt ** 2)

    @property
    def phase_std(self):
        """Standard deviation of the phase noise, rad."""
        return np.deg2rad(self.settings.get("phase_noise_deg", 0.0))

    def noise_var(self, snr_db):
        """E|n|^2 including the residual EVM: what a receiver is told as known noise variance."""
        return 10 ** (-snr_db / 10) + self.distortion

    def _radio(self, points, seed=0):
        radio = diffusion.impairments("off", 1.0, seed, **self.settings)
        radio.renormalise(points)
        return radio

    def means(self, points):
        """The warped constellation, unit mean power."""
        return np.asarray(self._radio(points).warp(points)).astype(np.complex128)

    def full_scale(self, snr_db):
        """Of the ADC at this SNR: an AGC sets it by the rail's RMS."""
        return self.loading * adc_loading(self.bits) * np.sqrt((1 + self.noise_var(snr_db)) / 2)

    def transmit(self, points, index, snr_db, seed, full_scale=None):
        """complex64 (n,): what is received when points[index] are sent."""
        rng = np.random.default_rng(seed)
        seeds = [int(s) for s in rng.integers(0, 2 ** 62, 2)]
        y = self._radio(points, seeds[0])(points[index])
        y = diffusion.awgn(10 ** (-snr_db / 10), self.law, seeds[1])(y)
        if self.bits:
            y = diffusion.quantizer(self.bits, full_scale or self.full_scale(snr_db))(y)
        return y


S1 = Hardware(dict(kappa_tx=0.1, kappa_rx=0.1), bits=4)
S2 = Hardware(dict(kappa_tx=0.05, kappa_rx=0.05, pa="rapp", backoff_db=3.0, smoothness=2.0, am_pm=0.25,
                   iq_gain_db=1.0, iq_phase_deg=5.0, dc=0.05, phase_noise_deg=4.0), bits=5)
REFERENCE = {"S1": S1, "S2": S2}


def draw(rng, warp=1.0, least_bits=1):
    """A random radio pair around and beyond the reference settings; warp scales what bends the constellation;
    its ADC, if it has one, has least_bits to 8 bits."""
    some = lambda p, value: value if rng.random() < p else 0.0
    settings = dict(kappa_tx=some(0.7, rng.uniform(0, 0.13)), kappa_rx=some(0.7, rng.uniform(0, 0.13)),
                    iq_gain_db=some(0.7, warp * rng.uniform(-1.5, 1.5)),
                    iq_phase_deg=some(0.7, warp * rng.uniform(-8, 8)),
                    dc=some(0.6, warp * rng.uniform(0, 0.1)),
                    phase_noise_deg=some(0.6, rng.uniform(0, 7)))
    if rng.random() < 0.6:
        settings.update(pa="rapp", backoff_db=rng.uniform(1, 10) + 12 * (1 - warp),
                        smoothness=rng.uniform(1.5, 4),
                        am_pm=rng.uniform(0, 0.45))
    bits = int(rng.integers(least_bits, 9)) if rng.random() < 0.65 else 0
    return Hardware(settings, bits, loading=rng.uniform(0.85, 1.2))
