# SPDX-License-Identifier: GPL-3.0-or-later
"""Pilots of converters of few bits: rounds of expectation propagation with any pilot estimator."""
import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion.evaluate.mimo import quantized
from gnuradio.diffusion.train import mimo_channels as channels
from scipy import integrate, stats

CLIP = {1: 1.2, 2: 1.8, 3: 2.3}


@pytest.mark.parametrize("mean, var, low, high", [(0.3, 1.0, -0.5, 0.7), (1.0, 0.2, 2.0, np.inf),
                                                  (-0.4, 2.0, -np.inf, -1.0),
                                                  (0.0, 0.1, 1.5, 2.0), (0.0, 1.0, -np.inf, np.inf)])
def test_cut_gaussian_is_what_integration_gives(mean, var, low, high):
    law = stats.norm(mean, np.sqrt(var))
    a, b = max(low, mean - 12 * np.sqrt(var)), min(high, mean + 12 * np.sqrt(var))
    weight = integrate.quad(law.pdf, a, b)[0]
    first = integrate.quad(lambda x: x * law.pdf(x), a, b)[0] / weight
    second = integrate.quad(lambda x: (x - first) ** 2 * law.pdf(x), a, b)[0] / weight
    found = diffusion.cut_gaussian(mean, var, low, high)
    assert found[0] == pytest.approx(first, rel=1e-5, abs=1e-7)
    assert found[1] == pytest.approx(second, rel=1e-3)


def test_cut_gaussian_far_away_stays_finite():
    for low, high in ((60.0, np.inf), (-np.inf, -80.0), (50.0, 51.0)):
        mean, var = diffusion.cut_gaussian(0.0, 1.0, low, high)
        assert np.isfinite(mean) and 0 < var < 1 and low - 1 <= mean <= high + 1


def quantised(bits, snr_db, n=150, seed=2):
    """Sparse channels (three paths), all carriers seen through a converter."""
    rng = np.random.default_rng([seed, bits, int(snr_db)])
    k = np.arange(64) - 32
    delay = rng.uniform(0, 12, (n, 3))
    gain = (rng.standard_normal((n, 3)) + 1j * rng.standard_normal((n, 3))) * [1, 0.6, 0.3]
    h = np.einsum("np,npk->nk", gain, np.exp(-2j * np.pi * delay[:, :, None] * k / 64))
    h /= np.sqrt(np.mean(np.abs(h) ** 2, axis=1, keepdims=True))
    noise_var = 10 ** (-snr_db / 10)
    y = h + (rng.standard_normal(h.shape) + 1j * rng.standard_normal(h.shape)) * np.sqrt(noise_var / 2)
    full = CLIP[bits] * np.sqrt((1 + noise_var) / 2)
    q = diffusion.quantizer(bits, full)(y.astype(np.complex64).ravel()).reshape(y.shape)
    return h, q, noise_var


def nmse_db(a, h):
    return 10 * np.log10(np.sum(np.abs(a - h) ** 2) / np.sum(np.abs(h) ** 2))


@pytest.mark.parametrize("bits, gain_db", [(1, 0.5), (2, 1.0), (3, 0.2)])
def test_rounds_beat_the_linear_view(bits, gain_db):
    h, y, noise_var = quantised(bits, 10)
    est = diffusion.Estimator("ce-ofdm64")
    error = {}
    for rounds in (0, 5):
        est.few_bit_rounds = rounds
        found, err_var = est(y, np.arange(64), noise_var)
        error[rounds] = nmse_db(found, h)
        assert np.isfinite(err_var).all() and est.adc_levels == 2 ** bits
    assert error[5] < error[0] - gain_db


@pytest.mark.parametrize("bits, gain_db", [(1, 0.4), (2, 0.4), (3, 0.4)])
def test_mimo_rounds_beat_the_linear_view(bits, gain_db):
    """20 dB, so that the converter and not the noise decides; the scale of the pilots is free."""
    rng = np.random.default_rng(bits)
    h = channels.plane_waves(rng, 12, (4, 4), (8, 8))
    p = channels.pilots(rng, 64, 0) * np.exp(2j * np.pi * rng.random((64, 1))).astype(np.complex64)
    y = quantized(channels.observe(rng, h, p, 0.01), bits, 1.01)
    est = diffusion.Estimator("ce-mimo64x16")
    error = {}
    for rounds in (0, 5):
        est.few_bit_rounds = rounds
        found, err_var = est(y, p, 0.01)
        error[rounds] = nmse_db(found, h)
        assert (err_var > 0).all() and est.adc_levels == 2**bits
    assert error[5] < error[0] - gain_db
    np.testing.assert_allclose(est(7 * y, 7 * p, 0.49)[0], found, atol=2e-3 * np.abs(h).max())


def test_classical_estimators_take_part_and_nothing_happens_without_a_converter():
    h, y, noise_var = quantised(2, 10)
    e = diffusion.pilot_estimator("sbl", 64)
    view = [nmse_db(diffusion.few_bit_estimate(e, y[:40], np.full(40, noise_var), 1.0, r)[0], h[:40])
            for r in (0, 5)]
    assert view[1] < view[0] - 0.5
    plain = (h + 0.1).astype(np.complex64)
    found, err_var, levels = diffusion.few_bit_estimate(e, plain, np.full(len(plain), 0.01), 1.0, 5)
    expected, expected_var = e(plain, 0.01)
    assert levels == 0
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(err_var, expected_var)


def test_hopeless_noise_and_bad_arguments():
    _, y, _ = quantised(1, 0, 4)
    est = diffusion.Estimator("ce-ofdm64")
    for noise_var in (0.0, 1e6):
        h, err_var = est(y, np.arange(64), noise_var)
        assert np.isfinite(h).all() and np.isfinite(err_var).all()
    e = diffusion.pilot_estimator("ls", 64)
    with pytest.raises(ValueError, match="rounds is 99"):
        diffusion.few_bit_estimate(e, y, np.ones(4), 1.0, 99)
    with pytest.raises(ValueError, match="frames, pilots"):
        diffusion.few_bit_estimate(e, y[:, :7], np.ones(4), 1.0, 5)
