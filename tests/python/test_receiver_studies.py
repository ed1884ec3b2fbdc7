# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver's studies: LDPC codes through gr-fec, the literature's receiver, the verdicts of the examination."""
import numpy as np
import pytest
from gnuradio import diffusion

from gnuradio.diffusion.baselines import receiver as baselines
from gnuradio.diffusion.evaluate import ldpc, receiver_examination, receiver_papers
from gnuradio.diffusion.train import hardware


def test_drawn_code_is_regular_without_short_cycles():
    columns = ldpc.draw_regular()
    assert columns.shape == (1800, 3) and (np.diff(columns) > 0).all()
    weight = np.bincount(columns.ravel(), minlength=450)
    assert weight.min() >= 11 and weight.max() <= 13
    pairs = {tuple(sorted(p)) for c in columns for p in ((c[0], c[1]), (c[0], c[2]), (c[1], c[2]))}
    assert len(pairs) == 3 * 1800


@pytest.mark.parametrize("rate, good_db, bad_db", [("1/2", 2.8, -1.0), ("3/4", 4.2, 1.0)])
def test_codes_decode(rate, good_db, bad_db):
    code = ldpc.Ldpc(rate)
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, (12, code.k)).astype(np.uint8)
    word = code.encode(bits)
    assert word.shape == (12, 1800) and abs(code.k / code.n - eval(rate)) < 0.01
    for ebn0_db, works in ((good_db, True), (bad_db, False)):
        variance = 10 ** (-ebn0_db / 10) / (2 * code.k / code.n)
        y = 2.0 * word - 1 + np.sqrt(variance) * rng.standard_normal(word.shape)
        assert (code.decode(2 * y / variance) == bits).all() == works
    with pytest.raises(ValueError, match="rate"):
        ldpc.Ldpc("2/3")


def test_histogram_law_is_map():
    """The bound by counting equals the closed form where there is one."""
    points, hw = diffusion.constellation("qpsk"), hardware.S1
    index = np.random.default_rng(3).integers(0, 4, 4000)
    y = hw.transmit(points, index, 5, 4)
    counted = baselines.bit_llr(receiver_papers.map_by_histogram(hw, points, 5, y, 5))
    exact = baselines.bit_llr(baselines.map_known_law(hw, points, 5, y))
    near = np.abs(exact) < 3
    assert np.abs(counted - exact)[near].mean() < 0.06


def test_verdicts():
    bound = {"ber": 0.01, "ber_hi": 0.0102, "gmi": 3.0}
    row = lambda ber, gmi: {"ber": ber, "gmi": gmi}
    assert receiver_examination.verdict(row(0.0101, 2.991), bound) == (True, True)
    assert receiver_examination.verdict(row(0.0103, 2.98), bound) == (False, False)


def test_the_literatures_network_and_its_three_ways():
    path = receiver_papers.find_model()
    points = diffusion.constellation("qam16")
    rng = np.random.default_rng(6)
    index = rng.integers(0, 16, 3000)
    noise_var = 0.02
    y = (points[index] + np.sqrt(noise_var / 2) * (rng.standard_normal(3000) + 1j * rng.standard_normal(3000)))
    y = y.astype(np.complex64)
    wrong = {way: np.mean(np.abs(receiver_papers.literature(path, y, noise_var, way, 7)[:, None] - points).argmin(1) != index)
             for way in ("ddpm-T", "ddpm-matched", "ddim-matched")}
    nearest = np.mean(np.abs(y[:, None] - points).argmin(1) != index)
    assert wrong["ddpm-T"] > 0.8                       # pure noise in, any symbol out
    assert wrong["ddim-matched"] < nearest + 0.01      # one deterministic way is as good as the nearest point
    assert nearest - 0.002 < wrong["ddpm-matched"] < 0.2
