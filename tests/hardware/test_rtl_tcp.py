# SPDX-License-Identifier: GPL-3.0-or-later
"""Receive-only: frames of ours through rtl_tcp's protocol, by gr-osmosdr and by the example flowgraph."""
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gnuradio import diffusion, gr
from gnuradio.diffusion import link


try:
    import osmosdr
except ImportError:
    osmosdr = None
needs_osmosdr = pytest.mark.skipif(osmosdr is None, reason="gr-osmosdr is not installed (apt install "
                                                           "gr-osmosdr)")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/rtl_tcp_receiver.grc"
PACKETS = [b"%03d over rtl_tcp, eight bits a rail.\n" % i for i in range(40)]
RATE = 1_024_000


@pytest.fixture(scope="module")
def samples():
    """A transmission with silence and noise, at the level that an 8-bit receiver wants."""
    from gnuradio import blocks
    tb = gr.top_block()
    source, sink = link.packet_source(PACKETS), blocks.vector_sink_c()
    tx = diffusion.ofdm_tx("stream", "qpsk", "ldpc-1/2")
    tb.connect(source, tx, sink)
    tb.run()
    x = np.concatenate([np.zeros(3000), 0.2 * np.array(sink.data()), np.zeros(3000)])
    rng = np.random.default_rng(1)
    turn = np.exp(2j * np.pi * 3e-3 * np.arange(x.size))  # 3 kHz of carrier offset
    return (x * turn + rng.standard_normal((x.size, 2)) @ [0.01, 0.01j]).astype(np.complex64)


class Served:
    """The server in a process of its own."""

    def __init__(self, samples, folder):
        np.save(folder / "samples.npy", samples)
        self.log = folder / "server.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([sys.executable, str(Path(__file__).parent / "rtl_tcp_server.py"),
                                             "0",
                                             str(folder / "samples.npy")], stdout=log, stderr=log)
        end = time.monotonic() + 30
        while "serving" not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)
        self.port = int(self.log.read_text().split()[2])

    @property
    def commands(self):
        words = [line.split() for line in self.log.read_text().splitlines()[1:]]
        return {w[0]: int(w[1]) for w in words}

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(samples, tmp_path):
    served = Served(samples, tmp_path)
    yield served
    served.close()


def test_the_server_speaks_the_protocol(server, samples):
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        client.sendall(struct.pack(">BI", 1, 433_920_000) + struct.pack(">BI", 2, RATE))
        data = b""
        while len(data) < 12 + 8000:
            data += client.recv(65536)
        assert data[:4] == b"RTL0" and struct.unpack(">II", data[4:12]) == (5, 29)
        rails = (np.frombuffer(data[12:12 + 8000], np.uint8).astype(np.float32) - 127.5) / 127.5
        assert np.abs(rails.view(np.complex64) - samples[:4000]).max() < 1 / 127.5
        for _ in range(100):
            if len(server.commands) == 2:
                break
            time.sleep(0.02)
    assert server.commands == {"frequency": 433_920_000, "rate": RATE}


# In a process of its own that ends without tb.wait(): gr-osmosdr's source waits for its server for ever, and
# when that is gone reads nothing in a busy loop.
RECEIVE = """
import os, sys, time
import osmosdr, pmt
from gnuradio import blocks, diffusion, gr
from gnuradio.diffusion import link
source = osmosdr.source("numchan=1 rtl_tcp=127.0.0.1:" + sys.argv[1])
source.set_sample_rate(float(sys.argv[2]))
source.set_center_freq(433.92e6)
source.set_gain(30)
rx, collector = diffusion.ofdm_rx("native"), link.Collector()
tb, sink = gr.top_block(), blocks.null_sink(1)
tb.connect(source, rx, sink)
tb.msg_connect(rx, "pdus", collector, "in")
tb.start()
end = time.monotonic() + 30
while time.monotonic() < end and len(collector.messages) < int(sys.argv[3]):
    time.sleep(0.05)
for m in list(collector.messages):
    sys.stdout.buffer.write(b"PDU " + bytes(pmt.u8vector_elements(pmt.cdr(m))))
sys.stdout.flush()
os._exit(0)
"""


@needs_osmosdr
def test_frames_through_gr_osmosdr(server):
    done = subprocess.run([sys.executable, "-c", RECEIVE, str(server.port), str(RATE), str(2 * len(PACKETS))],
                          capture_output=True, timeout=120)
    got = {line[4:] + b"\n" for line in done.stdout.split(b"\n") if line.startswith(b"PDU ")}
    assert got == set(PACKETS), done.stderr.decode()[-2000:]
    assert server.commands["rate"] == RATE and abs(server.commands["frequency"] - 433_920_000) < 10


@needs_osmosdr
def test_the_example_flowgraph(server, tmp_path):
    pytest.importorskip("PyQt5")
    done = subprocess.run([sys.executable, "/usr/bin/grcc", "-o", str(tmp_path), str(EXAMPLE)],
                          capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    received, log = tmp_path / "rtl_tcp_receiver_received.txt", open(tmp_path / "log", "w+")
    process = subprocess.Popen([sys.executable, str(tmp_path / "rtl_tcp_receiver.py"), "-d",
                                f"rtl_tcp=127.0.0.1:{server.port}"], stdout=log, stderr=log, cwd=tmp_path,
                               stdin=subprocess.DEVNULL, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"})
    try:
        end = time.monotonic() + 90
        while time.monotonic() < end and not (received.is_file() and received.stat().st_size > 3000):
            assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.1)
    finally:
        process.kill()  # see above: gr-osmosdr's source does not let a flowgraph end
        process.wait()
        log.close()
    text = received.read_bytes()
    assert sum(p in text for p in PACKETS) >= len(PACKETS) - 1
