# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver's studies: LDPC codes through gr-fec, the literature's receiver, the verdicts of the
examination."""
from types import SimpleNamespace

import numpy as np
import pytest
from gnuradio import diffusion

from gnuradio.diffusion import metrics
from gnuradio.diffusion.baselines import receiver as baselines
from gnuradio.diffusion.evaluate import (ldpc, receiver as evaluation, receiver_calibration, receiver_coded,
                                         receiver_examination, receiver_fit, receiver_interference,
                                         receiver_memory,
                                         receiver_noise, receiver_papers, receiver_posterior,
                                         receiver_unfitted)
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
        ours = code.decode_words(2 * y / variance)
        assert (ours == word).all() == works and ours.shape == word.shape
    with pytest.raises(ValueError, match=r"llr \(words, 1800\)"):
        code.decode_words(y[:, :100])
    with pytest.raises(ValueError, match="not a number"):
        code.decode_words(np.full((1, 1800), np.nan))
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


def test_posterior_study(monkeypatch):
    """Tables are laws, exact figures are those of many samples, and more known symbols bring Bayes nearer to
    MAP."""
    hw, rx = evaluation.STUDIES["S2-2bit"], diffusion.Receiver("rx-qam16")
    cells = receiver_posterior.Cells(hw, rx.constellation, 10)
    true = cells.table(hw)
    np.testing.assert_allclose(true.sum(1), 1)
    index = np.random.default_rng(1).integers(0, 16, 40000)
    y = hw.transmit(rx.constellation, index, 10, 2)
    re, im = cells.of(y)
    llr = receiver_posterior.llr_of(true, 4)
    bits = metrics.labels(4)[index]
    ber, gmi = cells.figures(true, llr)
    assert abs(metrics.ber(bits, llr[re * cells.levels + im])[0] - ber) < 0.003
    assert abs(metrics.gmi(bits, llr[re * cells.levels + im]) - gmi) < 0.03
    monkeypatch.setattr(receiver_posterior, "BURN", 40)
    monkeypatch.setattr(receiver_posterior, "KEPT", 40)
    few, many = (receiver_posterior.one_link("rx-qam16", "S2-1bit", 20, n, [2, 2]) for n in (20, 2000))
    assert few["map"] == many["map"] and many["map"][1] - many["posterior"][1] < 0.004
    assert few["map"][1] - few["posterior"][1] > -1e-9


def test_unfitted_study():
    points = {("rx-qam16", "S1", 10): receiver_unfitted.measure_point(diffusion.Receiver("rx-qam16"), "S1",
                                                                      10, 3000, 1)}
    assert receiver_unfitted.summary(points).splitlines()[2].startswith("| S1 | 1, 1; ")


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
    y = (points[index] + np.sqrt(noise_var / 2) * (rng.standard_normal(3000) +
                                                   1j * rng.standard_normal(3000)))
    y = y.astype(np.complex64)
    wrong = {way: np.mean(np.abs(receiver_papers.literature(path, y, noise_var, way, 7)[:, None] -
                                 points).argmin(1) != index)
             for way in ("ddpm-T", "ddpm-matched", "ddim-matched")}
    nearest = np.mean(np.abs(y[:, None] - points).argmin(1) != index)
    assert wrong["ddpm-T"] > 0.8                       # pure noise in, any symbol out
    assert wrong["ddim-matched"] < nearest + 0.01      # one deterministic way is as good as the nearest point
    assert nearest - 0.002 < wrong["ddpm-matched"] < 0.2


def test_a_rate_that_map_does_not_carry_has_no_rows():
    assert receiver_coded.study_curve(diffusion.Receiver("rx-qam64"), "3/4", "S1", 50, 1,
                                      links=2) == ([], None)


def test_calibration_figures_against_closed_form():
    """LLRs of a binary Gaussian channel are exact: what is claimed comes true; doubled, the scale is a
    half."""
    rng = np.random.default_rng(8)
    bits = rng.integers(0, 2, (40000, 2))
    llr = 2 * (2.0 * bits - 1 + rng.standard_normal(bits.shape))
    edges = receiver_calibration.EDGES
    scale, lo, hi = metrics.gmi_scale_interval(bits, llr)
    assert lo < 1 < hi and hi - lo < 0.05 and scale == pytest.approx(1, abs=0.03)
    assert metrics.gmi_scale_interval(bits, 2 * llr)[0] == pytest.approx(0.5, abs=0.015)
    table = metrics.reliability(bits, llr, edges)
    assert table[:, 0].sum() == bits.size
    inside = (table[:, 3] <= table[:, 1]) & (table[:, 1] <= table[:, 4])
    assert inside.mean() > 0.7  # 95% intervals, about a dozen bins
    assert metrics.calibration_error(bits, llr, edges) < 0.005
    assert metrics.calibration_error(bits, 2 * llr, edges) > 0.005


def tiny(study):
    """A few rows of a study, as its measure_study makes them."""
    args = SimpleNamespace(symbols=600, seed=1, snr=[15], known=[50], plots=None, data=None)
    rx = diffusion.Receiver("rx-qam16")
    rng = np.random.default_rng(1)
    if study in ("examination", "calibration"):
        module = {"examination": receiver_examination, "calibration": receiver_calibration}[study]
        return module.measure_study(args, ["rx-qpsk"])
    if study == "unfitted":
        return list(receiver_unfitted.measure_point(rx, "S1", 10, 300, 1).values())
    if study == "posterior":
        return receiver_posterior.measure([("rx-qam16", "S2-1bit", 10)], 50, 1, links=2)
    if study == "papers":
        return receiver_papers.measure_point(rx, receiver_papers.find_model(), lambda y,
                                             snr: np.zeros((y.size, 4)),
                                             "S1", "gaussian", 10, 300, 1)
    if study == "coded":
        return receiver_coded.study_curve(rx, "3/4", "S1", 50, 1, links=2)[0]
    if study == "noise":
        return receiver_noise.measure_point(rx, "laplacian", 5, 800, 1)
    if study == "memory":
        waveform = diffusion.OfdmWaveform(512, np.arange(-60, 60))
        send = receiver_memory.amplified(diffusion.power_amplifier.load("pa-dpa200"))
        return receiver_memory.simulated(waveform, "qam16", send, "small", [(25, 0)], 1, 6, 1)
    if study == "interference":
        laws = [diffusion.InterferenceLaw.fit([receiver_interference.chirp(rng, 200) for _ in range(20)],
                                              window=8,
                                              components=k, rounds=2, most=500) for k in (4, 1)]
        return receiver_interference.measure_point("chirp", "qpsk", 0, laws, None, 1, blocks=2)
    if study == "fit":
        return receiver_fit.measure(2, 400, [50], 1)
    raise ValueError(f"{study} has no rows here: add some")


@pytest.mark.parametrize("study", evaluation.OWN_STUDIES)
def test_every_studys_rows_have_the_promised_keys(study, monkeypatch):
    monkeypatch.setattr(receiver_coded, "WORDS", 3)
    rows = evaluation.checked([evaluation.placed(row) for row in tiny(study)])
    assert len(rows) >= 2
    for row in rows:
        assert 0 <= row["ber_lo"] <= row["ber"] <= row["ber_hi"] <= 1 and row["gmi"] > -0.5
        assert isinstance(row["receiver"], str) and isinstance(row["setting"], str)
    with pytest.raises(KeyError, match="lacks gmi"):
        evaluation.checked([{k: 0 for k in evaluation.ROW_KEYS if k != "gmi"}])
    with pytest.raises(ValueError, match="two rows"):
        evaluation.checked([rows[0], rows[0]])
    with pytest.raises(ValueError, match="no number"):
        evaluation.checked([{**rows[0], "gmi": None if study == "fit" else np.nan}])
