# SPDX-License-Identifier: GPL-3.0-or-later
"""diffusion.Receiver: its contract, fitting, its guard, bad input."""
import time

import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion import metrics
from gnuradio.diffusion.baselines import receiver as baselines
from gnuradio.diffusion.train import hardware


@pytest.fixture(scope="module")
def rx():
    return diffusion.Receiver("rx-qam16")


def link(rx, hw, snr_db, n, seed):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, rx.constellation.size, n)
    return index, hw.transmit(rx.constellation, index, snr_db, seed)


def bits_of(rx, index):
    return metrics.labels(rx.bits_per_symbol)[index]


def test_contract(rx):
    assert rx.bits_per_symbol == 4 and rx.constellation.shape == (16,)
    assert rx.constellation.dtype == np.complex64
    index, y = link(rx, hardware.Hardware(), 15, 5000, 1)
    x_hat, llr = rx(y, 10 ** -1.5)
    assert x_hat.shape == (5000,) and x_hat.dtype == np.complex64
    assert llr.shape == (5000, 4) and llr.dtype == np.float32
    x = rx.constellation[index]
    assert metrics.nmse_db(x_hat, x) < metrics.nmse_db(y, x) - 1
    best = baselines.bit_llr(-np.abs(y[:, None] - rx.constellation) ** 2 / 10 ** -1.5)
    bits = bits_of(rx, index)
    assert metrics.bit_errors(bits, llr)[0] <= 1.05 * metrics.bit_errors(bits, best)[0] + 3
    assert metrics.gmi(bits, llr) > metrics.gmi(bits, best) - 0.01


@pytest.mark.parametrize("snr_db", [0, 10, 25])
def test_estimated_noise_variance_costs_little(rx, snr_db):
    index, y = link(rx, hardware.Hardware(), snr_db, 4000, 2)
    law = diffusion.symbol_law(rx.constellation)
    assert diffusion.estimate_noise_var(law, y) == pytest.approx(10 ** (-snr_db / 10), rel=0.3)
    bits = bits_of(rx, index)
    assert metrics.gmi(bits, rx(y)[1], 1) > metrics.gmi(bits, rx(y, 10 ** (-snr_db / 10))[1], 1) - 0.03


@pytest.mark.parametrize("study, snr_db, n", [("S2", 20, 2000), ("S2", 20, 200), ("S2", 25, 50),
                                              ("S1", 15, 500)])
def test_fit_is_not_worse_than_linear_and_near_map(rx, study, snr_db, n):
    hw = hardware.REFERENCE[study]
    noise_var = hw.noise_var(snr_db)
    known, seen = link(rx, hw, snr_db, n, 3)
    index, y = link(rx, hw, snr_db, 30000, 4)
    fitted = rx.fit(rx.constellation[known], seen, noise_var)
    bits = bits_of(rx, index)
    linear = baselines.bit_llr(baselines.lmmse_min_distance(rx.constellation, known, seen, noise_var, y))
    llr = fitted(y, noise_var)[1]
    assert metrics.gmi(bits, llr) > metrics.gmi(bits, linear) - 0.01
    if n == 2000:
        bound = baselines.bit_llr(baselines.map_known_law(hw, rx.constellation, snr_db, y))
        assert metrics.gmi(bits, llr) > metrics.gmi(bits, bound) - 0.01
        assert metrics.ber(bits, llr)[0] < 0.7 * metrics.ber(bits, linear)[0]


def test_fit_is_quick_and_leaves_the_original_alone(rx):
    known, seen = link(rx, hardware.S2, 20, 2000, 5)
    before = rx.state()
    fits = []
    for _ in range(3):
        start = time.process_time()
        fitted = rx.fit(rx.constellation[known], seen, 0.015)
        fits.append(time.process_time() - start)
    assert min(fits) < 2  # what the contract promises; it takes tens of milliseconds
    np.testing.assert_array_equal(rx.state(), before)
    assert fitted.law.fitted and not rx.law.fitted and "network" in repr(fitted) or fitted.choice != "ideal"


def test_guard_falls_back_when_the_stated_noise_is_nonsense(rx):
    """noise_var 1000 times too small or too large in fit() and call: still no worse than linear with it."""
    known, seen = link(rx, hardware.Hardware(), 12, 300, 6)
    index, y = link(rx, hardware.Hardware(), 12, 20000, 7)
    bits = bits_of(rx, index)
    for noise_var in (6e-5, 60.0):
        linear = baselines.bit_llr(baselines.lmmse_min_distance(rx.constellation, known, seen, noise_var, y))
        llr = rx.fit(rx.constellation[known], seen, noise_var)(y, noise_var)[1]
        assert metrics.ber(bits, llr)[0] < 1.1 * metrics.ber(bits, linear)[0] + 1e-3


def test_fits_travel(rx, tmp_path):
    known, seen = link(rx, hardware.S2, 20, 500, 8)
    fitted = rx.fit(rx.constellation[known], seen, 0.015)
    _, y = link(rx, hardware.S2, 20, 100, 9)
    expected = fitted(y, 0.015)[1]
    np.testing.assert_array_equal(rx.with_state(fitted.state())(y, 0.015)[1], expected)
    fitted.save(tmp_path / "fit.npz")
    again = diffusion.Receiver.load(tmp_path / "fit.npz")
    np.testing.assert_array_equal(again(y, 0.015)[1], expected)
    assert again.choice == fitted.choice
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match="no saved fit"):
        diffusion.Receiver.load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="refused"):
        rx.with_state(np.zeros(5))


@pytest.mark.parametrize("call, error, message", [
    (lambda rx: rx([[1, 2]], 0.1), ValueError, "shape"), (lambda rx: rx(["a"], 0.1), TypeError, "dtype"),
    (lambda rx: rx([1, np.nan], 0.1), ValueError, r"y\[1\] is not finite"),
    (lambda rx: rx([1], 0), ValueError, "noise_var is 0"),
    (lambda rx: rx([1], -1), ValueError, "noise_var is -1"),
    (lambda rx: rx([1], float("inf")), ValueError, "noise_var is inf"),
    (lambda rx: rx([1], "low"), TypeError, "noise_var is 'low'"),
    (lambda rx: rx.fit(rx.constellation, rx.constellation[:9], 0.1), ValueError, "16 symbols and y 9"),
    (lambda rx: rx.fit(rx.constellation[:4], rx.constellation[:4], 0.1), ValueError, "too few"),
    (lambda rx: rx.fit(2 * rx.constellation, rx.constellation, 0.1), ValueError, "no point of"),
    (lambda rx: diffusion.Receiver("rx-nothing"), ValueError, "rx-nothing.*rx-qam16"),
    (lambda rx: diffusion.Receiver("ce-ofdm64"), ValueError, "not a receiver"),
    (lambda rx: diffusion.Receiver(7), TypeError, "model is 7"),
    (lambda rx: diffusion.Receiver("rx-qam16", -1), ValueError, "steps is -1")])
def test_bad_input_is_named(rx, call, error, message):
    with pytest.raises(error, match=message):
        call(rx)


def test_empty_and_extreme_input(rx):
    x_hat, llr = rx([], 0.1)
    assert x_hat.shape == (0,) and llr.shape == (0, 4)
    for noise_var in (1e-300, 1e-6, 1e-3, 1e3, 1e300):
        x_hat, llr = rx([1e6 + 1e6j, 0, 1e-30], noise_var)
        assert np.isfinite(x_hat).all() and np.isfinite(llr).all() and (abs(x_hat) < 2).all()
