# SPDX-License-Identifier: GPL-3.0-or-later
"""Every study of `evaluate shaper` gives rows of the same keys; small runs."""
import math

import pytest
from gnuradio.diffusion.evaluate import shaper

KEYS = {"study", "setting", "snr_db", "scheme", "mi_bits", "percent_of_ba", "net_rate"}


def coded():
    from gnuradio.diffusion.evaluate.shaper_coded import coded
    return coded(1, 2, ("AWGN",), ("7/9",))


def blackbox():
    from gnuradio.diffusion.evaluate.shaper_blackbox import LINKS, blackbox
    return blackbox(1, 40000, {"AWGN": LINKS["AWGN"]})


def literature():
    pytest.importorskip("torch")
    from gnuradio.diffusion.evaluate.shaper_literature import literature
    return literature(1, 200, snrs=(10,), steps=3)


def geometric():
    pytest.importorskip("torch")
    from gnuradio.diffusion.evaluate.shaper_autoencoder import geometric
    return geometric(1, 3, (10,))


def points():
    from gnuradio.diffusion.evaluate.shaper_free import free_points
    return free_points((20,), (3,), (4,), 20)


@pytest.mark.parametrize("study", [lambda: shaper.awgn(30, 256), lambda: shaper.length((64,)), coded,
                                   blackbox, literature, geometric,
                                   lambda: shaper.impaired(256, (15,), (0,), (3,)), points],
                         ids=["awgn", "length", "coded", "blackbox", "literature", "geometric", "impaired",
                              "points"])
def test_rows_have_the_keys(study):
    rows = study()
    assert rows and len({r["scheme"] for r in rows}) > 1
    for r in rows:
        assert KEYS <= set(r)
        assert isinstance(r["setting"], str) and math.isfinite(r["snr_db"]) and r["net_rate"] < 8.4
        assert r["mi_bits"] is None or -1.5 < r["mi_bits"] < 8.4  # an untrained demapper may be below zero
        if r["percent_of_ba"] is not None and r["scheme"] not in ("capacity", "both",
                                                                  "points and pmf together", "geometric",
                                                                  "DNN, MAP",
                                                                  "DNN, its demapper"):
            assert r["percent_of_ba"] < 100.01


def test_the_bound_for_bits_is_that_of_the_awgn_link():
    """I(X;Y) is the baseline's, the rate for bits a little less, and the gain between them in line with Gray
    64-QAM's."""
    import numpy as np
    from gnuradio.diffusion.baselines import shaper as baseline
    from gnuradio.diffusion.evaluate.shaper_bounds import bit_metric_gain, of_link
    from gnuradio.diffusion.square_grid import rail_levels

    mi, bits = of_link("AWGN", np.full(64, 1 / 64), 12.0)
    # by cells of a grid: a little less
    assert mi == pytest.approx(baseline.mi_uniform(rail_levels(8), 12.0), abs=5e-3)
    assert mi - 0.12 < bits < mi
    assert 0.8 < bit_metric_gain("AWGN", 4.0) < 0.95


def test_points_of_their_own_beat_the_square_grid():
    """The gradient is that of differences, the rate at the square grid the link's own, and what is found
    keeps its rate there."""
    import numpy as np
    from gnuradio.diffusion.evaluate.shaper_free import FreeLink

    link = FreeLink(20, 3, 4)
    best, pmf, drive, _ = link.best()
    quadrant = pmf[link.first] / pmf[link.first].sum()
    start = drive * link.points[link.first]
    vector = np.concatenate([start.real, start.imag, np.log(quadrant)])
    assert -link.loss(vector)[0] == pytest.approx(best, abs=1e-6)
    rng = np.random.default_rng(1)
    at = vector + 0.02 * rng.standard_normal(48)
    for direction in rng.standard_normal((3, 48)):
        change = (link.loss(at + 1e-5 * direction)[0] - link.loss(at - 1e-5 * direction)[0]) / 2e-5
        assert link.loss(at)[1] @ direction == pytest.approx(change, rel=1e-3, abs=1e-6)
    both, points, p = link.best_points(pmf, drive, 30)
    assert both > best + 0.05 and p.sum() == pytest.approx(1)
    link.points[link.first] = points  # through the link's own formula
    link.laws.cache_clear()
    own = np.zeros(64)
    own[link.first] = p
    assert link.information(own, 1.0) == pytest.approx(both, abs=1e-9)
