# SPDX-License-Identifier: GPL-3.0-or-later
"""Constellations, the ADC grid and the fitted law of a link, against numpy and closed forms."""
import numpy as np
import pytest
from gnuradio import diffusion, digital

from gnuradio.diffusion import metrics

NAMES = diffusion.constellation_names()


def cn(rng, n, variance):
    return np.sqrt(variance / 2) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))


def link(name, n, seed=1, noise=0.01, multiplicative=0.0, phase=0.0, warp=True):
    """(points, means, index, y): a widely-linear, compressing link with three kinds of noise."""
    rng = np.random.default_rng(seed)
    points = diffusion.constellation(name)
    v = points + 0.06 * points.conj() * np.exp(0.7j) + 0.03 - 0.02j if warp else points
    means = v * (1 - (0.08 - 0.05j) * abs(v) ** 2) if warp else points
    index = rng.integers(0, points.size, n)
    mu = means[index]
    y = mu * np.exp(1j * phase * rng.standard_normal(n)) + cn(rng, n, noise + multiplicative * abs(mu) ** 2)
    return points, means, index, y.astype(np.complex64)


@pytest.mark.parametrize("name", NAMES)
def test_constellations_are_gray_and_of_unit_power(name):
    points = diffusion.constellation(name)
    assert np.mean(abs(points) ** 2) == pytest.approx(1, abs=1e-6)
    assert len(set(points.round(5))) == points.size
    distance = abs(points[:, None] - points) + 9 * np.eye(points.size)
    i, j = np.nonzero(distance < distance.min() * 1.001)
    assert all(bin(a ^ b).count("1") == 1 for a, b in zip(i, j))


@pytest.mark.parametrize("name, stock",
                         [("bpsk", digital.constellation_bpsk()), ("qpsk", digital.constellation_qpsk()),
                          ("qam16", digital.qam_constellation(16, False, digital.mod_codes.GRAY_CODE)),
                          ("qam64", digital.qam_constellation(64, False, digital.mod_codes.GRAY_CODE))])
def test_labels_are_gnuradios(name, stock):
    theirs = np.array(stock.points())
    np.testing.assert_allclose(diffusion.constellation(name), theirs / np.sqrt(np.mean(abs(theirs) ** 2)),
                               atol=1e-6)


def test_grid_is_found_and_only_where_there_is_one():
    rng = np.random.default_rng(2)
    x = cn(rng, 2000, 1)
    for bits in range(1, 9):
        full_scale = 1.7
        y = diffusion.quantizer(bits, full_scale)(x)
        grid = diffusion.adc_grid.detect(y)
        assert grid.step == pytest.approx(2 * full_scale / 2 ** bits, rel=1e-4), bits
        assert grid.top == pytest.approx(max(abs(y.real).max(), abs(y.imag).max()), rel=1e-6)
    y = diffusion.quantizer(4, 1.7)(x)
    for no_grid in (x, y * np.exp(0.3j), y + 0.001 * x, y[:10], 0 * y):
        assert diffusion.adc_grid.detect(no_grid.astype(np.complex64)).step == 0


@pytest.mark.parametrize("name", NAMES)
def test_unfitted_law_is_the_ideal_constellation(name):
    points = diffusion.constellation(name)
    law = diffusion.symbol_law(points)
    q2, q1 = law.coefficients(0.2)
    y = cn(np.random.default_rng(3), 50, 2)
    y = y.astype(complex)
    phi = np.stack([y.real, y.imag, y.real ** 2, y.imag ** 2, y.real * y.imag], -1)
    log_likelihood = phi @ q2.T + q1
    expected = -abs(y[:, None] - points) ** 2 / 0.2
    np.testing.assert_allclose(np.diff(log_likelihood), np.diff(expected), atol=1e-9)
    context = law.context(0.2)
    assert context[0] == pytest.approx(-10 * np.log10(0.2)) and not context[1:].any() and not law.fitted


def test_coefficients_are_the_gaussian_density():
    points, means, index, y = link("qam16", 3000, phase=0.08, multiplicative=0.01)
    law = diffusion.symbol_law.fit(points, index, y, 0.02)
    q2, q1 = law.coefficients(0.03)
    y = y.astype(complex)
    phi = np.stack([y.real, y.imag, y.real ** 2, y.imag ** 2, y.real * y.imag], -1)
    expected = []
    for re, im, vr, vi, c in law.at(0.03):
        cov = np.array([[vr, c], [c, vi]])
        d = np.stack([y.real - re, y.imag - im])
        expected.append(-0.5 * np.sum(d * np.linalg.solve(cov, d), 0) - 0.5 * np.log(np.linalg.det(cov)))
    np.testing.assert_allclose(np.diff(phi @ q2.T + q1), np.diff(np.array(expected).T), atol=1e-6)


@pytest.mark.parametrize("name, n", [("qpsk", 40), ("qam16", 50), ("qam16", 2000), ("qam64", 200),
                                     ("qam256", 500),
                                     ("qam256", 20000)])
def test_few_symbols_shrink_and_many_converge(name, n):
    """Centroids: better than the class means when symbols are few, consistent when many."""
    points, means, index, y = link(name, n)
    law = diffusion.symbol_law.fit(points, index, y, 0.01)
    fitted = law.at(0.01)[:, :2] @ [1, 1j]
    error = np.mean(abs(fitted - means) ** 2)
    # A polynomial of 11 terms cannot be known better than 11 / n of the noise; class means: M / n.
    terms = min(11, points.size)
    assert error < 2.5 * terms * 0.01 / n + 1e-5
    assert error < 0.2 * np.mean(abs(points - means) ** 2)


def test_the_three_noises_are_told_apart():
    points, means, index, y = link("qam16", 40000, noise=0.01, multiplicative=0.008, phase=0.07)
    law = diffusion.symbol_law.fit(points, index, y, 0.02)
    v0, v1, v2 = law.noise_model
    assert v0 == pytest.approx(0.01, rel=0.1) and v1 == pytest.approx(0.008, rel=0.15)
    assert v2 == pytest.approx(0.07 ** 2, rel=0.1)
    for i, (re, im, vr, vi, c) in enumerate(law.at(0.02)):
        r = y[index == i] - (re + 1j * im)
        np.testing.assert_allclose([vr, vi, c], [r.real.var(), r.imag.var(), np.mean(r.real * r.imag)],
                                   atol=2.5e-3)


def test_noise_level_shifts_the_covariances_and_keeps_them_positive():
    points, _, index, y = link("qam16", 1000, phase=0.1)
    law = diffusion.symbol_law.fit(points, index, y, 0.02)
    np.testing.assert_allclose(law.at(0.12)[:, 2:4] - law.at(0.02)[:, 2:4], 0.05, atol=1e-9)
    low = law.at(1e-6)
    assert (low[:, 2] * low[:, 3] > low[:, 4] ** 2).all() and (low[:, 2] > 0).all()


def test_fitted_gaussians_beat_the_raw_class_statistics_from_few_symbols():
    points, means, index, y = link("qam16", 20000, seed=7, noise=0.02, phase=0.07)
    bits = metrics.labels(4)
    known, test = slice(0, 128), slice(128, None)
    law = diffusion.symbol_law.fit(points, index[known], y[known], 0.03)

    def error_rate(log_likelihood):
        return np.mean(bits[log_likelihood.argmax(1)] != bits[index[test]])

    z = y[test]
    q2, q1 = law.coefficients(0.03)
    phi = np.stack([z.real, z.imag, z.real ** 2, z.imag ** 2, z.real * z.imag], -1)
    linear = diffusion.symbol_law.fit_linear(points, index[known], y[known], 0.03)
    l2, l1 = linear.coefficients(0.03)
    centroids = np.array([y[known][index[known] == i].mean() if np.any(index[known] == i) else points[i]
                          for i in range(16)])
    fitted = error_rate(phi @ q2.T + q1)
    assert fitted < error_rate(-abs(z[:, None] - centroids) ** 2)
    assert fitted < 0.9 * error_rate(phi @ l2.T + l1)


def test_state_round_trips_and_bad_ones_are_refused():
    points, _, index, y = link("qam16", 200)
    law = diffusion.symbol_law.fit(points, index, diffusion.quantizer(4, 2.0)(y), 0.02)
    state = law.state()
    again = diffusion.symbol_law.from_state(points, state)
    np.testing.assert_array_equal(again.state(), state)
    np.testing.assert_array_equal(again.context(0.1), law.context(0.1))
    assert again.grid.step == pytest.approx(0.25)
    for broken, message in [(state[:-1], "points"), (state * np.nan, "version"), (np.zeros(3), "version"),
                            (np.where(np.arange(state.size) == state.size - 2, -1, state),
                             "positive definite"),
                            (np.where(np.arange(state.size) == state.size - 2, np.inf, state), "finite")]:
        with pytest.raises(ValueError, match=message):
            diffusion.symbol_law.from_state(points, broken)
    with pytest.raises(ValueError, match="16.* points, the model has 4"):
        diffusion.symbol_law.from_state(diffusion.constellation("qpsk"), state)


@pytest.mark.parametrize("change, message", [
    (dict(index=[16] * 20), "index 16"), (dict(noise_var=0), "noise_var"),
    (dict(noise_var=float("nan")), "noise_var"),
    (dict(y=[np.nan] * 20), "not finite"), (dict(index=[0] * 5, y=[0] * 5), "too few"),
    (dict(index=[0] * 7), "7 known")])
def test_bad_fits_are_named(change, message):
    args = dict(points=diffusion.constellation("qam16"), index=[1] * 20, y=[0.1] * 20, noise_var=0.1)
    with pytest.raises(ValueError, match=message):
        diffusion.symbol_law.fit(**{**args, **change})


def test_fit_survives_poor_data():
    points = diffusion.constellation("qam64")
    for index, y in [([3] * 8, [0] * 8), (range(8), [1e6] * 8), (range(8), points[:8])]:
        law = diffusion.symbol_law.fit(points, list(index), list(y), 1e-6)
        assert np.isfinite(law.state()).all() and np.isfinite(law.coefficients(1e-6)[0]).all()
