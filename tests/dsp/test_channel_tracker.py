# SPDX-License-Identifier: GPL-3.0-or-later
"""The Wiener filter over delay and time, against the same in plain numpy with full covariances."""
import numpy as np
import pytest
from gnuradio import diffusion
from scipy.special import j0

N, TAPS = 64, 20


def frame(seed, symbols, doppler, noise_var, density=0.2):
    """Known symbols x, y = x h + n, and h of a channel with exponential profile and Clarke's fading."""
    rng = np.random.default_rng(seed)
    profile = np.exp(-np.arange(TAPS) / 2.0)
    profile /= profile.sum()
    covariance = j0(2 * np.pi * doppler * np.subtract.outer(np.arange(symbols), np.arange(symbols)))
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(symbols))
    g = root @ ((rng.standard_normal((symbols, TAPS)) + 1j * rng.standard_normal((symbols, TAPS))) /
                np.sqrt(2))
    f = np.exp(-2j * np.pi * np.outer(np.arange(N) - N // 2, np.arange(TAPS)) / N)
    h = (g * np.sqrt(profile)) @ f.T
    x = rng.choice([-1.0, 1.0], (symbols, N)) * (rng.uniform(size=(symbols, N)) < density)
    x[0] = rng.choice([-1.0, 1.0], N)
    noise = (rng.standard_normal(h.shape) + 1j * rng.standard_normal(h.shape)) * np.sqrt(noise_var / 2)
    return profile, x.astype(np.complex64), (x * h + noise).astype(np.complex64), h


def reference(profile, x, y, noise_var, doppler):
    """E[h | y] and its variance with the covariance over all known carriers."""
    s, k = np.nonzero(x)
    carrier = np.arange(N) - N // 2

    def covariance(sa, ka, sb, kb):
        over = np.exp(-2j * np.pi * np.multiply.outer(np.subtract.outer(ka, kb), np.arange(TAPS)) /
                      N) @ profile
        return over * j0(2 * np.pi * doppler * np.subtract.outer(sa, sb))

    own = covariance(s, carrier[k], s, carrier[k]) + noise_var * np.eye(len(s))
    sa, ka = np.meshgrid(np.arange(len(x)), carrier, indexing="ij")
    cross = covariance(sa.ravel(), ka.ravel(), s, carrier[k])
    gain = np.linalg.solve(own, cross.conj().T).conj().T
    variance = profile.sum() - np.real(np.sum(gain * cross.conj(), axis=1))
    return (gain @ (y[s, k] / x[s, k])).reshape(x.shape), variance.reshape(x.shape)


@pytest.mark.parametrize("doppler", [0.0, 0.01, 0.0625])
def test_equals_the_filter_with_full_covariances(doppler):
    profile, x, y, h = frame(1, 16, doppler, 0.05)
    found, variance, _ = diffusion.channel_tracker(N, TAPS)(x, y, 0.05, profile, doppler)
    expected, expected_variance = reference(profile, x, y, 0.05, doppler)
    # What is left out: eigenvectors and taps that the noise buries.
    assert np.sum(np.abs(found - expected) ** 2) < 0.02 * np.sum(np.abs(expected - h) ** 2)
    np.testing.assert_allclose(variance, expected_variance, rtol=0.1, atol=5e-4)
    # E|error|^2 as believed: 1024 values of a few dozen independent errors
    assert np.mean(np.abs(found - h) ** 2) == pytest.approx(variance.mean(), rel=0.5)


def test_the_true_motion_is_the_likeliest():
    """Summed over frames, so that chance has no say."""
    tracker = diffusion.channel_tracker(N, TAPS)
    shifts = (0.0, 0.0125, 0.04, 0.1)
    for true in shifts:
        total = np.zeros(len(shifts))
        for seed in range(12):
            profile, x, y, _ = frame(seed, 20, true, 0.1)
            total += [tracker(x, y, 0.1, profile, d)[2] for d in shifts]
        assert shifts[int(np.argmax(total))] == true


def test_a_turning_channel_is_found_by_its_ramp():
    profile, x, y, h = frame(5, 16, 0.01, 0.05)
    turn = np.exp(2j * np.pi * 0.05 * np.arange(16))[:, None]
    tracker = diffusion.channel_tracker(N, TAPS)
    found, _, likelihood = tracker(x, y * turn, 0.05, profile, 0.01, 0.05)
    still, _, unlikely = tracker(x, y * turn, 0.05, profile, 0.01, 0.0)
    assert likelihood > unlikely + 10
    assert np.sum(np.abs(found - h * turn) ** 2) < 0.2 * np.sum(np.abs(still - h * turn) ** 2)


def test_long_frames_are_followed_to_their_end():
    """Beyond one window of 32 symbols: no seam is worse than the middle of a window."""
    error = np.zeros(100)
    for seed in range(6):
        profile, x, y, h = frame(seed, 100, 0.04, 0.05)
        found, variance, _ = diffusion.channel_tracker(N, TAPS)(x, y, 0.05, profile, 0.04)
        error += np.mean(np.abs(found - h) ** 2, axis=1) / 6
    assert np.all(np.isfinite(variance)) and error[4:96].max() < 5 * np.median(error)


def test_bad_arguments_are_named():
    tracker = diffusion.channel_tracker(N, TAPS)
    one = np.ones((2, N), np.complex64)
    with pytest.raises(ValueError, match="noise_var is 0"):
        tracker(one, one, 0.0, [1.0] * TAPS, 0.0)
    with pytest.raises(ValueError, match="symbols, carriers"):
        tracker(one, one[:1], 0.1, [1.0] * TAPS, 0.0)
    with pytest.raises(ValueError, match="taps is 0"):
        diffusion.channel_tracker(N, 0)
