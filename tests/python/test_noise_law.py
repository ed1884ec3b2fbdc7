# SPDX-License-Identifier: GPL-3.0-or-later
"""The noise law: its score against derivatives, what it learns against the truth, and the receivers on it."""
import json

import numpy as np
import pytest
from gnuradio import blocks, diffusion, gr
from gnuradio.diffusion import metrics
from gnuradio.diffusion.baselines import receiver as baselines
from gnuradio.diffusion.cli import main
from gnuradio.diffusion.evaluate import receiver_noise as study

MIXTURE = np.array([[0.5, 0.3, -0.2, 0.4, 0.2, 0.05], [0.3, -1, 0.5, 0.1, 0.3, -0.02], [0.2, 0, 0, 2, 2, 0]])


def noise_of(name, n, seed, noise_var=1.0):
    return np.sqrt(noise_var) * study.NOISES[name](np.random.default_rng(seed), n)


@pytest.mark.parametrize("law", [diffusion.noise_law.plane(MIXTURE),
                                 diffusion.noise_law.rails(MIXTURE, MIXTURE[::-1])])
def test_density_and_score_at_every_level(law):
    law = diffusion.NoiseLaw(law)
    n = np.random.default_rng(1).uniform(-3, 3, (20, 2)) @ [1, 1j]
    for level in (0.0, 0.1, 2.0):
        d = 1e-5
        gradient = [(law.log_density(n + s * d, level) - law.log_density(n - s * d, level)) / (2 * d)
                    for s in (1, 1j)]
        np.testing.assert_allclose(law.score(n, level), gradient[0] + 1j * gradient[1], atol=1e-6)
        axis = np.arange(-14, 14, 0.05)
        total = np.exp(law.log_density(axis[:, None] + 1j * axis, level)).sum() * 0.05 ** 2
        assert abs(total - 1) < 1e-4
    looked_up = law._law.relative(n) - law.log_density(n)
    assert np.ptp(looked_up) < 0.01


def test_tweedie_denoises_like_the_posterior_mean():
    law = diffusion.NoiseLaw(diffusion.noise_law.plane(MIXTURE))
    rng = np.random.default_rng(2)
    clean = law.sample(200000, seed=3)
    noisy = clean + np.sqrt(0.3 / 2) * (rng.standard_normal((clean.size, 2)) @ [1, 1j])
    error = clean - law.denoise(noisy, 0.3)
    # The posterior mean's error is orthogonal to any function of what was seen (4.5 standard errors).
    for f in (noisy, np.abs(noisy) * noisy, np.tanh(noisy.real)):
        product = np.real(error * np.conj(f))
        assert abs(product.mean()) < 4.5 * product.std() / np.sqrt(clean.size)


@pytest.mark.parametrize("noise, choices", [
    ("gaussian", {"gaussian"}), ("laplacian", {"laplacian rails"}), ("bernoulli-gaussian", {"scale mixture"}),
    ("qpsk-interferer", {"4 Gaussians", "8 Gaussians", "16 Gaussians"})])
def test_learns_the_law(noise, choices):
    law = diffusion.NoiseLaw.fit(noise_of(noise, 3000, 1))
    assert law.choice in choices
    fresh = noise_of(noise, 20000, 2)
    truth = study.log_density(noise, fresh, 1.0)
    axis = np.arange(-12, 12, 0.04)
    truth = truth - np.log(np.exp(study.log_density(noise, axis[:, None] + 1j * axis, 1.0)).sum() * 0.04 ** 2)
    assert 0 <= np.mean(truth - law.log_density(fresh)) + 0.005 < 0.035  # nats a sample of divergence


@pytest.mark.parametrize("model, gain", [("rx-qpsk", 1.2), ("rx-qam16", 1.3)])
def test_laplacian_at_minus_5_db_reaches_the_bound_far_above_gaussian(model, gain):
    rx, noise_var = diffusion.Receiver(model), 10 ** 0.5
    rng = np.random.default_rng(4)
    index = rng.integers(0, rx.constellation.size, 60000)
    y = (rx.constellation[index] + noise_of("laplacian", index.size, 5, noise_var)).astype(np.complex64)
    bits = metrics.labels(rx.bits_per_symbol)[index]
    learned = rx.with_noise(diffusion.NoiseLaw.fit(noise_of("laplacian", 2000, 6, noise_var)))
    gaussian = baselines.bit_llr(-np.abs(y[:, None] - rx.constellation) ** 2 / noise_var)
    assert learned.choice == "noise"
    exact = baselines.bit_llr(study.log_density("laplacian", y[:, None] - rx.constellation, noise_var))
    assert metrics.gmi(bits, learned(y)[1]) > gain * metrics.gmi(bits, gaussian)
    assert metrics.gmi(bits, learned(y)[1]) > 0.99 * metrics.gmi(bits, exact)


def test_fit_in_noise_finds_the_hardware_under_impulses():
    rx, noise_var = diffusion.Receiver("rx-qam16"), 0.1
    rng = np.random.default_rng(7)
    warp = lambda x: 0.9 * np.exp(0.2j) * x + 0.05 * np.conj(x) + 0.03
    index = rng.integers(0, 16, 21000)
    x = rx.constellation[index]
    y = (warp(x) + noise_of("bernoulli-gaussian", x.size, 8, noise_var)).astype(np.complex64)
    law = diffusion.NoiseLaw.fit(noise_of("bernoulli-gaussian", 2000, 9, noise_var))
    fitted = rx.fit(x[:1000], y[:1000], noise=law)
    bits = metrics.labels(4)[index[1000:]]
    of = lambda r, *a: metrics.gmi(bits, r(y[1000:], *a)[1])
    gaussian = of(rx.fit(x[:1000], y[:1000], noise_var), noise_var)
    exact = metrics.gmi(bits, baselines.bit_llr(study.log_density(
        "bernoulli-gaussian", y[1000:, None] - warp(rx.constellation), noise_var)))
    assert of(fitted) > exact - 0.02
    assert of(fitted) > gaussian + 0.2


def test_block_saved_fit_and_message(tmp_path):
    rx, noise_var = diffusion.Receiver("rx-qpsk"), 1.0
    law = diffusion.NoiseLaw.fit(noise_of("laplacian", 1000, 1, noise_var))
    law.save(tmp_path / "law.json")
    learned = rx.with_noise(tmp_path / "law.json")
    y = (rx.constellation[np.arange(3000) % 4] + noise_of("laplacian", 3000, 2)).astype(np.complex64)
    expected = learned(y)[1]
    learned.save(tmp_path / "fit.npz")
    np.testing.assert_array_equal(diffusion.Receiver.load(tmp_path / "fit.npz")(y)[1], expected)
    np.testing.assert_allclose(learned(y, law.noise_var)[1], expected, atol=1e-4)
    assert np.abs(learned(y, 4 * law.noise_var)[1] - expected).max() > 0.1

    block = diffusion.soft_demapper_cf("rx-qpsk")
    block.set_fit(learned.state().tolist())
    tb = gr.top_block()
    source, sink = blocks.vector_source_c(y.tolist()), blocks.vector_sink_f()
    tb.connect(source, block, sink)
    tb.run()
    np.testing.assert_allclose(np.reshape(sink.data(), (-1, 2)), expected, atol=1e-5)
    assert abs(block.noise_var() - law.noise_var) < 1e-9

    with pytest.raises(ValueError, match="refused"):
        block.set_fit([2.0, 7.0, 1.0])


def test_bad_input_names_value_and_remedy(tmp_path):
    with pytest.raises(ValueError, match="10 noise samples are too few.*at least 50"):
        diffusion.NoiseLaw.fit(np.ones(10, complex))
    with pytest.raises(ValueError, match="not finite"):
        diffusion.NoiseLaw.fit(np.full(100, np.nan + 0j))
    with pytest.raises(ValueError, match="all zeros"):
        diffusion.NoiseLaw.fit(np.zeros(100, complex))
    with pytest.raises(ValueError, match="weights sum"):
        diffusion.noise_law.plane(MIXTURE * [0.5, 1, 1, 1, 1, 1])
    with pytest.raises(ValueError, match="positive definite"):
        diffusion.noise_law.plane([[1, 0, 0, 1, 1, 2]])
    (tmp_path / "other.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match="no noise law"):
        diffusion.Receiver("rx-qpsk").with_noise(tmp_path / "other.json")
    with pytest.raises(TypeError, match="NoiseLaw"):
        diffusion.Receiver("rx-qpsk").with_noise(0.1)


def test_fit_noise_command(tmp_path):
    np.savez(tmp_path / "quiet.npz", noise=noise_of("bernoulli-gaussian", 4000, 3).astype(np.complex64))
    assert not main(["fit", "noise", str(tmp_path / "quiet.npz"), "-o", str(tmp_path / "law.json"), "--gain",
                     "2",
                     "--json", str(tmp_path / "out.json")])
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["choice"] == "scale mixture" and result["bits_over_gaussian"] > 1
    assert diffusion.NoiseLaw.load(tmp_path / "law.json").noise_var == pytest.approx(4, rel=0.2)
