# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running receiver block may be fed: every NaN, Inf, absurd level, tag type. Its output stays
finite."""
import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr

TAGS = [("noise_var", pmt.from_double(float("nan"))), ("noise_var", pmt.from_double(-1)),
        ("noise_var", pmt.PMT_NIL),
        ("noise_var", pmt.intern("0.1")), ("snr", pmt.from_double(float("inf"))),
        ("snr", pmt.from_double(-1e9)),
        ("snr", pmt.make_vector(2, pmt.PMT_T)), ("noise_var", pmt.from_complex(1j)),
        ("snr", pmt.from_double(1e9)),
        ("noise_var", pmt.from_double(0)), ("snr", pmt.make_dict())]


def blocks_under_test(noise_var=-1):
    return [(diffusion.denoiser_cc("rx-qam16", noise_var), blocks.vector_sink_c()),
            (diffusion.soft_demapper_cf("rx-qam16", noise_var), blocks.vector_sink_f())]


def feed(block, sink, y, tags=()):
    tb = gr.top_block()
    source = blocks.vector_source_c(np.asarray(y, np.complex64).tolist(), False, 1, list(tags))
    tb.connect(source, block, sink)
    tb.run()
    return np.array(sink.data())


@pytest.mark.parametrize("noise_var", [-1, 1e-5, 0.1, 100])
def test_output_is_finite_whatever_comes_in(noise_var):
    rng = np.random.default_rng(1)
    y = rng.standard_normal(4000) + 1j * rng.standard_normal(4000)
    y[::7] = np.nan
    y[1::7] = 1j * np.inf
    y[2::7] = -np.inf + 1j * np.nan
    y[3::7] = 3e38
    y[4::7] = 1e-42
    for block, sink in blocks_under_test(noise_var):
        out = feed(block, sink, y)
        assert np.isfinite(out).all()
        assert block.bad_samples() == np.count_nonzero(~np.isfinite(y.astype(np.complex64)))
        assert out.size == y.size * (1 if out.dtype.kind == "c" else 4)


@pytest.mark.parametrize("value", [0, np.nan, np.inf, 1e20])
def test_streams_of_one_value(value):
    for block, sink in blocks_under_test():
        assert np.isfinite(feed(block, sink, np.full(3000, value, np.complex64))).all()
        assert np.isfinite(block.noise_var()) and block.noise_var() > 0


def test_tags_of_every_wrong_kind_are_refused_and_counted():
    for block, sink in blocks_under_test():
        tags = [gr.tag_utils.python_to_tag((10 * i, pmt.intern(key), value, pmt.PMT_F))
                for i, (key, value) in enumerate(TAGS)]
        out = feed(block, sink, np.full(500, 0.3 + 0.3j), tags)
        assert np.isfinite(out).all()
        assert block.refused() == len(TAGS)


def test_one_bad_sample_harms_no_other():
    rng = np.random.default_rng(2)
    y = (rng.standard_normal(1000) + 1j * rng.standard_normal(1000)).astype(np.complex64)
    for (clean, sink), (dirty, other) in zip(blocks_under_test(0.1), blocks_under_test(0.1)):
        a = feed(clean, sink, y)
        z = y.copy()
        z[500] = np.nan
        b = feed(dirty, other, z)
        width = a.size // y.size
        keep = np.arange(a.size) // width != 500
        np.testing.assert_array_equal(a[keep], b[keep])
