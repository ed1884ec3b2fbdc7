# SPDX-License-Identifier: GPL-3.0-or-later
"""Pilots through converters of few bits: the linear view of them, and estimators that take it."""

import numpy as np
import pytest
from gnuradio.diffusion import Estimator, diffusion_python as native
from gnuradio.diffusion.evaluate.mimo import LOADING, quantized
from gnuradio.diffusion.train import mimo_channels as channels


def gaussian(rng, n, power=1.0):
    return ((rng.standard_normal(n) + 1j * rng.standard_normal(n)) * np.sqrt(power / 2)).astype(np.complex64)


@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("noise_var", [0.0, 0.5])
def test_gaussian_signals_get_their_scale_back_and_their_distortion_counted(bits, noise_var):
    rng = np.random.default_rng(bits)
    clean = gaussian(rng, (40, 4000), 1)
    before = clean + gaussian(rng, clean.shape, noise_var)
    levels, after, noise = native.few_bit_pilots(
        quantized(before, bits, 1 + noise_var), np.full(40, noise_var, np.float32)
    )
    assert levels == 2**bits
    # Bussgang: the signal is there with gain 1, the rest is uncorrelated with it and as strong as believed.
    gain = np.vdot(before, after) / np.vdot(before, before)
    assert abs(gain - 1) < 5e-3
    np.testing.assert_allclose(np.mean(np.abs(after - clean) ** 2), noise.mean(), rtol=0.02)


def test_one_bit_knows_no_scale_so_the_power_named_rules():
    y = gaussian(np.random.default_rng(4), (2, 4000))
    one_bit = np.sign(y.real) + 1j * np.sign(y.imag)
    small = native.few_bit_pilots(0.01 * one_bit, np.zeros(2, np.float32), 4.0)[1]
    large = native.few_bit_pilots(100 * one_bit, np.zeros(2, np.float32), 4.0)[1]
    np.testing.assert_allclose(small, large, rtol=1e-6)
    assert abs(np.vdot(y, large) / np.vdot(y, y) - 2) < 0.05


@pytest.mark.parametrize(
    "y",
    [
        gaussian(np.random.default_rng(5), (4, 64)),  # no grid
        np.ones((4, 64)),  # zeros are no level of a mid-rise converter
        quantized(gaussian(np.random.default_rng(6), (4, 512)), 3, 1) * np.exp(0.3j),  # turned
    ],
)
def test_other_observations_pass_untouched(y):
    levels, after, noise = native.few_bit_pilots(y, np.full(4, 0.3, np.float32))
    assert levels == 0
    np.testing.assert_array_equal(after, y.astype(np.complex64))
    np.testing.assert_allclose(noise, 0.3)


@pytest.mark.parametrize("bits, gain_db", [(1, 3.0), (2, 3.0), (3, 2.5)])
def test_the_estimator_recognises_the_converter(bits, gain_db):
    """10 dB: some 7 to 9 dB ahead of least squares, which sees the same."""
    rng = np.random.default_rng(7)
    h = channels.plane_waves(rng, 60, (4, 4), (8, 8))
    p = channels.pilots(rng, 64, 0) * np.exp(2j * np.pi * rng.random((64, 1))).astype(np.complex64)
    y = quantized(channels.observe(rng, h, p, 0.1), bits, 1.1)

    def nmse_db(estimator):
        return 10 * np.log10(np.sum(np.abs(estimator(y, p, 0.1)[0] - h) ** 2) / np.sum(np.abs(h) ** 2))

    ours, ls = Estimator("ce-mimo64x16"), Estimator("ce-mimo64x16", "ls")
    assert nmse_db(ours) < nmse_db(ls) - gain_db
    assert ours.adc_levels == 2**bits
    ours(channels.observe(rng, h, p, 0.1), p, 0.1)
    assert ours.adc_levels == 0


def test_loading_is_that_of_the_study():
    """Full scales of 1.2, 1.8 and 2.3 standard deviations a rail."""
    for bits, loading in LOADING.items():
        y = quantized(gaussian(np.random.default_rng(8), 20000, 2.0), bits, 2.0)
        assert np.max(np.abs(y.real)) == pytest.approx(loading * (1 - 2.0**-bits), rel=1e-5)
        assert len(np.unique(y.real)) == 2**bits
