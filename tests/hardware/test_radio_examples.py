# SPDX-License-Identifier: GPL-3.0-or-later
"""The radio flowgraphs, run over the virtual radio: two programs, only a device string between them and
hardware."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TEXT = b"A letter through a good radio.\n"


def with_stock_blocks(path, folder):
    """The flowgraph with GRC's own Soapy Custom Source or Sink in place of radio_source or radio_sink."""
    flowgraph = yaml.safe_load(path.read_text())
    for block in flowgraph["blocks"]:
        if block["name"] == "radio":
            kind = block["id"].rsplit("_", 1)[1]
            block["id"] = f"soapy_custom_{kind}"
            block["parameters"] = {
                "driver": "device.split(',')[0].split('=')[-1]",
                "dev_args": "','.join(device.split(',')[1:])",
                "type": "fc32", "nchan": "1", "samp_rate": "samp_rate", "center_freq0": "freq",
                "gain0": "gain",
                "antenna0": "'RX'" if kind == "source" else "'TX'",
                **({"agc0": "False", "dc_removal0": "False"} if kind == "source" else {})}
    out = folder / path.name
    out.write_text(yaml.safe_dump(flowgraph))
    return out


@pytest.fixture(scope="module", params=["as shipped", "stock blocks"])
def programs(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("programs")
    paths = [EXAMPLES / f"{n}.grc" for n in ("soapy_transmitter", "soapy_receiver")]
    if request.param == "stock blocks":
        paths = [with_stock_blocks(p, out) for p in paths]
    done = subprocess.run([sys.executable, "/usr/bin/grcc", "-o", str(out), *map(str, paths)],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_text_from_one_program_to_the_other(programs, tmp_path):
    pytest.importorskip("PyQt5")
    medium = f"driver=loopback,medium=examples-{os.getpid()},pacing=fast"
    env = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    received = tmp_path / "soapy_receiver_received.txt"
    log = open(tmp_path / "log", "w+")
    processes = [subprocess.Popen([sys.executable, str(programs / f"{name}.py"), "-d",
                                   f"{medium},seed={seed}"],
                                  stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=tmp_path, env=env)
                 for seed, name in enumerate(("soapy_receiver", "soapy_transmitter"))]
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end and not (received.is_file() and received.stat().st_size > 5000):
            assert all(p.poll() is None for p in processes), (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.1)
        for p in processes:
            p.send_signal(signal.SIGTERM)
        for p in processes:
            p.wait(30)
    finally:
        for p in processes:
            p.kill()
            p.wait()
        log.close()
        # cleans up
        subprocess.run(["SoapySDRUtil", "--find=driver=loopback"], capture_output=True, timeout=60)
    got = received.read_bytes()
    assert len(got) > 5000 and got.count(TEXT) > 0.9 * len(got) / len(TEXT), got[:300]
