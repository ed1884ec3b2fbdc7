# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual radio under clients nobody here wrote: SoapyRemote (server and client), SoapySDRUtil over it,
gqrx."""
import ast
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from foreign import Processes, free_port, missing, soapy_server  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LETTER = ROOT / "examples/letter.txt"


def soapy(*arguments):
    return subprocess.run(["SoapySDRUtil", *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """tcp://... of a SoapySDRServer, in surroundings of its own."""
    lacking = missing("SoapySDRServer", "dbus-daemon", "avahi-daemon")
    if lacking:
        pytest.skip(f"{lacking} is not installed (apt install soapyremote-server avahi-daemon dbus)")
    if not list(Path("/usr/lib").glob("*/SoapySDR/modules0.8/libremoteSupport.so")):
        pytest.skip("SoapySDR's remote module is not installed (apt install soapysdr-module-remote)")
    if os.getuid() != 0:
        pytest.skip("avahi-daemon starts as root only, and SoapySDRServer ends where there is none")
    processes, port = Processes(tmp_path_factory.mktemp("server")), free_port()
    problem = soapy_server(processes, port)
    try:
        assert not problem, problem
        yield f"driver=remote,remote=tcp://127.0.0.1:{port},remote:driver=loopback"
    finally:
        processes.stop()
        soapy("--find=driver=loopback")  # cleans up


def test_remote_find_and_probe(server):
    found = soapy(f"--find={server.replace(',remote:driver=loopback', '')}")
    assert "loopback" in found.stdout, found.stdout + found.stderr
    probe = soapy(f"--probe={server},remote:medium=remote-{os.getpid()}")
    assert probe.returncode == 0, probe.stdout + probe.stderr
    for words in ("Full gain range: [0, 80] dB", "Antennas: TX", "Sample rates", "rssi_dbm"):
        assert words in probe.stdout, words


@pytest.mark.parametrize("prot", ["udp", "tcp"])
def test_remote_rate(server, prot):
    """Also what the server reads before the stream is on, and goes on reading after it is off: not an error
    each."""
    args = f"--args={server},remote:medium=remote-{os.getpid()},remote:prot={prot}"
    done = subprocess.run(["timeout", "-s", "INT", "7", "SoapySDRUtil", args, "--rate=1e6", "--direction=RX"],
                          capture_output=True, text=True, timeout=60)
    rates = [float(r) for r in re.findall(r"([0-9.]+) Msps", done.stdout.split("Begin")[-1])[1:]]
    assert rates and abs(rates[-1] - 1) < 0.05, done.stdout + done.stderr
    assert "STREAM_ERROR" not in done.stdout + done.stderr


SENDER = """
import sys
from gnuradio import gr, soapy
from gnuradio.diffusion import link, ofdm_tx
tb = gr.top_block()
source = link.packet_source(link.split(open(sys.argv[2], "rb").read(), 112, 1) * 300)
tx = ofdm_tx("stream", "qpsk", "ldpc-1/2", "continuous", 0.2)
sink = soapy.sink(sys.argv[1], "fc32", 1, "", "", [""], [""])
sink.set_sample_rate(0, 250e3)
sink.set_frequency(0, 2.45e9)
tb.connect(source, tx, sink)
tb.start()
print("sending", flush=True)
sys.stdin.read()
"""


RECEIVER = """
import sys, time
from gnuradio import blocks, diffusion, gr, soapy
tb = gr.top_block()
source = soapy.source(sys.argv[1], "fc32", 1, "", "", [""], [""])
source.set_sample_rate(0, 250e3)
source.set_frequency(0, 2.45e9)
rx, sink = diffusion.ofdm_rx("native"), blocks.vector_sink_b()
tb.connect(source, rx, sink)
tb.start()
end = time.monotonic() + 40
while time.monotonic() < end and rx.counters()["ok"] < 60:
    time.sleep(0.1)
tb.stop()
tb.wait()
print(rx.counters())
"""


@pytest.mark.parametrize("end", ["receiver", "transmitter"])
@pytest.mark.parametrize("prot", ["udp", "tcp"])
def test_frames_through_the_server(server, prot, end):
    """Frames between a flowgraph here and a radio at the other end of SoapyRemote, gr-soapy on both sides."""
    medium = f"remote-{end}-{prot}-{os.getpid()}"
    here = f"driver=loopback,medium={medium},seed=2"
    there = f"{server},remote:medium={medium},remote:prot={prot}"
    sends, receives = (there, here) if end == "transmitter" else (here, there)
    sender = subprocess.Popen([sys.executable, "-c", SENDER, sends, str(LETTER)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        assert sender.stdout.readline() == "sending\n"
        done = subprocess.run([sys.executable, "-c", RECEIVER, receives], capture_output=True, text=True,
                              timeout=100)
    finally:
        sender.kill()
        sender.communicate()
    counters = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert counters, done.stdout + done.stderr
    assert ast.literal_eval(counters[0])["ok"] >= 60, done.stdout + done.stderr
    assert "STREAM_ERROR" not in done.stdout + done.stderr


# ---- gqrx ------------------------------------------------------------------------------------------

GQRX = """[General]
configversion=3
crashed=false

[input]
device="soapy=0,driver=loopback,medium={medium},noise_dbm=-100"
frequency=2450000000
sample_rate=1000000

[remote_control]
allowed_hosts=127.0.0.1
enabled=true
port={port}
"""
TONE = """
import sys
from gnuradio import analog, gr, soapy
tb = gr.top_block()
source = analog.sig_source_c(1e6, analog.GR_COS_WAVE, 0, 0.5)
sink = soapy.sink(f"driver=loopback,seed=3,medium={sys.argv[1]}", "fc32", 1, "", "", [""], [""])
sink.set_sample_rate(0, 1e6)
sink.set_frequency(0, 2.45e9)
tb.connect(source, sink)
tb.start()
print("sending", flush=True)
sys.stdin.read()
"""


def ask(control, command):
    control.sendall(command.encode() + b"\n")
    return control.recv(200).decode().strip()


def strength(control, wanted, seconds=20):
    """The level that gqrx shows, in dBFS, once wanted(level), or the last."""
    end = time.monotonic() + seconds
    while True:
        level = float(ask(control, "l STRENGTH"))
        if wanted(level) or time.monotonic() > end:
            return level
        time.sleep(0.2)


def test_gqrx_hears_a_tone(tmp_path):
    lacking = missing("gqrx", "pulseaudio")
    if lacking:
        pytest.skip(f"{lacking} is not installed (apt install gqrx-sdr pulseaudio)")
    medium, port = f"gqrx-{os.getpid()}", free_port()
    (tmp_path / "gqrx.conf").write_text(GQRX.format(medium=medium, port=port))
    tmp_path.chmod(0o700)
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path),
           "QT_QPA_PLATFORM": "offscreen"}
    processes, sender = Processes(tmp_path), None
    try:
        # gqrx shows a dialogue and waits for ever where there is no sound server.
        problem = processes.start("pulseaudio", ["pulseaudio", "--daemonize=no", "--exit-idle-time=-1", "-n",
                                                 "--load=module-null-sink",
                                                 "--load=module-native-protocol-unix"], env,
                                  lambda log: (tmp_path / "pulse/native").exists())
        if problem:
            pytest.skip(f"no sound server: {problem}")

        def listening(log):
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        assert not (problem := processes.start("gqrx", ["gqrx", "-c", str(tmp_path / "gqrx.conf")], env,
                                               listening, 60)), problem
        with socket.create_connection(("127.0.0.1", port), 20) as control:
            control.settimeout(20)
            assert ask(control, "U DSP 1") == "RPRT 0" and ask(control, "f") == "2450000000"
            quiet = strength(control, lambda level: level < -50)
            sender = subprocess.Popen([sys.executable, "-c", TONE, medium], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
            assert sender.stdout.readline() == "sending\n"
            loud = strength(control, lambda level: level > quiet + 25)
            assert quiet < -45 and loud > quiet + 25, (quiet, loud)
    finally:
        if sender:
            sender.kill()
            sender.communicate()
        processes.stop()
        soapy("--find=driver=loopback")  # cleans up
