# SPDX-License-Identifier: GPL-3.0-or-later
"""Every block, in a running flowgraph: messages, tags and samples of every wrong kind. Nothing may stop
it."""
import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr

KEYS = ["model", "fit", "noise_var", "snr", "snr_db", "steps", "mode", "method", "bits", "full_scale",
        "dither",
        "preset", "pa", "estimator", "demapper", "estimator_model", "demapper_model", "max_passes",
        "modulation",
        "fec", "amplitude", "adc_bits", "phase_noise_deg", "kappa", "cfo", "", "no such key"]
VALUES = [pmt.PMT_NIL, pmt.PMT_T, pmt.from_long(-7), pmt.from_long(2**62), pmt.from_uint64(2**64 - 1),
          pmt.from_double(float("nan")), pmt.from_double(float("inf")), pmt.from_double(-1e300),
          pmt.from_complex(1j), pmt.intern(""), pmt.intern("x" * 100000), pmt.intern("/etc/passwd"),
          pmt.intern("ce-ofdm64"), pmt.intern("ps-qam16"), pmt.make_vector(3, pmt.PMT_NIL), pmt.make_dict(),
          pmt.init_f64vector(3, [1, float("nan"), 2]), pmt.init_u8vector(0, []),
          pmt.cons(pmt.PMT_T, pmt.PMT_T)]
ODD_MESSAGES = VALUES + [pmt.cons(pmt.PMT_NIL, pmt.from_long(1)), pmt.cons(pmt.intern("a"), pmt.PMT_NIL),
                         pmt.cons(pmt.make_dict(), pmt.init_u8vector(3, [1, 2, 3])),
                         pmt.cons(pmt.make_dict(), pmt.init_f32vector(3, [1, 2, 3])),
                         pmt.dict_add(pmt.make_dict(), pmt.from_long(3), pmt.from_long(4)),
                         pmt.cons(pmt.cons(pmt.intern("noise_var"), pmt.PMT_T), pmt.from_long(5)),
                         pmt.make_tuple(pmt.PMT_T, pmt.PMT_F), pmt.list3(pmt.PMT_T, pmt.PMT_F, pmt.PMT_T)]
MESSAGES = ODD_MESSAGES + [pmt.dict_add(pmt.make_dict(), pmt.intern(k), v) for k in KEYS for v in VALUES] + [
    pmt.cons(pmt.intern(k), v) for k in KEYS for v in VALUES[2:8]]
TAG_KEYS = ["noise_var", "snr", "packet_len", "shaping", "rx_time", "ofdm_sync_chan_taps"]

EVEN = [0.0 if i % 2 or i == 32 else 1.0 for i in range(64)]
ALL = [1.0] * 64


def ofdm_estimator():
    return diffusion.ofdm_channel_estimator_vcvc("", EVEN, ALL, 4)


C, B, F = np.complex64, np.uint8, np.float32
BLOCKS = {
    "denoiser_cc": (lambda: diffusion.denoiser_cc("rx-qam16"), [C], [C]),
    "denoiser_cc table": (lambda: diffusion.denoiser_cc("rx-qam16", 0.1, 0, "table"), [C], [C]),
    "soft_demapper_cf": (lambda: diffusion.soft_demapper_cf("rx-qam16"), [C], [F]),
    "ofdm_channel_estimator_vcvc": (ofdm_estimator, [(C, 64)], [(C, 64)]),
    "shaper_bc": (lambda: diffusion.shaper_bc("ps-qam16", 10, 64), [B], [C]),
    "shaper_bc packets": (lambda: diffusion.shaper_bc("ps-qam16", 10, 64, 0, 0, "packet_len"), [B], [C]),
    "deshaper_cb": (lambda: diffusion.deshaper_cb("ps-qam16", 10, 64), [C], [B]),
    "shaped_parity": (lambda: diffusion.shaped_parity("ps-qam16", "2/3"), [C], [C]),
    "shaped_decoder": (lambda: diffusion.shaped_decoder("ps-qam16", "2/3"), [F, C], [C]),
    "impairments_cc": (lambda: diffusion.impairments_cc("mild", 1e6), [C], [C]),
    "mimo_channel_estimator": (lambda: diffusion.mimo_channel_estimator("ce-mimo16x4", [1.0] * 64, 0.1),
                               [(C, 16)],
                               [(C, 64)]),
    "sequence_denoiser_cc": (lambda: diffusion.sequence_denoiser_cc("seq-dpa200"), [C], [C]),
    "sequence_receiver": (lambda: diffusion.sequence_receiver(diffusion.PulseWaveform(), model="seq-dpa200"),
                          [C],
                          [C, F]),
    "remote_denoiser": (lambda: diffusion.remote_denoiser("rx-qam16", ["tcp://127.0.0.1:9"]), [C], [C]),
    "quantizer_cc": (lambda: diffusion.quantizer_cc(3, 1.0), [C], [C]),
    "ofdm_tx stream": (lambda: diffusion.ofdm_tx("stream"), [B], [C]),
    "ofdm_rx": (lambda: diffusion.ofdm_rx(symbols=True), [C], [B, C]),
    "ofdm_rx stock": (lambda: diffusion.ofdm_rx("stock", symbols=True), [C], [B, C]),
    "link_metrics ber": (lambda: diffusion.link_metrics("ber"), [B, B], []),
    "link_metrics gmi": (lambda: diffusion.link_metrics("gmi", 2), [B, F], []),
    "link_metrics nmse": (lambda: diffusion.link_metrics("nmse"), [C, C], []),
}
SAMPLE_FOR_SAMPLE = ("denoiser_cc", "soft_demapper_cf", "quantizer_cc", "impairments_cc",
                     "sequence_denoiser_cc",
                     "remote_denoiser")
AS_THEY_CAME = ("ofdm_channel_estimator_vcvc", "shaped_parity", "shaped_decoder")  # pass symbols on unchanged
PORTS = ["cmd", "pdus", "frames"]


def samples(kind, n, rng):
    if kind is B:
        return rng.integers(0, 256, n).astype(B)
    y = rng.standard_normal(n) + (1j * rng.standard_normal(n) if kind is C else 0)
    y[::17], y[1::17], y[2::17], y[3::17] = np.nan, np.inf, 3e38, -np.inf
    return y.astype(kind)


@pytest.mark.parametrize("name", BLOCKS)
def test_nothing_stops_a_flowgraph(name, capfd):
    make, inputs, outputs = BLOCKS[name]
    rng = np.random.default_rng(3)
    block = make()
    tb, sources, sinks = gr.top_block(), [], []
    n = 6400
    for port, kind in enumerate(inputs):
        kind, width = kind if isinstance(kind, tuple) else (kind, 1)
        tags = [gr.tag_utils.python_to_tag((int(rng.integers(n // width)), pmt.intern(key), value, pmt.PMT_F))
                for key in TAG_KEYS for value in VALUES]
        source = {C: blocks.vector_source_c, F: blocks.vector_source_f, B: blocks.vector_source_b}[kind]
        sources.append(source(samples(kind, n, rng).tolist(), False, width, tags))
        tb.connect(sources[-1], (block, port))
    for port, kind in enumerate(outputs):
        kind, width = kind if isinstance(kind, tuple) else (kind, 1)
        sink = {C: blocks.vector_sink_c, F: blocks.vector_sink_f, B: blocks.vector_sink_b}[kind]
        sinks.append(sink(width))
        tb.connect((block, port), sinks[-1])
    core = getattr(block, "core", block)
    for port in PORTS:
        if pmt.length(core.message_ports_in()) and port in pmt.to_python(core.message_ports_in()):
            for message in MESSAGES:
                core.to_basic_block()._post(pmt.intern(port), message)
    tb.run()
    text = "".join(capfd.readouterr())
    assert "thread_body_wrapper" not in text and "Traceback" not in text, text[-3000:]
    for sink, kind in zip(sinks, outputs):
        if name.split()[0] in SAMPLE_FOR_SAMPLE:
            assert len(sink.data()) == n * (4 if kind is F else 1)
        if kind is not B and name not in AS_THEY_CAME:
            assert np.isfinite(sink.data()).all()


def run_with_message(block, message):
    tb, source, sink = gr.top_block(), blocks.vector_source_c([0.5] * 200), blocks.vector_sink_c()
    block.to_basic_block()._post(pmt.intern("cmd"), message)
    tb.connect(source, block, sink)
    tb.run()
    return block


def test_a_good_pair_is_not_counted_as_refused():
    message = pmt.cons(pmt.intern("noise_var"), pmt.from_double(0.05))
    block = run_with_message(diffusion.denoiser_cc("rx-qam16"), message)
    assert block.noise_var() == pytest.approx(0.05) and block.refused() == 0


def test_integers_are_not_cut_to_their_low_bits():
    message = pmt.cons(pmt.intern("bits"), pmt.from_long(2**32 + 3))
    assert run_with_message(diffusion.quantizer_cc(8, 1.0), message).bits() == 8


def test_an_absurd_amplitude_is_refused():
    tx = diffusion.ofdm_tx()
    for amplitude in (0, -1, 1e300, 1e-300, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="use an RMS of 1e-12 to 1e12"):
            tx.set_amplitude(amplitude)
    assert tx.amplitude() == 1


def test_a_carousel_takes_two_tags_on_a_sample_and_absurd_lengths(tmp_path):
    tag = lambda at, value: gr.tag_utils.python_to_tag((at, pmt.intern("packet_len"), value, pmt.PMT_F))
    tags = [tag(5, pmt.from_long(20)), tag(5, pmt.from_long(2**62)), tag(5, pmt.from_long(-3)),
            tag(5, pmt.intern("x"))]
    tb, source = gr.top_block(), blocks.vector_source_b([1] * 100000, False, 1, tags)
    sink = diffusion.carousel_sink(tmp_path / "file")
    tb.connect(source, sink)
    tb.run()
    assert not sink.complete() and len(sink.packet) <= 65535


def test_an_absurd_length_tag_does_not_swallow_the_packets_behind_it():
    tag = lambda at, value: gr.tag_utils.python_to_tag((at, pmt.intern("packet_len"), value, pmt.PMT_F))
    tags = [tag(0, pmt.from_long(2**62)), tag(100, pmt.from_uint64(50)), tag(150, pmt.from_uint64(2**64 - 1)),
            tag(300, pmt.from_long(60))]
    tb, source, sink = gr.top_block(), blocks.vector_source_b([1] * 400, False, 1,
                                                              tags), blocks.vector_sink_c()
    tx = diffusion.ofdm_tx("stream")
    tb.connect(source, tx, sink)
    tb.run()
    assert tx.sent() == 2 and tx.dropped() >= 2 and np.isfinite(sink.data()).all()
