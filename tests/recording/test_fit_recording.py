# SPDX-License-Identifier: GPL-3.0-or-later
"""`fit receiver` on recordings of frames: capture, fit, deploy; damaged recordings; a fit of other radios."""
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion import capture, link, waveform_fit

pytest.importorskip("sigmf")

from gnuradio.diffusion import recording  # noqa: E402
from gnuradio.diffusion.cli import main  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LETTER = ROOT / "examples/letter.txt"
HARDWARE = ("tx_pa=rapp,tx_backoff_db=5,tx_am_pm=0.3,tx_iq_gain_db=0.6,tx_iq_phase_deg=3,rx_iq_gain_db=-0.6,"
            "rx_iq_phase_deg=4,rx_dc=0.01,rx_cfo_hz=500")
OTHER = "tx_iq_gain_db=-0.9,tx_iq_phase_deg=-5,rx_iq_gain_db=0.9,rx_iq_phase_deg=-5,rx_cfo_hz=300"


def record(name, hardware, *options, tag="a"):
    device = f"driver=loopback,medium=fitrec-{os.getpid()}-{tag},pacing=fast,noise_dbm=-100,{hardware}"
    assert main(["record", str(name), "--send", str(LETTER), "--device", device, "--tx-gain", "40", "--gain",
                 "40",
                 *options]) == 0
    return name


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    return record(folder / "capture", HARDWARE, "--constellation", "qam64", "--frames", "80")


@pytest.fixture(scope="module")
def fitted(captured):
    model, report = captured.parent / "mine.safetensors", captured.parent / "fit.json"
    assert main(["fit", "receiver", str(captured), "-o", str(model), "--json", str(report)]) == 0
    return model, json.loads(report.read_text())


def frames(name, model=""):
    """EVMs (linear), bits and LLRs of a recording's frames."""
    known = capture.load(name, model=model)
    return known, np.array([10 ** (f["frame"].evm_db / 10) for f in known.frames])


def test_the_radios_are_undone(fitted, captured):
    model, report = fitted
    assert report["radios"]["kept"] and report["constellation"] == "qam64" and report["frames_of"] == "native"
    before, after = report["radios"]["evm_db"]
    assert after < before - 6
    fresh = record(captured.parent / "fresh", HARDWARE, "--constellation", "qam64", "--frames", "40", tag="b")
    (_, plain), (known, corrected) = frames(fresh), frames(fresh, model)
    assert 10 * np.log10(corrected.mean() / plain.mean()) < -6
    assert all(f["frame"].corrected == 1 for f in known.frames)


def test_the_coefficients_are_the_hardware(fitted):
    """The receiver's image, of I + j (g Q cos phi + g I sin phi) = a s + b s*: r = s' + (b / a*) s'*."""
    from gnuradio.diffusion import model_file
    numbers = model_file.read(fitted[0])[1]["fit"]["waveform"]
    g, phi = 10 ** (-0.6 / 20), np.deg2rad(4)
    a = (1 + 1j * g * np.sin(phi) + g * np.cos(phi)) / 2
    b = (1 + 1j * g * np.sin(phi) - g * np.cos(phi)) / 2
    assert abs(complex(*numbers[:2]) - b / np.conj(a)) < 0.01


def test_a_fit_of_other_radios_does_no_harm(fitted, tmp_path):
    """The pilots of each frame decide: with a fit that does not hold the frames are received without it."""
    model, _ = fitted
    other = record(tmp_path / "other", OTHER, "--constellation", "qam64", "--frames", "40", tag="c")
    (_, plain), (known, guarded) = frames(other), frames(other, model)
    refused = [f["frame"].corrected == -1 for f in known.frames]
    assert len(known.frames) >= 39 and np.mean(refused) > 0.8
    assert 10 * np.log10(guarded.mean() / plain.mean()) < 3  # the receiver's image of the wrong radio stays


def test_truncated_and_corrupted_captures_are_fitted_as_far_as_they_go(captured, tmp_path, capsys):
    name = tmp_path / "cut"
    data = recording._file(captured, recording.DATA).read_bytes()
    recording._file(name, recording.DATA).write_bytes(data[:len(data) // 2 + 3])
    recording._file(name, recording.META).write_text(recording._file(captured, recording.META).read_text())
    assert main(["fit", "receiver", str(name), "-o", str(tmp_path / "m.safetensors")]) == 0
    assert "truncated" in capsys.readouterr().out
    recording._file(name, recording.META).write_text("{")
    assert main(["fit", "receiver", str(name), "-o", str(tmp_path / "n.safetensors")]) == 1
    assert "--type" in capsys.readouterr().err
    assert main(["fit", "receiver", str(name), "--type", "cf32_le", "-o",
                 str(tmp_path / "n.safetensors")]) == 0


def test_stock_frames_and_npz_samples(tmp_path, captured):
    stock = record(tmp_path / "stock", HARDWARE, "--waveform", "stock", tag="d")
    assert main(["fit", "receiver", str(stock), "-o", str(tmp_path / "s.safetensors")]) == 0
    assert diffusion.Receiver(tmp_path / "s.safetensors").bits_per_symbol == 2
    found = recording.open_recording(captured)
    np.savez(tmp_path / "iq.npz", iq=found.read(0, len(found) // 2), waveform="native")
    assert main(["fit", "receiver", str(tmp_path / "iq.npz"), "-o", str(tmp_path / "i.safetensors")]) == 0


def test_frames_with_a_wrong_crc_are_known_by_what_was_sent(captured):
    """256-QAM whose frames all fail: the packets of the recording's own file tell the symbols."""
    name = record(captured.parent / "weak", HARDWARE, "--constellation", "qam256", "--fec", "none",
                  "--frames", "40", tag="e")
    known = capture.load(name)
    assert sum(not f["frame"].payload_ok for f in known.frames) > 20 and len(known.frames) >= 35
    assert np.mean(np.abs(known.y - known.x) ** 2) < 0.05


def test_the_correction_against_numpy():
    rng = np.random.default_rng(1)
    v = rng.uniform(-0.1, 0.1, 14)
    z = v[::2] + 1j * v[1::2]
    fix = diffusion.waveform_correction(v.tolist())
    t = (rng.standard_normal((500, 2)) @ [1, 1j] / np.sqrt(2)).astype(np.complex64)
    p = np.abs(t) ** 2
    wanted = z[2] * t + z[3] * t.conj() + z[4] * t * p + z[5] * t * p * p + z[6] * t.conj() * p
    np.testing.assert_allclose(fix.distortion(t), wanted, atol=1e-5)
    r = t + z[0] * t.conj() + z[1]
    np.testing.assert_allclose(fix.condition(r), t, atol=1e-6)
    with pytest.raises(ValueError, match="14"):
        diffusion.waveform_correction([0.0] * 3)
    with pytest.raises(ValueError, match="refused"):
        diffusion.waveform_correction([float("nan")] * 14)


def test_least_squares_finds_given_coefficients():
    """Frames made by hand: carriers, distorted by the library's own polynomial."""
    true = np.array([0.02j, -0.05 + 0.03j, -0.04 + 0.02j, 0.003, 0.01j])
    fix = diffusion.waveform_correction(waveform_fit.numbers(0, 0, true))
    grid, points = waveform_fit._Grid(), diffusion.qam(4).points
    rng, made = np.random.default_rng(2), []
    for _ in range(30):
        count, per = 8, grid.data[0].size
        index = rng.integers(0, 16, count * per)
        cells, at = grid.of(count)
        cells[np.arange(count)[:, None], at] = points[index].reshape(count, per)
        t = grid.samples(cells).astype(np.complex64)
        z = cells + grid.carriers(fix.distortion(t.ravel()).reshape(t.shape))
        symbols = z[np.arange(count)[:, None], at].ravel()
        frame = type("Frame", (), {"symbols": symbols, "symbol_noise": np.full(symbols.size, 1e-3)})
        made.append({"frame": frame, "index": index})
    np.testing.assert_allclose(waveform_fit.regress(made, 4), true, atol=2e-3)


def test_the_whole_session(tmp_path):
    """The script of docs/capture_fit_deploy.md, in a short form."""
    done = subprocess.run([sys.executable, str(ROOT / "examples/capture_fit_deploy.py"), "--seconds", "0.3",
                           "--fresh", "30",
                           "--seed", "3", "--folder", str(tmp_path), "--json",
                           str(tmp_path / "session.json")],
                          capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    rows = json.loads((tmp_path / "session.json").read_text())
    before, after = rows["before"], rows["after"]
    assert before["frames"] > 27 and after["frames"] > 27 and after["corrected"] > 0.9 * after["frames"]
    assert after["evm_db"] < before["evm_db"] - 4 and after["ber"] <= before["ber"]
    assert len(link.split(LETTER.read_bytes(), 112, 30)) and rows["fit_seconds"] < 180
