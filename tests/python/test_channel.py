# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise and multipath of dsp/channel.h, held to closed form."""
import numpy as np
import pytest
from gnuradio import diffusion
from scipy.special import j0


@pytest.mark.parametrize("law, kurtosis", [("gaussian", 3), ("laplacian", 6)])
def test_noise_power_and_law(law, kurtosis):
    n, power = 400000, 0.3
    z = diffusion.awgn(power, law, 3)(np.zeros(n, np.complex64)).astype(complex)
    assert abs(np.mean(np.abs(z) ** 2) / power - 1) < 4 * np.sqrt((kurtosis - 1) / (2 * n))
    for rail in (z.real, z.imag):
        fourth = np.mean(rail ** 4) / np.mean(rail ** 2) ** 2
        assert fourth == pytest.approx(kurtosis, rel=0.05)
    assert abs(np.mean(z.real * z.imag)) < 4 * power / 2 / np.sqrt(n)
    again = diffusion.awgn(power, law, 3)(np.zeros(50, np.complex64))
    np.testing.assert_array_equal(again, z[:50].astype(np.complex64))


def test_no_noise_is_the_identity():
    x = np.arange(5).astype(np.complex64)
    np.testing.assert_array_equal(diffusion.awgn(0.0)(x), x)


@pytest.mark.parametrize("args", [(-1.0,), (float("nan"),), (1.0, "cauchy")])
def test_bad_noise_is_named(args):
    with pytest.raises(ValueError, match="awgn"):
        diffusion.awgn(*args)


def test_static_taps_are_a_convolution_whatever_the_cut():
    rng = np.random.default_rng(1)
    x = (rng.standard_normal(5000) + 1j * rng.standard_normal(5000)).astype(np.complex64)
    taps = (rng.standard_normal(9) + 1j * rng.standard_normal(9)).astype(np.complex64)
    expected = np.convolve(x, taps)[:x.size]
    channel = diffusion.multipath(taps)
    np.testing.assert_allclose(channel(x), expected, atol=2e-5)
    channel.reset()
    np.testing.assert_allclose(np.concatenate([channel(p) for p in np.array_split(x, 41)]), expected,
                               atol=2e-5)


def test_new_taps_keep_past_samples():
    channel = diffusion.multipath([1, 2, 3])
    channel(np.array([1, 2, 3], np.complex64))
    channel.set_taps([0, 1, 0, 0])
    np.testing.assert_array_equal(channel(np.array([4, 5], np.complex64)), [3, 4])


def test_rayleigh_taps_follow_the_profile():
    powers = np.exp(-np.arange(6) / 2)
    powers /= powers.sum()
    draws = []
    channel = diffusion.multipath.rayleigh(powers, 0.0, 11)
    for _ in range(4000):
        draws.append(channel.taps)
        channel.redraw()
    mean = np.mean(np.abs(draws) ** 2, axis=0)
    np.testing.assert_allclose(mean, powers, rtol=4 / np.sqrt(4000))  # |h|^2 is exponential
    x = np.ones(20, np.complex64)
    assert channel(x)[-1] == pytest.approx(np.sum(channel.taps), abs=1e-5)


def test_doppler_gives_clarkes_autocorrelation():
    fd, n, lags = 0.002, 600, np.array([0, 50, 150, 191, 300])
    correlation, x = np.zeros(lags.size, complex), np.ones(n, np.complex64)
    trials = 1500
    for seed in range(trials):
        h = diffusion.multipath.rayleigh([1.0], fd, seed)(x)
        correlation += h[lags] * np.conj(h[0]) / trials
    np.testing.assert_allclose(correlation, j0(2 * np.pi * fd * lags), atol=4 / np.sqrt(trials))


def test_fading_does_not_depend_on_the_cut():
    x = np.ones(4000, np.complex64)
    whole = diffusion.multipath.rayleigh([0.7, 0.3], 1e-3, 2)(x)
    channel = diffusion.multipath.rayleigh([0.7, 0.3], 1e-3, 2)
    np.testing.assert_array_equal(np.concatenate([channel(p) for p in np.array_split(x, 77)]), whole)
    assert np.abs(np.diff(whole[10:])).max() < 0.1  # no jumps


@pytest.mark.parametrize("make", [lambda: diffusion.multipath([]),
                                  lambda: diffusion.multipath([float("nan")]),
                                  lambda: diffusion.multipath.rayleigh([1.0], 0.5),
                                  lambda: diffusion.multipath.rayleigh([-1.0]),
                                  lambda: diffusion.multipath(np.ones(5000))])
def test_bad_channels_are_named(make):
    with pytest.raises(ValueError, match="multipath"):
        make()
