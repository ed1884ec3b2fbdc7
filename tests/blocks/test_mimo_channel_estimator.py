# SPDX-License-Identifier: GPL-3.0-or-later
"""mimo_channel_estimator in real flowgraphs, with the shipped model."""

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr
from gnuradio.diffusion.train import mimo_channels as channels

MODEL, RX, TX = "ce-mimo64x16", (4, 4), (8, 8)


@pytest.fixture(scope="module")
def link():
    rng = np.random.default_rng(1)
    h, p = channels.plane_waves(rng, 6, RX, TX), channels.pilots(rng, 64, 16)
    return p, channels.observe(rng, h, p, 0.1)


def run(block, y, tags=()):
    tb = gr.top_block()
    source = blocks.vector_source_c(y.ravel().tolist(), False, y[0].size, list(tags))
    sink, err = blocks.vector_sink_c(16 * 64), blocks.vector_sink_f()
    tb.connect(source, block, sink)
    tb.connect((block, 1), err)
    tb.run()
    return np.array(sink.data()).reshape(-1, 16, 64), np.array(err.data())


def tag(offset, value):
    made = gr.tag_t()
    made.offset, made.key, made.value = offset, pmt.intern("noise_var"), value
    return made


def test_equals_the_estimator(link):
    p, y = link
    block = diffusion.mimo_channel_estimator(MODEL, p.ravel().tolist(), 0.1)
    h, err = run(block, y)
    expected, expected_err = diffusion.Estimator(MODEL)(y, p, 0.1)
    np.testing.assert_array_equal(h.astype(np.complex64), expected)
    np.testing.assert_allclose(err, expected_err[:, 0, 0])
    assert block.frames() == 6 and block.receivers() == 16 and block.transmitters() == 64


def test_tags_change_the_noise_variance_and_bad_ones_do_not(link):
    p, y = link
    tags = [
        tag(2, pmt.from_double(0.4)),
        tag(3, pmt.intern("much")),
        tag(4, pmt.from_double(-1)),
        tag(5, pmt.from_double(float("nan"))),
    ]
    block = diffusion.mimo_channel_estimator(MODEL, p.ravel().tolist(), 0.1)
    h, _ = run(block, y, tags)
    expected = diffusion.Estimator(MODEL)(y, p, [0.1, 0.1, 0.4, 0.4, 0.4, 0.4])[0]
    np.testing.assert_array_equal(h.astype(np.complex64), expected)


def test_nan_is_counted_and_does_not_spread(link):
    p, y = link
    y = y.copy()
    y[2, 3, 1] = np.nan
    block = diffusion.mimo_channel_estimator(MODEL, p.ravel().tolist(), 0.1)
    h, err = run(block, y)
    assert block.invalid_frames() == 1 and not h[2].any() and np.isinf(err[2])
    np.testing.assert_array_equal(h[3].astype(np.complex64), diffusion.Estimator(MODEL)(y[3:4], p, 0.1)[0][0])


def test_settings_and_messages(link):
    p, _ = link
    block = diffusion.mimo_channel_estimator(MODEL, p.ravel().tolist(), 0.1)
    block.set_noise_var(0.25)
    assert block.noise_var() == 0.25
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="variance > 0"):
            block.set_noise_var(bad)
    block.set_pilots((2 * p).ravel().tolist())
    with pytest.raises(ValueError, match="made for"):
        block.set_pilots(p[:, :8].ravel().tolist())
    with pytest.raises(Exception, match="angular_unrolled|estimator"):
        block.set_model("rx-qpsk")
    post = block.to_basic_block()._post
    for message in (
        pmt.PMT_NIL,
        pmt.cons(pmt.intern("noise_var"), pmt.intern("x")),
        pmt.cons(pmt.intern("model"), pmt.intern("ce-ofdm64")),
        pmt.cons(pmt.intern("noise_var"), pmt.from_double(0.5)),
    ):
        post(pmt.intern("cmd"), message)
    tb = gr.top_block()
    source, sink = blocks.null_source(8 * 16 * 16), blocks.null_sink(8 * 16 * 64)
    head = blocks.head(8 * 16 * 16, 3)
    tb.connect(source, head, block, sink)
    tb.run()
    assert block.noise_var() == 0.5 and block.model() == MODEL


@pytest.mark.parametrize(
    "pilots, says", [([], "no multiple"), ([1] * 65, "no multiple"), ([0] * 64, "zero"),
                     ([float("inf")] * 64, "NaN")]
)
def test_bad_pilots_are_named(pilots, says):
    with pytest.raises(ValueError, match=says):
        diffusion.mimo_channel_estimator(MODEL, pilots, 0.1)


@pytest.mark.parametrize("method", ["ls", "nomp", "sbl"])
def test_classical_methods_and_changing_between_them(link, method):
    p, y = link
    block = diffusion.mimo_channel_estimator(MODEL, p.ravel().tolist(), 0.1, method=method)
    assert block.method() == method
    h, _ = run(block, y)
    np.testing.assert_array_equal(h.astype(np.complex64), diffusion.Estimator(MODEL, method)(y, p, 0.1)[0])
    block.set_method("diffusion")
    np.testing.assert_array_equal(run(block, y)[0].astype(np.complex64),
                                  diffusion.Estimator(MODEL)(y, p, 0.1)[0])
    with pytest.raises(ValueError, match="none of ls"):
        block.set_method("magic")
    post = block.to_basic_block()._post
    post(pmt.intern("cmd"), pmt.cons(pmt.intern("method"), pmt.intern("magic")))
    post(pmt.intern("cmd"), pmt.cons(pmt.intern("method"), pmt.intern(method)))
    run(block, y)
    assert block.method() == method
