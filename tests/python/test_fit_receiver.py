# SPDX-License-Identifier: GPL-3.0-or-later
"""`fit receiver` on known symbols: the model file, the blocks that load it, and the guard."""
import json

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr
from gnuradio.diffusion import capture, guarded_fit, metrics, model_file
from gnuradio.diffusion.baselines import receiver as baselines
from gnuradio.diffusion.cli import main
from gnuradio.diffusion.train import hardware

POINTS = diffusion.constellation("qam16")
NOISE_DB = 20


def link(n, seed, hw=hardware.S2):
    rng = np.random.default_rng(seed)
    index = rng.integers(0, POINTS.size, n)
    return index, hw.transmit(POINTS, index, NOISE_DB, int(rng.integers(2 ** 62)))


def fit(tmp_path, *options, **arrays):
    np.savez(tmp_path / "capture.npz", **arrays)
    code = main(["fit", "receiver", str(tmp_path / "capture.npz"), "-o", str(tmp_path / "mine.safetensors"),
                 "--json", str(tmp_path / "fit.json"), *options])
    return code, json.loads((tmp_path / "fit.json").read_text()) if code == 0 else None


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A model of S2's hardware from 2000 known symbols, without the noise variance."""
    folder = tmp_path_factory.mktemp("fit")
    index, y = link(2000, 1)
    code, result = fit(folder, x=POINTS[index], y=y)
    assert code == 0
    return folder / "mine.safetensors", result


def test_the_fit_halves_the_errors_of_the_linear_receiver(fitted):
    path, result = fitted
    assert result["kept"] and result["known_symbols"] == 2000 and result["constellation"] == "qam16"
    rx = diffusion.Receiver(path)
    index, y = link(60000, 2)
    known, seen = link(2000, 1)
    bits = metrics.labels(4)[index]
    noise = result["noise_var"]
    mine = metrics.ber(bits, rx(y, noise)[1])
    linear = metrics.ber(bits, baselines.bit_llr(baselines.lmmse_min_distance(POINTS, known, seen, noise, y)))
    assert mine[2] < linear[1] and mine[0] < 0.6 * linear[0]


def test_the_model_file_holds_the_fit_and_the_shipped_weights(fitted):
    path, result = fitted
    _, description, weights = model_file.read(path)
    _, base, base_weights = model_file.read(diffusion.Receiver("rx-qam16")._engine.path)
    assert weights == base_weights and description["network"] == base["network"]
    assert description["name"] == "mine" and "measured" not in description
    assert description["fit"]["guard"] == result["guard"] and description["fit"]["known_symbols"] == 2000
    again = diffusion.Receiver(path)
    np.testing.assert_array_equal(again.state(), description["fit"]["state"])
    assert again.law.fitted


def test_running_blocks_take_it_by_message(fitted):
    path, result = fitted
    index, y = link(4000, 3)
    wanted, llr = diffusion.Receiver(path)(y, result["noise_var"], adapt=False)
    denoiser = diffusion.denoiser_cc("rx-qam16", result["noise_var"], 0, "exact")
    demapper = diffusion.soft_demapper_cf("rx-qam16", result["noise_var"])
    message = pmt.cons(pmt.intern("model"), pmt.intern(str(path)))
    tb = gr.top_block()
    source, symbols, soft = blocks.vector_source_c(y.tolist()), blocks.vector_sink_c(), blocks.vector_sink_f()
    tb.connect(source, denoiser, symbols)
    tb.connect(source, demapper, soft)
    for block in (denoiser, demapper):
        block.to_basic_block()._post(pmt.intern("cmd"), message)
    tb.start()
    tb.wait()
    assert denoiser.fitted() and demapper.fitted() and denoiser.model() == "mine"
    np.testing.assert_allclose(symbols.data(), wanted, atol=1e-5)
    np.testing.assert_allclose(np.reshape(soft.data(), llr.shape), llr, atol=1e-3)


@pytest.mark.parametrize("waveform", ["native", "stock"])
def test_ofdm_rx_takes_it_by_message(fitted, waveform):
    rx = diffusion.ofdm_rx(waveform)
    rx.core.to_basic_block()._post(pmt.intern("cmd"),
                                   pmt.cons(pmt.intern("model"), pmt.intern(str(fitted[0]))))
    tb = gr.top_block()
    source, sink = blocks.vector_source_c([0] * 4000), blocks.null_sink(1)
    tb.connect(source, rx, sink)
    tb.run()
    assert rx.demapper() == "diffusion"


def test_an_ideal_link_keeps_the_linear_receiver_or_equals_it(tmp_path):
    """Nothing to be won: whatever the guard says, unseen symbols fare no worse than with the linear
    receiver."""
    clean = hardware.Hardware()
    index, y = link(300, 4, clean)
    code, result = fit(tmp_path, x=POINTS[index], y=y, noise_var=clean.noise_var(NOISE_DB))
    assert code == 0
    fresh, z = link(40000, 5, clean)
    noise, bits = clean.noise_var(NOISE_DB), metrics.labels(4)[fresh]
    mine = metrics.gmi(bits, diffusion.Receiver(tmp_path / "mine.safetensors")(z, noise)[1])
    linear = metrics.gmi(bits, baselines.bit_llr(baselines.lmmse_min_distance(POINTS, index, y, noise, z)))
    assert mine > linear - 0.003


def test_the_guard_refuses_a_fit_that_does_not_hold_up():
    rng = np.random.default_rng(6)
    bits = rng.integers(0, 2, (500, 4))
    sign = 2.0 * bits - 1
    good = guarded_fit.Comparison(bits, 3 * sign)
    flipped = sign.copy()
    flipped[:5] *= -1
    bad = guarded_fit.Comparison(bits, 3 * flipped)
    kept, reason = guarded_fit.judge(good, bad, "linear receiver")
    assert not kept and "20 wrong" in reason and "linear receiver stays" in reason
    assert guarded_fit.judge(bad, good, "linear receiver")[0]
    assert not guarded_fit.judge(good, good, "linear receiver")[0]
    # EVM speaks where soft bits cannot, but not against them, and not by chance
    kept, reason = guarded_fit.judge(good, good, "linear receiver", [9.0, 11.0, 10.0])
    assert kept and "EVM 10.0 dB less" in reason
    assert not guarded_fit.judge(good, good, "linear receiver", [9.0, -11.0, 1.0])[0]
    assert not guarded_fit.judge(good, bad, "linear receiver", [9.0, 11.0, 10.0])[0]


def test_the_guard_writes_the_linear_receiver(tmp_path, monkeypatch):
    """A fit gone wrong must not reach the file."""
    index, y = link(400, 7)
    real = guarded_fit._fit
    monkeypatch.setattr(guarded_fit, "_fit", lambda rx, x, y, nv: real(rx, x, np.roll(y, 1) * 0.3 + y, nv))
    code, result = fit(tmp_path, x=POINTS[index], y=y)
    assert code == 0 and not result["kept"] and result["choice"] == "linear"
    fresh, z = link(5000, 8)
    rx = diffusion.Receiver(tmp_path / "mine.safetensors")
    law = diffusion.symbol_law.fit_linear(POINTS, index.astype(np.int32), y, result["noise_var"])
    wanted = diffusion.Receiver("rx-qam16").with_law(law, "gaussian")
    np.testing.assert_allclose(rx(z, 0.02)[1], wanted(z, 0.02)[1], atol=1e-4)


def test_no_fit_is_worse_than_linear_where_there_is_nothing_to_fit():
    """50 known symbols in white noise, some of them labelled wrong: whatever is taken costs next to nothing,
    and most is not taken; the guard says which."""
    rx, clean, kept, lost = diffusion.Receiver("rx-qam16"), hardware.Hardware(), 0, []
    for seed in range(8):
        rng = np.random.default_rng([seed, 5])
        index, y = link(50, 100 + seed, clean)
        said = np.where(rng.random(50) < (0.06 if seed % 2 else 0), rng.integers(0, 16, 50), index)
        made = guarded_fit.guarded(rx, capture.from_symbols(POINTS[said], y))
        fresh, z = link(10000, 200 + seed, clean)
        bits = metrics.labels(4)[fresh]
        linear = guarded_fit._linear(rx, POINTS[said], y, made.noise_var)
        mine, base = (metrics.gmi(bits, r(z, made.noise_var, adapt=False)[1])
                      for r in (made.receiver, linear))
        kept += made.kept
        lost.append(base - mine)
        assert ("the fit is taken" if made.kept else "the linear receiver stays") in made.reason
        assert made.kept or lost[-1] == 0
    assert max(lost) < 0.03 and kept <= 4


@pytest.mark.parametrize("arrays, says", [
    (dict(x=POINTS[:4], y=POINTS[:4]), "too few"),
    (dict(x=POINTS, y=POINTS[:9]), "16 symbols and y 9"),
    (dict(x=3 * POINTS, y=POINTS), "none of the constellations"),
    (dict(x=POINTS, y=0 * POINTS), "all zero"),
    (dict(x=POINTS, y=0.01 * POINTS), "scale y by"),
    (dict(x=np.tile(POINTS, 20), y=np.roll(np.tile(POINTS, 20), 3)), "nothing to do with"),
    (dict(x=POINTS, y=POINTS, noise_var=-1.0), "positive"),
    (dict(x=POINTS, y=POINTS, frame=np.zeros(16, int)), "one frame"),
    (dict(a=POINTS), "needs x and y"),
    (dict(iq=np.zeros(5000, np.complex64)), "no native frame"),
], ids=["few", "lengths", "scale", "zero", "level", "order", "noise", "frame", "keys", "no-frames"])
def test_captures_that_cannot_be_fitted(tmp_path, capsys, arrays, says):
    code, _ = fit(tmp_path, **arrays)
    error = capsys.readouterr().err
    assert code == 1 and error.startswith("error: ") and says in error and error.count("\n") == 1
    assert not (tmp_path / "mine.safetensors").exists()


def test_files_that_are_no_captures(tmp_path, capsys):
    (tmp_path / "no.npz").write_bytes(b"PK rubbish")
    assert main(["fit", "receiver", str(tmp_path / "no.npz"), "-o", str(tmp_path / "m.safetensors")]) == 1
    assert "no npz file" in capsys.readouterr().err
    assert main(["fit", "receiver", str(tmp_path / "no.npz"), "-o", str(tmp_path / "m.npz")]) == 2


def test_frames_and_bad_symbols(tmp_path):
    """Symbols that are no numbers are left out and said; frames are held out whole."""
    index, y = link(600, 9)
    y = y.copy()
    y[[5, 77]] = np.nan
    known = capture.from_symbols(POINTS[index], y, frame=np.arange(600) // 50)
    assert known.x.size == 598 and any("2 symbols" in p for p in known.problems)
    fold = guarded_fit.fold_of(known.frame)
    assert all(np.unique(fold[known.frame == f]).size == 1 for f in range(12)) and fold.max() == 4


def test_a_damaged_fit_in_a_model_file_is_refused(fitted, tmp_path):
    state = diffusion.Receiver(fitted[0]).state()
    for change, says in ((state[:-3], "fitted state"), (np.r_[7.0, state[1:]], "fitted state")):
        model_file.write_copy(fitted[0], tmp_path / "bad.safetensors", {"fit": {"state": change.tolist()}})
        with pytest.raises(ValueError, match=says):
            diffusion.Receiver(tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="fit.state"):
        model_file.write_copy(fitted[0], tmp_path / "bad.safetensors", {"fit": {"state": ["a"]}})
        diffusion.Receiver(tmp_path / "bad.safetensors")
