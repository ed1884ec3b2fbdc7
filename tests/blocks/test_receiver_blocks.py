# SPDX-License-Identifier: GPL-3.0-or-later
"""denoiser_cc and soft_demapper_cf in real flowgraphs."""
import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, digital, gr
from gnuradio.diffusion import metrics
from gnuradio.diffusion.train import hardware

NAMES = [m.name for m in diffusion.models() if m.task == "receiver"]


def symbols(name, n, snr_db, seed=1, hw=hardware.Hardware()):
    points = diffusion.model(name).constellation
    index = np.random.default_rng(seed).integers(0, points.size, n)
    return points, index, hw.transmit(points, index, snr_db, seed)


def run(block, y, tags=(), sink=blocks.vector_sink_c):
    tb = gr.top_block()
    source = blocks.vector_source_c(np.asarray(y).tolist(), False, 1, list(tags))
    out = sink()
    tb.connect(source, block, out)
    tb.run()
    return np.array(out.data())


def tag(offset, key, value):
    return gr.tag_utils.python_to_tag((offset, pmt.intern(key), value, pmt.PMT_F))


def post(block, message):
    block.to_basic_block()._post(pmt.intern("cmd"), message)


def pair(key, value):
    return pmt.cons(pmt.intern(key), value)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_equal_the_receiver_class(name):
    _, _, y = symbols(name, 5000, 12)
    x_hat, llr = diffusion.Receiver(name)(y, 0.06)
    denoiser = diffusion.denoiser_cc(name, 0.06, 0, "exact")
    np.testing.assert_allclose(run(denoiser, y), x_hat, atol=1e-6)
    assert denoiser.symbols() == 5000 and denoiser.noise_source() == "given"
    demapper = diffusion.soft_demapper_cf(name, 0.06)
    out = run(demapper, y, sink=blocks.vector_sink_f)
    np.testing.assert_allclose(out.reshape(llr.shape), llr, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in NAMES if n in ("rx-bpsk", "rx-qpsk", "rx-qam16", "rx-qam64")])
def test_llr_convention_is_that_of_gnuradio(name):
    """The stock soft decoder with the same points and labels has the same signs in the same order."""
    points, index, y = symbols(name, 4000, 8)
    noise_var = 10 ** -0.8
    bits = int(np.log2(points.size))
    stock = digital.constellation_calcdist(points.tolist(), list(range(points.size)), 2, 1,
                                           digital.constellation.NO_NORMALIZATION).base()
    theirs = run(digital.constellation_soft_decoder_cf(stock), y, sink=blocks.vector_sink_f)
    ours = run(diffusion.soft_demapper_cf(name, noise_var), y, sink=blocks.vector_sink_f)
    sure = np.abs(theirs) > 0.5 * np.abs(theirs).mean()
    agree = np.mean(np.sign(ours[sure]) == np.sign(theirs[sure]))
    assert agree > 0.97  # the stock decoder takes a noise power of its own
    sent = metrics.labels(bits)[index].ravel()
    # positive means bit 1, most significant bit first
    assert np.mean((theirs > 0) == sent) > 0.7 and np.mean((ours > 0) == sent) > 0.7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("snr_db", [2, 12])
def test_table_is_near_the_exact_network(name, snr_db):
    """Against the exact network: the RMS error that mode auto promises."""
    noise_var = 10 ** (-snr_db / 10)
    _, _, y = symbols(name, 20000, snr_db)
    exact = run(diffusion.denoiser_cc(name, noise_var, 0, "exact"), y)
    auto = diffusion.denoiser_cc(name, noise_var)
    assert np.sqrt(np.mean(np.abs(run(auto, y) - exact) ** 2)) < 1.5e-3
    table = diffusion.denoiser_cc(name, noise_var, 0, "table")
    assert np.sqrt(np.mean(np.abs(run(table, y) - exact) ** 2)) < 1e-2
    assert table.uses_table() and not diffusion.denoiser_cc(name, noise_var, 0, "exact").uses_table()


def test_noise_level_by_tags_is_applied_at_their_sample():
    _, _, y = symbols("rx-qam16", 3000, 10)
    rx = diffusion.Receiver("rx-qam16")
    tags = [tag(0, "noise_var", pmt.from_double(0.1)), tag(1000, "snr", pmt.from_double(20)),
            tag(2000, "noise_var", pmt.from_long(1)), tag(1500, "other", pmt.PMT_T)]
    block = diffusion.denoiser_cc("rx-qam16", mode="exact")
    out = run(block, y, tags)
    expected = np.concatenate([rx(y[:1000], 0.1)[0], rx(y[1000:2000], 0.01)[0], rx(y[2000:], 1.0)[0]])
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert block.noise_source() == "tag" and block.refused() == 0
    given = diffusion.denoiser_cc("rx-qam16", 0.05, mode="exact")
    np.testing.assert_allclose(run(given, y, tags), rx(y, 0.05)[0], atol=1e-6)


@pytest.mark.parametrize("snr_db", [3, 12, 24])
def test_own_noise_estimate(snr_db):
    _, _, y = symbols("rx-qam16", 20000, snr_db)
    block = diffusion.soft_demapper_cf("rx-qam16")
    run(block, y, sink=blocks.vector_sink_f)
    assert block.noise_source() == "estimate"
    assert 10 * np.log10(block.noise_var()) == pytest.approx(-snr_db, abs=1.0)


def running(block, seconds=0):
    """A flowgraph that never ends, to talk to the block in it."""
    tb = gr.top_block()
    tb.held = [blocks.vector_source_c([0.3 + 0.3j] * 100, True), blocks.throttle(8, 1e6), block,
               blocks.null_sink(8)]
    if isinstance(block, diffusion.soft_demapper_cf):
        tb.held[-1] = blocks.null_sink(4)
    tb.connect(*tb.held)
    tb.start()
    return tb


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


@pytest.mark.parametrize("make", [diffusion.denoiser_cc, diffusion.soft_demapper_cf])
def test_messages_swap_fit_and_noise_and_bad_ones_keep_the_old(make, tmp_path):
    rx = diffusion.Receiver("rx-qam16")
    points, index, y = symbols("rx-qam16", 500, 20, hw=hardware.S2)
    fitted = rx.fit(points[index], y, 0.015)
    if not fitted.law.fitted:
        fitted = rx.with_law(diffusion.symbol_law.fit(points, index, y, 0.015))
    block = make("rx-qam16")
    tb = running(block)
    bad_file = tmp_path / "broken.safetensors"
    bad_file.write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00notjson!")
    bad = [pmt.PMT_NIL, pmt.from_long(3), pair("model", pmt.intern("rx-none")),
           pair("model", pmt.from_long(1)),
           pair("model", pmt.intern(str(bad_file))), pair("model", pmt.intern("ce-ofdm64")),
           pair("fit", pmt.init_f64vector(3, [0, 0, 0])), pair("fit", pmt.intern("x")),
           pair("noise_var", pmt.from_double(0)), pair("noise_var", pmt.from_double(float("nan"))),
           pair("noise_var", pmt.intern("low")), pair("colour", pmt.PMT_T)]
    try:
        for message in bad:
            post(block, message)
        wait_for(lambda: block.refused() >= len(bad) - 1)  # an empty dictionary asks for nothing
        assert block.model() == "rx-qam16" and not block.fitted()
        post(block, fitted.message())
        wait_for(block.fitted)
        post(block, pair("noise_var", pmt.from_double(0.03)))
        wait_for(lambda: block.noise_source() == "given")
        assert block.noise_var() == pytest.approx(0.03)
        post(block, pair("snr", pmt.from_double(10)))
        wait_for(lambda: abs(block.noise_var() - 0.1) < 1e-9)
        post(block, pair("noise_var", pmt.from_double(-1)))
        wait_for(lambda: block.noise_source() == "estimate")
        before = block.refused()
        post(block, pair("model", pmt.intern("rx-qpsk")))
        if make is diffusion.denoiser_cc:
            wait_for(lambda: block.model() == "rx-qpsk")
            assert not block.fitted()
        else:  # the number of soft bits a symbol cannot change under a flowgraph
            wait_for(lambda: block.refused() > before)
            assert block.model() == "rx-qam16"
        count = block.symbols()
        wait_for(lambda: block.symbols() > count)
    finally:
        tb.stop()
        tb.wait()


def test_fitted_block_beats_the_unfitted_one_over_bad_hardware():
    points, index, y = symbols("rx-qam16", 20000, 22, hw=hardware.S2)
    noise_var = hardware.S2.noise_var(22)
    fit = diffusion.Receiver("rx-qam16").fit(points[index[:1000]], y[:1000], noise_var)
    plain, fitted = (diffusion.soft_demapper_cf("rx-qam16", noise_var) for _ in range(2))
    fitted.set_fit(fit.state().tolist())
    bits = metrics.labels(4)[index]
    errors = [metrics.ber(bits, run(b, y, sink=blocks.vector_sink_f).reshape(-1, 4))[0]
              for b in (plain, fitted)]
    assert errors[1] < 0.3 * errors[0]


@pytest.mark.parametrize("args, message", [
    (("rx-none",), "rx-none"), (("rx-qam16", 0.0), "noise_var is 0"),
    (("rx-qam16", float("nan")), "noise_var is nan"),
    (("rx-qam16", 0.1, -1), "steps is -1"), (("rx-qam16", 0.1, 0, "fast"), "mode 'fast'"),
    (("ce-ofdm64",), "receiver")])
def test_bad_arguments_are_named(args, message):
    with pytest.raises(ValueError, match=message):
        diffusion.denoiser_cc(*args)
    if len(args) <= 2:
        with pytest.raises(ValueError, match=message):
            diffusion.soft_demapper_cf(*args)


@pytest.mark.parametrize("mode", ["table", "auto"])
def test_a_new_models_table_is_made_beside_the_stream(mode):
    """The exact network of the new model serves until its table (0.2 s of work) is there; what it served is
    counted."""
    block = diffusion.denoiser_cc("rx-qpsk", 0.05, 0, mode)
    assert block.uses_table()  # before the flowgraph runs the constructor waits
    assert block.without_table() == 0
    block.to_basic_block()._post(pmt.intern("cmd"), pmt.to_pmt({"model": "rx-qam256"}))
    rng = np.random.default_rng(3)
    y = (0.8 * rng.standard_normal((300, 2)) @ [1, 1j]).astype(np.complex64)
    tb = gr.top_block()
    source, sink = blocks.vector_source_c(y.tolist(), True), blocks.vector_sink_c()
    tb.connect(source, block, sink)
    tb.start()
    deadline = time.monotonic() + 20
    while not (block.uses_table() and block.model() == "rx-qam256") and time.monotonic() < deadline:
        time.sleep(0.005)
    assert block.uses_table() and block.model() == "rx-qam256"
    tb.stop()
    tb.wait()
    x = np.array(sink.data())
    assert 0 < block.without_table() <= block.symbols()
    exact = diffusion.engine_receiver("rx-qam256")
    exact.set_noise_var(0.05)
    n = min(len(x), 300)
    expected = np.resize(exact.denoise(y), n)
    assert np.sqrt(np.mean(np.abs(x[:n] - expected) ** 2)) < 2e-3


def test_steps_change_without_a_new_receiver():
    block = diffusion.denoiser_cc("rx-qam16", 0.05, 0, "table")
    default = block.steps()
    block.set_steps(3)
    assert block.steps() == 3 and block.uses_table()  # the old table serves until the new one is there
    block.set_steps(0)
    assert block.steps() == default
