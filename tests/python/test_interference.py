# SPDX-License-Identifier: GPL-3.0-or-later
"""The interference law: its denoiser and score against closed form, and joint reception against what it must
beat."""
import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion import metrics
from gnuradio.diffusion.baselines import receiver as baselines
from gnuradio.diffusion.evaluate import receiver_interference as study


def test_one_component_is_the_wiener_filter():
    window, level = 8, 0.3
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.standard_normal((window, window)) +
                         1j * rng.standard_normal((window, window)))[0]
    power = np.geomspace(0.01, 3, window)
    law = diffusion.InterferenceLaw(np.ones(1), basis[None], power[None])
    z = rng.standard_normal(window) + 1j * rng.standard_normal(window)
    cov = basis @ np.diag(power) @ basis.conj().T
    mean, left = law.denoise(z, level)  # one window: no averaging of neighbours
    np.testing.assert_allclose(mean, cov @ np.linalg.solve(cov + level * np.eye(window), z), atol=1e-10)
    error = np.real(np.diag(cov - cov @ np.linalg.solve(cov + level * np.eye(window), cov)))
    np.testing.assert_allclose(left, error, atol=1e-10)
    np.testing.assert_allclose(law.score(z, level), -2 * np.linalg.solve(cov + level * np.eye(window), z),
                               atol=1e-9)


def test_learned_law_denoises_better_than_a_linear_filter():
    rng = np.random.default_rng(2)
    recordings = [study.chirp(rng, 200) for _ in range(80)]
    laws = [diffusion.InterferenceLaw.fit(recordings, window=16, components=k, rounds=12, most=3000)
            for k in (32, 1)]
    clean = study.chirp(rng, 3000)
    noisy = clean + np.sqrt(0.5) * study.circular(rng, clean.size)
    mixture, linear = [metrics.nmse_db(law.denoise(noisy, 0.5)[0], clean) for law in laws]
    assert mixture < linear - 3
    estimate, left = laws[0].denoise(noisy, 0.5)
    assert np.mean(left) == pytest.approx(np.mean(np.abs(estimate - clean) ** 2), rel=0.5)


@pytest.mark.parametrize("constellation, sir", [("qam64", 0), ("qam16", 0)])  # one law, any constellation
def test_joint_reception_beats_noise_notch_and_whitening(constellation, sir):
    laws = [diffusion.InterferenceLaw.fit([study.narrowband(np.random.default_rng([3, k]), 200)
                                           for k in range(100)],
                                          window=32, components=k, rounds=10, most=2500) for k in (40, 1)]
    rows = {r["receiver"]: r for r in study.measure_point("narrowband", constellation, sir, laws, None, 4,
                                                          blocks=2)}
    assert rows["learned"]["gmi"] > 1.1 * max(rows[k]["gmi"] for k in ("white", "notch", "whitened"))
    assert rows["learned"]["gmi"] <= rows["clean"]["gmi"] + 1e-6


def test_without_interference_nothing_is_lost():
    law = diffusion.InterferenceLaw.fit([study.chirp(np.random.default_rng([5, k]), 200) for k in range(60)],
                                        components=24, rounds=8, most=2000)
    rng = np.random.default_rng(6)
    points = np.asarray(diffusion.constellation("qam16")).astype(complex)
    index = rng.integers(0, 16, 3000)
    y = points[index] + np.sqrt(0.05) * study.circular(rng, index.size)
    bits = metrics.labels(4)[index]
    plain = metrics.gmi(bits, baselines.bit_llr(-np.abs(y[:, None] - points) ** 2 / 0.05))
    assert metrics.gmi(bits, diffusion.InterferenceReceiver("qam16", law)(y, 0.05)[1]) > plain - 0.05


@pytest.mark.parametrize("kind, period", [("qam", 4), ("chirp", 1)])
def test_period_is_found_in_recordings_and_helps(kind, period):
    rng = np.random.default_rng(9)
    law = diffusion.InterferenceLaw.fit([study.KINDS[kind](rng, 200) for _ in range(120)], window=12,
                                        components=64,
                                        rounds=15, most=4000)
    assert law.period == period
    assert law.scaled(2.0).period == period
    if period > 1:  # what is left of the interference, the components' timing held or not
        clean = study.KINDS[kind](rng, 1500)
        noisy = clean + np.sqrt(0.5) * study.circular(rng, clean.size)
        held = {}
        law.denoise(noisy, 0.5, held)
        assert held["weights"].shape == (period, law.weights.size)
        np.testing.assert_allclose(held["weights"].sum(1), 1, atol=1e-9)
        told, untold = law.denoise(noisy, 0.5, held)[0], law.denoise(noisy, 0.5)[0]
        assert metrics.nmse_db(told, clean) < metrics.nmse_db(untold, clean)


def test_saved_law_and_bad_input(tmp_path):
    rng = np.random.default_rng(7)
    law = diffusion.InterferenceLaw.fit(study.narrowband(rng, 4000), window=8, components=4, rounds=3)
    law.save(tmp_path / "law.npz")
    y = study.narrowband(rng, 500) + study.circular(rng, 500)
    kept = diffusion.InterferenceLaw.load(tmp_path / "law.npz")
    np.testing.assert_allclose(kept.denoise(y, 0.5)[0], law.denoise(y, 0.5)[0], atol=1e-5)
    with pytest.raises(ValueError, match="10 samples of interference"):
        diffusion.InterferenceLaw.fit(np.ones(10, complex))
    with pytest.raises(ValueError, match="not finite"):
        diffusion.InterferenceLaw.fit(np.full(3000, np.nan + 0j))
    with pytest.raises(ValueError, match="noise_var is 0"):
        diffusion.InterferenceReceiver("qpsk", tmp_path / "law.npz")(y, 0)
    with pytest.raises(ValueError, match="one row of finite"):
        diffusion.InterferenceReceiver("qpsk", law)(np.full(100, np.inf + 0j), 0.1)
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(ValueError, match="no interference law"):
        diffusion.InterferenceLaw.load(tmp_path / "other.npz")


def test_uneven_noise_is_weighed_sample_by_sample():
    """Noise of another level at every sample, two components: the mixture of two Wiener filters, in closed form."""
    window = 6
    rng = np.random.default_rng(10)
    draw = lambda *shape: rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    basis = np.stack([np.linalg.qr(draw(window, window))[0] for _ in range(2)])
    power = np.stack([np.geomspace(0.3, 2, window), np.geomspace(1, 0.2, window)])
    law = diffusion.InterferenceLaw(np.array([0.3, 0.7]), basis, power)
    z, level = draw(window), rng.uniform(0.2, 2, window)
    covs = [u @ np.diag(p) @ u.conj().T for u, p in zip(basis, power)]
    sums = [c + np.diag(level) for c in covs]
    likely = np.array([w * np.exp(-np.real(z.conj() @ np.linalg.solve(s, z))) / np.real(np.linalg.det(s))
                       for w, s in zip(law.weights, sums)])
    p = likely / likely.sum()
    means = np.stack([c @ np.linalg.solve(s, z) for c, s in zip(covs, sums)])
    mean = p @ means
    error = sum(q * np.real(np.diag(c - c @ np.linalg.solve(s, c))) for q, c, s in zip(p, covs, sums))
    error = error + p @ np.abs(means) ** 2 - np.abs(mean) ** 2
    got, left = law.denoise(z, level)
    np.testing.assert_allclose(got, mean, atol=1e-9)
    np.testing.assert_allclose(left, error, atol=1e-9)


def test_messages_that_do_not_echo_beat_a_decision_in_turns():
    """QPSK interferer over 16-QAM at 5 dB: what a posterior passed on whole reached here was 2.5 bit, now 3."""
    rng = np.random.default_rng(11)
    law = diffusion.InterferenceLaw.fit([study.qam(rng, 200) for _ in range(120)], window=12, components=96,
                                        rounds=12, most=4000)
    row = study.measure_point("qam", "qam16", 5, [law, law], None, 12, blocks=2)[-1]
    assert row["receiver"] == "learned" and row["gmi"] > 2.8
