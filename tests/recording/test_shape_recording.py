# SPDX-License-Identifier: GPL-3.0-or-later
"""From recordings of a radio link, of which nothing else is known, to the pmf for it."""
import json
import os
from pathlib import Path

import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion.cli import main

LETTER = Path(__file__).parents[2] / "examples/letter.txt"
HARDWARE = "path_loss_db=10,tx_pa=rapp,tx_backoff_db=8,tx_am_pm=0.3,adc_bits=10,tx_linewidth_hz=2"


def record(folder, gain_db, noise_dbm, frames):
    """A recording of 64-QAM frames at that gain of the transmitter; the receiver's gain stays."""
    name = folder / f"gain{gain_db:g}"
    device = f"driver=loopback,medium=shape-{os.getpid()}-{gain_db:g},pacing=fast,noise_dbm={noise_dbm},{HARDWARE}"
    assert main(["record", str(name), "--send", str(LETTER), "--device", device, "--tx-gain", str(gain_db),
                 "--gain", "0",
                 "--constellation", "qam64", "--payload", "400", "--frames", str(frames)]) == 0
    return str(name)


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    """12 dB of SNR at the lowest level."""
    folder = tmp_path_factory.mktemp("shape")
    return [record(folder, 40 + gain, -25, 24) for gain in (0.0, 0.8, 1.6, 2.4, 3.2)]


def test_shaping_is_found_from_recordings(captured, tmp_path, capsys):
    out = tmp_path / "mine.json"
    assert main(["fit", "shaper", *captured, "-o", str(out), "--power", "1", "--json",
                 str(tmp_path / "r.json")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    fitted, schemes = diffusion.FittedShaper.load(out), result["schemes"]
    assert result["choice"] != "uniform" and "interval" in capsys.readouterr().out
    best = schemes[result["choice"]]
    assert schemes["uniform"]["bits"] + 0.05 < best["bits"] and best["bits"] >= schemes["maxwell-boltzmann"]["bits"] - 0.03
    assert fitted.level > 1 and fitted.level ** 2 * (fitted.pmf @
                                                     np.abs(diffusion.constellation("qam64")) ** 2) < 1.01
    bits = np.random.default_rng(1).integers(0, 2, 3000, dtype=np.uint8)
    np.testing.assert_array_equal(fitted.decode(fitted.encode(bits), bits.size), bits)


def test_levels_are_told_or_said(captured, tmp_path):
    arguments = ["fit", "shaper", *captured[:2], "-o", str(tmp_path / "mine.json"), "--power", "1"]
    assert main([*arguments, "--levels-db", "0"]) == 2
    assert main([*arguments, "--levels-db", "0", "0.8"]) == 0
    assert main([*arguments[:3], str(tmp_path / "none"), *arguments[4:]]) == 1
