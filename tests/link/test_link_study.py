# SPDX-License-Identifier: GPL-3.0-or-later
"""`evaluate link`: the trials say what was sent and what arrived, the command writes rows for machines."""
import json

import numpy as np
import pytest
from gnuradio.diffusion.cli import main
from gnuradio.diffusion.evaluate import link_trials as lt


def test_trials_of_a_clean_channel_lose_nothing():
    t = lt.Trials(12, lt.Setting(pilots="half"), 3)
    ok, error, _ = t.run(t.receive(40), "lmmse")
    assert ok.all()
    assert 10 * np.log10(error[:, 0].sum() / error[:, 1].sum()) < -40


def test_channels_have_unit_power_and_the_named_doppler():
    for scene in ("rayleigh", "florence", "san_francisco"):
        taps, _ = lt.draw_taps(scene, 300, np.random.default_rng(1))
        # Rayleigh: 300 draws of a channel of variance sum p^2 = 0.25
        assert np.mean(np.sum(np.abs(taps) ** 2, axis=1)) == pytest.approx(1, abs=0.12)
    from scipy.special import j0
    g = lt.gains(400, 1, 0.05, 800, np.random.default_rng(2))[:, 0]
    for lag in (160, 400, 640):  # Clarke's autocorrelation
        found = np.mean(np.conj(g[:, 0]) * g[:, lag])
        assert found == pytest.approx(j0(2 * np.pi * 0.05 / 64 * lag), abs=4 / np.sqrt(400))


def test_command_writes_rows(tmp_path):
    out = tmp_path / "link.json"
    code = main(["evaluate", "link", "--quick", "--frames", "20", "--only", "ls", "lmmse", "diffusion",
                 "--json", str(out)])
    assert code in (0, None)
    found = json.loads(out.read_text())
    row = found["rows"][0]
    assert {"study", "scene", "pilots", "bits", "snr_db", "estimator", "nmse_db",
            "us_per_estimate"} <= set(row)
    assert row["per_low"] <= row["per"] <= row["per_high"] and row["frames"] == 20
    assert {r["estimator"] for r in found["rows"]} == {"ls", "lmmse", "diffusion"}
    # Everybody saw the same samples: at the highest SNR nobody is worse than least squares by more than
    # chance.
    top = {r["estimator"]: r["per"] for r in found["rows"]
           if r["snr_db"] == max(r["snr_db"] for r in found["rows"])}
    assert all(p <= 0.4 for p in top.values())
