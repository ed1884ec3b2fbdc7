# SPDX-License-Identifier: GPL-3.0-or-later
"""`fit pa` on a synthetic amplifier whose coefficients are known, and the shipped coefficients."""
import json
import re

import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion.cli import main

TRUE = [(0, 0, [1.2 + 0.3j, 0, -0.35 + 0.1j]), (1, 0, [0.1 - 0.05j, 0, 0.05j]), (2, 0, [-0.03, 0, 0.01])]


def measurement(path, noise=1e-4, **changes):
    rng = np.random.default_rng(3)
    x = rng.standard_normal(9000) + 1j * rng.standard_normal(9000)
    x = (x / np.abs(x).max()).astype(np.complex64)
    y = diffusion.power_amplifier.memory_polynomial(TRUE, 1.0)(x)
    y = y + noise * (rng.standard_normal(9000) + 1j * rng.standard_normal(9000))
    np.savez(path, **{"input": x, "output": y, **changes})
    return x, y


def test_known_amplifier_is_found(tmp_path):
    x, y = measurement(tmp_path / "m.npz")
    out, results = tmp_path / "pa.json", tmp_path / "r.json"
    assert main(["fit", "pa", str(tmp_path / "m.npz"), "-o", str(out), "--taps", "1", "2", "3", "5",
                 "--order", "1",
                 "3", "5", "--json", str(results)]) == 0
    r = json.loads(results.read_text())
    assert (r["chosen"]["taps"], r["chosen"]["order"]) == (3, 3)
    floor = 10 * np.log10(2e-8 / np.mean(np.abs(y) ** 2))  # nothing but the noise is left
    assert abs(r["test"]["nmse_db"] - floor) < 0.5
    assert r["test"]["nmse_db_95"][0] < r["test"]["nmse_db"] < r["test"]["nmse_db_95"][1]
    assert r["test"]["linear_gain_nmse_db"] > r["test"]["nmse_db"] + 10
    for (_, _, fitted), (_, _, true) in zip(diffusion.power_amplifier.load(str(out)).branches, TRUE):
        # |x| is around 0.25: an error of c |x|^2 weighs a sixteenth of one of c
        np.testing.assert_allclose(np.array(fitted) * [1, .25, .06], np.array(true) * [1, .25, .06],
                                   atol=2e-4)


def test_generalised_terms_round_trip(tmp_path):
    measurement(tmp_path / "m.npz")
    out = tmp_path / "pa.json"
    assert main(["fit", "pa", str(tmp_path / "m.npz"), "-o", str(out), "--taps", "3", "--order", "3",
                 "--cross", "1"]) == 0
    branches = diffusion.power_amplifier.load(str(out)).branches
    assert {(d, e) for d, e, _ in branches} >= {(1, -1), (0, 1), (2, 0)}
    assert max(abs(c) for d, e, cs in branches if e for c in cs) < 5e-3


@pytest.mark.parametrize("changes, message", [
    ({"input": np.zeros(5)}, "equally long|at least"), ({"output": np.full(9000, np.nan)}, "finite"),
    ({"train_input": np.zeros(5)}, "lacks"), ({"input": np.zeros(9000)}, "not all zero")])
def test_bad_measurements_are_named(tmp_path, capsys, changes, message):
    measurement(tmp_path / "m.npz", **changes)
    assert main(["fit", "pa", str(tmp_path / "m.npz"), "-o", str(tmp_path / "o.json")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error:") and re.search(message, error) and not (tmp_path / "o.json").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"no zip at all"])
def test_a_file_that_is_no_npz_is_named(tmp_path, capsys, content):
    (tmp_path / "m.npz").write_bytes(content)
    assert main(["fit", "pa", str(tmp_path / "m.npz"), "-o", str(tmp_path / "o.json")]) == 1
    assert "no npz file" in capsys.readouterr().err


def test_shipped_coefficients_load_by_name_and_act_like_an_amplifier():
    pa = diffusion.power_amplifier.load("pa-dpa200")
    assert pa.saturation == pytest.approx(1) and len(pa.branches) == 16
    rng = np.random.default_rng(5)
    x = ((rng.standard_normal(20000) + 1j * rng.standard_normal(20000)) / np.sqrt(2)).astype(np.complex64)
    nmse = []
    for backoff in (20, 9.2, 3):
        y = diffusion.impairments(pa="pa-dpa200", backoff_db=backoff)(x)
        gain = np.vdot(x, y) / np.vdot(x, x)
        nmse.append(10 * np.log10(np.mean(np.abs(y - gain * x) ** 2) / np.mean(np.abs(gain * x) ** 2)))
        assert np.abs(y).max() < 10
    # distortion grows with drive (white noise leaves the fitted 200 MHz, so no figure)
    assert nmse[2] > nmse[1] + 3


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "pa", "--help"])
    assert "gr-diffusion fit pa" in capsys.readouterr().out
