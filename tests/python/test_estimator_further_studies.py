# SPDX-License-Identifier: GPL-3.0-or-later
"""Studies of the channel estimator beside patterns and SNR: extrapolation, measured CSI, guidance."""

import argparse

import numpy as np
import pytest
from gnuradio.diffusion.baselines import estimator as baselines
from gnuradio.diffusion.evaluate import estimator as evaluate
from gnuradio.diffusion.evaluate import estimator_csi as csi
from gnuradio.diffusion.evaluate import estimator_extrapolation as extrapolation
from gnuradio.diffusion.evaluate import estimator_guidance as guidance
from gnuradio.diffusion.train import channels


def options(*words):
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return parser.parse_args(list(words))


KEYS = {"study", "scene", "pilots", "bits", "snr_db", "estimator", "nmse_db", "us_per_estimate"}


def complete(row):
    return KEYS <= set(row) and np.isfinite(row["nmse_db"]) and row["us_per_estimate"] > 0


def nmse_db(a, b):
    return 10 * np.log10(np.sum(np.abs(a - b) ** 2) / np.sum(np.abs(b) ** 2))


def test_extrapolation_counts_the_carriers_without_pilots():
    """A single path at delay zero is flat: every sensible estimator continues it, and one that is right at
    the pilots and zero elsewhere scores 0 dB."""
    flat = evaluate.Scene("flat", np.exp(1j * np.arange(40))[:, None] * np.ones((1, 64), np.complex64), None)

    def stops(y, pilots, noise_var):
        out = np.zeros((len(y), 64), complex)
        out[:, pilots] = y
        return out

    made = {"ls": baselines.native("ls", 64),
            "ce-ofdm64": baselines.native("diffusion", 0, model="ce-ofdm64"), "stops": stops}
    rows = extrapolation.rows(flat, made, 30, 1, evaluate.interval_of(1))
    assert len(rows) == 9 and {r["pilots"] for r in rows} == set(extrapolation.PARTS)
    for r in rows:
        assert r["nmse_db_low"] <= r["nmse_db"] <= r["nmse_db_high"]
        assert complete(r)
        assert abs(r["nmse_db"]) < 1e-9 if r["estimator"] == "stops" else r["nmse_db"] < -25


def test_csi_pseudo_truth_undoes_phase_timing_and_level(tmp_path):
    """Packets of one channel, each with its own phase, timing and level: the neighbours' average is the
    channel of the packet at hand, and the noise measured is the noise there was."""
    rng = np.random.default_rng(4)
    carriers = np.setdiff1d(np.arange(-28, 29, 2), [0]) + 32
    h = channels.exponential(rng, 1, 64, np.array([3.0]))[0, carriers]
    offset = rng.uniform(-1, 1, 60)
    turn = np.exp(2j * np.pi * (rng.random((60, 1)) - np.outer(offset, carriers - 32) /
                                64)) * rng.uniform(0.5, 2, (60, 1))
    packets = turn * h + 0.02 * channels.rayleigh(rng, (60, len(h)))
    truth, spread = csi.pseudo_truth(packets, 30, carriers)
    assert nmse_db(truth, turn[30] * h) < -35
    own = 0.02**2 * np.mean((np.abs(turn[30]) / np.abs(turn)) ** 2)
    assert 0.5 * own < spread < 2 * own
    np.savez(tmp_path / "csi_intel5300.npz", csi=np.repeat(packets, 3, 0)[:, :, None, None],
             subcarrier=carriers - 32)
    args = options("--study", "csi", "--data", str(tmp_path), "--frames", "4", "--snr", "10")
    rows = csi.rows(args, {"ls": baselines.native("ls", 64)}, evaluate.interval_of(1))
    assert {r["estimator"] for r in rows} == {"ls", "lmmse-place"} and len(rows) == 8
    assert all(complete(r) for r in rows)
    with pytest.raises(SystemExit, match="csi_intel5300"):
        csi.load(tmp_path / "nowhere")


def test_exact_score_and_its_guidance():
    """The mixture's denoiser is its posterior mean with all carriers as pilots, its Tweedie covariance the
    derivative; from 8 pilots guidance with that covariance comes near the exact posterior mean, with a
    diagonal it does not."""
    rng = np.random.default_rng(1)
    mixture = baselines.Gmm(channels.mixture(rng, 600, 64), 6, iterations=15)
    prior = guidance.Score(mixture)
    h = channels.mixture(rng, 40, 64)
    x = h[:3] + 0.3 * channels.rayleigh(rng, (3, 64))
    d, v = prior(x, 0.3)
    np.testing.assert_allclose(d, mixture(x, np.arange(64), 0.09), atol=1e-5)
    np.testing.assert_allclose(np.einsum("nii->n", v).real / 64, prior(x, 0.3, False)[1], rtol=1e-9)
    # Tweedie: covariance = s^2 dD/dx, the derivative with conj(x) held
    step = np.zeros(64)
    step[5] = 1e-5
    real, imag = ((prior(x + u * step, 0.3)[0] - prior(x - u * step, 0.3)[0]) / 2e-5 for u in (1, 1j))
    np.testing.assert_allclose(v[:, :, 5], 0.09 * (real - 1j * imag) / 2, atol=1e-5)
    pilots = np.sort(rng.permutation(64)[:8])
    y = h[:, pilots] + 0.1 * channels.rayleigh(rng, (40, 8))
    score = {k: nmse_db(f(y, pilots, 0.01), h) for k, f in guidance.estimators(mixture, 64, []).items()}
    assert score["score-tweedie"] < score["mixture-posterior"] + 1.5
    assert score["score-diagonal"] > score["mixture-posterior"] + 3
    assert score["flow-projection"] > score["score-tweedie"]
