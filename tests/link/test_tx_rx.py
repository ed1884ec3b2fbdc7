# SPDX-License-Identifier: GPL-3.0-or-later
"""gr-diffusion tx and rx as a user starts them: two processes, one file, only a device string between
them."""
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from gnuradio.diffusion import carousel

MAIN = [sys.executable, "-c", "import sys; from gnuradio.diffusion.cli import main; sys.exit(main())"]


def launch(*arguments):
    return subprocess.Popen([*MAIN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True)


def finish(process, timeout=120):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "sent.bin"
    path.write_bytes(np.random.default_rng(3).bytes(3000))
    return path


@pytest.fixture
def device(request):
    return f"driver=loopback,medium=twins-{os.getpid()}-{abs(hash(request.node.name)) % 10 ** 6}"


def both(first, second, pause=2.0):
    a = launch(*first)
    time.sleep(pause)
    b = launch(*second)
    return finish(a), finish(b)


def test_receiver_first_real_time(file, device, tmp_path):
    out = tmp_path / "received.bin"
    rx, tx = both(["rx", "--device", device, "--out", out, "--json", tmp_path / "rx.json"],
                  ["tx", "--device", device, file, "--seconds", 3, "--json", tmp_path / "tx.json"])
    assert rx[0] == 0 and tx[0] == 0, (rx, tx)
    assert out.read_bytes() == file.read_bytes() and "arrived intact" in rx[1]
    sent, got = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("tx", "rx"))
    assert got["file_intact"] is True and got["bytes"] == sent["bytes"] == 3000 and got["device"] == device
    assert sent["complete"] and sent["frames_sent"] == sent["frames_a_round"] * round(sent["rounds"])
    assert sent["rounds"] >= 3
    assert got["parts"] == got["parts_needed"] == sent["frames_a_round"]


def test_transmitter_first_and_another_modulation_and_radio(file, device, tmp_path):
    """Started late, the receiver takes what it still needs from the next round; 16-QAM, a CFO and an 8-bit
    ADC."""
    out = tmp_path / "received.bin"
    sender = launch("tx", "--device", device + ",tx_cfo_hz=3000", file, "--forever", "--constellation",
                    "qam16", "--fec", "cc-1/2", "--payload", 200, "--json", tmp_path / "tx.json")
    time.sleep(3)
    status, text, err = finish(launch("rx", "--device", device + ",adc_bits=8,seed=2", "--out", out, "--json",
                                      tmp_path / "rx.json", "--estimator", "lmmse", "--demapper", "map"))
    assert status == 0, err
    sender.send_signal(signal.SIGINT)
    assert finish(sender)[0] == 0
    assert out.read_bytes() == file.read_bytes()
    assert json.loads((tmp_path / "rx.json").read_text())["cfo_hz"] == pytest.approx(3000, abs=100)
    sent = json.loads((tmp_path / "tx.json").read_text())
    assert not sent["complete"] and sent["frames_sent"] > 0


def test_fast_medium_loses_nothing(file, device, tmp_path):
    """As fast as both go, one round is enough."""
    out = tmp_path / "received.bin"
    tx, rx = both(["tx", "--device", device + ",pacing=lockstep", file, "--seconds", 0, "--rounds", 1,
                   "--gap", 1],
                  ["rx", "--device", device + ",pacing=lockstep,seed=1", "--out", out, "--json",
                   tmp_path / "rx.json",
                   "--timeout", 20], 0.5)
    assert tx[0] == 0 and rx[0] == 0, (tx, rx)
    got = json.loads((tmp_path / "rx.json").read_text())
    assert out.read_bytes() == file.read_bytes() and got["overflows"] == 0
    assert got["frames"]["ok"] == got["frames"]["detected"] == got["parts_needed"]


def test_nobody_sends(device, tmp_path):
    status, _, err = finish(launch("rx", "--device", device, "--out", tmp_path / "x", "--timeout", 1.5))
    assert status == 1 and "no frame was found at all" in err and not (tmp_path / "x").exists()


@pytest.mark.parametrize("arguments, words, status", [
    (["tx", "--device", "driver=none", "{file}"], "SoapySDRUtil --find", 1),
    (["rx", "--device", "driver=none", "--out", "{out}"], "SoapySDRUtil --find", 1),
    (["tx", "--device", "{device}", "--rate", "1e9", "{file}"], "it takes 1000 to 6.144e+07", 1),
    (["rx", "--device", "{device}", "--freq", "1e11", "--out", "{out}"], "it takes 1e+06 to 6e+09", 1),
    (["rx", "--device", "{device}", "--gain", "200", "--out", "{out}"], "the gain is 200 dB, it takes 0 to "
                                                                        "80", 1),
    (["rx", "--device", "{device}", "--antenna", "LEFT", "--out", "{out}"], "'LEFT' is not among RX", 1),
    (["tx", "--device", "{device},colour=red", "{file}"], "there is no setting 'colour'", 1),
    (["tx", "--device", "{device}", "--rate", "-1", "{file}"], "--rate is -1", 2),
    (["tx", "--device", "{device}", "--constellation", "qam32", "{file}"], "qam32", 2),
    (["tx", "--device", "{device}", "nowhere.txt"], "nowhere.txt", 1),
    (["rx", "--device", "{device}"], "--out", 2),
    (["rx", "--device", "{device}", "--out", "/nonexistent/x"], "/nonexistent/x", 2),
])
def test_errors_are_one_sentence(arguments, words, status, file, device, tmp_path):
    names = {"file": file, "out": tmp_path / "out", "device": device}
    code, _, err = finish(launch(*[str(a).format(**names) for a in arguments]))
    assert code == status and words in err and "Traceback" not in err, err


@pytest.mark.parametrize("command", ["tx", "rx"])
def test_help_has_an_example(command):
    code, out, _ = finish(launch(command, "--help"))
    assert code == 0 and f"gr-diffusion {command} --device driver=loopback" in out


def test_an_assembly_survives_anything():
    data, other = bytes(range(256)) * 4, bytes(1024)
    first, second = carousel.split(data, 60, 1), carousel.split(other, 60, 1)
    a = carousel.Assembly()
    for junk in (b"", b"abc", b"\0\0\0\0x", b"\xff" * 70, bytes(60)):
        a.add(junk)
    for p in first[:7] + second[3:9]:  # the transmitter was started anew with another file
        a.add(p)
    assert a.data is None and a.progress()[1] == len(second)
    for p in second[::-1]:
        a.add(p)
    assert a.data == other
