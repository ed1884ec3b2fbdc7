# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel estimators from pilots: classical ones against closed form, the network against torch."""

import numpy as np
import pytest
import torch
from gnuradio import diffusion
from gnuradio.diffusion import Estimator
from gnuradio.diffusion.nn.delay_net import DelayUnrolled
from gnuradio.diffusion.nn.export import save_model

CARRIERS = 64


def response(delay, gain, carriers=CARRIERS):
    k = np.arange(carriers) - carriers // 2
    return np.exp(-2j * np.pi * np.outer(k, delay) / carriers) @ gain


def noise(rng, shape, variance):
    return np.sqrt(variance / 2) * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))


def nmse_db(a, b):
    return 10 * np.log10((np.sum(np.abs(a - b) ** 2) + 1e-30) / np.sum(np.abs(b) ** 2))


def estimator(method, pilots, carriers=CARRIERS, model=""):
    made = diffusion.pilot_estimator(method, carriers, model)
    made.pilots = list(pilots)
    return made


def test_ls_interpolates_and_holds_the_ends():
    pilots = [40, 10, 20]  # any order
    y = np.array([[4 + 4j, 1, 2j]], np.complex64)
    h, err = estimator("ls", pilots)(y, 0.5)
    known = np.interp(np.arange(64), [10, 20, 40], [1, 2j, 4 + 4j])
    np.testing.assert_allclose(h[0], known, atol=1e-6)
    assert err[0, 10] == 0.5 and err[0, 15] == pytest.approx(0.25) and err[0, 63] == 0.5


@pytest.mark.parametrize("carriers", [64, 48])
def test_lmmse_is_the_formula(carriers):
    rng = np.random.default_rng(1)
    pilots = np.sort(rng.permutation(carriers)[:9])
    made = estimator("lmmse", pilots, carriers)
    profile = np.exp(-np.arange(made.grid) / 6)
    made.set_profile(profile.tolist())
    variance = 0.03
    y = noise(rng, (4, 9), 1) + noise(rng, (4, 9), variance)
    h, err = made(y.astype(np.complex64), variance)
    k = np.arange(carriers) - carriers // 2
    f = np.exp(-2j * np.pi * np.outer(k, np.arange(made.grid)) / made.grid)
    for i in range(4):
        power = np.mean(np.abs(y[i]) ** 2) - variance  # the symbol's own power
        c = power * (f * profile / profile.sum()) @ f.conj().T
        gain = c[:, pilots] @ np.linalg.inv(c[np.ix_(pilots, pilots)] + variance * np.eye(9))
        np.testing.assert_allclose(h[i], gain @ y[i], atol=2e-5)
        np.testing.assert_allclose(err[i], np.diag(c - gain @ c[pilots]).real, atol=2e-5)


def test_nomp_finds_delays_between_the_grid():
    """Two well separated paths: close to the Cramer-Rao bound, 3 real parameters a path."""
    rng = np.random.default_rng(2)
    variance, frames = 1e-3, 200
    pilots = np.sort(rng.permutation(CARRIERS)[:24])
    h = np.array(
        [response([3.37, 17.81], np.exp(2j * np.pi * rng.random(2)) * [0.8, 0.6]) for _ in range(frames)]
    )
    y = h[:, pilots] + noise(rng, (frames, 24), variance)
    estimate, err = estimator("nomp", pilots)(y.astype(np.complex64), variance)
    bound = 10 * np.log10(variance * 6 / 2 / 24)
    assert bound - 0.5 < nmse_db(estimate, h) < bound + 3
    assert 0.2 < np.mean(np.abs(estimate - h) ** 2) / err.mean() < 5


def test_sbl_beats_lmmse_on_sparse_channels():
    rng = np.random.default_rng(3)
    variance, frames = 0.01, 100
    pilots = np.sort(rng.permutation(CARRIERS)[:16])
    h = np.array([response(rng.uniform(0, 40, 3), noise(rng, 3, 1 / 3)) for _ in range(frames)])
    y = (h[:, pilots] + noise(rng, (frames, 16), variance)).astype(np.complex64)
    score = {m: nmse_db(estimator(m, pilots)(y, variance)[0], h) for m in ("lmmse", "sbl", "nomp")}
    assert score["sbl"] < score["lmmse"] - 5 and score["nomp"] < score["lmmse"] - 5


@pytest.mark.parametrize("method", ["ls", "lmmse", "nomp", "sbl"])
def test_no_noise_no_error_with_all_pilots(method):
    rng = np.random.default_rng(4)
    h = np.array([response([0, 2.2], noise(rng, 2, 0.5)) for _ in range(5)]).astype(np.complex64)
    estimate, err = estimator(method, range(CARRIERS))(h, 0.0)
    assert np.isfinite(estimate).all() and np.isfinite(err).all()
    assert nmse_db(estimate, h) < -25


@pytest.mark.parametrize("method", ["ls", "lmmse", "nomp", "sbl"])
def test_bad_frames_stay_alone(method):
    y = np.ones((4, 3), np.complex64)
    y[1, 2] = np.nan
    y[2] = 0
    y[3, 0] = np.inf
    h, err = estimator(method, [1, 30, 50])(y, 0.1)
    assert np.isfinite(h).all() and np.isinf(err[[1, 3]]).all() and np.isfinite(err[[0, 2]]).all()
    assert not h[[1, 3]].any()


def test_bad_arguments_are_named():
    made = estimator("ls", [1, 2])
    for bad in ([], [64], [-1], [5, 5]):
        with pytest.raises(ValueError, match="pilots"):
            made.pilots = bad
    with pytest.raises(ValueError, match="noise_var is -1"):
        made(np.ones((1, 2)), -1)
    with pytest.raises(ValueError, match=r"y must be \(frames, 2\)"):
        made(np.ones((1, 3)), 1)
    with pytest.raises(ValueError, match="method 'zf' is none of"):
        diffusion.pilot_estimator("zf", 64)
    with pytest.raises(ValueError, match="carriers is 1"):
        diffusion.pilot_estimator("ls", 1)
    with pytest.raises(ValueError, match="profile has 3 values"):
        diffusion.pilot_estimator("sbl", 64).set_profile([1, 2, 3])
    with pytest.raises(ValueError, match="nothing"):
        diffusion.pilot_estimator("diffusion", 64, "nothing")


def random_net(carriers=CARRIERS, seed=1, **options):
    torch.manual_seed(seed)
    net = DelayUnrolled(carriers, **options)
    with torch.no_grad():  # the output layers start at zero, which would test nothing
        for p in net.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return net.eval()


def saved(net, path, **changes):
    metadata = {
        "name": path.stem,
        "task": "estimator",
        "prediction_type": "sample",
        "schedule": {"kind": "continuous"},
        "network": {"kind": "delay_unrolled", **net.config},
        "snr_db": [-5, 35],
        "channel": {"kind": "ofdm", "carriers": net.config["carriers"]},
        "provenance": {},
    }
    for key, value in changes.items():
        metadata["network"][key] = value
    save_model(path, net, metadata)
    return str(path)


def draw(rng, frames, count, snr_db, carriers=CARRIERS):
    h = np.array(
        [response(rng.uniform(0, carriers / 2, 4), noise(rng, 4, 0.25), carriers) for _ in range(frames)]
    )
    pilots = np.sort(rng.permutation(carriers)[:count])
    variance = 10 ** (-snr_db / 10)
    return h, (h[:, pilots] + noise(rng, (frames, count), variance)).astype(np.complex64), pilots, variance


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"steps": 2, "width": 13, "kernel": 3, "embedding": 2, "gates": 3},
        {"carriers": 100, "taps": 256, "steps": 1, "width": 8},
        {"steps": 1, "width": 8, "bank": 5},
    ],
)
def test_network_equals_torch(tmp_path, options):
    net = random_net(**options)
    est = Estimator(saved(net, tmp_path / "ce.safetensors"))
    rng = np.random.default_rng(5)
    for count in (1, 4, 16, est.n):
        for snr_db in (-5, 15, 35):
            _, y, pilots, variance = draw(rng, 6, count, snr_db, est.n)
            y *= 3
            with torch.no_grad():
                h, err = net(
                    torch.from_numpy(y),
                    torch.from_numpy(pilots).expand(6, -1),
                    torch.full((6,), 9 * variance),
                )
            ours, ours_err = est(y, pilots, 9 * variance)
            assert np.linalg.norm(ours - h.numpy()) < 1e-5 * np.linalg.norm(h.numpy())
            np.testing.assert_allclose(ours_err, err.numpy(), rtol=1e-3)


@pytest.mark.parametrize("carriers", [256, 1024])
def test_many_carriers_equal_torch(tmp_path, carriers):
    """Beyond 128 carriers torch works by FFT."""
    compare_with_torch(saved(random_net(carriers), tmp_path / "ce.safetensors"), (1, 16, 96))


def compare_with_torch(model, counts):
    from gnuradio.diffusion.nn.export import load_model

    est = Estimator(model)
    tensors, metadata = load_model(est.path)
    options = {k: v for k, v in metadata["network"].items() if k != "kind"}
    net = DelayUnrolled(**options).eval()
    net.load_state_dict(tensors)
    rng = np.random.default_rng(5)
    for count in counts:
        for snr_db in (-5, 15, 35):
            _, y, pilots, variance = draw(rng, 3, count, snr_db, est.n)
            with torch.no_grad():
                h, err = net(
                    torch.from_numpy(y), torch.from_numpy(pilots).expand(3, -1), torch.full((3,), variance)
                )
            ours, ours_err = est(y, pilots, variance)
            assert np.linalg.norm(ours - h.numpy()) < 1e-5 * np.linalg.norm(h.numpy())
            np.testing.assert_allclose(ours_err, err.numpy(), rtol=1e-3)


SHIPPED = [m.name for m in diffusion.models() if m.name.startswith("ce-ofdm")]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_equals_torch(name):
    carriers = Estimator(name).n
    compare_with_torch(name, (carriers // 16, min(carriers // 4, 96)))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_survives_many_pilots_and_high_snr(name):
    """Far more pilots than in training and no noise at all: finite, and nothing like a blow-up."""
    est = Estimator(name)
    rng = np.random.default_rng(12)
    h, y, pilots, _ = draw(rng, 2, min(est.n, 256), 60, est.n)
    for variance in (0.0, 1e-6):
        found, err = est(y, pilots, variance)
        assert np.isfinite(found).all() and np.isfinite(err).all()
        assert nmse_db(found, h) < -20


def test_phase_and_scale_pass_through(tmp_path):
    est = Estimator(saved(random_net(), tmp_path / "ce.safetensors"))
    _, y, pilots, variance = draw(np.random.default_rng(6), 5, 12, 15)
    h, err = est(y, pilots, variance)
    turned, turned_err = est(y * (30 * np.exp(1.3j)), pilots, 900 * variance)
    np.testing.assert_allclose(turned, h * (30 * np.exp(1.3j)), rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(turned_err, err * 900, rtol=2e-3)


def test_pilot_order_does_not_matter(tmp_path):
    est = Estimator(saved(random_net(), tmp_path / "ce.safetensors"))
    _, y, pilots, variance = draw(np.random.default_rng(7), 3, 10, 10)
    order = np.random.default_rng(8).permutation(10)
    np.testing.assert_allclose(
        est(y, pilots, variance)[0], est(y[:, order], pilots[order], variance)[0], atol=1e-4
    )


def test_noise_variance_for_each_frame(tmp_path):
    est = Estimator(saved(random_net(), tmp_path / "ce.safetensors"))
    _, y, pilots, _ = draw(np.random.default_rng(9), 3, 10, 10)
    h, err = est(y, pilots, np.array([0.1, 0.2, 0.3]))
    for i, v in enumerate((0.1, 0.2, 0.3)):
        alone = est(y[i : i + 1], pilots, v)
        np.testing.assert_array_equal(h[i], alone[0][0])
        np.testing.assert_array_equal(err[i], alone[1][0])
    assert est(y[:0], pilots, 0.1)[0].shape == (0, 64)


def test_estimator_refuses_what_is_wrong(tmp_path):
    est = Estimator(saved(random_net(), tmp_path / "ce.safetensors"))
    assert (est.n, est.kind, est.name) == (64, "ofdm", "ce")
    y, pilots = np.ones((2, 4), np.complex64), np.array([1, 5, 9, 60])
    for args, message in [
        ((y[0], pilots, 1), "frames"),
        ((y, pilots[:3], 1), "shape"),
        ((y, pilots * 1.0, 1), "indices"),
        ((y, [1, 1, 2, 3], 1), "twice"),
        ((y, [1, 2, 3, 64], 1), "64"),
        ((y, pilots, -1), "negative"),
        ((y, pilots, np.nan), "finite"),
        ((y, pilots, [1, 2, 3]), "noise_var has shape"),
        ((y * np.nan, pilots, 1), "NaN"),
    ]:
        with pytest.raises(ValueError, match=message):
            est(*args)


@pytest.mark.parametrize(
    "changes",
    [
        {"taps": 100},
        {"taps": 32},
        {"kernel": 4},
        {"gates": 2},
        {"steps": 5},
        {"steps": 0},
        {"width": 16},
        {"carriers": 1},
        {"carriers": 10**9},
        {"embedding": "6"},
    ],
)
def test_inconsistent_model_files_are_refused(tmp_path, changes):
    path = saved(random_net(), tmp_path / "ce.safetensors", **changes)
    with pytest.raises(ValueError, match="ce.safetensors"):
        Estimator(path)


def test_refine_is_the_posterior_of_the_last_belief():
    rng = np.random.default_rng(1)
    made = diffusion.pilot_estimator("diffusion", 64, "ce-ofdm64")
    made.pilots = list(range(0, 64, 1))
    y = (rng.standard_normal((1, 64, 2)) @ [1, 1j]).astype(np.complex64)
    h, err_var = made(y, 0.1)
    again, err_again = made.refine(y, 0.1)
    np.testing.assert_array_equal(again, h)
    np.testing.assert_array_equal(err_again, err_var)
    made.pilots = list(range(0, 64, 2))  # no belief of these: a new estimate
    np.testing.assert_array_equal(made.refine(y[:, ::2], 0.1)[0], made(y[:, ::2], 0.1)[0])
    made.pilots = list(range(0, 64, 4))  # few pilots: the bank takes part, and knows this frame only
    np.testing.assert_array_equal(made.refine(y[:, ::4], 0.1)[0], made(y[:, ::4], 0.1)[0])
    assert np.all(np.isinf(made.refine(y[:, ::4] * np.nan, 0.1)[1]))
    with pytest.raises(ValueError, match="one value for each of the 16 pilots"):
        made.refine(y, 0.1)


def test_fewer_steps_can_be_taken():
    made = diffusion.pilot_estimator("diffusion", 64, "ce-ofdm64")
    assert made.steps == 4
    made.steps = 2
    assert made.steps == 2
    assert diffusion.pilot_estimator("lmmse", 64).steps == 1
