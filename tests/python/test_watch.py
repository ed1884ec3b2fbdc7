# SPDX-License-Identifier: GPL-3.0-or-later
"""gr-diffusion watch: what link_metrics publishes, and nonsense on the same socket."""
import json
import threading
import time

import pytest
from gnuradio.diffusion.cli import main, watch

zmq = pytest.importorskip("zmq")


@pytest.fixture
def publisher():
    socket = zmq.Context.instance().socket(zmq.PUB)
    socket.linger = 0
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    yield socket, f"tcp://127.0.0.1:{port}"
    socket.close()


def test_reports_are_shown_and_nonsense_is_not(publisher, tmp_path, capsys):
    socket, address = publisher
    stop = threading.Event()

    def publish():
        while not stop.is_set():
            socket.send_multipart([b"link_metrics", b"{"])
            socket.send_multipart([b"link_metrics"])
            socket.send_multipart([b"link_metrics", b"[1]"])
            socket.send_multipart([b"link_metrics", b"[" * 20000])
            socket.send_multipart([b"link_metrics", json.dumps(
                {"time": 1.5, "ber": 0.25, "ber_low": 0.2, "ber_high": 0.3, "evm_db": float("nan"),
                 "x": "y"}).encode()])
            time.sleep(0.02)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        assert main(["watch", address, "--count", "2", "--timeout", "20", "--json",
                     str(tmp_path / "w.json")]) == 0
    finally:
        stop.set()
        thread.join()
    out = capsys.readouterr().out
    assert out.count("BER 0.25 (0.2 to 0.3)") == 2 and "EVM" not in out
    assert json.loads((tmp_path / "w.json").read_text())["reports"][0] == {
        "time": 1.5, "ber": 0.25, "ber_low": 0.2, "ber_high": 0.3}


def test_a_running_block_is_watched(tmp_path, capsys):
    """link_metrics in a flowgraph, watch on its socket: the figures are those of the streams."""
    import numpy as np
    from gnuradio import blocks, diffusion, gr
    context = zmq.Context.instance().socket(zmq.PUB)
    port = context.bind_to_random_port("tcp://127.0.0.1")
    context.close()
    time.sleep(0.1)
    address = f"tcp://127.0.0.1:{port}"
    bits = np.random.default_rng(1).integers(0, 2, 1000).astype(np.uint8)
    wrong = bits.copy()
    wrong[:100] ^= 1
    tb = gr.top_block()
    sources = [blocks.vector_source_b(x.tolist(), True) for x in (bits, wrong)]
    throttles = [blocks.throttle(1, 1e6) for _ in sources]
    metrics = diffusion.link_metrics("ber", period=0.1, address=address)
    picture = tmp_path / "live.png"
    for i, (source, throttle) in enumerate(zip(sources, throttles)):
        tb.connect(source, throttle, (metrics, i))
    tb.start()
    try:
        assert main(["watch", address, "--count", "10", "--timeout", "20", "--json", str(tmp_path / "w.json"),
                     "--png", str(picture)]) == 0
    finally:
        tb.stop()
        tb.wait()
    last = json.loads((tmp_path / "w.json").read_text())["reports"][-1]
    assert picture.read_bytes().startswith(b"\x89PNG")  # on a machine without a screen
    assert last["ber"] == pytest.approx(0.1, abs=0.03) and last["ber_low"] <= last["ber"] <= last["ber_high"]


def test_silence_and_bad_addresses_are_errors(publisher, capsys):
    assert main(["watch", publisher[1], "--timeout", "0.3"]) == 1
    assert "nothing came" in capsys.readouterr().err
    socket, address = publisher
    message = [b"link_metrics", json.dumps({"time": 1.0, "per": 0.5}).encode()]
    stop = threading.Event()
    thread = threading.Thread(target=lambda: [socket.send_multipart(message)
                                              for _ in iter(lambda: stop.wait(0.02), True)])
    thread.start()
    try:
        assert main(["watch", address, "--count", "1", "--timeout", "20", "--png",
                     "/nonexistent/live.png"]) == 1
    finally:
        stop.set()
        thread.join()
    assert "--png /nonexistent/live.png cannot be written" in capsys.readouterr().err
    assert main(["watch", "nowhere"]) == 1
    assert "is no address" in capsys.readouterr().err


def test_plot_draws_every_figure(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    plot = watch.Plot()
    plot.add({"time": 1.0, "ber": 0.1, "ber_low": 0.05, "ber_high": 0.2})
    plot.add({"time": 2.0, "ber": 0.1, "gmi": 1.5})
    assert [axis.get_ylabel() for axis in plot.figure.axes] == ["BER", "GMI bit"]
    plot.plt.close(plot.figure)
