# SPDX-License-Identifier: GPL-3.0-or-later
"""The study against the genie runs, and its intervals hold what docs/ofdm_receiver.md says."""
import json

import numpy as np
from gnuradio.diffusion import cli
from gnuradio.diffusion.evaluate import ofdm


def test_quick_study(tmp_path, capsys):
    path = tmp_path / "ofdm.json"
    assert cli.main(["evaluate", "ofdm", "--quick", "--packets", "40", "--noise-samples", "2e5",
                     "--json", str(path)]) == 0
    results = json.loads(path.read_text())
    assert set(results["per"]) == {"AWGN, float, CFO 0.1", "AWGN, 4 bit, CFO 0.1"}
    for setting, row in results["per"].items():
        allowed = 2.5 if "4 bit" in setting else 1.5
        # 40 packets: the lower end of the paired interval must not exclude the target
        assert row["ours (LMMSE)"]["loss_interval"][0] < allowed
        assert row["stock"]["snr_db_at_per_10"] > row["ours (LMMSE)"]["snr_db_at_per_10"] + 4
        for r in row.values():
            for point in r["points"]:
                assert point["wilson"][0] <= point["per"] <= point["wilson"][1]
    assert all(r["ours"] > 0.8 for r in results["detection"] if r["snr_db"] >= 10)
    assert all(r["frames"] == 0 for r in results["false_alarms"])
    assert "| AWGN, float, CFO 0.1 |" in capsys.readouterr().out


def test_crossing_is_where_the_rate_is_a_tenth():
    snr = np.array([8.0, 9.0, 10.0])
    ok = np.array([[False] * n + [True] * (1000 - n) for n in (500, 100, 10)])
    assert abs(ofdm.crossing(snr, ok) - 9.0) < 0.01
    assert np.isnan(ofdm.crossing(snr, np.ones((3, 10), bool)))
