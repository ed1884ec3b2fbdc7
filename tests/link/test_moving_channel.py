# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels that move within a frame, and rounds in which the decoder helps the estimator."""
import itertools

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr
from gnuradio.diffusion import link
from gnuradio.diffusion.evaluate.link_trials import Setting, Trials


def lost(trials, y, **options):
    return int(np.sum(~trials.run(y, "diffusion", **options)[0]))


def test_a_moving_channel_is_followed():
    """Doppler of 3% of the subcarrier spacing: one channel for all of a frame loses nearly everything."""
    trials = Trials(30, Setting(doppler=0.03), 1)
    y = trials.receive(16.0)
    assert lost(trials, y, time_tracking=False) >= 24
    assert lost(trials, y) <= 3
    ok, error, _ = trials.run(y, "diffusion")
    assert 10 * np.log10(np.median(error[:, 0] / error[:, 1])) < -15
    frames = [f for f in diffusion.native_receiver()(y, True) if f.payload_ok]
    assert 0.015 < np.mean([f.doppler for f in frames]) < 0.06
    assert all(f.channels.shape == (trials.frame_len // 80, 64) for f in frames)


def test_a_preamble_in_a_fade_hides_no_frame():
    """What the preamble has of power says nothing of the frame; these seeds' fades lost 5 of 40."""
    for seed in (10, 11):
        trials = Trials(40, Setting(doppler=0.05), seed)
        ok, error, _ = trials.run(trials.receive(14.0), "diffusion")
        assert np.sum(~ok) <= 2
        assert np.all(error[:, 0] < 0.5 * error[:, 1])


def test_a_still_channel_is_left_alone():
    """Tracking neither costs nor changes anything where nothing moves, with residual CFO and phase noise
    too."""
    trials = Trials(30, Setting(), 2)
    y = trials.receive(14.0)
    rng = np.random.default_rng(3)
    y = y * np.exp(1j * (2 * np.pi * 0.13 / 64 * np.arange(y.size) +
                         np.cumsum(2e-3 * rng.standard_normal(y.size))))
    frames = []
    for on in (True, False):
        rx = diffusion.native_receiver()
        rx.time_tracking = on
        frames.append(rx(y.astype(np.complex64), True))
    assert len(frames[0]) == len(frames[1]) == 30
    assert all(f.doppler == 0 and f.channels.shape[0] == 0 for f in frames[0])
    assert [f.payload for f in frames[0]] == [f.payload for f in frames[1]]


def test_the_decoder_helps_with_few_pilots():
    """A quarter of the pilots on a moving channel: rounds bring frames back, and only those that need them
    have any."""
    trials = Trials(40, Setting(doppler=0.05, pilots="quarter"), 4)
    y = trials.receive(9.0)
    before, after = lost(trials, y, data_aided_rounds=0), lost(trials, y, data_aided_rounds=3)
    assert before >= 8 and after <= 0.75 * before
    rx = diffusion.native_receiver()
    rx.data_aided_rounds = 3
    rx.set_estimator("diffusion")
    frames = rx(y, True)
    assert any(f.rounds and f.payload_ok for f in frames)
    once = diffusion.native_receiver()
    once.set_estimator("diffusion")
    arrived = {f.header.number for f in once(y, True) if f.payload_ok}
    assert all(f.rounds == 0 for f in frames if f.header_ok and f.header.number in arrived)
    with pytest.raises(ValueError, match="data_aided_rounds is 4"):
        rx.data_aided_rounds = 4


def test_posterior_of_the_convolutional_code_is_that_of_all_words():
    """Max-log: the best word with the bit 1 less the best with 0, over all 2^7 words; punctured too."""
    rng = np.random.default_rng(6)
    words = np.array(list(itertools.product((0, 1), repeat=7)), np.uint8)
    for fec in ("cc-1/2", "cc-2/3", "cc-3/4"):
        coded = np.array([diffusion.fec_encode(fec, w) for w in words])
        llr = rng.normal(0, 3, coded.shape[1]).astype(np.float32)
        metric = coded @ llr
        expected = [metric[coded[:, i] == 1].max() - metric[coded[:, i] == 0].max()
                    for i in range(coded.shape[1])]
        np.testing.assert_allclose(diffusion.fec_posterior(fec, llr, 7), np.clip(expected, -50, 50),
                                   atol=1e-3)


@pytest.mark.parametrize("fec", ["cc-1/2", "ldpc-1/2"])
def test_posterior_knows_more_than_was_received(fec):
    rng = np.random.default_rng(7)
    bits = rng.integers(0, 2, 900, np.uint8)
    coded = diffusion.fec_encode(fec, bits)
    variance = 1 / (2 * 0.5 * 10 ** 0.3)  # Eb/N0 3 dB
    llr = (2 / variance * (2.0 * coded - 1 + rng.standard_normal(coded.size) *
                           np.sqrt(variance))).astype(np.float32)
    after = diffusion.fec_posterior(fec, llr, 900)
    assert np.mean((llr > 0) != coded) > 0.05 > 5 * np.mean((after > 0) != coded)
    for name in ("none", "dvbs2-2/3"):  # no soft decoder: as received
        n = diffusion.fec_encode(name, bits).size
        given = rng.normal(0, 3, n).astype(np.float32)
        np.testing.assert_array_equal(diffusion.fec_posterior(name, given, 900), given)


def test_block_takes_both_while_it_runs():
    trials = Trials(20, Setting(doppler=0.03), 8)
    y = trials.receive(16.0)
    got = {}
    for tracking in (True, False):
        tb = gr.top_block()
        source, sink, collector = blocks.vector_source_c(y.tolist()), blocks.vector_sink_b(), link.Collector()
        rx = diffusion.ofdm_rx(estimator="diffusion", data_aided_rounds=2)
        rx.core.to_basic_block()._post(pmt.intern("cmd"),
                                       pmt.to_pmt({"time_tracking": tracking, "data_aided_rounds": 9}))
        tb.connect(source, rx, sink)
        tb.msg_connect(rx, "metrics", collector, "in")
        tb.run()
        got[tracking] = [pmt.to_python(m) for m in collector.messages]
        assert rx.core.data_aided_rounds() == 2  # 9 was refused, with a line in the log
    assert sum(m["payload_ok"] for m in got[True]) >= 17 > sum(m["payload_ok"] for m in got[False])
    assert all({"doppler", "rounds"} <= set(m) for m in got[True] if m["header_ok"])
    with pytest.raises(ValueError, match="data_aided_rounds is -1"):
        diffusion.ofdm_rx(data_aided_rounds=-1)
    with pytest.raises(TypeError, match="belongs to waveform 'native'"):
        diffusion.ofdm_rx("stock", data_aided_rounds=1)
