# SPDX-License-Identifier: GPL-3.0-or-later
"""MIMO channel estimation: the engine against torch and closed form, the shipped model against least
squares."""

import numpy as np
import pytest
import torch
from gnuradio import diffusion
from gnuradio.diffusion import Estimator
from gnuradio.diffusion.baselines import mimo as baselines
from gnuradio.diffusion.nn.export import save_model
from gnuradio.diffusion.nn.mimo_net import AngularUnrolled
from gnuradio.diffusion.train import mimo_channels as channels


def random_net(rx=(3, 2), tx=(4, 3), steps=3, width=6, views=1):
    torch.manual_seed(7)
    net = AngularUnrolled(rx, tx, steps, width, views)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.15 * torch.randn_like(p))
    return net.eval()


def saved(net, path, **changes):
    c = net.config
    save_model(
        path,
        net,
        {
            "name": path.stem,
            "task": "estimator",
            "network": {"kind": "angular_unrolled", **c, **changes},
            "prediction_type": "sample",
            "schedule": {"kind": "continuous"},
            "snr_db": [-5, 30],
            "channel": {"kind": "mimo", "rx": c["rx"], "tx": c["tx"]},
        },
    )
    return str(path)


def draw(rng, rx, tx, count, snr_db, frames=5):
    h = channels.plane_waves(rng, frames, rx, tx)
    p = channels.pilots(rng, h.shape[2], count)
    variance = 10 ** (-snr_db / 10)
    return h, p, channels.observe(rng, h, p, variance), variance


def nmse_db(a, b):
    return 10 * np.log10(np.sum(np.abs(a - b) ** 2) / np.sum(np.abs(b) ** 2))


@pytest.mark.parametrize(
    "rx, tx, views",
    [((3, 2), (4, 3), 1), ((3, 2), (4, 3), 3), ((4, 1), (8, 1), 2), ((1, 1), (2, 2), 1), ((4, 4), (8, 8), 2)],
)
def test_network_equals_torch(tmp_path, rx, tx, views):
    net = random_net(rx, tx, views=views)
    est = Estimator(saved(net, tmp_path / "ce.safetensors"))
    assert est.kind == "mimo" and est.n == (tx[0] * tx[1], rx[0] * rx[1])
    rng = np.random.default_rng(5)
    for count in (0, 2, est.n[0] // 2 or 1, est.n[0], est.n[0] + 3):
        for snr_db in (-5, 12, 30):
            _, p, y, variance = draw(rng, rx, tx, count, snr_db)
            y, p = 3 * y, 5 * p
            with torch.no_grad():
                h, err = net(torch.from_numpy(y), torch.from_numpy(p), torch.full((5,), 9 * variance))
            ours, ours_err = est(y, p, 9 * variance)
            assert np.linalg.norm(ours - h.numpy()) < 1e-5 * np.linalg.norm(h.numpy())
            tight = 1e-5 if views == 1 else 4e-5  # less the spread of the views: a difference of floats
            np.testing.assert_allclose(ours_err, np.broadcast_to(err[:, None, None], h.shape), rtol=tight)


def test_first_belief_is_lmmse():
    """Before the first step the belief is the prior, here of unit variance for all beams: conditioning it
    exactly is the LMMSE estimate for white channels."""
    net = AngularUnrolled((2, 2), (3, 2), 1, 4)
    rng = np.random.default_rng(1)
    _, p, y, variance = draw(rng, (2, 2), (3, 2), 4, 8)
    with torch.no_grad():
        first, _ = net(torch.from_numpy(y), torch.from_numpy(p), torch.full((5,), variance), every=True)
    for frame, got in zip(y, first[0].numpy()):
        scale = np.mean(np.abs(frame) ** 2)  # prior of unit variance in that scale
        inner = scale * p.T @ p.conj() + variance * np.eye(4)
        expected = frame @ np.linalg.inv(inner).T @ (scale * p.conj().T)
        np.testing.assert_allclose(got, expected, atol=2e-6)


def test_views_are_the_mean_over_arrays_turned_by_parts_of_a_beam(tmp_path):
    """Two views by hand: y and P with a phase slope of half a beam over both arrays, the answer turned
    back."""
    one, two = (Estimator(saved(random_net(views=v), tmp_path / f"ce{v}.safetensors")) for v in (1, 2))
    h, p, y, variance = draw(np.random.default_rng(3), (3, 2), (4, 3), 6, 10)
    a, b = (channels.steering(np.array(0.5 / s[0]), np.array(0.5 / s[1]), s) for s in ((3, 2), (4, 3)))
    straight, error = one(y, p, variance)
    turned, turned_error = one(y * a[:, None], p / b[:, None], variance)
    turned = turned / (a[:, None] * b)
    got, err = two(y, p, variance)
    np.testing.assert_allclose(got, (straight + turned) / 2, atol=1e-5 * np.abs(h).max())
    spread = np.mean(np.abs(straight - turned) ** 2, axis=(1, 2)) / 4
    mean = (error[:, 0, 0] + turned_error[:, 0, 0]) / 2
    np.testing.assert_allclose(err[:, 0, 0], np.maximum(mean - spread, mean / 2), rtol=1e-3)


def test_phase_and_scale_pass_through(tmp_path):
    est = Estimator(saved(random_net(), tmp_path / "ce.safetensors"))
    _, p, y, variance = draw(np.random.default_rng(2), (3, 2), (4, 3), 6, 10)
    h, err = est(y, p, variance)
    turned, turned_err = est(y * (20 * np.exp(1.3j)), p, 400 * variance)
    np.testing.assert_allclose(turned, h * (20 * np.exp(1.3j)), atol=1e-4 * np.abs(h).max() * 20)
    np.testing.assert_allclose(turned_err, 400 * err, rtol=1e-3)
    np.testing.assert_allclose(est(y, 0.1 * p, variance)[0], 10 * h, atol=1e-4 * np.abs(h).max() * 10)


@pytest.mark.parametrize(
    "y, pilots, variance, says",
    [
        (np.ones((2, 6)), np.ones((12, 4)), 0.1, "frames, 6, 4"),
        (np.ones((2, 6, 5)), np.ones((12, 4)), 0.1, "frames, 6, 4"),
        (np.ones((2, 6, 4)), np.ones((11, 4)), 0.1, "Nt = 12"),
        (np.ones((2, 6, 4)), np.zeros((12, 4)), 0.1, "all values are zero"),
        (np.ones((2, 6, 4)), np.full((12, 4), np.nan), 0.1, "NaN"),
        (np.full((2, 6, 4), np.nan), np.ones((12, 4)), 0.1, "NaN"),
        (np.ones((2, 6, 4)), np.ones((12, 4)), -1, "none negative"),
        (np.ones((2, 6, 4)), np.ones((12, 4)), [0.1, 0.1, 0.1], "one number"),
    ],
)
def test_bad_input_is_named(tmp_path, y, pilots, variance, says):
    est = Estimator(saved(random_net(), tmp_path / "ce.safetensors"))
    with pytest.raises(ValueError, match=says):
        est(y, pilots, variance)


def test_noise_variance_for_each_frame_and_no_frames(tmp_path):
    est = Estimator(saved(random_net(), tmp_path / "ce.safetensors"))
    _, p, y, _ = draw(np.random.default_rng(2), (3, 2), (4, 3), 6, 10, 2)
    both = est(y, p, [0.1, 0.5])[0]
    np.testing.assert_array_equal(both[1], est(y[1:], p, 0.5)[0][0])
    assert est(y[:0], p, 0.1)[0].shape == (0, 6, 12)


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"rx": [3, 3]}, "prior"),
        ({"rx": [3]}, "columns, rows"),
        ({"tx": [64, 64]}, "256 antennas"),
        ({"tx": [2.5, 3]}, "columns, rows"),
        ({"width": 7}, "shape"),
        ({"steps": 4}, "missing"),
        ({"views": 0}, "views"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, changes, says):
    path = saved(random_net(), tmp_path / "ce.safetensors", **changes)
    with pytest.raises(Exception, match=says):
        Estimator(path)


def test_lmmse_baseline_is_the_formula():
    rng = np.random.default_rng(3)
    made = baselines.Lmmse(channels.plane_waves(rng, 50, (2, 1), (3, 1)))
    _, p, y, variance = draw(rng, (2, 1), (3, 1), 2, 5)
    c = np.kron(made.rx, made.tx)
    a = np.kron(np.eye(2), p.T)
    gain = c @ a.conj().T @ np.linalg.inv(a @ c @ a.conj().T + variance * np.eye(4))
    for frame, got in zip(y, made(y, p, variance)):
        np.testing.assert_allclose(got.ravel(), gain @ frame.ravel(), atol=1e-6)


def test_omp_finds_beams_on_the_grid():
    rng = np.random.default_rng(4)
    a = channels.steering(np.array([0.25]), np.array([0.0]), (4, 1))[0]
    b = channels.steering(np.array([0.125]), np.array([0.5]), (4, 2))[0]
    h = (2j * np.outer(a, b))[None]
    p = channels.pilots(rng, 8, 4)
    np.testing.assert_allclose(baselines.Omp((4, 1), (4, 2))(h @ p, p, 1e-9), h, atol=1e-6)


@pytest.mark.parametrize("count, gain_db", [(0, 5.0), (16, 3.0)])
def test_shipped_model_beats_least_squares(count, gain_db):
    """Plane waves: at 10 dB it is some 9 dB (orthogonal) ahead of least squares."""
    est = Estimator("ce-mimo64x16")
    h, p, y, variance = draw(np.random.default_rng(11), (4, 4), (8, 8), count, 10, 60)
    got, err = est(y, p, variance)
    assert nmse_db(got, h) < nmse_db(baselines.ls(y, p, variance), h) - gain_db
    assert 0.4 < err.sum() / np.sum(np.abs(got - h) ** 2) < 2.5
    assert diffusion.model("ce-mimo64x16").task == "estimator"


@pytest.mark.parametrize("count", [0, 12, 20, 5])
def test_least_squares_is_the_pseudo_inverse(tmp_path, count):
    path = saved(random_net(), tmp_path / "ce.safetensors")
    _, p, y, variance = draw(np.random.default_rng(6), (3, 2), (4, 3), count, 10)
    h, err = Estimator(path, "ls")(y, 3 * p, variance)
    np.testing.assert_allclose(h, baselines.ls(y, 3 * p, variance), atol=1e-5 * np.abs(h).max())
    if count != 5:  # with all directions seen, the believed error is that of the noise
        np.testing.assert_allclose(err[0, 0, 0], variance * np.sum(np.abs(np.linalg.pinv(3 * p)) ** 2) / 12,
                                   rtol=1e-4)


def test_sparse_bayesian_learning_is_expectation_maximisation(tmp_path):
    path = saved(random_net((2, 1), (4, 1)), tmp_path / "ce.safetensors")
    _, p, y, variance = draw(np.random.default_rng(8), (2, 1), (4, 1), 3, 10, 1)
    f_rx, f_tx = (np.fft.fft(np.eye(n)) / np.sqrt(n) for n in (2, 4))
    level = np.sqrt(np.sum(np.abs(p) ** 2) / 3)
    power = np.mean(np.abs(y) ** 2) - variance
    phi, noise = (f_tx.conj() @ p / level).T, variance / power
    beams = []
    for row in f_rx @ y[0] / np.sqrt(power):
        gamma = np.ones(4)
        for i in range(51):
            s = phi * gamma @ phi.conj().T + noise * np.eye(3)
            gain = gamma[:, None] * phi.conj().T @ np.linalg.inv(s)
            m = gain @ row
            v = gamma - np.sum(gain * phi.T, 1).real * gamma
            gamma = np.maximum(np.abs(m) ** 2 + v, 1e-10)
        beams.append(m)
    expected = f_rx.conj().T @ np.array(beams) @ f_tx.conj() * np.sqrt(power) / level
    np.testing.assert_allclose(Estimator(path, "sbl")(y, p, variance)[0][0], expected, atol=2e-4)


@pytest.mark.parametrize("count", [0, 24])
def test_nomp_finds_waves_off_the_grid(count):
    """Three waves between the beams, hardly any noise: the continuum is found, not the nearest beam."""
    rng = np.random.default_rng(9)
    u = rng.uniform(-0.5, 0.5, (4, 3)) + np.array([0, 0.3, 0.6])
    a, b = channels.steering(u[0], u[1], (4, 4)), channels.steering(u[2], u[3], (8, 8))
    h = np.einsum("k,kr,kt->rt", [1, 0.7j, -0.4], a, b)[None]
    p = channels.pilots(rng, 64, count)
    got, err = Estimator("ce-mimo64x16", "nomp")(channels.observe(rng, h, p, 1e-6), 2 * p, 1e-6)
    assert nmse_db(2 * got, h) < -65
    assert Estimator("ce-mimo64x16", "nomp").method == "nomp"


def test_nomp_reaches_the_error_that_it_believes():
    """Few waves that it can tell apart, 10 dB: the error is what unbiased estimation of their parameters
    costs."""
    rng = np.random.default_rng(10)
    h = channels.plane_waves(rng, 40, (4, 4), (8, 8), most=2)
    p = channels.pilots(rng, 64, 0)
    got, err = Estimator("ce-mimo64x16", "nomp")(channels.observe(rng, h, p, 0.1), p, 0.1)
    assert nmse_db(got, h) < -30
    assert 0.3 < err.sum() / np.sum(np.abs(got - h) ** 2) < 3


@pytest.mark.parametrize("count", [0, 16])
@pytest.mark.parametrize("kind", ["waves", "errors", "clusters"])
def test_auto_finds_out_which_method_suits_the_array(kind, count):
    """Plane waves on ideal arrays are NOMP's, the others the network's: 10 dB, auto is level with the better
    of the two everywhere, and far from the worse."""
    rng = np.random.default_rng(21)
    shape = (4, 4), (8, 8)
    h = channels.clusters(rng, 16,
                          *shape) if kind == "clusters" else channels.plane_waves(rng, 16, *shape, most=6)
    if kind == "errors":
        h = channels.real_array(rng, h, *shape)
    p = channels.pilots(rng, 64, count)
    y = channels.observe(rng, h, p, 0.1)
    score = {m: nmse_db(Estimator("ce-mimo64x16", m)(y, p, 0.1)[0], h) for m in ("nomp", "diffusion", "auto")}
    assert (score["nomp"] < score["diffusion"] - 2) == (kind == "waves")
    assert score["auto"] < min(score["nomp"], score["diffusion"]) + 0.4


def test_auto_says_the_same_twice_and_believes_its_error():
    rng = np.random.default_rng(22)
    h = channels.plane_waves(rng, 8, (4, 4), (8, 8))
    p = channels.pilots(rng, 64, 16)
    y = channels.observe(rng, h, p, 0.1)
    est = Estimator("ce-mimo64x16", "auto")
    first, err = est(y, p, 0.1)
    np.testing.assert_array_equal(first, est(y, p, 0.1)[0])
    assert 0.3 < err.sum() / np.sum(np.abs(first - h) ** 2) < 8
    alone, _ = est(y[:1], p, 0.1)
    np.testing.assert_array_equal(alone[0], first[0])  # nothing is known of the array before the first frame
    h, err = est(y[:, :, :1], p[:, :1], 0.1)
    assert np.isfinite(h).all() and (err > 0).all()  # one pilot: none can be kept back


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="'magic' is none of ls, nomp, sbl, diffusion, auto"):
        Estimator("ce-mimo64x16", "magic")
    with pytest.raises(ValueError, match="'magic' is none of ls, lmmse"):
        Estimator("ce-ofdm64", "magic")
    assert Estimator("ce-ofdm64", "ls").n == 64


def test_three_clusters_are_drawn_by_the_covariances_given():
    """Sample covariance of many channels of one law against the one that the genie gets, and what the genie
    makes of it."""
    from gnuradio.diffusion.train import mimo_three_clusters as clusters

    rng = np.random.default_rng(30)
    h, (rx, tx) = clusters.draw(rng, 60, 4, 8, directions=32)
    assert abs(np.mean(np.abs(h) ** 2) - 1) < 0.3
    np.testing.assert_allclose(np.trace(rx, axis1=1, axis2=2) / 4, 1, atol=1e-9)
    white = np.linalg.solve(clusters.root(rx) + 1e-6 * np.eye(4), h)
    white = np.linalg.solve(clusters.root(tx) + 1e-6 * np.eye(8), white.transpose(0, 2, 1))
    assert np.isfinite(white).all()
    p = channels.pilots(rng, 8, 0)
    y = channels.observe(rng, h, p, 0.1)
    got = clusters.genie(y, p, 0.1, (rx, tx))
    c = np.stack([np.kron(a, b) for a, b in zip(rx, tx)])
    np.testing.assert_allclose(got, baselines.Genie(c)(y, p, 0.1), atol=1e-5)
    assert nmse_db(got, h) < nmse_db(y @ p.conj().T, h) - 1


def test_sounding_a_part_of_the_array():
    from gnuradio.diffusion.evaluate import mimo as evaluate

    p, counted = evaluate.sounding("half-array", np.random.default_rng(1), 64)
    assert p.shape == (64, 32) and not p[32:].any() and counted == slice(32, None)
    np.testing.assert_allclose(np.sum(np.abs(p) ** 2, 0), 1, atol=1e-5)
    assert evaluate.sounding("quarter", np.random.default_rng(1), 64)[0].shape == (64, 16)
