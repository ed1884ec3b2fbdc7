# SPDX-License-Identifier: GPL-3.0-or-later
"""The compute budget in flowgraphs: it engages with a backlog, not behind a slow consumer or before a slow
producer, and never when it is off. No times are asserted: streams are long enough for any machine."""
import time

import numpy as np
import pytest

from gnuradio import blocks, diffusion, gr

STEPS = 16


def symbols(n, seed=1):
    rng = np.random.default_rng(seed)
    points = np.asarray(diffusion.constellation("qam16"))
    noise = rng.standard_normal((n, 2)) @ [1, 1j] * np.sqrt(0.05)
    return (points[rng.integers(0, 16, n)] + noise).astype(np.complex64)


def stream(*parts, items, size=8):
    """Repeats the first part's samples, `items` of them, through the others."""
    tb = gr.top_block()
    head = blocks.head(size, items)
    tb.connect(parts[0], head, *parts[1:])
    tb.run()


def denoiser(on, mode="exact"):
    return diffusion.denoiser_cc("rx-qam16", 0.1, STEPS, mode, compute_budget=on)


def test_backlog_lowers_the_steps():
    block = denoiser(True)
    sink = blocks.null_sink(8)
    stream(blocks.vector_source_c(symbols(4096), True), block, sink, items=600_000)
    budget = block.budget()
    assert budget["lowered"] >= 1 and 1 <= budget["steps"] <= STEPS
    assert 0 < budget["reduced"] <= 600_000
    assert budget["steps_wanted"] == block.steps() == STEPS
    assert sink.nitems_read(0) == 600_000


def test_off_by_default_and_exact():
    y = symbols(50_000)
    outputs = []
    for block in (denoiser(False), diffusion.denoiser_cc("rx-qam16", 0.1, STEPS, "exact")):
        sink = blocks.vector_sink_c()
        tb = gr.top_block()
        tb.connect(blocks.vector_source_c(y), block, sink)
        tb.run()
        outputs.append(np.array(sink.data()))
        assert not block.compute_budget()
        assert block.budget() == {"steps": STEPS, "steps_wanted": STEPS, "lowered": 0, "reduced": 0}
    assert np.array_equal(*outputs)


def test_slow_consumer_is_not_our_backlog():
    block = denoiser(True)
    block.set_max_output_buffer(1024)
    throttle, sink = blocks.throttle(8, 40_000), blocks.null_sink(8)
    stream(blocks.vector_source_c(symbols(4096), True), block, throttle, sink, items=60_000)
    assert block.budget()["steps"] == STEPS  # it waits for the consumer, so it has time


def test_slow_producer_leaves_the_steps():
    block = denoiser(True)
    throttle = blocks.throttle(8, 20_000)
    stream(blocks.vector_source_c(symbols(4096), True), throttle, block, blocks.null_sink(8), items=20_000)
    assert block.budget()["lowered"] == 0


def test_fewer_steps_are_those_of_that_number():
    """What comes out at the end of a backlog is what a block with that number of steps gives; the law
    stays."""
    y = symbols(4096)
    known = np.asarray(diffusion.constellation("qam16"))[np.arange(512) % 16]
    fit = diffusion.Receiver("rx-qam16").fit(known, known * (1.05 + 0.02j) + y[:512] * 0.05, 0.01).state()
    late = []
    steps = 1
    for on in (True, False):
        block = denoiser(on)
        if not on:
            block.set_steps(steps)  # those that the backlog ended with
        block.set_fit(fit)
        sink = blocks.vector_sink_c()
        stream(blocks.vector_source_c(y, True), block, sink, items=400 * 4096)
        late.append(np.array(sink.data()[-4096:]))
        steps = block.budget()["steps"]
    assert np.allclose(*late, atol=1e-5)


def test_status_and_command():
    import pmt
    block = denoiser(False)
    messages = blocks.message_debug()
    tb = gr.top_block()
    tb.connect(blocks.vector_source_c(symbols(4096), True), block, blocks.null_sink(8))
    tb.msg_connect(block, "status", messages, "store")
    block._post(pmt.intern("cmd"), pmt.cons(pmt.intern("compute_budget"), pmt.PMT_T))
    tb.start()
    deadline = time.monotonic() + 60
    while messages.num_messages() < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    tb.stop()
    tb.wait()
    assert block.compute_budget()
    seen = [pmt.to_python(messages.get_message(i)) for i in range(messages.num_messages())]
    assert seen[0] == {"steps": STEPS // 2, "steps_wanted": STEPS, "lowered": 1, "reduced": 0}


def preamble():
    rng = np.random.default_rng(3)
    one = np.sqrt(2) * rng.choice([-1, 1], 64) * (np.arange(64) % 2 == 0)
    two = rng.choice([-1, 1], 64).astype(complex)
    for word in (one, two):
        word[:6] = word[59:] = word[32] = 0
    return one.astype(complex), two


def test_channel_estimator():
    """3000 frames at once: full buffers from the start. The taps stay right within the noise."""
    one, two = preamble()
    h = np.exp(-2j * np.pi * 2 * np.arange(-32, 32) / 64) * 0.8
    frame = np.concatenate([one * h, two * h, two * h]).astype(np.complex64)
    for on in (True, False):
        block = diffusion.ofdm_channel_estimator_vcvc("ce-ofdm64", one, two, 1, compute_budget=on,
                                                      noise_var=1e-3)
        tb, taps = gr.top_block(), blocks.vector_sink_c(64)
        head = blocks.head(8 * 64, 9000)
        tb.connect(blocks.vector_source_c(frame.tolist(), True, 64), head, block, blocks.null_sink(8 * 64))
        tb.connect((block, 1), taps)
        tb.run()
        budget = block.budget()
        assert budget["steps_wanted"] == 4
        if on:
            assert budget["lowered"] >= 1 and budget["reduced"] > 0
        else:
            assert budget == {"steps": 4, "steps_wanted": 4, "lowered": 0, "reduced": 0}
        used = two != 0
        last = np.array(taps.data()).reshape(-1, 64)[-1]
        assert np.mean(np.abs(last - h)[used] ** 2) < 2e-3


@pytest.mark.parametrize("waveform", ["native", "stock"])
def test_receiver_chain_counts(waveform):
    from gnuradio.diffusion.benchmarks import chains
    samples, frame = {"native": chains.native_samples, "stock": chains.stock_samples}[waveform](1)
    rx = diffusion.ofdm_rx(waveform, "diffusion", "map", compute_budget=True)
    stream(blocks.vector_source_c(samples.tolist(), True), rx, blocks.null_sink(1), items=1000 * frame)
    budget, counters = rx.budget(), rx.counters()
    assert budget["steps_wanted"] == 4 and budget["lowered"] >= 1
    assert 0 < budget["reduced"] <= counters["detected"]
    assert counters["ok"] >= 999
    rx.set_compute_budget(False)
    assert not rx.core.compute_budget()


def test_a_model_that_cannot_be_used_is_refused_when_named():
    for waveform in ("native", "stock"):
        rx = diffusion.ofdm_rx(waveform, "lmmse", "map")
        for setter in (rx.set_estimator_model, rx.set_demapper_model):
            with pytest.raises(Exception, match="no-such-model"):
                setter("no-such-model")
        with pytest.raises(Exception, match="carriers"):
            rx.set_estimator_model("ce-ofdm256")
        rx.set_estimator("diffusion")
        assert rx.estimator() == "diffusion"
