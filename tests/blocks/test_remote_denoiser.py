# SPDX-License-Identifier: GPL-3.0-or-later
"""remote_denoiser in a flowgraph, with a torch worker in a process of its own that is killed on the way."""
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr

NOISE_VAR = 0.05


CODE = "import sys; from gnuradio.diffusion.cli import main; sys.exit(main())"


def serve(*options):
    """A serving process and its address."""
    process = subprocess.Popen([sys.executable, "-c", CODE, "serve", "rx-qam16", "--bind",
                                "tcp://127.0.0.1:*", *options],
                               stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("serving rx-qam16 at tcp://127.0.0.1:"), line
    return process, line.split()[3]


@pytest.fixture
def worker():
    process, address = serve()
    yield process, address
    process.kill()
    process.wait()


def received(rx, n, seed=1):
    rng = np.random.default_rng(seed)
    x = rx.constellation[rng.integers(16, size=n)]
    noise = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    return (x + noise * np.sqrt(NOISE_VAR / 2)).astype(np.complex64)


class slow_source(gr.sync_block):
    """The samples in small portions, with pauses: long enough for things to happen on the way."""

    def __init__(self, samples, portion, pause, at=None, then=None):
        gr.sync_block.__init__(self, "slow_source", None, [np.complex64])
        self.samples, self.portion, self.pause, self.sent, self.at, self.then = samples, portion, pause, 0, at, then

    def work(self, input_items, output_items):
        n = min(self.portion, len(output_items[0]), len(self.samples) - self.sent)
        if n == 0:
            return -1
        if self.then and self.sent >= self.at:
            self.then()
            self.then = None
        time.sleep(self.pause)
        output_items[0][:n] = self.samples[self.sent:self.sent + n]
        self.sent += n
        return n


def test_equals_the_native_engine_and_outlives_its_worker(worker):
    process, address = worker
    rx = diffusion.Receiver("rx-qam16")
    y = received(rx, 60000)
    block = diffusion.remote_denoiser("rx-qam16", [address], NOISE_VAR, timeout=2.0)
    source = slow_source(y, 1000, 0.01, 40000, process.kill)
    sink = blocks.vector_sink_c()
    tb = gr.top_block()
    tb.connect(source, block, sink)
    tb.run()
    out = np.array(sink.data(), np.complex64)
    np.testing.assert_allclose(out, rx(y, NOISE_VAR)[0], atol=2e-4)
    counters = block.counters()
    assert counters["remote"] > 10000 and counters["native"] > 5000
    assert counters["remote"] + counters["native"] == y.size


def test_another_worker_takes_over_with_keys(tmp_path):
    """Two worker processes behind CURVE keys, one killed on the way: its share goes to the other, in
    order."""
    keys = tmp_path / "worker.key"
    made = subprocess.run([sys.executable, "-c", CODE, "serve", "--make-keys", str(keys)],
                          capture_output=True, text=True)
    assert made.returncode == 0 and keys.stat().st_mode & 0o777 == 0o600
    public = made.stdout.split("server_key=")[1].strip()
    workers = [serve("--keys", str(keys)) for _ in range(2)]
    try:
        rx = diffusion.Receiver("rx-qam16")
        y = received(rx, 40000)
        block = diffusion.remote_denoiser("rx-qam16", [a for _, a in workers], NOISE_VAR, timeout=4.0,
                                          server_key=public)
        source = slow_source(y, 1000, 0.01, 20000, workers[0][0].kill)
        sink = blocks.vector_sink_c()
        tb = gr.top_block()
        tb.connect(source, block, sink)
        tb.run()
        np.testing.assert_allclose(np.array(sink.data(), np.complex64), rx(y, NOISE_VAR)[0], atol=2e-4)
        counters = block.counters()
        assert counters["resent"] >= 1 and counters["remote"] + counters["native"] == y.size
        # before the workers were found the native engine worked; after the kill nothing needed it
        assert counters["remote"] >= 20000
    finally:
        for process, _ in workers:
            process.kill()
            process.wait()


def test_no_worker_tags_and_bad_input():
    rx = diffusion.Receiver("rx-qam16")
    y = received(rx, 3000)
    tags = [gr.tag_utils.python_to_tag((at, pmt.intern(key), value)) for at, key, value in (
        (0, "noise_var", pmt.from_double(0.2)), (1000, "snr", pmt.from_double(20.0)),
        (1500, "snr", pmt.intern("nonsense")), (1600, "noise_var", pmt.from_double(-3)),
        (1700, "snr", pmt.from_double(1e9)))]
    spoiled = y.copy()
    spoiled[2000] = np.nan
    block = diffusion.remote_denoiser("rx-qam16", ["tcp://127.0.0.1:9"])
    source, sink = blocks.vector_source_c(spoiled.tolist(), False, 1, tags), blocks.vector_sink_c()
    tb = gr.top_block()
    tb.connect(source, block, sink)
    tb.run()
    out = np.array(sink.data(), np.complex64)
    np.testing.assert_allclose(out[:1000], rx(y[:1000], 0.2)[0], atol=1e-6)
    good = np.arange(1000, 3000) != 2000
    np.testing.assert_allclose(out[1000:][good], rx(y[1000:], 0.01)[0][good], atol=1e-6)
    assert np.isfinite(out).all()


def test_wrong_noise_levels_and_messages():
    for value in (0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="noise_var is"):
            diffusion.remote_denoiser("rx-qam16", noise_var=value)
    rx = diffusion.Receiver("rx-qam16")
    y = received(rx, 500)
    source, sink = blocks.vector_source_c(y.tolist()), blocks.vector_sink_c()
    block = diffusion.remote_denoiser("rx-qam16", ["tcp://127.0.0.1:9"])
    for message in [pmt.PMT_NIL, pmt.from_long(3), pmt.cons(pmt.intern("noise_var"), pmt.from_double(0.05)),
                    pmt.cons(pmt.intern("noise_var"), pmt.intern("x" * 1000)), pmt.make_dict()]:
        block.to_basic_block()._post(pmt.intern("cmd"), message)
    tb = gr.top_block()
    tb.connect(source, block, sink)
    tb.run()
    np.testing.assert_allclose(np.array(sink.data()), rx(y, 0.05)[0], atol=1e-6)


def test_serve_on_a_network_without_keys_says_so():
    process = subprocess.Popen([sys.executable, "-c", CODE, "serve", "rx-qam16", "--bind", "tcp://0.0.0.0:*",
                                "--seconds",
                                "0.2"], stdout=subprocess.PIPE, text=True)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and "everybody on this network can use it" in out


def test_serve_stops_cleanly_and_says_what_it_did(tmp_path):
    code = "import sys; from gnuradio.diffusion.cli import main; sys.exit(main())"
    report = tmp_path / "serve.json"
    process = subprocess.Popen([sys.executable, "-c", code, "serve", "rx-qam16", "--bind",
                                "tcp://127.0.0.1:*",
                                "--json", str(report)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("serving")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert json.loads(report.read_text())["requests"] == 0
