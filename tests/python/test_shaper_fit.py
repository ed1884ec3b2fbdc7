# SPDX-License-Identifier: GPL-3.0-or-later
"""Shaper.fit: a pmf from samples of a link alone, and when to leave it."""
import json

import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion.baselines import shaper as baseline
from gnuradio.diffusion.cli import main
from gnuradio.diffusion.square_grid import rail_levels

SHAPER = diffusion.Shaper("ps-qam16", 1024)
POINTS = SHAPER.constellation.astype(complex)


def recording(snr_db, n=60000, levels=(1.0, 1.2), seed=1):
    """(x, y, level) over AWGN; noise is that SNR below unit power."""
    rng = np.random.default_rng(seed)
    level = np.resize(levels, n)
    x = level * POINTS[rng.integers(0, 16, n)]
    noise = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    return x, (0.3 - 0.2j) * (x + np.sqrt(0.5 * 10 ** (-snr_db / 10)) * noise), level


def true_rate(s, snr_db):
    power = s.level ** 2 * (s.pmf @ np.abs(POINTS) ** 2)
    return baseline.mi_awgn_square(rail_levels(4), s.pmf.reshape(4, 4), snr_db + 10 * np.log10(power))


def test_gain_is_found_without_the_law():
    fitted = SHAPER.fit(*recording(8.0), power=1.0)
    best = baseline.blahut_arimoto_awgn(rail_levels(4), 8.0)[0]
    uniform = baseline.mi_uniform(rail_levels(4), 8.0)
    kept = fitted.schemes[fitted.choice]
    assert fitted.choice != "uniform"
    assert kept.level ** 2 * (kept.pmf @ np.abs(POINTS) ** 2) < 1.01
    assert true_rate(kept, 8.0) > uniform + 0.7 * (best - uniform)
    for s in fitted.schemes.values():  # estimates: lower bounds in the mean, and no far ones
        assert s.low < true_rate(s, 8.0) < s.high + 0.02


@pytest.mark.parametrize("snr_db", [24.0, None])
def test_uniform_stays_where_nothing_is_gained(snr_db):
    x, y, level = recording(24.0 if snr_db is None else snr_db)
    if snr_db is None:  # nothing arrives at all
        y = np.random.default_rng(2).standard_normal(x.size) + 0j
    fitted = SHAPER.fit(x, y, level, power=1.0)
    assert fitted.choice == "uniform" and "kept" in fitted.reason
    np.testing.assert_allclose(fitted.pmf, 1 / 16)


@pytest.mark.parametrize("matcher", ["ccdm", "ess"])
def test_both_ends_load_the_file(tmp_path, matcher):
    fitted = SHAPER.fit(*recording(8.0, 8000), power=1.0, block_length=200, matcher=matcher)
    fitted.save(tmp_path / "mine.json")
    other = diffusion.FittedShaper.load(tmp_path / "mine.json")
    bits = np.random.default_rng(3).integers(0, 2, 5000, dtype=np.uint8)
    indices = fitted.encode(bits)
    np.testing.assert_array_equal(other.decode(indices, bits.size), bits)
    assert np.mean(np.abs(fitted.modulate(indices)) ** 2) == pytest.approx(1, abs=0.1)
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(ValueError, match="no fitted shaper"):
        diffusion.FittedShaper.load(tmp_path / "mine.json")


@pytest.mark.parametrize("change, what", [
    (lambda x, y, l: (x[:-1], y, l), "one length"), (lambda x, y, l: (x, y * np.nan, l), "NaN"),
    (lambda x, y, l: (x, y, None), "level of each"),
    (lambda x, y, l: (x[:300], y[:300], l[:300]), "record more"),
    (lambda x, y, l: (x, y, -l), "above 0"), (lambda x, y, l: (x + 0.1, y, l), "constellation")])
def test_bad_recordings_are_named(change, what):
    with pytest.raises(ValueError, match=what):
        SHAPER.fit(*change(*recording(8.0, 2000)))


def test_power_is_checked():
    with pytest.raises(ValueError, match="power"):
        SHAPER.fit(*recording(8.0, 4000), power=-1)
    with pytest.raises(ValueError, match="record a lower level"):
        SHAPER.fit(*recording(8.0, 4000), power=0.5)


def test_command(tmp_path, capsys):
    x, y, level = recording(8.0)
    np.savez(tmp_path / "link.npz", x=x, y=y, level=level)
    out = tmp_path / "mine.json"
    arguments = ["fit", "shaper", str(tmp_path / "link.npz"), "-o", str(out), "--power", "1", "--json",
                 str(tmp_path / "r.json")]
    assert main(arguments) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["choice"] == diffusion.FittedShaper.load(out).choice != "uniform"
    assert "held-out" in capsys.readouterr().out
    assert main([*arguments[:4], str(tmp_path / "x.txt")]) == 2
    np.savez(tmp_path / "link.npz", a=x)
    assert main(arguments) == 1
