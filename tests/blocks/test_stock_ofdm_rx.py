# SPDX-License-Identifier: GPL-3.0-or-later
"""ofdm_rx(waveform="stock") in the place of digital.ofdm_rx, in real flowgraphs."""
import time

import numpy as np
import pmt
import pytest
from gnuradio import analog, blocks, digital, diffusion, gr

CARRIERS = ([k for k in range(-20, 21) if k and abs(k) not in (5, 15)],)
OTHER = dict(occupied_carriers=CARRIERS, pilot_carriers=((-15, -5, 5, 15),), pilot_symbols=((1, -1, 1, 1),))


class Loopback(gr.top_block):
    """digital.ofdm_tx, silence between packets (as a radio sees them), noise and CFO, a receiver."""

    def __init__(self, data, receiver, length=96, noise=0.5, cfo=0.0, transmitter=None):
        gr.top_block.__init__(self)
        self.source = blocks.vector_source_b(list(data))
        self.tagger = blocks.stream_to_tagged_stream(1, 1, length, "packet_length")
        self.tx = digital.ofdm_tx(bps_header=1, bps_payload=2, **(transmitter or {}))
        self.noise = analog.noise_source_c(analog.GR_GAUSSIAN, noise, 7)
        self.add = blocks.add_cc()
        self.rotate = blocks.rotator_cc(2 * np.pi * cfo / 64)
        self.receiver = receiver
        self.sink, self.pdus = blocks.vector_sink_b(), blocks.message_debug()
        self.connect(self.source, self.tagger, self.tx, (self.add, 0))
        self.connect(self.noise, (self.add, 1))
        self.connect(self.add, self.rotate, receiver, self.sink)

    def packets(self):
        cuts = [t.offset for t in self.tags("packet_length")] + [len(self.sink.data())]
        return [bytes(self.sink.data()[a:b]) for a, b in zip(cuts, cuts[1:])]

    def tags(self, key):
        return sorted((t for t in self.sink.tags() if str(t.key) == key), key=lambda t: t.offset)


def payload(count, length=96, seed=1):
    return np.random.default_rng(seed).integers(0, 256, count * length, dtype=np.uint8)


def split(data, length=96):
    return [bytes(p) for p in data.reshape(-1, length)]


@pytest.mark.parametrize("cfo", [0.0, 0.4, -1.7])
def test_all_packets_of_a_flowgraph_arrive_up_to_the_last(cfo):
    data = payload(200)
    tb = Loopback(data, diffusion.ofdm_rx(waveform="stock"), cfo=cfo)
    tb.run()
    assert tb.packets() == split(data)  # back to back, and none behind the last


def test_ports_and_tags_are_digital_ofdm_rxs():
    data = payload(30)
    # The stock receiver loses packets that touch, and the last one: silence between them and behind.
    y = np.concatenate([np.pad(p, (150, 150)) for p in modulate(data).reshape(30, -1)] + [np.zeros(4000)])
    rng = np.random.default_rng(1)
    y = y + 0.1 * (rng.standard_normal(y.size) + 1j * rng.standard_normal(y.size))
    got = {}
    for name, receiver in (("theirs", digital.ofdm_rx(bps_header=1, bps_payload=2)),
                           ("ours", diffusion.ofdm_rx(waveform="stock", bps_header=1, bps_payload=2))):
        tb = gr.top_block()
        source, sink = blocks.vector_source_c(y.tolist()), blocks.vector_sink_b()
        tb.connect(source, receiver, sink)
        tb.run()
        tags = {(t.offset // 96, str(t.key), pmt.to_python(t.value)) for t in sink.tags()}
        assert all(t.offset % 96 == 0 for t in sink.tags())
        got[name] = tags, [bytes(p) for p in np.array(sink.data(), np.uint8).reshape(-1, 96)]
    assert got["ours"][1] == split(data)
    numbers = [split(data).index(p) for p in got["theirs"][1]] # it may still lose some
    assert len(numbers) > 15
    expected = {(at, key, value) for at, number in enumerate(numbers)
                for key, value in (("packet_num", number), ("packet_length", 96),
                                   ("ofdm_sync_carr_offset", 0))}
    assert got["theirs"][0] == expected  # what we take for the stock receiver's tags is what they are
    assert got["ours"][0] == {(i, key, value) for i in range(30) for key, value in
                              (("packet_num", i), ("packet_length", 96), ("ofdm_sync_carr_offset", 0))}


@pytest.mark.parametrize("settings", [dict(scramble_bits=True), OTHER])
def test_other_settings_of_the_transmitter(settings):
    data = payload(20, 40)
    tb = Loopback(data, diffusion.ofdm_rx(waveform="stock", packet_length_tag_key="length", **settings), 40,
                  transmitter=settings)
    tb.run()
    assert [t.offset for t in tb.tags("length")] == [40 * i for i in range(20)]
    assert bytes(tb.sink.data()) == data.tobytes()


def test_pdus_and_metrics():
    data = payload(10)
    tb = Loopback(data, diffusion.ofdm_rx(waveform="stock"), cfo=0.25)
    metrics = blocks.message_debug()
    tb.msg_connect(tb.receiver, "pdus", tb.pdus, "store")
    tb.msg_connect(tb.receiver, "metrics", metrics, "store")
    tb.run()
    assert [bytes(pmt.u8vector_elements(pmt.cdr(tb.pdus.get_message(i)))) for i in range(10)] == split(data)
    last = pmt.to_python(metrics.get_message(9))
    assert last["payload_ok"] and last["frame"] == 9 and last["length"] == 100
    assert last["modulation"] == "qpsk"
    assert abs(last["cfo"] - 0.25) < 0.01 and abs(last["offset"] - 9 * 960) <= 4
    assert last["ok"] == last["detected"] == 10 and last["payload_failed"] == 0
    # |X|^2 = 4 on a carrier, noise 0.25 of a sample spread over 64 carriers
    assert abs(last["snr_db"] - 10 * np.log10(4 * 64 / 0.25)) < 1.5


def test_a_gap_in_the_stream_starts_anew_and_nan_is_counted():
    data = payload(3)
    modulated = modulate(data)
    y = np.concatenate([modulated[:960], modulated[960:1500], modulated[1920:2880], np.zeros(2000)])
    y = y + 0.1 * np.random.default_rng(1).standard_normal(y.size)
    y[-500:-490] = np.nan
    tag = gr.tag_utils.python_to_tag((1500, pmt.intern("rx_time"), pmt.from_double(1.0)))
    tb = gr.top_block()
    source = blocks.vector_source_c(y.tolist(), False, 1, [tag])
    receiver, sink = diffusion.stock_ofdm_rx(), blocks.vector_sink_b()
    tb.connect(source, receiver, sink)
    tb.run()
    assert bytes(sink.data()) == split(data)[0] + split(data)[2]
    counters = receiver.counters()
    assert counters["bad_samples"] == 10 and counters["truncated"] == 1 and counters["ok"] == 2


def modulate(data):
    tb = gr.top_block()
    source = blocks.vector_source_b(list(data))
    tagger = blocks.stream_to_tagged_stream(1, 1, 96, "packet_length")
    tx, sink = digital.ofdm_tx(bps_header=1, bps_payload=2), blocks.vector_sink_c()
    tb.connect(source, tagger, tx, sink)
    tb.run()
    return np.array(sink.data(), np.complex64)


def test_stages_change_while_running_and_bad_messages_do_nothing():
    data = payload(20)
    tb = gr.top_block()
    source = blocks.vector_source_c(modulate(data).tolist(), True)
    receiver, sink = diffusion.ofdm_rx(waveform="stock"), blocks.null_sink(1)
    tb.connect(source, receiver, sink)
    tb.start()
    post = lambda message: receiver.core.to_basic_block()._post(pmt.intern("cmd"), message)
    pair = lambda key, value: pmt.cons(pmt.intern(key), value)
    for message in (pmt.PMT_NIL, pmt.from_double(1), pair("estimator", pmt.from_long(1)),
                    pair("estimator", pmt.intern("nonsense")), pair("max_passes", pmt.from_long(99)),
                    pair("nonsense", pmt.PMT_T), pair("estimator", pmt.intern("ls")),
                    pair("demapper", pmt.intern("min-distance"))):
        post(message)
    deadline = time.monotonic() + 10
    while receiver.demapper() != "min-distance" and time.monotonic() < deadline:
        time.sleep(0.01)
    before = receiver.counters()["ok"]
    while receiver.counters()["ok"] < before + 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    tb.stop()
    tb.wait()
    assert (receiver.estimator(), receiver.demapper()) == ("ls", "min-distance")
    assert receiver.counters()["ok"] >= before + 20 and receiver.counters()["payload_failed"] == 0


@pytest.mark.parametrize("bad, error, match", [
    (dict(waveform="stock", bps_payload=3), ValueError, "bps_payload is 3"),
    (dict(waveform="stock", max_cfo=-1), ValueError, "max_cfo"),
    (dict(waveform="stock", estimator="none"), ValueError, "estimator is 'none'"),
    (dict(waveform="stock", nonsense=1), TypeError, "nonsense"),
    (dict(waveform="native", bps_payload=2), TypeError, "bps_payload"),
    (dict(waveform="stock", pilot_symbols=((1, 1),)), ValueError, "pilot_symbols")])
def test_bad_arguments_are_named(bad, error, match):
    with pytest.raises(error, match=match):
        diffusion.ofdm_rx(**bad)
