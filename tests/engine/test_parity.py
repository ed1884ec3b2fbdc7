# SPDX-License-Identifier: GPL-3.0-or-later
"""The native engine against torch, its samplers against diffusers."""
import numpy as np
import pytest
from gnuradio import diffusion

torch = pytest.importorskip("torch")
from gnuradio.diffusion.nn import sampler
from gnuradio.diffusion.nn.export import save_model
from gnuradio.diffusion.nn.film_mlp import FilmMlp
from gnuradio.diffusion.nn.schedule import Schedule

CONTEXT = 18
SCHEDULES = [dict(num_train_timesteps=1000, beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
             dict(num_train_timesteps=100, beta_schedule="scaled_linear", beta_start=1e-3, beta_end=0.2),
             dict(num_train_timesteps=50, beta_schedule="squaredcos_cap_v2"),
             dict(num_train_timesteps=5, trained_betas=[0.01, 0.02, 0.1, 0.2, 0.5])]


def noisy(n=400, seed=1):
    rng = np.random.default_rng(seed)
    return (0.8 * (rng.standard_normal(n) + 1j * rng.standard_normal(n))).astype(np.complex64)


def rails(y):
    return torch.view_as_real(torch.from_numpy(y))


def network(posterior, activation="silu", embedded=0, hidden=(40, 24), features="iq2", scale="vp",
            points=None):
    torch.manual_seed(3)
    condition = {"kind": "embedding", "steps": embedded} if embedded else \
        {"kind": "mlp", "inputs": CONTEXT, "hidden": 16}
    net = FilmMlp(hidden, len(points) if posterior else 2, features=features, activation=activation,
                  condition=condition, skip="gaussian" if posterior else "none",
                  normalisation={"input_scale": scale} if embedded else
                  {"input_scale": scale, "condition_mean": [10.0] + [0.1] * (CONTEXT - 1),
                   "condition_scale": [10.0] + [2.0] * (CONTEXT - 1)})
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn_like(p) / max(p.shape[-1], 4) ** 0.5)
    return net.eval()


def saved(tmp_path, net, kind, schedule, points):
    path = tmp_path / "net.safetensors"
    save_model(path, net, {"name": "net", "task": "receiver", "network": net.config, "prediction_type": kind,
                           "schedule": schedule, "snr_db": [-10, 40], "normalisation": net.normalisation,
                           "constellation": {"name": "qam16", "points": [[p.real, p.imag] for p in points]}})
    return str(path)


@pytest.fixture(scope="module")
def points():
    return diffusion.constellation("qam16")


@pytest.mark.parametrize("activation", ["relu", "silu", "softplus", "tanh"])
@pytest.mark.parametrize("features, scale", [("iq", "none"), ("iq2", "vp")])
def test_fitted_posterior_network(tmp_path, points, activation, features, scale):
    net = network(True, activation, features=features, scale=scale, points=points)
    rx = diffusion.engine_receiver(saved(tmp_path, net, "posterior", {"kind": "continuous"}, points))
    rng = np.random.default_rng(2)
    y, context = noisy(), rng.standard_normal(CONTEXT).astype(np.float32)
    for noise_var in (0.5, 0.02):
        q2, q1 = rng.standard_normal((16, 5)) / noise_var, rng.standard_normal(16)
        rx.set_link(noise_var, context, q2, q1)
        with torch.no_grad():
            logits = net(rails(y), torch.from_numpy(context), noise_var,
                         (torch.tensor(q2, dtype=torch.float32),
                          torch.tensor(q1, dtype=torch.float32))).numpy()
        error = np.abs(rx.network(y) - logits).max() / np.abs(logits).max()
        assert error < 1e-5
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        np.testing.assert_allclose(rx.denoise(y), p @ points, atol=1e-4)


def test_ideal_link_is_the_unfitted_symbol_law(tmp_path, points):
    net = network(True, points=points)
    rx = diffusion.engine_receiver(saved(tmp_path, net, "posterior", {"kind": "continuous"}, points))
    law, y = diffusion.symbol_law(points), noisy()
    for noise_var in (1.0, 0.1, 0.003):
        rx.set_noise_var(noise_var)
        ideal = rx.llr(y)
        q2, q1 = law.coefficients(noise_var)
        rx.set_link(noise_var, law.context(noise_var), q2, q1)
        np.testing.assert_allclose(ideal, rx.llr(y), rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("config", SCHEDULES)
def test_schedule_and_steps_equal_diffusers(config):
    diffusers = pytest.importorskip("diffusers")
    ours = diffusion.noise_schedule(**config)
    ddim = diffusers.DDIMScheduler(**config, clip_sample=False)
    # Theirs are products of up to 1000 factors in float32.
    np.testing.assert_allclose(ours.alphas_cumprod, ddim.alphas_cumprod.numpy(), rtol=3e-5)
    n = config["num_train_timesteps"]
    x, out = noisy(8, 1), noisy(8, 2)
    for kind in ("epsilon", "sample", "v_prediction"):
        ddim = diffusers.DDIMScheduler(**config, clip_sample=False, prediction_type=kind)
        ddim.set_timesteps(n)
        ddpm = diffusers.DDPMScheduler(**config, clip_sample=False, prediction_type=kind)
        for t in {0, 1, n // 2, n - 1}:
            # They work in float32, where x_0 of size 1 / sqrt(abar) and 1 - abar cancel.
            abar, abar_prev = ours.alphas_cumprod[t], ours.alphas_cumprod[max(t - 1, 0)]
            tolerance = dict(rtol=1e-4, atol=1e-6 + 1e-6 / abar ** 0.5 + 6e-8 / (1 - abar_prev))
            expected = ddim.step(rails(out), t, rails(x)).prev_sample.numpy()
            got = ours.ddim_step(kind, out, t, t - 1, x)
            np.testing.assert_allclose(got.view(np.float32).reshape(-1, 2), expected, **tolerance)
            torch.manual_seed(5)
            expected = ddpm.step(rails(out), t, rails(x)).prev_sample.numpy()
            torch.manual_seed(5)
            drawn = torch.randn(8, 2).numpy().astype(np.float32).view(np.complex64)[:, 0]
            got = ours.ddpm_step(kind, out, t, x, drawn)
            np.testing.assert_allclose(got.view(np.float32).reshape(-1, 2), expected, **tolerance)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_discrete_sampler_equals_torch(tmp_path, points, kind, steps):
    config = SCHEDULES[1]
    net = network(False, embedded=config["num_train_timesteps"])
    rx = diffusion.engine_receiver(saved(tmp_path, net, kind, config, points), steps)
    y, schedule = noisy(), Schedule(**config)
    for noise_var in (1.0, 0.1, 0.01):
        rx.set_noise_var(noise_var)
        with torch.no_grad():
            expected = sampler.denoise(schedule, kind, lambda x, t: net_at(net, x, t), rails(y), noise_var,
                                       steps)
        scale = expected.abs().max().item()
        np.testing.assert_allclose(rx.denoise(y).view(np.float32).reshape(-1, 2), expected.numpy(),
                                   atol=2e-5 * max(scale, 1))


def net_at(net, x, t):
    # A schedule's network sees its x_t: "vp" of the observation, which is x_t itself.
    film, net.normalisation = net.normalisation, {"input_scale": "none"}
    try:
        return net(x, torch.tensor(t))
    finally:
        net.normalisation = film


@pytest.mark.parametrize("steps", [1, 3])
def test_continuous_sampler_equals_torch(tmp_path, points, steps):
    net = network(True, points=points)
    rx = diffusion.engine_receiver(saved(tmp_path, net, "posterior", {"kind": "continuous"}, points), steps)
    law, y = diffusion.symbol_law(points), noisy()

    def mean(z, noise_var):
        q2, q1 = law.coefficients(noise_var)
        skip = torch.tensor(q2, dtype=torch.float32), torch.tensor(q1, dtype=torch.float32)
        logits = net(z, torch.tensor(law.context(noise_var)), noise_var, skip)
        return torch.softmax(logits, -1) @ torch.view_as_real(torch.from_numpy(points))

    rx.set_noise_var(0.2)
    with torch.no_grad():
        expected = sampler.denoise_continuous(mean, rails(y), 0.2, steps)
    np.testing.assert_allclose(rx.denoise(y).view(np.float32).reshape(-1, 2), expected.numpy(), atol=2e-4)


def test_ancestral_sampler_has_its_noise(tmp_path, points):
    """With a network that says x_0 = 0 the last state before the end is Gaussian of known variance."""
    config = dict(num_train_timesteps=2, trained_betas=[0.3, 0.6])
    net = network(False, embedded=2)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    rx = diffusion.engine_receiver(saved(tmp_path, net, "epsilon", config, points))
    rx.set_ancestral(True, True, 7)
    x = rx.denoise(np.zeros(100000, np.complex64))
    # eps = 0: t = 1 adds sqrt(variance) e, t = 0 divides by sqrt(alpha_0).
    abar = np.cumprod([0.7, 0.4])
    variance = (1 - abar[0]) / (1 - abar[1]) * 0.6
    assert np.mean(np.abs(x) ** 2) == pytest.approx(variance / 0.7, rel=0.02)
    rx.set_ancestral(True, True, 7)
    np.testing.assert_array_equal(rx.denoise(np.zeros(100, np.complex64)), x[:100])
