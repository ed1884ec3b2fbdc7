# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard of denoiser_cc and soft_demapper_cf: what it must catch, what it must bear, what happens then."""
import dataclasses
import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, digital, gr
from gnuradio.diffusion.evaluate import guard as study
from gnuradio.diffusion.train import hardware

N = 40000


def noisy(points, snr_db, n=N, seed=1):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, 2)) @ [1, 1j] * 10 ** (-snr_db / 20) / np.sqrt(2)
    return (np.asarray(points)[rng.integers(0, len(points), n)] + noise).astype(np.complex64)


class Events(gr.basic_block):
    def __init__(self):
        gr.basic_block.__init__(self, "events", [], [])
        self.seen = []
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self._take)

    def _take(self, message):
        self.seen.append(pmt.to_python(message))


def run(block, y, item=np.complex64):
    tb, events = gr.top_block(), Events()
    source = blocks.vector_source_c(np.asarray(y, np.complex64).tolist())
    sink = blocks.vector_sink_c() if item is np.complex64 else blocks.vector_sink_f()
    tb.connect(source, block, sink)
    tb.msg_connect(block, "guard", events, "in")
    tb.run()
    for _ in range(100):
        if len(events.seen) >= block.guard_alarms():
            break
        time.sleep(0.02)
    return np.array(sink.data(), item), events.seen


QAM16 = diffusion.constellation("qam16")


@pytest.mark.parametrize("y, noise_var, reason", [
    (noisy(diffusion.constellation("qpsk"), 20), -1, "shape"),
    (noisy(diffusion.constellation("qam64"), 25), -1, "shape"),
    (noisy(np.exp(2j * np.pi * np.arange(8) / 8), 20), -1, "shape"),
    (noisy(QAM16, 20) * 0.4, 0.01, "level"),
    (noisy(QAM16, 6), 0.01, "noise"),
    (noisy(QAM16, -20), 100.0, "range"),
    (np.zeros(N), 0.01, "dead"),
    (np.full(N, 0.3 - 0.9j), 0.01, "dead"),
    (np.full(N, np.nan), 0.01, "dead"),
], ids=["qpsk", "qam64", "8psk", "agc", "noise", "snr", "zero", "constant", "nan"])
def test_what_it_catches(y, noise_var, reason):
    block = diffusion.denoiser_cc("rx-qam16", noise_var, 0, "exact")
    out, events = run(block, y)
    assert block.guard_reason() == reason and block.guard_alarms() == 1
    assert events[0]["alarm"] and events[0]["reason"] == reason and len(events[0]["text"]) > 20
    # three blocks that follow each other, then the symbols pass as they came
    at = N - block.guarded_symbols()
    assert at <= 3 * 512 + 8192
    np.testing.assert_array_equal(out[at:], np.nan_to_num(np.asarray(y, np.complex64)[at:], nan=0))


def test_tags_say_where():
    """A tag on the first symbol that passed as it came, with the reason, and an empty one on the first that
    did not."""
    good, bad = noisy(QAM16, 20), noisy(diffusion.constellation("qpsk"), 20, seed=2)
    for block, rate in ((diffusion.denoiser_cc("rx-qam16", 0.01, 0, "exact"), 1),
                        (diffusion.soft_demapper_cf("rx-qam16", 0.01), 4)):
        tb, sink = gr.top_block(), blocks.vector_sink_c() if rate == 1 else blocks.vector_sink_f()
        source = blocks.vector_source_c(np.concatenate([good[:4096], bad[:20000],
                                                        np.resize(good, 80000)]).tolist())
        tb.connect(source, block, sink)
        tb.run()
        tags = [t for t in sink.tags() if pmt.symbol_to_string(t.key) == "guard"]
        assert [pmt.symbol_to_string(t.value) for t in tags] == ["noise", ""]  # noise_var says 20 dB
        assert all(t.offset % rate == 0 for t in tags)
        assert tags[1].offset - tags[0].offset == rate * block.guarded_symbols()


def test_it_recovers():
    good, bad = noisy(QAM16, 20), noisy(diffusion.constellation("qpsk"), 20, seed=2)
    block = diffusion.denoiser_cc("rx-qam16", 0.01, 0, "exact")
    out, events = run(block, np.concatenate([good[:4000], bad[:20000], np.resize(good, 80000)]))
    assert [e["alarm"] for e in events] == [True, False]
    assert block.guard_reason() == "" and block.guard_alarms() == 1
    # denoised again
    assert np.abs(out[-1000:] - QAM16[np.abs(out[-1000:, None] - QAM16).argmin(1)]).mean() < 0.02


def test_soft_bits_fall_back_to_the_gaussian_demapper():
    y = noisy(QAM16, 12)
    block = diffusion.soft_demapper_cf("rx-qam16", 0.001)  # somebody said 30 dB
    llr, events = run(block, y, np.float32)
    assert events[0]["reason"] == "noise"
    tail = slice(-2000, None)
    wanted = diffusion.qam(4).soft(y[tail], np.full(2000, 10 ** -1.2, np.float32))
    np.testing.assert_allclose(llr.reshape(-1, 4)[tail], wanted, rtol=0.15, atol=0.05)
    block = diffusion.soft_demapper_cf("rx-qam16", 0.001)
    llr, _ = run(block, np.zeros(N), np.float32)
    assert not llr[-4000:].any()  # nothing is known of a dead input


@pytest.mark.parametrize("block", [lambda: diffusion.denoiser_cc("rx-qam16", 0.01, 0, "exact", guard=False),
                                   lambda: diffusion.soft_demapper_cf("rx-qam16", 0.01, "exact",
                                                                      guard=False)])
def test_off_means_off(block):
    block = block()
    run(block, noisy(diffusion.constellation("qpsk"), 20),
        np.complex64 if "denoiser" in block.name() else np.float32)
    assert not block.guard() and block.guard_alarms() == 0 and block.guarded_symbols() == 0


def test_switched_by_message_and_setter():
    block = diffusion.denoiser_cc("rx-qam16")
    block.to_basic_block()._post(pmt.intern("cmd"), pmt.cons(pmt.intern("guard"), pmt.PMT_F))
    run(block, noisy(QAM16, 20, 1000))
    assert not block.guard()
    block.set_guard(True)
    assert block.guard()


@pytest.mark.parametrize("name", ["S1", "S2"])
@pytest.mark.parametrize("bits", [0, 1, 2, 3, 4])
def test_no_alarm_on_fitted_hardware(name, bits):
    """The reference settings, 0 to 30 dB, known and estimated noise variance: 80 blocks each."""
    hw = dataclasses.replace(hardware.REFERENCE[name], bits=bits)
    for model in ("qpsk", "qam16", "qam64"):
        rx, rng = diffusion.Receiver(f"rx-{model}"), np.random.default_rng(bits)
        points = rx.constellation
        for snr in (0, 10, 20, 30):
            noise = hw.noise_var(snr)
            index = rng.integers(0, points.size, 2000)
            fit = rx.fit(points[index], hw.transmit(points, index, snr, 1), noise)
            y = hw.transmit(points, rng.integers(0, points.size, 40960), snr, 2)
            for said in (True, False):
                bad = study.bad_blocks(fit.law, fit.snr_db, y, noise if said else None)
                assert not study.alarms(bad), (model, snr, said)


def test_random_hardware_is_borne():
    """Drawn links, fitted from 300 known symbols, and the same constellation not fitted over mild
    hardware."""
    assert study.false_alarms(links=40, seed=3)["rate"] == 0


def test_a_change_between_tests_is_seen():
    """Long after the start, tests are rare in a fast stream; the moments of what lies between bring one at
    once."""
    guard = diffusion.input_guard(diffusion.symbol_law(QAM16), (-10, 35))
    guard.set_noise_var(0.01)
    guard.feed(np.resize(noisy(QAM16, 20), 500_000))
    assert not guard.alarm
    guard.feed(noisy(diffusion.constellation("qpsk"), 20, 3 * 512 + 1024))
    assert guard.alarm and guard.report["reason"] == "noise"  # 12 dB more than said


@pytest.mark.parametrize("fault, reason", [
    (lambda hw, y: 2 * y, "shape"), (lambda hw, y: 0.5 * y, "shape"),
    (lambda hw, y: np.sign(y.real) * 0.7 + 0j, "shape"),
], ids=["+6 dB", "-6 dB", "bpsk"])
def test_faults_before_a_converter(fault, reason):
    """A link fitted behind a 3-bit converter: how often its levels occur is all there is to see."""
    hw, rx = dataclasses.replace(hardware.S1, bits=3), diffusion.Receiver("rx-qam16")
    rng = np.random.default_rng(4)
    index = rng.integers(0, 16, 500)
    fit = rx.fit(QAM16[index], hw.transmit(QAM16, index, 20, 1), hw.noise_var(20))
    analogue = dataclasses.replace(hw, bits=0).transmit(QAM16, rng.integers(0, 16, 20480), 20, 2)
    convert = diffusion.quantizer(3, hw.full_scale(20))
    judge = lambda y: study.bad_blocks(fit.law, fit.snr_db, convert(y.astype(np.complex64)), hw.noise_var(20))
    assert not any(judge(analogue))
    assert study.alarms(judge(fault(hw, analogue))) in (reason, "level")


def test_dense_constellations_take_more_blocks():
    """64-QAM into rx-qpsk looks like noise, block by block; errors of many blocks have too few outliers for
    that."""
    law = diffusion.Receiver("rx-qpsk").law
    guard = diffusion.input_guard(law, (-10, 35))
    guard.set_sparing(False)
    y = noisy(diffusion.constellation("qam64"), 25)
    guard.set_noise_var(diffusion.estimate_noise_var(law, y), False)
    guard.feed(y)
    assert guard.alarm and guard.report["reason"] == "shape"


@pytest.mark.parametrize("model, sent, snr_db, reason", [
    ("qam16", diffusion.constellation("qam256"), 15, "constellation"),
    ("qam64", diffusion.constellation("qam256"), 20, "constellation"),
    ("qam16", np.random.default_rng(8).standard_normal((4096, 2)) @ [1, 1j] / np.sqrt(2), 10, "constellation"),
    ("qam16", diffusion.constellation("qam16") * 10 ** (1 / 20), 20, "level"),
    ("qam64", diffusion.constellation("qam64") * 10 ** (-1 / 20), 20, "level"),
    ("qam256", diffusion.constellation("qam256"), 16, ""), ("qam16", diffusion.constellation("qam16"), 3, ""),
], ids=["256 into 16", "256 into 64", "noise", "+1 dB", "-1 dB", "256", "16"])
def test_other_constellations_and_gains_by_likelihood(model, sent, snr_db, reason):
    """What block errors do not show: the likelihood ratio of the block's histogram, pooled."""
    law = diffusion.Receiver(f"rx-{model}").law
    guard = diffusion.input_guard(law, (-10, 35))
    guard.set_sparing(False)
    y = noisy(sent, snr_db, 40 * 4096, seed=4)
    guard.set_noise_var(diffusion.estimate_noise_var(law, y[:20000]), False)
    guard.feed(y)
    assert guard.alarm == bool(reason) and guard.report["reason"] == reason
    # Back to what it was made for: over within some blocks.
    guard.feed(noisy(diffusion.constellation(model), snr_db, 40 * 4096, seed=5))
    assert not guard.alarm


def test_laplacian_noise_is_borne():
    """Not Gaussian, but nothing that the classical path would do better with."""
    for model in ("qpsk", "qam16"):
        points = diffusion.constellation(model)
        y = diffusion.awgn(0.01, "laplacian", 3)(noisy(points, 60))
        guard = diffusion.input_guard(diffusion.symbol_law(points), (-10, 35))
        guard.set_sparing(False)
        guard.set_noise_var(0.01)
        guard.feed(y)
        assert not guard.alarm


def test_it_costs_next_to_nothing():
    """Tests of blocks take their share of the time, whatever the rate: few in a fast stream."""
    guard = diffusion.input_guard(diffusion.symbol_law(QAM16), (-10, 35))
    guard.set_noise_var(0.01)
    y = np.resize(noisy(QAM16, 20), 2_000_000)
    start = time.process_time()
    guard.feed(y)
    assert guard.tests < 2_000_000 // 4096 // 2 and not guard.alarm
    assert time.process_time() - start < 1


def test_a_shaped_constellation_is_not_watched():
    sent = diffusion.constellation("qam16") * 1.2
    block = diffusion.denoiser_cc("rx-qam16", 0.01)
    pmf = np.exp(-2 * np.abs(QAM16) ** 2)
    block.set_prior((pmf / pmf.sum()).tolist())
    run(block, noisy(sent, 20))
    assert block.guard_alarms() == 0


def test_digital_constellations_are_the_models():
    """What GNU Radio's own constellation objects send raises no alarm."""
    for name, c in (("qpsk", digital.constellation_qpsk()), ("bpsk", digital.constellation_bpsk())):
        points = np.array(c.points())
        block = diffusion.denoiser_cc(f"rx-{name}")
        run(block, noisy(points / np.sqrt(np.mean(np.abs(points) ** 2)), 15))
        assert block.guard_alarms() == 0
