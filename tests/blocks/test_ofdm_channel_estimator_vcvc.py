# SPDX-License-Identifier: GPL-3.0-or-later
"""ofdm_channel_estimator_vcvc in real flowgraphs, beside the block whose place it takes."""

import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, digital, gr
from gnuradio.digital import ofdm_txrx

OCCUPIED, PILOTS = ofdm_txrx._def_occupied_carriers, ofdm_txrx._def_pilot_carriers
SYNC1 = ofdm_txrx._make_sync_word1(64, OCCUPIED, PILOTS).astype(complex)
SYNC2 = np.array(ofdm_txrx._make_sync_word2(64, OCCUPIED, PILOTS), complex)


def ours(sync1, sync2, *args, method="ls", **kwargs):
    return diffusion.ofdm_channel_estimator_vcvc("", list(sync1), list(sync2), *args, method=method, **kwargs)


def run(block, symbols, n, tags=(), second=True):
    """(data symbols, taps on the second output, {key: [(offset, value)]})"""
    tb = gr.top_block()
    source = blocks.vector_source_c(np.ravel(symbols).tolist(), False, n, list(tags))
    sink, taps = blocks.vector_sink_c(n), blocks.vector_sink_c(n)
    tb.connect(source, block, sink)
    if second:
        tb.connect((block, 1), taps)
    tb.run()
    found = {}
    for tag in sink.tags():
        found.setdefault(pmt.symbol_to_string(tag.key), []).append((tag.offset, pmt.to_python(tag.value)))
    return np.array(sink.data()).reshape(-1, n), np.array(taps.data()).reshape(-1, n), found


def shift(x, by):
    out = np.zeros(len(x), complex)
    if by >= 0:
        out[by:] = x[: len(x) - by]
    else:
        out[:by] = x[-by:]
    return out


# The stock block's own tests: 16 carriers, two preamble symbols or one, with and without channel and offset.
S1 = np.array([0, 0, 0, 1, 0, 1, 0, -1, 0, 1, 0, -1, 0, 1, 0, 0], complex)
S2 = np.array([0, 0, 0, 1j, -1, 1, -1j, 1j, 0, 1, -1j, -1, -1j, 1, 0, 0], complex)
DATA = np.array([0, 0, 0, 1, -1, 1, -1, 1, 0, 1, -1, -1, -1, 1, 0, 0], complex)


@pytest.mark.parametrize("offset", [-2, 0, 2])
def test_offset_with_two_symbols_and_tags_move(offset):
    def tag(at, key, value):
        t = gr.tag_t()
        t.offset, t.key, t.value = at, pmt.intern(key), pmt.from_long(value)
        return t

    frame = [shift(S1, offset), shift(S2, offset), shift(DATA, offset)]
    data, _, tags = run(ours(S1, S2, 1), frame * 2, 16, [tag(0, "a", 23), tag(2, "b", 42), tag(4, "c", 7)])
    np.testing.assert_array_equal(data[0], shift(DATA, offset))
    assert tags["ofdm_sync_carr_offset"] == [(0, offset), (1, offset)]
    assert tags["a"] == [(0, 23)] and tags["b"] == [(0, 42)] and tags["c"] == [(1, 7)]


def test_offset_with_one_symbol():
    _, _, tags = run(ours(S1, [], 1, 0, 17), [shift(S1, -2), shift(DATA, -2)], 16)
    assert tags["ofdm_sync_carr_offset"] == [(0, -2)]


def test_channel_with_two_symbols():
    channel = np.array([0, 0, 0, 2, -2, 2, 3j, 2, 0, 2, 2, 2, 2, 3, 0, 0], complex)
    data, taps, tags = run(ours(S1, S2, 1), [s * channel for s in (S1, S2, DATA)], 16)
    np.testing.assert_array_equal(data[0], DATA * channel)
    np.testing.assert_allclose(taps[0], channel, atol=1e-6)
    np.testing.assert_allclose(tags["ofdm_sync_chan_taps"][0][1], channel, atol=1e-6)


def test_channel_with_one_symbol_is_held():
    channel = np.array([0, 0, 0, 2, 2, 2, 2, 3, 3, 2.5, 2.5, -3, -3, 1j, 1j, 0])
    _, taps, _ = run(ours(S1, [], 1), [S1 * channel, DATA * channel], 16)
    np.testing.assert_allclose(taps[0], channel, atol=1e-6)


def test_offset_and_channel_together():
    channel = np.arange(16.0)
    data, taps, tags = run(ours(S1, S2, 1), [shift(s, 2) * channel for s in (S1, S2, DATA)], 16)
    np.testing.assert_allclose(taps[0], [0, 0, 0, 5, 6, 7, 8, 9, 0, 11, 12, 13, 14, 15, 0, 0], atol=1e-5)
    np.testing.assert_allclose(data[0], shift(DATA, 2) * channel, atol=1e-5)
    assert tags["ofdm_sync_carr_offset"] == [(0, 2)]


@pytest.mark.parametrize(
    "second, n_data, extra", [(True, 1, ()), (True, 5, (0, 4)), (False, 3, ()), (True, 2, (0, -1, True))]
)
def test_ls_is_the_stock_block_bit_for_bit(second, n_data, extra):
    rng = np.random.default_rng(1)
    sync2 = SYNC2 if second else []
    preamble = 2 if second and not (len(extra) == 3) else 1
    frames = []
    for i in range(30):
        offset = 2 * rng.integers(-2, 3)
        channel = rng.standard_normal(64) + 1j * rng.standard_normal(64)
        sent = [SYNC1, SYNC2][:preamble] + [rng.standard_normal(64) + 0j for _ in range(n_data)]
        for s in sent:
            frames.append(
                shift(s, offset) * channel + 0.1 * (rng.standard_normal(64) + 1j * rng.standard_normal(64))
            )
    mine = run(ours(SYNC1, sync2, n_data, *extra), frames, 64)
    stock = run(digital.ofdm_chanest_vcvc(SYNC1.tolist(), list(sync2), n_data, *extra), frames, 64)
    np.testing.assert_array_equal(mine[0], stock[0])
    np.testing.assert_allclose(mine[1], stock[1], rtol=1e-5, atol=1e-6)
    assert mine[2]["ofdm_sync_carr_offset"] == stock[2]["ofdm_sync_carr_offset"]
    for a, b in zip(mine[2]["ofdm_sync_chan_taps"], stock[2]["ofdm_sync_chan_taps"]):
        assert a[0] == b[0]
        np.testing.assert_allclose(a[1], b[1], rtol=1e-5, atol=1e-6)


def frames_over(rng, count, snr_db, offset=0):
    """Stock preamble and a data symbol over two-path channels; SNR of a used carrier of symbol 2."""
    k = np.arange(64) - 32
    out, truth = [], []
    for _ in range(count):
        gain = rng.standard_normal(2) + 1j * rng.standard_normal(2)
        h = np.exp(-2j * np.pi * np.outer(k, [0, rng.uniform(2, 9)]) / 64) @ gain
        h *= np.sqrt(10 ** (snr_db / 10) / np.mean(np.abs(h[6:59]) ** 2))
        truth.append(h)
        for s in (SYNC1, SYNC2, SYNC2):
            out.append(
                shift(s * h, offset) + (rng.standard_normal(64) + 1j * rng.standard_normal(64)) / np.sqrt(2)
            )
    return out, np.array(truth)


@pytest.mark.parametrize("method, gain_db", [("lmmse", 2), ("sbl", 3), ("nomp", 6), ("diffusion", 6)])
@pytest.mark.parametrize("offset", [0, 4])
def test_methods_beat_least_squares_and_know_their_error(method, gain_db, offset):
    rng = np.random.default_rng(2)
    frames, truth = frames_over(rng, 60, 15, offset)
    used = np.flatnonzero(SYNC2)
    error = {}
    for m in ("ls", method):
        _, taps, tags = run(ours(SYNC1, SYNC2, 1, method=m), frames, 64)
        error[m] = np.mean(np.abs(taps - truth)[:, used] ** 2)
        variance = np.mean([np.array(v)[used].mean() for _, v in tags["ofdm_sync_chan_err_var"]])
        assert 1 / 3 < error[m] / variance < 3
        assert abs(np.mean([v for _, v in tags["ofdm_sync_snr_db"]]) - 15) < 0.7
        assert abs(10 * np.log10(np.mean([v for _, v in tags["ofdm_sync_noise_var"]]))) < 0.5
        assert all(v == offset for _, v in tags["ofdm_sync_carr_offset"])
    assert 10 * np.log10(error["ls"] / error[method]) > gain_db


PACKETS, SIZE = 12, 96


@pytest.fixture(scope="module")
def stock_signal():
    """(payload bytes, packets of digital.ofdm_tx over two paths with gaps and a little noise)."""
    rng = np.random.default_rng(3)
    payload = rng.integers(0, 256, (PACKETS, SIZE), dtype=np.uint8)
    tb = gr.top_block()
    source = blocks.vector_source_b(payload.ravel().tolist())
    tagger = blocks.stream_to_tagged_stream(1, 1, SIZE, "packet_length")
    tx, sink = digital.ofdm_tx(bps_payload=2), blocks.vector_sink_c()
    tb.connect(source, tagger, tx, sink)
    tb.run()
    sent = np.array(sink.data()).reshape(PACKETS, -1)
    sent = np.pad(sent / np.sqrt(np.mean(np.abs(sent) ** 2)), ((0, 0), (200, 100))).ravel()
    y = np.convolve(np.pad(sent, (0, 4000)), [0.8, 0, 0.3 + 0.2j, 0, 0.2j])
    return payload, y + 0.02 * (rng.standard_normal(y.size) + 1j * rng.standard_normal(y.size))


@pytest.mark.parametrize("method", ["ls", "lmmse", "sbl", "nomp", "diffusion"])
def test_stock_receiver_with_this_block_in_place(monkeypatch, stock_signal, method):
    payload, y = stock_signal
    used = []

    def replacement(sync1, sync2, n):
        used.append(ours(np.array(sync1, complex), np.array(sync2, complex), n, method=method))
        return used[-1]

    monkeypatch.setattr(ofdm_txrx.digital, "ofdm_chanest_vcvc", replacement)
    tb = gr.top_block()
    source, rx, sink = (
        blocks.vector_source_c(y.tolist()),
        digital.ofdm_rx(bps_payload=2),
        blocks.vector_sink_b(),
    )
    tb.connect(source, rx, sink)
    tb.run()
    received = np.array(sink.data(), np.uint8)
    assert used[0].method() == method and used[0].frames() >= PACKETS - 2
    # The stock synchroniser may lose a packet even at this SNR (33 dB); what arrives has passed the CRC.
    assert received.size >= SIZE * (PACKETS - 2) and received.size % SIZE == 0
    sent = {p.tobytes() for p in payload}
    assert all(p.tobytes() in sent for p in received.reshape(-1, SIZE))


def test_nan_frames_are_counted_and_harm_no_other():
    frames, truth = frames_over(np.random.default_rng(4), 6, 30)
    frames = np.array(frames)
    frames[4, 7] = np.nan
    frames[9, 30] = np.inf
    for method in ("ls", "diffusion"):
        block = ours(SYNC1, SYNC2, 1, method=method)
        _, taps, tags = run(block, frames, 64)
        assert np.isfinite(taps).all() and block.invalid_frames() == 2 and block.frames() == 6
        assert (taps[1, 6:59] == 1).all()
        good = [0, 2, 4, 5]
        used = np.flatnonzero(SYNC2)
        error = np.abs(taps - truth)[good][:, used] ** 2
        assert error.sum() / (np.abs(truth[good][:, used]) ** 2).sum() < 3e-3


def test_silence_is_no_trouble():
    for method in diffusion.pilot_estimator_methods():
        _, taps, tags = run(ours(SYNC1, SYNC2, 1, method=method), np.zeros((9, 64)), 64)
        assert np.isfinite(taps).all() and len(tags["ofdm_sync_snr_db"]) == 3


def test_messages_change_the_method_live_and_bad_ones_do_nothing():
    block = ours(SYNC1, SYNC2, 1)
    tb = gr.top_block()
    source, sink = blocks.null_source(64 * 8), blocks.null_sink(64 * 8)
    debug = blocks.message_debug()
    tb.connect(source, blocks.head(64 * 8, 10**9), block, sink)
    tb.msg_connect(block, "estimate", debug, "store")
    tb.start()
    post = lambda key, value: block.to_basic_block()._post(
        pmt.intern("cmd"), pmt.cons(pmt.intern(key), value)
    )
    for bad in (
        ("method", pmt.intern("zf")),
        ("method", pmt.from_long(3)),
        ("model", pmt.intern("nothing")),
        ("noise_var", pmt.intern("x")),
        ("noise_var", pmt.from_double(float("nan"))),
        ("x", pmt.PMT_T),
    ):
        post(*bad)
    post("noise_var", pmt.from_double(0.25))
    for method in ("sbl", "lmmse", "diffusion"):
        post("method", pmt.intern(method))
        deadline = time.monotonic() + 10
        while block.method() != method and time.monotonic() < deadline:
            time.sleep(0.01)
        assert block.method() == method
    deadline = time.monotonic() + 10
    seen = set()
    while "diffusion" not in seen and time.monotonic() < deadline:
        n = debug.num_messages()
        seen = {
            pmt.symbol_to_string(pmt.dict_ref(debug.get_message(i), pmt.intern("method"), pmt.PMT_NIL))
            for i in range(max(0, n - 3), n)
        }
        time.sleep(0.05)
    tb.stop()
    tb.wait()
    assert "diffusion" in seen and block.noise_var() == 0.25


@pytest.mark.parametrize(
    "args, kwargs, message",
    [
        ((SYNC1, SYNC2[:10], 1), {}, "equal length"),
        ((SYNC1[:4], [], 1), {}, "8 to 4096"),
        ((SYNC1, SYNC2, 0), {}, "n_data_symbols is 0"),
        ((0 * SYNC1, [], 1), {}, "zero on all carriers"),
        ((SYNC1 * np.nan, [], 1), {}, "NaN"),
        ((SYNC1, SYNC2, 1), {"method": "zf"}, "'zf' is none of"),
        ((SYNC1, SYNC2, 1, 0, -2), {}, "max_carr_offset is -2"),
        ((S1, S2, 1), {"method": "diffusion"}, "ce-ofdm16"),
        ((SYNC1, SYNC2, 1), {"noise_var": float("nan")}, "noise_var"),
    ],
)
def test_bad_arguments_are_named(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        ours(*args, **kwargs)
