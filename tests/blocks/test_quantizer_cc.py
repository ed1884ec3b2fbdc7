# SPDX-License-Identifier: GPL-3.0-or-later
"""quantizer_cc in real flowgraphs, held to closed form."""
import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr


def run(block, x):
    tb = gr.top_block()
    source = blocks.vector_source_c(x.tolist())
    sink = blocks.vector_sink_c()
    tb.connect(source, block, sink)
    tb.run()
    return np.array(sink.data(), np.complex64)


def sine_sqnr_db(bits):
    """Exact SQNR of a full-scale sine: the error integrated over the sine's arcsine law, cell by cell."""
    edges = np.linspace(-1, 1, 2 ** bits + 1)
    levels = (edges[:-1] + edges[1:]) / 2
    cdf = 0.5 + np.arcsin(edges) / np.pi
    first = -np.sqrt(1 - edges ** 2) / np.pi                              # integral of x p(x)
    second = cdf / 2 - edges * np.sqrt(1 - edges ** 2) / (2 * np.pi)      # integral of x^2 p(x)
    mse = np.sum(np.diff(second) - 2 * levels * np.diff(first) + levels ** 2 * np.diff(cdf))
    return 10 * np.log10(0.5 / mse)


@pytest.mark.parametrize("bits, off_textbook", [(2, 1.0), (4, 0.6), (8, 0.2), (12, 0.1), (15, 0.1)])
def test_full_scale_sine_has_textbook_sqnr(bits, off_textbook):
    phase = np.pi * (5 ** 0.5 - 1) * np.arange(200000)  # golden ratio: phases fill the circle evenly
    x = np.exp(1j * phase).astype(np.complex64)
    error = run(diffusion.quantizer_cc(bits, 1.0), x) - x
    sqnr = -10 * np.log10(np.mean(np.abs(error) ** 2))
    assert abs(sqnr - sine_sqnr_db(bits)) < 0.02
    # 6.02 b + 1.76 dB takes the error as uniform over a step, which a sine at its peaks is not.
    assert abs(sqnr - (6.02 * bits + 1.76)) < off_textbook


def test_levels_and_clipping_are_exact():
    x = np.array([0.0, 0.499, 0.5, 0.999, 1.0, 1.001, 9, -0.001, -1.0, -1.5]) * (1 + 1j)
    block = diffusion.quantizer_cc(2, 1.0)
    out = run(block, x.astype(np.complex64))
    expected = [.25, .25, .75, .75, .75, .75, .75, -.25, -.75, -.75]
    np.testing.assert_allclose(out.real, expected)
    np.testing.assert_allclose(out.imag, expected)
    assert block.clipped() == 2 * 3


def test_bussgang_gain_of_one_bit():
    rng = np.random.default_rng(1)
    x = ((rng.standard_normal(400000) + 1j * rng.standard_normal(400000)) / np.sqrt(2)).astype(np.complex64)
    y = diffusion.quantizer(1, 1.0)(x)
    gain = np.vdot(x, y).real / np.vdot(x, x).real
    # One-bit output +-R/2 per rail: E[x sign(x)] R/2 / E[x^2] = R/2 sqrt(2/pi) / sigma, sigma^2 = 1/2.
    assert abs(gain - 0.5 * np.sqrt(2 / np.pi) / np.sqrt(0.5)) < 4 * 0.7 / np.sqrt(800000)


def test_dither_removes_the_bias_of_small_signals():
    x = np.full(200000, 0.1 + 0.02j, np.complex64)
    assert run(diffusion.quantizer_cc(3, 1.0), x).mean() == pytest.approx(0.125 + 0.125j)
    mean = run(diffusion.quantizer_cc(3, 1.0, True, 7), x).mean()
    assert abs(mean - x[0]) < 4 * 0.125 / np.sqrt(x.size)


@pytest.mark.parametrize("bits, full_scale", [(0, 1), (17, 1), (4, 0), (4, -1), (4, float("nan"))])
def test_bad_settings_are_named(bits, full_scale):
    with pytest.raises(ValueError, match="bits is|full_scale is"):
        diffusion.quantizer_cc(bits, full_scale)


def test_messages_change_settings_and_bad_ones_do_nothing():
    block = diffusion.quantizer_cc(8, 1.0)
    tb = gr.top_block()
    source, sink = blocks.null_source(8), blocks.null_sink(8)
    tb.connect(source, block, sink)
    tb.start()
    post = lambda message: block.to_basic_block()._post(pmt.intern("cmd"), message)
    for message in (pmt.from_double(3), pmt.intern("bits"), pmt.cons(pmt.intern("bits"), pmt.intern("x")),
                    pmt.cons(pmt.intern("bits"), pmt.from_long(99)), pmt.PMT_NIL,
                    pmt.cons(pmt.from_long(1), pmt.from_long(2)), pmt.make_vector(3, pmt.PMT_T)):
        post(message)
    post(pmt.dict_add(pmt.dict_add(pmt.make_dict(), pmt.intern("bits"), pmt.from_long(3)),
                      pmt.intern("full_scale"), pmt.from_double(0.5)))
    deadline = time.monotonic() + 5
    while block.bits() != 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    tb.stop()
    tb.wait()
    assert (block.bits(), block.full_scale()) == (3, 0.5)


def test_nan_stays_one_bad_sample():
    x = np.array([0.3, np.nan, 0.3, np.inf], np.complex64)
    block = diffusion.quantizer_cc(4, 1.0)
    out = run(block, x)
    assert np.isfinite(out).all() and out[0] == out[2] and block.clipped() >= 2
