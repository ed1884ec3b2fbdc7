# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedules and samplers: equal to diffusers step for step; the matched start does what it says."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
from gnuradio.diffusion.nn import sampler
from gnuradio.diffusion.nn.schedule import Schedule

CONFIGS = [dict(num_train_timesteps=100, beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
           dict(num_train_timesteps=50, beta_schedule="scaled_linear", beta_start=1e-3, beta_end=0.1),
           dict(num_train_timesteps=40, beta_schedule="squaredcos_cap_v2"),
           dict(num_train_timesteps=20, trained_betas=list(np.linspace(1e-3, 0.3, 20)))]
KINDS = ["epsilon", "sample", "v_prediction"]


def network(x, t):
    """Any smooth function of the state and the step will do."""
    return torch.tanh(x @ torch.tensor([[0.9, -0.2], [0.1, 0.7]]) + 0.01 * t)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.get("beta_schedule", "trained"))
@pytest.mark.parametrize("kind", KINDS)
def test_ancestral_steps_equal_diffusers(config, kind):
    theirs = diffusers.DDPMScheduler(**config, prediction_type=kind, clip_sample=False,
                                     variance_type="fixed_small")
    ours = Schedule.from_config(config)
    torch.testing.assert_close(ours.alphas_cumprod, theirs.alphas_cumprod.float(), rtol=1e-6, atol=1e-9)
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(1))
    for t in reversed(range(config["num_train_timesteps"])):
        out = network(x, t)
        expected = theirs.step(out, t, x, generator=torch.Generator().manual_seed(t)).prev_sample
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(t))
        x = sampler.ddpm_step(ours, kind, out, t, x, noise)
        torch.testing.assert_close(x, expected, rtol=2e-5, atol=2e-5)
        x = expected


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: c.get("beta_schedule", "trained"))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_deterministic_steps_equal_diffusers(config, kind, steps):
    theirs = diffusers.DDIMScheduler(**config, prediction_type=kind, clip_sample=False, set_alpha_to_one=True)
    theirs.set_timesteps(steps)
    ours = Schedule.from_config(config)
    stride = config["num_train_timesteps"] // steps
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(2))
    for t in theirs.timesteps.tolist():
        out = network(x, t)
        expected = theirs.step(out, t, x, eta=0.0).prev_sample
        x = sampler.ddim_step(ours, kind, out, t, t - stride, x)
        torch.testing.assert_close(x, expected, rtol=2e-5, atol=2e-5)
        x = expected


def test_posterior_is_sample_prediction_by_its_mean():
    schedule = Schedule(50)
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    logits = torch.randn(10, 3, generator=torch.Generator().manual_seed(3))
    mean = torch.softmax(logits, -1) @ points
    x = torch.randn(10, 2, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(sampler.ddim_step(schedule, "posterior", logits, 30, 10, x, points),
                               sampler.ddim_step(schedule, "x0", mean, 30, 10, x))


def test_aliases_and_unknown_prediction_types():
    assert [sampler.prediction_type(a) for a in ("eps", "x0", "v", "posterior")] == [*KINDS, "posterior"]
    with pytest.raises(ValueError, match="'score'"):
        sampler.prediction_type("score")


def test_matched_step_inverts_the_schedule():
    schedule = Schedule(200, "squaredcos_cap_v2")
    for t in (0, 17, 120, 199):
        assert schedule.matched_step(float(schedule.noise_var()[t])) == t
    with pytest.raises(ValueError, match="noise_var is 0"):
        schedule.matched_step(0)


@pytest.mark.parametrize("t, steps", [(0, 1), (3, 5), (99, 1), (99, 4), (10, 5)])
def test_ladder_starts_at_the_matched_step_and_descends(t, steps):
    ladder = sampler.matched_ladder(t, steps)
    assert ladder[0] == t and len(ladder) == min(steps, t + 1) and min(ladder) >= 0
    assert all(a > b for a, b in zip(ladder, ladder[1:]))


def test_matched_denoising_is_the_bayes_estimate_for_bpsk():
    """With the exact posterior mean as network, one step gives tanh(2 Re y / noise_var); the literature's
    start at T with the same network forgets the input."""
    schedule = Schedule(400, "linear", 1e-4, 0.05)
    rng = np.random.default_rng(5)
    t = 200
    noise_var = float(schedule.noise_var()[t])
    x = rng.choice([-1.0, 1.0], 20000)
    y = x + np.sqrt(noise_var / 2) * (rng.standard_normal(x.size) + 1j * rng.standard_normal(x.size))
    y2 = torch.tensor(np.stack([y.real, y.imag], -1), dtype=torch.float32)

    def exact(x_t, step):
        abar = schedule.alphas_cumprod[step]
        mean = torch.tanh(2 * abar ** 0.5 * x_t[..., 0] / (1 - abar))
        return torch.stack([mean, torch.zeros_like(mean)], -1)

    one = sampler.denoise(schedule, "sample", exact, y2, noise_var).numpy()
    np.testing.assert_allclose(one[:, 0], np.tanh(2 * y.real / noise_var), atol=1e-3)
    five = sampler.denoise(schedule, "sample", exact, y2, noise_var, steps=5).numpy()
    ber = lambda z: np.mean(np.sign(z[:, 0]) != x)
    assert ber(five) == pytest.approx(ber(one), abs=2e-3)
    generator = torch.Generator().manual_seed(6)
    literal = sampler.sample_ddpm(schedule, "sample", exact, y2, noise_var, generator, start="T").numpy()
    assert ber(literal) > 0.4


def test_schedule_configs_round_trip_and_bad_ones_are_named():
    for config in CONFIGS:
        s = Schedule.from_config(config)
        assert Schedule.from_config(s.to_config()) == s
    with pytest.raises(ValueError, match="'cosine'"):
        Schedule(10, "cosine")
    with pytest.raises(ValueError, match="trained_betas"):
        Schedule(10, trained_betas=[0.1])
    with pytest.raises(ValueError, match="beta"):
        Schedule(10, "linear", 0.1, 1.5)
    with pytest.raises(ValueError, match="rescale"):
        Schedule.from_config({"rescale": True})
