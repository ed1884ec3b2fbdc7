# SPDX-License-Identifier: GPL-3.0-or-later
"""shaper_bc and deshaper_cb in real flowgraphs: the same bits come out, whatever happens to the SNR."""
import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr

RNG = np.random.default_rng(1)
BITS = RNG.integers(0, 2, 200000, dtype=np.uint8)


def tag(offset, key, value):
    t = gr.tag_t()
    t.offset, t.key, t.value = offset, pmt.intern(key), value
    return t


def shaping(index, bits, packet=0):
    return pmt.make_tuple(*(pmt.from_uint64(int(v)) for v in (index, bits, packet)))


class Graph(gr.top_block):
    """bits -> shaper -> deshaper -> bits, symbols kept."""

    def __init__(self, bits, shaper, deshaper, tags=(), noise=0.0):
        super().__init__()
        self.source = blocks.vector_source_b(bits.tolist(), False, 1, list(tags))
        self.shaper, self.deshaper = shaper, deshaper
        self.bits, self.symbols = blocks.vector_sink_b(), blocks.vector_sink_c()
        self.connect(self.source, shaper, deshaper, self.bits)
        self.connect(shaper, self.symbols)

    def result(self):
        self.run()
        return np.array(self.bits.data(), np.uint8), np.array(self.symbols.data(), np.complex64)


@pytest.mark.parametrize("model", ["ps-qam16", "ps-qam64", "ps-qam256"])
@pytest.mark.parametrize("length", [64, 1000, 8192])
def test_bits_come_back_and_symbols_have_the_pmf(model, length):
    g = Graph(BITS, diffusion.shaper_bc(model, 11.7, length), diffusion.deshaper_cb(model, 0, length))
    bits, symbols = g.result()
    code = diffusion.shaper_core(model, length)
    index = code.index(11.7)
    assert bits.size == BITS.size // code.code(index).bits * code.code(index).bits
    np.testing.assert_array_equal(bits, BITS[:bits.size])
    assert np.mean(np.abs(symbols) ** 2) == pytest.approx(1, abs=1e-5)
    # Every block has the composition exactly.
    for block in code.decide(index, symbols).reshape(-1, length)[:20]:
        classes = np.bincount(code.class_of[block])
        wanted = np.bincount(code.class_of, code.code(index).pmf * length)
        np.testing.assert_allclose(classes, wanted[:classes.size], atol=1e-6)
    assert g.deshaper.bad_blocks() == g.deshaper.bad_tags() == 0


@pytest.mark.parametrize("model, length", [("ps-qam16", 64), ("ps-qam64", 100), ("ps-qam256", 1000)])
def test_spheres_bring_the_bits_back(model, length):
    g = Graph(BITS, diffusion.shaper_bc(model, 11.7, length, matcher="ess"),
              diffusion.deshaper_cb(model, 0, length, matcher="ess"))
    bits, symbols = g.result()
    code = diffusion.shaper_core(model, length, "ess")
    assert bits.size == BITS.size // code.code(code.index(11.7)).bits * code.code(code.index(11.7)).bits
    np.testing.assert_array_equal(bits, BITS[:bits.size])
    assert np.mean(np.abs(symbols) ** 2) == pytest.approx(1, abs=0.02)
    assert g.deshaper.bad_blocks() == 0


def test_spheres_for_hardware_states_change_while_running():
    """More states than are kept."""
    shaper, deshaper = (b("ps-qam64", 12, 64, 4, 2.0, matcher="ess")
                        for b in (diffusion.shaper_bc, diffusion.deshaper_cb))
    tb = gr.top_block()
    source, head = blocks.vector_source_b(BITS.tolist(), True), blocks.head(1, 400000)
    sink = blocks.vector_sink_b()
    tb.connect(source, head, shaper, deshaper, sink)
    tb.start()
    for i in range(12):
        shaper.set_hardware(3 + i % 4, i / 2)
        time.sleep(0.01)
    tb.wait()
    out = np.array(sink.data(), np.uint8)
    np.testing.assert_array_equal(out, np.resize(BITS, out.size))
    assert out.size > 390000 and deshaper.bad_blocks() == 0


def test_untagged_stream_follows_the_snr_given():
    shaper, deshaper = diffusion.shaper_bc("ps-qam64", 14), diffusion.deshaper_cb("ps-qam64", 14)
    strip = blocks.tag_gate(gr.sizeof_gr_complex, False)
    tb = gr.top_block()
    source, sink = blocks.vector_source_b(BITS.tolist()), blocks.vector_sink_b()
    tb.connect(source, shaper, strip, deshaper, sink)
    tb.run()
    out = np.array(sink.data(), np.uint8)
    assert out.size > BITS.size - 8 * 1024
    np.testing.assert_array_equal(out, BITS[:out.size])


def test_snr_changes_while_running_and_both_ends_agree():
    shaper, deshaper = diffusion.shaper_bc("ps-qam64", 5, 256), diffusion.deshaper_cb("ps-qam64", 5, 256)
    tb = gr.top_block()
    source = blocks.vector_source_b(BITS.tolist(), True)
    head = blocks.head(1, 3000000)
    sink, tags = blocks.vector_sink_b(), blocks.tag_debug(gr.sizeof_gr_complex, "shaping", "shaping")
    tags.set_display(False)
    tags.set_save_all(True)
    tb.connect(source, head, shaper, deshaper, sink)
    tb.connect(shaper, tags)
    tb.start()
    post = lambda key, value: shaper.to_basic_block()._post(pmt.intern("cmd"),
                                                            pmt.cons(pmt.intern(key), value))
    snr = 5.0
    while deshaper.blocks() < 1500 and not head.nitems_written(0) >= 3000000:
        snr = 5 + (snr - 4.3) % 18
        post("snr_db" if int(10 * snr) % 2 else "snr", pmt.from_double(snr))
        post("snr_db", pmt.intern("nonsense"))
        post("snr_db", pmt.from_double(float("nan")))
        time.sleep(0.002)
    tb.wait()
    out = np.array(sink.data(), np.uint8)
    seen = {pmt.to_uint64(pmt.tuple_ref(t.value, 0)) for t in tags.current_tags()}
    assert len(seen) > 3, "the SNR never changed while running"
    np.testing.assert_array_equal(out, np.resize(BITS, out.size))
    assert out.size > 2.9e6 and deshaper.bad_blocks() == 0


@pytest.mark.parametrize("sizes", [[1, 7, 5000, 64, 20000], [100] * 30])
def test_packets_of_any_length_come_back_whole(sizes):
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    tags = [tag(int(o), "len", pmt.from_long(int(n))) for o, n in zip(offsets, sizes)]
    bits = BITS[:offsets[-1]]
    shaper = diffusion.shaper_bc("ps-qam16", 9, 128, length_tag_name="len")
    deshaper = diffusion.deshaper_cb("ps-qam16", 0, 128, length_tag_name="len")
    g = Graph(bits, shaper, deshaper, tags)
    out, symbols = g.result()
    np.testing.assert_array_equal(out, bits)
    got = sorted((t.offset, pmt.to_uint64(t.value)) for t in g.bits.tags())
    assert got == [(int(o), int(n)) for o, n in zip(offsets, sizes)]
    lengths = [pmt.to_uint64(t.value) for t in g.symbols.tags() if pmt.symbol_to_string(t.key) == "len"]
    assert sum(lengths) == symbols.size


def test_hostile_length_tags_lose_only_their_packets():
    tags = [tag(0, "len", pmt.intern("x")), tag(10, "len", pmt.from_long(-5)),
            tag(20, "len", pmt.from_long(5000)),
            tag(1000, "len", pmt.from_long(300)), tag(1300, "other", pmt.PMT_T),
            tag(2000, "len", pmt.from_uint64(100)), tag(2000, "len", pmt.PMT_NIL)]
    shaper = diffusion.shaper_bc("ps-qam16", 9, 64, length_tag_name="len")
    g = Graph(BITS[:2500], shaper, diffusion.deshaper_cb("ps-qam16", 0, 64), tags)
    out, _ = g.result()
    # 980 bits of the packet that was cut short, then 300, then 100.
    np.testing.assert_array_equal(out, np.concatenate([BITS[20:1000], BITS[1000:1300], BITS[2000:2100]]))


def test_hostile_tags_and_samples_at_the_deshaper():
    length = 64
    core = diffusion.shaper_core("ps-qam64", length)
    index = core.index(12.0)
    code = core.code(index)
    bits = BITS[:20 * code.bits]
    symbols = core.points(index)[code.encode(bits)].astype(np.complex64)
    bad = [pmt.PMT_NIL, pmt.from_long(3), shaping(60000, 1), shaping(index, 10 ** 6),
           pmt.make_tuple(pmt.intern("a"), pmt.PMT_T, pmt.PMT_F), pmt.make_tuple(pmt.from_long(-1))]
    tags = [tag(64 * b, "shaping", v) for b, v in enumerate(bad)]
    tags += [tag(64 * b, "shaping", shaping(index, code.bits)) for b in range(len(bad), 20)
             if b not in (12, 13)]
    tags += [tag(64 * 15 + 20, "shaping", shaping(index, code.bits))]  # cuts block 15, and runs into block 16
    outer = 64 * 18 + np.argmax(np.abs(symbols[64 * 18:64 * 19]))  # so that 0 in its place is a wrong symbol
    symbols[outer] = np.nan
    symbols[64 * 19:] = 1e30
    deshaper = diffusion.deshaper_cb("ps-qam64", 0, length)
    tb = gr.top_block()
    source, sink = blocks.vector_source_c(symbols.tolist(), False, 1, tags), blocks.vector_sink_b()
    tb.connect(source, deshaper, sink)
    tb.run()
    out = np.array(sink.data(), np.uint8).reshape(-1, code.bits)
    kept = [b for b in range(len(bad), 20) if b != 15]
    assert len(out) == len(kept)
    for row, b in zip(out, kept):
        if b < 18:
            np.testing.assert_array_equal(row, bits.reshape(-1, code.bits)[b])
    assert deshaper.bad_tags() == len(bad)
    assert deshaper.cut_blocks() == 2
    assert deshaper.bad_samples() == 1
    assert deshaper.bad_blocks() == 2


def test_symbol_errors_of_another_class_are_noticed():
    length = 256
    core = diffusion.shaper_core("ps-qam64", length)
    index = core.index(14.0)
    code = core.code(index)
    sent = code.encode(BITS[:100 * code.bits])
    symbols = core.points(index)[sent]
    symbols[::length] += 0.6  # one symbol a block goes two points to the right, where there are two
    wrong = core.class_of[core.decide(index, symbols)] != core.class_of[sent]
    deshaper = diffusion.deshaper_cb("ps-qam64", 14, length)
    tb = gr.top_block()
    source, sink = blocks.vector_source_c(symbols.tolist()), blocks.null_sink(1)
    tb.connect(source, deshaper, sink)
    tb.run()
    assert deshaper.blocks() == 100 and wrong.sum() > 50
    assert deshaper.bad_blocks() == wrong.sum()


@pytest.mark.parametrize("arguments, what", [
    (("no-such-model",), "no-such-model"), (("ps-qam64", float("nan")), "snr_db is nan"),
    (("ps-qam64", 10, 63), "block_length is 63"), (("ps-qam64", 10, -5), "block_length is"),
    (("ps-qam16", 10, 64, 0, 0.0, "", "x"), "use ccdm"), (("ps-qam16", 10, 64, 4, 3.0), "AWGN only"),
    (("ps-qam64", 10, 64, 9, 3.0), "adc_bits is 9"),
    (("ps-qam64", 10, 64, 4, 30.0), "phase_noise_deg is 30")])
@pytest.mark.parametrize("block", ["shaper_bc", "deshaper_cb"])
def test_bad_settings_are_named(block, arguments, what):
    with pytest.raises(ValueError, match=what):
        getattr(diffusion, block)(*arguments)
