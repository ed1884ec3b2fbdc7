# SPDX-License-Identifier: GPL-3.0-or-later
"""sequence_receiver and interference_receiver in flowgraphs: the same numbers as without one, and what hurts
them."""
import subprocess
import sys

import numpy as np
import pmt
import pytest
import yaml
from gnuradio import blocks, diffusion, gr
from gnuradio.diffusion import metrics
from gnuradio.diffusion.evaluate import receiver_interference, receiver_memory


def run(block, samples, tags=(), messages=()):
    """(symbols, llr) of a flowgraph."""
    top = gr.top_block()
    source = blocks.vector_source_c(np.asarray(samples, np.complex64).tolist(), False, 1, list(tags))
    sinks = blocks.vector_sink_c(), blocks.vector_sink_f()
    top.connect(source, block)
    for port, sink in enumerate(sinks):
        top.connect((block, port), sink)
    for message in messages:
        block.to_basic_block()._post(pmt.intern("cmd"), message)
    top.run()
    return np.array(sinks[0].data(), np.complex64), np.array(sinks[1].data(), np.float32)


def tag(offset, key, value=pmt.PMT_T):
    return gr.python_to_tag((offset, pmt.intern(key), value, pmt.PMT_NIL))


def amplified(waveform, constellation, count, seed, noise_var=1e-3):
    """(x, y, index): count blocks through the measured amplifier's model."""
    rng = np.random.default_rng(seed)
    points = np.asarray(diffusion.constellation(constellation)).astype(complex)
    index = rng.integers(0, points.size, count * waveform.block[1])
    x = waveform.modulate(points[index])
    y = receiver_memory.amplified(diffusion.power_amplifier.load("pa-dpa200"))(x)
    return x, (y + receiver_memory.circular(rng, y.size, noise_var)).astype(np.complex64), index


def test_sequence_receiver_is_the_python_one_and_finds_its_blocks(tmp_path):
    waveform = diffusion.OfdmWaveform.dpa200(known_gains=True)
    x, y, _ = amplified(waveform, "qam64", 2, 1, 1e-4)
    fitted = diffusion.SequenceReceiver(waveform, "qam64").fit(x, y)
    fitted.save_fit(tmp_path / "fit.npz")
    _, y, index = amplified(waveform, "qam64", 3, 2)
    noise_var = 1e-3
    block = diffusion.sequence_receiver(waveform, "qam64", fit=str(tmp_path / "fit.npz"), noise_var=noise_var,
                                        align_tag="start")
    assert block.choice() == "polynomial"
    rubbish = 0.3 * np.ones(700)
    symbols, llr = run(block, np.concatenate([rubbish, y, rubbish]), [tag(700, "start")])
    assert block.counters() == {"blocks": 3, "failed": 0, "bad_samples": 0, "refused": 0, "skipped": 700}
    wanted = [fitted(part, noise_var) for part in y.reshape(3, -1)]
    np.testing.assert_allclose(symbols, np.concatenate([w[0] for w in wanted]), atol=2e-3)
    np.testing.assert_allclose(llr.reshape(-1, 6), np.concatenate([w[1] for w in wanted]), atol=0.5)
    assert metrics.ber(metrics.labels(6)[index], llr.reshape(-1, 6))[0] == 0


def test_sequence_receiver_with_the_shipped_model_and_single_carrier():
    waveform = diffusion.PulseWaveform(4, 0.25, 24, 500)
    _, y, index = amplified(waveform, "qam16", 2, 3, 5e-3)
    gain = 3.165638  # of the model file: a receiver without a fit wants gain 1
    assert diffusion.SequenceReceiver(waveform, "qam16", "seq-dpa200").choice == "network"
    send = receiver_memory.amplified(diffusion.power_amplifier.load("pa-dpa200"))
    probe = waveform.modulate(np.asarray(diffusion.constellation("qam16")).astype(complex)[index])
    gain = np.vdot(probe, send(probe)) / np.vdot(probe, probe)
    block = diffusion.sequence_receiver(waveform, "qam16", "seq-dpa200", noise_var=5e-3 / abs(gain) ** 2)
    _, llr = run(block, y / gain)
    assert metrics.ber(metrics.labels(4)[index], llr.reshape(-1, 4))[0] < 1e-3


def test_interference_receiver_is_the_python_one(tmp_path):
    law = diffusion.InterferenceLaw.fit([receiver_interference.narrowband(np.random.default_rng([3, k]), 200)
                                         for k in range(60)], window=16, components=16, rounds=6, most=1500)
    law.save(tmp_path / "law.npz")
    rng = np.random.default_rng(4)
    points = np.asarray(diffusion.constellation("qpsk")).astype(complex)
    index = rng.integers(0, 4, 1200)
    y = points[index] + receiver_interference.narrowband(rng,
                                                         1200) + receiver_memory.circular(rng, 1200, 0.01)
    y = y.astype(np.complex64)
    block = diffusion.interference_receiver("qpsk", str(tmp_path / "law.npz"), noise_var=0.5, block=256,
                                            rounds=8)
    symbols, llr = run(block, y, [tag(0, "noise_var", pmt.from_double(0.01))])
    assert block.counters()["failed"] == 0 and block.counters()["blocks"] == 4 and block.noise_var() == 0.01
    delay = 32
    padded = np.concatenate([np.zeros(2 * delay), y])
    rx = diffusion.InterferenceReceiver("qpsk", law, 8)
    wanted = np.concatenate([rx(padded[a:a + 256 + 2 * delay], 0.01)[1][delay:-delay]
                             for a in range(0, 1024, 256)])
    np.testing.assert_allclose(llr.reshape(-1, 2), wanted, atol=0.02)
    sent = metrics.labels(2)[index][:1024 - delay]
    plain = metrics.bit_errors(sent, np.stack([-y.imag, -y.real], 1)[:1024 - delay])[0]
    errors = metrics.bit_errors(sent, llr.reshape(-1, 2)[delay:])[0]
    assert errors < 0.2 * min(plain, sent.size - plain)


def denoise(block, samples, tags=(), most=0, messages=()):
    top = gr.top_block()
    source = blocks.vector_source_c(np.asarray(samples, np.complex64).tolist(), False, 1, list(tags))
    sink = blocks.vector_sink_c()
    if most:
        block.set_max_noutput_items(most)
    top.connect(source, block, sink)
    for message in messages:
        block.to_basic_block()._post(pmt.intern("cmd"), message)
    top.run()
    return np.array(sink.data(), np.complex64), sink.tags()


def test_sequence_denoiser_streams_what_the_engine_gives_for_the_whole():
    waveform = diffusion.OfdmWaveform.dpa200(known_gains=True)
    x, y, _ = amplified(waveform, "qam64", 3, 6)
    gain = np.vdot(x, y) / np.vdot(x, x)
    level = 1e-3 / abs(gain) ** 2
    wanted = diffusion.sequence_net("seq-dpa200", "denoiser")(np.r_[np.zeros(60), y / gain, np.zeros(60)],
                                                              level)[60:-60]
    for most in (0, 33):  # as the scheduler likes, and in small pieces
        block = diffusion.sequence_denoiser_cc("seq-dpa200", 1e-3, complex(gain))
        delay = block.delay_samples()
        out, tags = denoise(block, y, [tag(5000, "mark")], most)
        assert delay == 20 and out.size == y.size
        np.testing.assert_allclose(out[delay:], wanted[:-delay], rtol=1e-4, atol=1e-5)
        assert [t.offset for t in tags] == [5000 + delay]
    assert metrics.nmse_db(out[delay:], x[:-delay]) < metrics.nmse_db(y / gain, x) - 6


def test_sequence_denoiser_takes_levels_and_bears_rubbish():
    rng = np.random.default_rng(7)
    y = (rng.standard_normal((3000, 2)) @ [0.5, 0.5j]).astype(np.complex64)
    y[100] = np.nan
    at = 1500
    block = diffusion.sequence_denoiser_cc(noise_var=1e-4)
    out, _ = denoise(block, y, [tag(at, "noise_var", pmt.from_double(0.1)), tag(10, "snr", pmt.intern("x"))],
                     messages=[pmt.intern("rubbish"), pmt.cons(pmt.intern("gain"), pmt.from_double(0)),
                               pmt.cons(pmt.intern("model"), pmt.intern("rx-qam16")),
                               pmt.cons(pmt.intern("noise_var"), pmt.from_double(1e-2))])
    assert block.bad_samples() == 1 and block.refused() == 4 and block.noise_var() == 0.1
    assert np.isfinite(out).all()
    y[100] = 0
    net = diffusion.sequence_net("seq-dpa200", "denoiser")
    padded = np.r_[np.zeros(60), y, np.zeros(60)]
    before, after = net(padded, 1e-2)[60:-60], net(padded, 0.1)[60:-60]
    np.testing.assert_allclose(out[20:20 + at], before[:at], atol=1e-5)
    np.testing.assert_allclose(out[20 + at:], after[at:-20], atol=1e-5)
    for make, words in ((lambda: diffusion.sequence_denoiser_cc("rx-qam16"), "for 'sequence'"),
                        (lambda: diffusion.sequence_denoiser_cc(noise_var=0), "noise_var is 0"),
                        (lambda: diffusion.sequence_denoiser_cc(gain=0), "gain is 0")):
        with pytest.raises(ValueError, match=words):
            make()


def test_what_hurts_is_counted_and_stops_nothing(tmp_path):
    waveform = diffusion.OfdmWaveform(256, np.arange(-40, 40))
    block = diffusion.sequence_receiver(waveform, "qpsk", "seq-dpa200", noise_var=0.01)
    rng = np.random.default_rng(5)
    points = np.asarray(diffusion.constellation("qpsk")).astype(complex)
    y = waveform.modulate(points[rng.integers(0, 4, 4 * 80)]).astype(np.complex64)
    y[300:310] = np.nan
    y[600] = np.inf
    y[768:] = 0
    commands = [pmt.intern("rubbish"), pmt.cons(pmt.intern("noise_var"), pmt.from_double(-1)),
                pmt.cons(pmt.intern("noise_var"), pmt.intern("x")),
                pmt.cons(pmt.intern("fit"), pmt.intern("/none")),
                pmt.dict_add(pmt.make_dict(), pmt.intern("snr"), pmt.from_double(25))]
    symbols, llr = run(block, y, [tag(256, "snr", pmt.intern("no number"))], commands)
    counts = block.counters()
    assert symbols.size == 4 * 80 and llr.size == 8 * 80 and np.isfinite(symbols).all()
    assert np.isfinite(llr).all()
    assert counts["bad_samples"] == 11 and counts["refused"] == 5 and counts["blocks"] == 4
    assert block.noise_var() == pytest.approx(10 ** -2.5)
    for make, words in ((lambda: diffusion.sequence_receiver(waveform, "qpsk"), "nothing is known"),
                        (lambda: diffusion.sequence_receiver(waveform, "qpsk", "seq-dpa200", noise_var=0),
                         "noise_var is 0"),
                        (lambda: diffusion.interference_receiver("qpsk"), "law is missing"),
                        (lambda: diffusion.interference_receiver("qpsk", tmp_path / "no.npz"), "no.npz")):
        with pytest.raises((ValueError, OSError), match=words):
            make()


def test_descriptions_make_programs_that_run(tmp_path):
    """grcc makes the three blocks, both waveforms, and what it made runs."""
    law = diffusion.InterferenceLaw(np.ones(1), np.eye(8)[None], np.ones((1, 8)))
    law.save(tmp_path / "law.npz")
    state = {"states": {"coordinate": [0, 0], "rotation": 0, "state": "enabled"}}
    block = lambda name, kind, **parameters: {"name": name, "id": kind, "parameters": parameters, **state}
    sinks = [block(f"{kind}_{i}", "blocks_null_sink", type=kind) for i in range(3)
             for kind in ("complex", "float")]
    receivers = [block("r0", "diffusion_sequence_receiver", format="ofdm", nfft="256", tones="range(1, 81)"),
                 block("r1", "diffusion_sequence_receiver", format="pulses", symbols="64",
                       constellation="qam16"),
                 block("r2", "diffusion_interference_receiver", law=str(tmp_path / "law.npz"), block="64")]
    wires = [["source", "0", "head", "0"], ["head", "0", "undo", "0"]]
    for i, receiver in enumerate(receivers):
        wires += [["undo", "0", receiver["name"], "0"], [receiver["name"], "0", f"complex_{i}", "0"],
                  [receiver["name"], "1", f"float_{i}", "0"]]
    graph = {"options": {"parameters": {"id": "memory", "generate_options": "no_gui", "run_options": "run",
                                        "output_language": "python"}, **state},
             "blocks": [block("source", "analog_noise_source_x", type="complex",
                              noise_type="analog.GR_GAUSSIAN",
                              amp="0.5", seed="1"),
                        block("head", "blocks_head", type="complex", num_items="6000"),
                        block("undo", "diffusion_sequence_denoiser_cc", gain="1+0.1j"), *receivers, *sinks],
             "connections": wires, "metadata": {"file_format": 1}}
    (tmp_path / "memory.grc").write_text(yaml.safe_dump(graph))
    made = subprocess.run([sys.executable, "/usr/bin/grcc", "-o", str(tmp_path),
                           str(tmp_path / "memory.grc")],
                          capture_output=True, text=True, timeout=120)
    program = tmp_path / "memory.py"
    assert program.is_file(), made.stdout[-3000:] + made.stderr[-3000:]
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
