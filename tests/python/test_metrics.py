# SPDX-License-Identifier: GPL-3.0-or-later
"""metrics.py held to closed forms and known values."""
import numpy as np
import pytest
from scipy import stats

from gnuradio.diffusion import metrics


def test_wilson_solves_its_equation_and_holds_its_level():
    for k, n in [(0, 10), (3, 50), (500, 1000), (10, 10)]:
        lo, hi = metrics.wilson(k, n)
        for edge in (lo, hi):  # |k/n - p| = z sqrt(p (1 - p) / n) at both ends
            if 1e-9 < edge < 1 - 1e-9:
                assert abs(k / n - edge) == pytest.approx(metrics.Z95 * np.sqrt(edge * (1 - edge) / n),
                                                          rel=1e-9)
    p, n = 0.1, 200
    k = np.arange(n + 1)
    inside = [metrics.wilson(i, n)[0] <= p <= metrics.wilson(i, n)[1] for i in k]
    assert stats.binom.pmf(k, n, p)[inside].sum() == pytest.approx(0.95, abs=0.02)
    assert metrics.wilson(0, 9)[0] == 0 and metrics.wilson(9, 9)[1] == 1
    # 0.0 exactly, not what rounding leaves of it: some n gave 1e-20.
    assert all(metrics.wilson(0, n)[0] == 0 and metrics.wilson(n, n)[1] == 1 for n in range(1, 20000, 7))
    with pytest.raises(ValueError, match="5 errors in 4"):
        metrics.wilson(5, 4)


def test_bootstrap_agrees_with_the_normal_interval():
    for n in (2000, 40000):
        x = np.random.default_rng(1).normal(3, 2, n)
        lo, hi = metrics.bootstrap(x, resamples=600)
        half = metrics.Z95 * x.std() / np.sqrt(n)
        assert lo == pytest.approx(x.mean() - half, abs=0.2 * half)
        assert hi == pytest.approx(x.mean() + half, abs=0.2 * half)


def test_bpsk_ber_and_gmi_match_theory():
    rng = np.random.default_rng(2)
    n, noise_var = 400000, 0.5
    bits = rng.integers(0, 2, (n, 1))
    y = 2 * bits - 1 + np.sqrt(noise_var / 2) * rng.standard_normal((n, 1))
    llr = 4 * y / noise_var
    ber, lo, hi = metrics.ber(bits, llr)
    assert lo < stats.norm.sf(np.sqrt(2 / noise_var)) < hi and lo < ber < hi
    capacity, c_lo, c_hi = metrics.mutual_information_awgn(np.array([-1, 1]), noise_var, seed=3)
    # Independent: numerical integration of the binary-input capacity.
    s2 = noise_var / 2
    z = np.linspace(-10, 10, 40001)
    exact = 1 - np.trapz(stats.norm.pdf(z) * np.logaddexp(0, -2 * (1 + np.sqrt(s2) * z) / s2) / np.log(2), z)
    assert c_lo < exact < c_hi
    assert metrics.gmi(bits, llr) == pytest.approx(exact, abs=4e-3)
    # The best single scaling makes the GMI blind to a wrong scale, and finds it.
    assert metrics.gmi(bits, 7 * llr) == pytest.approx(metrics.gmi(bits, llr), abs=1e-5)
    assert metrics.gmi_scale(bits, 7 * llr) == pytest.approx(1 / 7, rel=0.03)
    assert metrics.gmi(bits, 7 * llr, scale=1) < exact - 0.02


def test_qam_mutual_information_known_values():
    side = np.array([-3, -1, 1, 3]) / np.sqrt(10)
    points = (side[:, None] + 1j * side).ravel()
    value, lo, hi = metrics.mutual_information_awgn(points, 10 ** -3.0)
    assert value == pytest.approx(4, abs=1e-3)
    value, lo, hi = metrics.mutual_information_awgn(points, 10 ** 0.5)
    assert lo < np.log2(1 + 10 ** -0.5) and hi > 0.99 * np.log2(1 + 10 ** -0.5)


def test_labels_and_powers():
    np.testing.assert_array_equal(metrics.labels(2), [[0, 0], [0, 1], [1, 0], [1, 1]])
    assert metrics.nmse_db([1.1, 1.1], [1, 1]) == pytest.approx(-20, abs=1e-6)
    assert metrics.evm_db([1 + 0.1j], [1]) == pytest.approx(-20, abs=1e-6)
