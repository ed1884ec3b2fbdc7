# SPDX-License-Identifier: GPL-3.0-or-later
"""SequenceReceiver: its parts against closed forms, and the whole against the polynomial it must beat."""
import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion import metrics
from gnuradio.diffusion.baselines import memory as baselines
from gnuradio.diffusion.evaluate import receiver_memory as study
from gnuradio.diffusion.sequence import Prior, SequenceReceiver, cell_innovation, load_model
from gnuradio.diffusion.waveforms import OfdmWaveform, PulseWaveform


@pytest.mark.parametrize("waveform", [OfdmWaveform(256, np.arange(-30, 30)), PulseWaveform(4, 0.25, 24, 200)])
def test_waveforms_have_unit_power_and_invert(waveform):
    rng = np.random.default_rng(1)
    points = np.asarray(diffusion.constellation("qam64")).astype(complex)
    s = points[rng.integers(0, 64, 20 * waveform.block[1])]
    x = waveform.modulate(s)
    assert x.size == 20 * waveform.block[0]
    sps = getattr(waveform, "sps", waveform.block[0] / waveform.block[1])
    inside = np.sum(np.abs(x) ** 2) / (sps * s.size)
    assert inside == pytest.approx(1, rel=0.05)
    assert metrics.nmse_db(waveform.demodulate(x), s) < -45  # the truncated pulse's intersymbol interference


def test_memory_features_are_the_polynomial_of_the_library():
    rng = np.random.default_rng(2)
    x = (0.3 * (rng.standard_normal((400, 2)) @ [1, 1j])).astype(np.complex64)
    c = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    pa = diffusion.power_amplifier.memory_polynomial([(q, 0, c[q].astype(np.complex64)) for q in range(3)],
                                                     10.0)
    ours = baselines.features(x, 3, 3, 0, centred=False) @ c.ravel()
    np.testing.assert_allclose(ours, pa(x), atol=1e-4)
    found = baselines.Regression(3, 3, 0, False, 1e-12).fit(x, ours)
    np.testing.assert_allclose(found.w, c.ravel(), atol=1e-3)


def test_prior_finds_gains_and_variance_without_the_truth():
    rng = np.random.default_rng(3)
    rx = SequenceReceiver(OfdmWaveform.dpa200(), "qam64")
    groups = rx.waveform.gain_groups(1180)
    gain, index = rng.uniform(0.8, 1.3, 20), rng.integers(0, 64, 1180)
    sent = gain[groups] * rx.points[index]
    z = sent + np.sqrt(0.01 / 2) * (rng.standard_normal((1180, 2)) @ [1, 1j])
    prior = Prior(rx.levels, groups)
    prior.update(z)
    assert prior.variance == pytest.approx(0.01, rel=0.15)
    assert np.abs(prior.gain / gain[groups] - 1).max() < 0.04
    assert metrics.nmse_db(prior.mean, sent) < metrics.nmse_db(z, sent) - 3


def test_cell_innovation_is_the_mean_within_the_cell():
    rng = np.random.default_rng(4)
    u = 0.7 * (rng.standard_normal((200000, 2)) @ [1, 1j]) / np.sqrt(2)
    predicted = u + np.sqrt(0.05 / 2) * (rng.standard_normal((u.size, 2)) @ [1, 1j])
    seen = np.asarray(diffusion.quantizer(3, 2.0)(u.astype(np.complex64)))
    grid = diffusion.adc_grid.detect(seen)
    assert grid.step == pytest.approx(0.5)
    # Given the prediction, u is Gaussian around shrink * predicted, of variance v.
    shrink = 0.49 / (0.49 + 0.05)
    v = 0.49 * 0.05 / 0.54
    innovation = cell_innovation(seen, shrink * predicted, v, grid)
    truth = u - shrink * predicted
    slope = np.real(np.vdot(truth, innovation)) / np.real(np.vdot(truth, truth))
    assert slope == pytest.approx(1, abs=0.03)
    fine = np.asarray(diffusion.quantizer(8, 4.0)(u.astype(np.complex64)))
    innovation = cell_innovation(fine, shrink * predicted, v, diffusion.adc_grid.detect(fine))
    # but clipped ones
    assert np.quantile(np.abs(innovation - truth), 0.999) < 0.5 * np.sqrt(2) * 8 / 256 + 1e-3


def test_engine_is_the_torch_network(tmp_path):
    torch = pytest.importorskip("torch")
    from gnuradio.diffusion.nn.export import save_model
    from gnuradio.diffusion.nn.sequence_net import SequenceNet
    from gnuradio.diffusion.train.memory import model_description
    torch.manual_seed(1)
    nets = {part: SequenceNet(5, 8, part == "denoiser") for part in ("denoiser", "amplifier")}
    for p in (p for net in nets.values() for p in net.parameters()):
        torch.nn.init.normal_(p, 0, 0.3)
    path = tmp_path / "seq.safetensors"
    save_model(path, {f"{part}.{k}": v for part, net in nets.items() for k, v in net.state_dict().items()},
               model_description("seq", 5, 8, 1.0, 1 + 0j, 1.0, {}, {}))
    rng = np.random.default_rng(5)
    for part, net in nets.items():
        ours = diffusion.sequence_net(str(path), part)
        assert ours.margin == 8  # two convolutions of 9
        for n in (300, 1, 7, 64, 129, 400):  # shorter than the window, whole and broken chunks
            y = (rng.standard_normal((n, 2)) @ [1, 1j]).astype(np.complex64)
            with torch.no_grad():
                out = net(torch.from_numpy(np.stack([y.real, y.imag])[None]), torch.tensor([0.03]))[0].numpy()
            scale = np.abs(out).max()
            np.testing.assert_allclose(ours(y, 0.03), out[0] + 1j * out[1], rtol=1e-5, atol=1e-5 * scale)
        np.testing.assert_allclose(ours(y * 1j, 0.03), 1j * ours(y, 0.03), rtol=1e-5, atol=1e-5 * scale)


def link(constellation, blocks, snr, bits, seed=6):
    rng = np.random.default_rng(seed)
    waveform = OfdmWaveform.dpa200(known_gains=True)
    points = np.asarray(diffusion.constellation(constellation)).astype(complex)
    send = study.amplified(diffusion.power_amplifier.load("pa-dpa200"))
    x_known = waveform.modulate(points[rng.integers(0, points.size, 590 * 3)])
    y_known = send(x_known)
    y_known = y_known + study.circular(rng, y_known.size, 1e-4 * np.mean(np.abs(y_known) ** 2))
    index = rng.integers(0, points.size, 590 * blocks)
    x = waveform.modulate(points[index])
    y = send(x)
    noise_var = np.mean(np.abs(y) ** 2) * 10 ** (-snr / 10)
    received, own = study.converter(y + study.circular(rng, y.size, noise_var), bits, noise_var)
    return waveform, x_known, y_known, index, x, received, noise_var, own


@pytest.mark.parametrize("snr, bits", [(25, 0), (30, 3)])
def test_beats_the_polynomial_over_the_measured_amplifiers_model(snr, bits, tmp_path):
    waveform, x_known, y_known, index, x, y, noise_var, own = link("qam64", 2, snr, bits)
    rx = SequenceReceiver(waveform, "qam64").fit(x_known, y_known)
    out = rx.receive(y, noise_var)
    level = (noise_var + own) / abs(rx.gain) ** 2
    wave = baselines.post_distorter().fit(y_known / rx.gain, x_known, level)(y / rx.gain)
    sent = metrics.labels(6)[index]
    classical = rx.demap(wave)
    assert metrics.nmse_db(out["waveform"], x) < metrics.nmse_db(wave, x) - 6
    true = rx.points[index]
    assert metrics.evm_db(out["linear"], true) < metrics.evm_db(classical["linear"], true) - 1.5
    assert metrics.bit_errors(sent, out["llr"])[0] <= metrics.bit_errors(sent, classical["llr"])[0]
    symbols, llr = rx(y, noise_var)
    assert symbols.dtype == np.complex64 and llr.shape == (index.size, 6)
    rx.save_fit(tmp_path / "fit.npz")
    again = SequenceReceiver(waveform, "qam64").with_fit(tmp_path / "fit.npz")
    np.testing.assert_allclose(again(y, noise_var)[1], llr, atol=1e-3 * np.abs(llr).max())


def test_shipped_model_loads_and_denoises():
    model = load_model(study.MODEL)
    x = OfdmWaveform.dpa200(known_gains=True).modulate(
        np.asarray(diffusion.constellation("qam64")).astype(complex)[np.random.default_rng(7).integers(0, 64, 590)])
    y = study.amplified(diffusion.power_amplifier.load("pa-dpa200"))(x)
    y = y / (np.vdot(x, y) / np.vdot(x, x))
    noisy = y + study.circular(np.random.default_rng(8), y.size, 0.01)
    assert metrics.nmse_db(model["denoiser"](noisy, 0.01), x) < -24  # the input's is -20 + distortion at -20
    assert metrics.nmse_db(model["amplifier"](x), y) < -28


def test_bad_input_names_value_and_remedy(tmp_path):
    waveform = OfdmWaveform.dpa200()
    rx = SequenceReceiver(waveform, "qam64")
    with pytest.raises(ValueError, match="nothing is known of the amplifier"):
        rx.receive(np.zeros(2560, complex), 0.1)
    with pytest.raises(ValueError, match="2000 or more"):
        rx.fit(np.ones(100, complex), np.ones(100, complex))
    with pytest.raises(ValueError, match="not square"):
        SequenceReceiver(waveform, "bpsk")
    with pytest.raises(ValueError, match="neither a file nor the name"):
        SequenceReceiver(waveform, "qam64", "seq-none")
    with pytest.raises(ValueError, match="is for the task 'receiver'"):
        SequenceReceiver(waveform, "qam64", "rx-qam16")
    (tmp_path / "bad.safetensors").write_bytes(b"no model")
    with pytest.raises(ValueError, match="bad.safetensors"):
        SequenceReceiver(waveform, "qam64", tmp_path / "bad.safetensors")
    np.savez(tmp_path / "bad.npz", x=np.ones(3))
    with pytest.raises(ValueError, match="no saved fit"):
        SequenceReceiver(waveform, "qam64").with_fit(tmp_path / "bad.npz")
    shipped = SequenceReceiver(waveform, "qam64", study.MODEL)
    with pytest.raises(ValueError, match="whole blocks of 2560"):
        shipped.receive(np.ones(100, complex), 0.1)
    with pytest.raises(ValueError, match="noise_var is 0"):
        shipped.receive(np.ones(2560, complex), 0)
    with pytest.raises(ValueError, match="not finite"):
        shipped.receive(np.full(2560, np.nan + 0j), 0.1)
