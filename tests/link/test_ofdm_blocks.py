# SPDX-License-Identifier: GPL-3.0-or-later
"""ofdm_tx and ofdm_rx in real flowgraphs: PDUs, tagged streams, stages changed while running, bad input."""
import threading
import time

import numpy as np
import pmt
import pytest
from gnuradio import analog, blocks, diffusion, gr

SEED = 4


class Collector(gr.basic_block):
    """Keeps the messages of port "in"."""

    def __init__(self):
        gr.basic_block.__init__(self, "collector", [], [])
        self.messages = []
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.keep)

    def keep(self, message):
        self.messages.append(message)


def wait_for(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def post(block, port, message):
    block.to_basic_block()._post(pmt.intern(port), message)


def pdu(data):
    return pmt.cons(pmt.make_dict(), pmt.init_u8vector(len(data), list(data)))


def tagged_bytes(packets):
    tags, data = [], b""
    for p in packets:
        tags.append(gr.tag_utils.python_to_tag((len(data), pmt.intern("packet_len"), pmt.from_long(len(p)))))
        data += p
    return blocks.vector_source_b(list(data), False, 1, tags)


def packets_of(sink):
    data = bytes(sink.data())
    starts = sorted((t.offset, pmt.to_long(t.value)) for t in sink.tags()
                    if pmt.eq(t.key, pmt.intern("packet_len")))
    assert sum(n for _, n in starts) == len(data)
    return [data[at:at + n] for at, n in starts]


def samples_of(packets, **options):
    tb = gr.top_block()
    source, tx, sink = tagged_bytes(packets), diffusion.ofdm_tx("stream", **options), blocks.vector_sink_c()
    tb.connect(source, tx, sink)
    tb.run()
    return np.array(sink.data(), np.complex64), sink.tags()


def receive(samples, **options):
    tb = gr.top_block()
    source, sink = blocks.vector_source_c(samples.tolist()), blocks.vector_sink_b()
    rx = diffusion.ofdm_rx(**options)
    tb.connect(source, rx, sink)
    tb.run()
    return sink, rx


def noisy(x, snr_db, seed=SEED):
    rng = np.random.default_rng(seed)
    n = (rng.standard_normal(x.size) + 1j * rng.standard_normal(x.size)) * np.sqrt(10 ** (-snr_db / 10) / 2)
    return (x + n).astype(np.complex64)


@pytest.fixture(scope="module")
def packets():
    rng = np.random.default_rng(SEED)
    return [rng.bytes(int(n)) for n in rng.integers(1, 400, 12)]


@pytest.mark.parametrize("modulation, fec", [("qpsk", "cc-1/2"), ("qam16", "ldpc-1/2"), ("qam64", "cc-3/4")])
def test_tagged_stream_in_tagged_stream_out(packets, modulation, fec):
    tb = gr.top_block()
    source, sink = tagged_bytes(packets), blocks.vector_sink_b()
    tx = diffusion.ofdm_tx("stream", modulation, fec)
    noise = analog.noise_source_c(analog.GR_GAUSSIAN, 10 ** (-26 / 20), SEED)
    add = blocks.add_cc()
    rx = diffusion.ofdm_rx()
    tb.connect(source, tx, add, rx, sink)
    tb.connect(noise, (add, 1))
    tb.run()
    assert packets_of(sink) == packets
    assert tx.sent() == len(packets) == rx.counters()["ok"]
    values = {pmt.symbol_to_string(t.key): t.value for t in sink.tags()}
    assert pmt.to_double(values["snr_db"]) == pytest.approx(27, abs=2)


def test_bursts_carry_tags(packets):
    x, tags = samples_of(packets[:3], guard=100)
    of = lambda key: sorted(t.offset for t in tags if pmt.eq(t.key, pmt.intern(key)))
    starts = of("tx_sob")
    lengths = [pmt.to_long(t.value) for t in sorted(tags, key=lambda t: t.offset)
               if pmt.eq(t.key, pmt.intern("packet_len"))]
    assert of("packet_len") == starts == [0, lengths[0], lengths[0] + lengths[1]]
    assert of("tx_eob") == [s + n - 1 for s, n in zip(starts, lengths)] and sum(lengths) == x.size
    assert all(not np.any(x[s + n - 100:s + n]) for s, n in zip(starts, lengths))


def test_a_file_in_continuous_frames_ends_the_flowgraph(tmp_path):
    """file_source -> ofdm_tx -> file_sink ends with the file, its last frame whole."""
    data = np.random.default_rng(SEED).bytes(3 * 112)
    (tmp_path / "in").write_bytes(data)
    tb = gr.top_block()
    source = blocks.file_source(gr.sizeof_char, str(tmp_path / "in"))
    tagged, sink = blocks.stream_to_tagged_stream(gr.sizeof_char, 1, 112,
                                                  "packet_len"), blocks.vector_sink_c()
    tx = diffusion.ofdm_tx("stream", transmission="continuous")
    tb.connect(source, tagged, tx, sink)
    ended = threading.Event()
    threading.Thread(target=lambda: (tb.run(), ended.set()), daemon=True).start()
    assert ended.wait(20), "still running"
    assert tx.sent() == 3
    received, rx = receive(noisy(np.array(sink.data(), np.complex64), 30))
    assert bytes(received.data()) == data and rx.counters()["ok"] == 3


def test_pdus_continuous_with_live_settings(packets):
    """PDUs both ways through a running flowgraph; modulation and stages change between frames."""
    tb = gr.top_block()
    tx = diffusion.ofdm_tx("pdu", "qpsk", "cc-1/2", "continuous")
    rx = diffusion.ofdm_rx(symbols=True)
    noise, add = analog.noise_source_c(analog.GR_GAUSSIAN, 10 ** (-27 / 20), SEED), blocks.add_cc()
    throttle = blocks.throttle(gr.sizeof_gr_complex, 2e6)
    sink, symbols, got, metrics = blocks.null_sink(1), blocks.vector_sink_c(), Collector(), Collector()
    tb.connect(tx, throttle, add, rx, sink)
    tb.connect(noise, (add, 1))
    tb.connect((rx, 1), symbols)
    tb.msg_connect(rx, "pdus", got, "in")
    tb.msg_connect(rx, "metrics", metrics, "in")
    tb.start()
    try:
        settings = [("qpsk", "cc-1/2", "lmmse", "map"), ("qam16", "ldpc-1/2", "ls", "map"),
                    ("qam64", "cc-3/4", "lmmse", "min-distance"), ("qam256", "cc-2/3", "ls", "map")]
        for i, (modulation, fec, estimator, demapper) in enumerate(settings):
            message = pmt.dict_add(pmt.make_dict(), pmt.intern("modulation"), pmt.intern(modulation))
            post(tx.core, "cmd", pmt.dict_add(message, pmt.intern("fec"), pmt.intern(fec)))
            post(rx.core, "cmd", pmt.cons(pmt.intern("estimator"), pmt.intern(estimator)))
            rx.set_demapper(demapper)
            assert wait_for(lambda: tx.modulation() == modulation and tx.fec() == fec
                            and rx.estimator() == estimator)
            for p in packets[3 * i:3 * i + 3]:
                post(tx.core, "pdus", pdu(p))
            assert wait_for(lambda: len(got.messages) == 3 * i + 3), rx.counters()
    finally:
        tb.stop()
        tb.wait()
    assert [bytes(pmt.u8vector_elements(pmt.cdr(m))) for m in got.messages] == packets
    heard = [pmt.to_python(m) for m in metrics.messages]
    assert [m["modulation"] for m in heard] == ["qpsk"] * 3 + ["qam16"] * 3 + ["qam64"] * 3 + ["qam256"] * 3
    assert all(m["payload_ok"] and m["ok"] > i for i, m in enumerate(heard)) and heard[-1]["ok"] == 12
    assert np.mean(np.abs(symbols.data()) ** 2) == pytest.approx(1, rel=0.1)


def test_frames_port_gives_every_stage(packets):
    x, _ = samples_of(packets[:2], modulation="qam16")
    tb = gr.top_block()
    source, rx, sink, got = blocks.vector_source_c(noisy(x,
                                                         25).tolist()), diffusion.ofdm_rx(), blocks.null_sink(1), Collector()
    tb.connect(source, rx, sink)
    tb.msg_connect(rx, "frames", got, "in")
    tb.start()
    assert wait_for(lambda: len(got.messages) == 2)
    tb.wait()
    for message, packet in zip(got.messages, packets):
        f = pmt.to_python(message)
        assert bytes(f["payload"]) == packet
        assert len(f["llr"]) == 4 * len(f["symbols"]) == 4 * len(f["symbol_noise"])
        assert len(f["channel"]) == len(f["channel_error"]) == 64


def test_every_flowgraph_ends_with_every_packet(packets):
    """The end of the stream is where frames get lost: the last one must be written before the block ends."""
    x, _ = samples_of(packets[:3], guard=0)
    for _ in range(20):
        sink, _ = receive(x)
        assert packets_of(sink) == packets[:3]


def test_rx_time_starts_anew(packets):
    x, _ = samples_of(packets[:1])
    lost = np.concatenate([x[:x.size // 2], x])  # an overflow in the middle of a frame
    tag = gr.tag_utils.python_to_tag((x.size // 2, pmt.intern("rx_time"),
                                      pmt.make_tuple(pmt.from_uint64(1), pmt.from_double(0))))
    tb = gr.top_block()
    source, rx, sink = blocks.vector_source_c(lost.tolist(), False, 1,
                                              [tag]), diffusion.ofdm_rx(), blocks.vector_sink_b()
    tb.connect(source, rx, sink)
    tb.run()
    assert packets_of(sink) == packets[:1]
    assert rx.counters()["truncated"] == 1


def test_wrong_commands_change_nothing(packets):
    x, _ = samples_of(packets[:2])
    tb = gr.top_block()
    rx, sink = diffusion.ofdm_rx(), blocks.null_sink(1)
    source = blocks.null_source(gr.sizeof_gr_complex)
    tb.connect(source, rx, sink)
    tb.start()
    for key, value in (("estimator", "best"), ("demapper", "none"), ("estimator_model", "no-such"),
                       ("colour", "red"),
                       ("demapper", "map")):
        post(rx.core, "cmd", pmt.cons(pmt.intern(key), pmt.intern(value)))
    post(rx.core, "cmd", pmt.cons(pmt.intern("estimator"), pmt.from_long(3)))
    post(rx.core, "cmd", pmt.PMT_NIL)
    post(rx.core, "cmd", pmt.cons(pmt.intern("demapper"), pmt.intern("min-distance")))
    try:
        assert wait_for(lambda: rx.demapper() == "min-distance")
        assert rx.estimator() == "lmmse"
    finally:
        tb.stop()
        tb.wait()


def test_bad_packets_are_dropped_and_the_next_one_is_sent():
    tx = diffusion.ofdm_tx("pdu", transmission="continuous", max_payload=100)
    tb = gr.top_block()
    sink = blocks.null_sink(gr.sizeof_gr_complex)
    tb.connect(tx, sink)
    tb.start()
    for message in (pmt.PMT_NIL, pmt.from_long(3), pmt.cons(pmt.PMT_NIL, pmt.init_f32vector(2, [1, 2])),
                    pdu(bytes(101)), pmt.cons(pmt.make_dict(), pmt.PMT_T)):
        post(tx.core, "pdus", message)
    for message in (pmt.PMT_NIL, pmt.cons(pmt.intern("fec"), pmt.intern("turbo")),
                    pmt.cons(pmt.intern("fec"), pmt.from_long(1)),
                    pmt.cons(pmt.intern("amplitude"), pmt.from_double(-1)), pmt.from_long(7)):
        post(tx.core, "cmd", message)
    post(tx.core, "pdus", pdu(b"after"))
    try:
        assert wait_for(lambda: tx.sent() == 1 and tx.dropped() == 5)
        assert tx.fec() == "cc-1/2" and tx.amplitude() == 1
    finally:
        tb.stop()
        tb.wait()


def test_bytes_without_a_length_tag_are_skipped():
    packet = b"0123456789"
    tags = [gr.tag_utils.python_to_tag((3, pmt.intern("packet_len"), pmt.intern("many"))),
            gr.tag_utils.python_to_tag((5, pmt.intern("packet_len"), pmt.from_long(len(packet))))]
    tb = gr.top_block()
    source = blocks.vector_source_b(list(b"junk!" + packet + b"tail"), False, 1, tags)
    tx, rx, sink = diffusion.ofdm_tx("stream"), diffusion.ofdm_rx(), blocks.vector_sink_b()
    tb.connect(source, tx, rx, sink)
    tb.run()
    assert packets_of(sink) == [packet]
    assert tx.dropped() >= 2


def test_hostile_samples_do_not_stop_the_receiver(packets):
    rng = np.random.default_rng(SEED)
    x, _ = samples_of(packets[:2])
    half = samples_of(packets[:1])[0]
    half = half[:half.size // 2]
    bad = np.concatenate([np.full(3000, np.nan), np.full(3000, np.inf), 1e30 * rng.standard_normal(3000),
                          rng.standard_normal(5000) + 1j * rng.standard_normal(5000), np.ones(3000)])
    sink, rx = receive(np.concatenate([bad, x, bad, half, bad]).astype(np.complex64))
    assert packets_of(sink) == packets[:2]


def test_stages_change_under_load(packets):
    """Setters from another thread while frames stream through: nothing is lost, nothing hangs."""
    x, _ = samples_of(packets)
    tb = gr.top_block()
    source = blocks.vector_source_c(np.tile(noisy(x, 25), 12).tolist())
    rx, sink = diffusion.ofdm_rx(), blocks.vector_sink_b()
    tb.connect(source, rx, sink)
    stop = threading.Event()

    def switch():
        while not stop.is_set():
            for estimator, demapper in (("ls", "map"), ("lmmse", "min-distance"), ("lmmse", "map")):
                rx.set_estimator(estimator)
                rx.set_demapper(demapper)

    thread = threading.Thread(target=switch)
    tb.start()
    thread.start()
    tb.wait()
    stop.set()
    thread.join()
    assert packets_of(sink) == packets * 12


@pytest.mark.parametrize("make, words", [
    (lambda: diffusion.ofdm_tx("file"), "use pdu or stream"),
    (lambda: diffusion.ofdm_tx(modulation="qam32"), "qam32"),
    (lambda: diffusion.ofdm_tx(fec="rs"), "'rs'"),
    (lambda: diffusion.ofdm_tx(transmission="now"), "burst or continuous"),
    (lambda: diffusion.ofdm_tx(amplitude=0), "amplitude is 0"),
    (lambda: diffusion.ofdm_tx(guard=-5), "guard is -5"),
    (lambda: diffusion.ofdm_rx("wifi"), "native or stock"),
    (lambda: diffusion.ofdm_rx(estimator="mmse"), "use ls, lmmse"),
    (lambda: diffusion.ofdm_rx(demapper="soft"), "use min-distance, map"),
    (lambda: diffusion.ofdm_rx(max_cfo=-1), "max_cfo is -1"),
])
def test_bad_settings_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_missed_frames_are_gaps_and_not_a_transmitter_that_starts_anew():
    packets = [bytes([k] * 40) for k in range(6)]
    whole = samples_of(packets)[0]
    frame = whole.size // 6
    holed = whole.copy()
    holed[2 * frame:4 * frame] = 0  # two frames that never arrive
    counters = receive(noisy(np.concatenate([whole, holed, whole, np.zeros(2000)]), 30))[1].counters()
    assert (counters["ok"], counters["missed"]) == (16, 2)
