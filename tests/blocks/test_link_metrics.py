# SPDX-License-Identifier: GPL-3.0-or-later
"""link_metrics in real flowgraphs: figures against their definitions, messages, socket, nonsense."""
import json
import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr
from gnuradio.diffusion import metrics

RNG = np.random.default_rng(8)
SOURCES = {np.dtype(np.uint8): blocks.vector_source_b, np.dtype(np.float32): blocks.vector_source_f,
           np.dtype(np.complex64): blocks.vector_source_c}


def run(block, *streams):
    tb = gr.top_block()
    sources = [SOURCES[s.dtype](s.tolist()) for s in streams]
    for port, source in enumerate(sources):
        tb.connect(source, (block, port))
    tb.run()
    return block.last()


def test_ber_with_its_wilson_interval():
    sent = RNG.integers(0, 2, 50000).astype(np.uint8)
    received = sent ^ (RNG.random(50000) < 0.01)
    errors = int((sent != received).sum())
    figures = run(diffusion.link_metrics("ber"), sent, received.astype(np.uint8))
    assert figures["ber"] == errors / 50000 and figures["bits"] == 50000 and figures["bit_errors"] == errors
    assert (figures["ber_low"], figures["ber_high"]) == pytest.approx(metrics.wilson(errors, 50000))


@pytest.mark.parametrize("measure, name", [("evm", "evm_db"), ("nmse", "nmse_db")])
def test_error_powers(measure, name):
    sent = np.exp(0.5j * np.pi * RNG.integers(0, 4, 20000)).astype(np.complex64)
    noise = (0.1 * (RNG.standard_normal(20000) + 1j * RNG.standard_normal(20000))).astype(np.complex64)
    figures = run(diffusion.link_metrics(measure), sent, sent + noise)
    expected = 10 * np.log10(np.mean(np.abs(noise) ** 2) / np.mean(np.abs(sent) ** 2))
    assert figures[name] == pytest.approx(expected, abs=1e-3)
    assert figures[name + "_low"] < figures[name] < figures[name + "_high"] < figures[name + "_low"] + 0.3
    assert figures[measure + "_symbols"] == 20000


def test_gmi_after_the_best_scaling():
    n, sigma2 = 4000, 0.2
    bits = RNG.integers(0, 2, (n, 2)).astype(np.uint8)
    x = ((2.0 * bits[:, 0] - 1) + 1j * (2.0 * bits[:, 1] - 1)) / np.sqrt(2)
    y = x + np.sqrt(sigma2 / 2) * (RNG.standard_normal(n) + 1j * RNG.standard_normal(n))
    llr = 2 * np.sqrt(2) / sigma2 * np.stack([y.real, y.imag], 1)  # exact for Gray QPSK
    block = diffusion.link_metrics("gmi", 2)
    block.MAX_SYMBOLS = 10 ** 9
    figures = run(block, bits.ravel(), (4 * llr).astype(np.float32).ravel())  # four times too sure
    assert figures["gmi"] == pytest.approx(metrics.gmi(bits, llr), abs=2e-3)
    assert figures["llr_scale"] == pytest.approx(0.25, rel=0.2)
    assert figures["gmi_low"] < figures["gmi"] < figures["gmi_high"]
    assert figures["gmi_symbols"] == n and figures["bits"] == 2 * n


def test_frames_from_messages_and_nonsense_is_ignored():
    block = diffusion.link_metrics("frames", period=0.05)
    tb, debug = gr.top_block(), blocks.message_debug()
    tb.msg_connect((block, "metrics"), (debug, "store"))
    tb.start()
    post = lambda m: block.to_basic_block()._post(pmt.intern("frames"), m)
    d = lambda **kw: pmt.to_pmt({k: v for k, v in kw.items()})
    for nonsense in (pmt.PMT_NIL, pmt.intern("x"), pmt.from_double(1), d(other=1), d(crc_ok=3), d(frames=2),
                     d(frames=2, frame_errors=5), d(bits=-1, bit_errors=0),
                     pmt.cons(pmt.PMT_NIL, pmt.PMT_NIL),
                     d(bits="many", bit_errors=0), pmt.make_u8vector(3, 1)):
        post(nonsense)
    for ok in [True] * 7 + [False]:
        post(pmt.cons(d(crc_ok=ok, snr_db=10.0), pmt.make_u8vector(4, 0)))
    post(d(frames=10, frame_errors=3, bits=1000, bit_errors=7))
    deadline = time.monotonic() + 5
    while block.last().get("frames") != 18 and time.monotonic() < deadline:
        time.sleep(0.02)
    tb.stop()
    tb.wait()
    figures = block.last()
    assert (figures["frames"], figures["frame_errors"], figures["bits"],
            figures["bit_errors"]) == (18, 4, 1000, 7)
    assert figures["per"] == pytest.approx(4 / 18) and figures["ber"] == 0.007
    message = pmt.to_python(debug.get_message(debug.num_messages() - 1))
    assert message["frames"] == 18 and all(isinstance(v, float) for v in message.values())


def test_figures_since_the_last_report():
    block = diffusion.link_metrics("frames", period=0.03, cumulative=False)
    tb, debug = gr.top_block(), blocks.message_debug()
    tb.msg_connect((block, "metrics"), (debug, "store"))
    tb.start()
    for _ in range(3):
        before = debug.num_messages()
        block.to_basic_block()._post(pmt.intern("frames"), pmt.to_pmt({"crc_ok": True}))
        deadline = time.monotonic() + 5
        while debug.num_messages() < before + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    tb.stop()
    tb.wait()
    counts = [pmt.to_python(debug.get_message(i)).get("frames", 0) for i in range(debug.num_messages())]
    assert sum(counts) == 3 and max(counts) < 3


def test_zmq_subscriber_gets_the_same_as_json():
    zmq = pytest.importorskip("zmq")
    subscriber = zmq.Context.instance().socket(zmq.SUB)
    subscriber.linger = 0
    subscriber.setsockopt(zmq.SUBSCRIBE, b"link_metrics")
    block = None
    for port in range(15990, 16040):
        try:
            block = diffusion.link_metrics("frames", period=0.05, address=f"tcp://127.0.0.1:{port}")
            break
        except ValueError:
            continue
    subscriber.connect(f"tcp://127.0.0.1:{port}")
    tb = gr.top_block()
    sink = blocks.message_debug()
    tb.msg_connect((block, "metrics"), (sink, "store"))
    tb.start()
    block.to_basic_block()._post(pmt.intern("frames"), pmt.to_pmt({"crc_ok": False}))
    figures = {}
    deadline = time.monotonic() + 10
    while figures.get("frames") != 1 and time.monotonic() < deadline:
        if subscriber.poll(500):
            topic, text = subscriber.recv_multipart()
            figures = json.loads(text)
    tb.stop()
    tb.wait()
    subscriber.close()
    assert topic == b"link_metrics" and figures["per"] == 1 and figures["per_low"] > 0
    with pytest.raises(ValueError, match="cannot be bound"):
        diffusion.link_metrics("frames", address=f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("args, name", [(("sinr",), "measure"), (("gmi", 0), "bits_per_symbol"),
                                        (("ber", 1, 0), "period"),
                                        (("ber", 1, 1.0, True, "here"), "address")])
def test_bad_settings_are_named(args, name):
    with pytest.raises(ValueError, match=f"link_metrics: {name} is|link_metrics: {name} '"):
        diffusion.link_metrics(*args)


def test_nan_symbols_and_llrs_do_not_spoil_the_figures():
    sent = np.ones(1000, np.complex64)
    received = 1.1 * sent
    received[[3, 500]] = np.nan
    figures = run(diffusion.link_metrics("evm"), sent, received.astype(np.complex64))
    assert figures["evm_db"] == pytest.approx(-20, abs=1e-3) and figures["evm_symbols"] == 998
    llr = np.full(1000, np.inf, np.float32)
    llr[:100] = np.nan
    figures = run(diffusion.link_metrics("gmi", 1), np.ones(1000, np.uint8), llr)
    assert np.isfinite(figures["gmi"]) and figures["gmi"] > 0.7
