# SPDX-License-Identifier: GPL-3.0-or-later
"""Setters and getters of blocks that never rest: source and sink at full speed, the block the slowest of the
three. Time is counted in items that passed meanwhile, so that a slow machine changes nothing."""
import contextlib
import threading
import time

import numpy as np
import pytest
from gnuradio import blocks, diffusion, gr

BATCH = 256      # items a call
ROUNDS = 25      # questions and settings
# calls in all those rounds, that is 400 each; waiting for the block's lock takes many thousands
ENOUGH = 20_000


def samples(n, seed=1):
    return (np.random.default_rng(seed).standard_normal((n, 2)) @ [0.7, 0.7j]).astype(np.complex64)


def chanest():
    rng = np.random.default_rng(1)
    first = np.sqrt(2) * (2 * rng.integers(0, 2, 64) - 1.0) * (np.arange(64) % 2 == 0)
    second = 2 * rng.integers(0, 2, 64) - 1.0
    return diffusion.ofdm_channel_estimator_vcvc("ce-ofdm64-fast", first.astype(complex),
                                                 second.astype(complex), 1)


def mimo():
    return diffusion.mimo_channel_estimator("ce-mimo16x4", np.eye(16, dtype=complex).ravel().tolist(), 0.03)


# name: (block, items of a vector, set value i, what is then read, what is expected)
CASES = {
    "denoiser_cc": (lambda: diffusion.denoiser_cc("rx-qam16", 0.03, 8, "exact"), 1,
                    lambda b, i: b.set_steps(7 + i % 2), lambda b: b.steps(), lambda i: 7 + i % 2),
    "denoiser_cc model": (lambda: diffusion.denoiser_cc("rx-qam16", 0.03, 8, "exact"), 1,
                          lambda b, i: b.set_model(("rx-qpsk", "rx-qam16")[i % 2]), lambda b: b.model(),
                          lambda i: ("rx-qpsk", "rx-qam16")[i % 2]),
    "soft_demapper_cf": (lambda: diffusion.soft_demapper_cf("rx-qam64", 0.03, "exact"), 1,
                         lambda b, i: b.set_guard(i % 2 == 0), lambda b: b.guard(), lambda i: i % 2 == 0),
    "sequence_denoiser_cc": (lambda: diffusion.sequence_denoiser_cc("seq-dpa200", 0.01), 1,
                             lambda b, i: b.set_gain(1 + i % 2), lambda b: b.gain(), lambda i: 1 + i % 2),
    "ofdm_channel_estimator_vcvc": (chanest, 64, lambda b, i: b.set_method(("lmmse", "diffusion")[i % 2]),
                                    lambda b: b.method(), lambda i: ("lmmse", "diffusion")[i % 2]),
    "mimo_channel_estimator": (mimo, 64, lambda b, i: b.set_noise_var(0.01 * (1 + i % 2)),
                               lambda b: b.method(),
                               lambda i: "diffusion"),
    "impairments_cc": (lambda: diffusion.impairments_cc("harsh"), 1,
                       lambda b, i: b.set("kappa_tx", 0.01 * (1 + i % 2)), lambda b: b.get("kappa_tx"),
                       lambda i: 0.01 * (1 + i % 2)),
    "quantizer_cc": (lambda: diffusion.quantizer_cc(4, 1.0, True), 1, lambda b, i: b.set_bits(3 + i % 2),
                     lambda b: b.bits(), lambda i: 3 + i % 2),
    "native_ofdm_rx": (diffusion.native_ofdm_rx, 1, lambda b, i: b.set_compute_budget(i % 2 == 0),
                       lambda b: b.compute_budget(), lambda i: i % 2 == 0),
}


@pytest.mark.parametrize("name", CASES)
def test_busy_block_is_set_and_asked(name):
    make, vector, change, read, expected = CASES[name]
    block = make()
    block.set_max_noutput_items(BATCH)
    source, tb = blocks.vector_source_c(samples(8192 * 8).tolist(), True, vector), gr.top_block()
    sinks = [blocks.null_sink(block.output_signature().sizeof_stream_item(i))
             for i in range(max(1, block.output_signature().min_streams()))]
    tb.connect(source, block)
    for i, sink in enumerate(sinks):
        tb.connect((block, i), sink)
    tb.start()
    try:
        while block.nitems_read(0) < 4 * BATCH:
            time.sleep(0.001)
        before = block.nitems_read(0)
        for i in range(ROUNDS):
            change(block, i)
            assert read(block) == expected(i)
        assert block.nitems_read(0) - before < ENOUGH * BATCH
    finally:
        tb.stop()
        tb.wait()
    change(block, 1)  # and a block at rest
    assert read(block) == expected(1)


@contextlib.contextmanager
def busy_denoiser():
    block, tb = diffusion.denoiser_cc("rx-qam16", 0.03, 4, "exact"), gr.top_block()
    source, sink = blocks.vector_source_c(samples(4096).tolist(), True), blocks.null_sink(8)
    tb.connect(source, block, sink)
    tb.start()
    try:
        yield block
    finally:
        tb.stop()
        tb.wait()


def test_wrong_settings_of_a_busy_block_come_back():
    with busy_denoiser() as block:
        while block.symbols() == 0:
            time.sleep(0.001)
        for wrong in (lambda: block.set_steps(-3), lambda: block.set_mode("quick"),
                      lambda: block.set_model("rx-none")):
            with pytest.raises(ValueError):
                wrong()
        before = block.symbols()
        while block.symbols() == before:  # the stream goes on
            time.sleep(0.001)
        assert (block.steps(), block.mode(), block.model()) == (4, "exact", "rx-qam16")


def test_several_threads_at_once():
    seen = []

    def ask(k):
        for _ in range(20):
            block.set_steps(k)
            seen.append(block.steps())

    with busy_denoiser() as block:
        threads = [threading.Thread(target=ask, args=(k,)) for k in (2, 3, 5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert len(seen) == 60 and set(seen) <= {2, 3, 5}
