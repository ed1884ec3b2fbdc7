# SPDX-License-Identifier: GPL-3.0-or-later
"""Reference samplers: ancestral DDPM (Ho et al. 2020) and deterministic DDIM (Song et al. 2021).

Step for step equal to diffusers' DDPMScheduler (variance_type "fixed_small") and DDIMScheduler (eta 0,
set_alpha_to_one) with clip_sample off. Tensors are (..., 2) floats [Re, Im] or complex; noise has the power
of a symbol, E|e|^2 = 1 per complex symbol. The denoisers start at the step matched to the observation's
noise, never from pure noise, which would erase the observation; start="T" is the literature's way.
"""
import torch

ALIASES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
PREDICTION_TYPES = ("epsilon", "sample", "v_prediction", "posterior")


def prediction_type(name):
    """The canonical (diffusers) name of a prediction type."""
    name = ALIASES.get(name, name)
    if name not in PREDICTION_TYPES:
        raise ValueError(f"prediction_type '{name}' is none of {', '.join(PREDICTION_TYPES)}")
    return name


def to_x0(kind, out, x_t, abar, points=None):
    """The symbol estimate in a network output. points: (M, 2) or complex (M,), for "posterior" only."""
    kind = prediction_type(kind)
    if kind == "sample":
        return out
    if kind == "epsilon":
        return (x_t - (1 - abar) ** 0.5 * out) / abar ** 0.5
    if kind == "v_prediction":
        return abar ** 0.5 * x_t - (1 - abar) ** 0.5 * out
    p = torch.softmax(out, -1)
    return p.to(points.dtype) @ points


def ddpm_step(schedule, kind, out, t, x_t, noise=None, points=None):
    """One ancestral step from t to t - 1. noise: like x_t; None or t = 0: the mean."""
    abar = schedule.alphas_cumprod[t]
    abar_prev = schedule.alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
    alpha = abar / abar_prev
    x0 = to_x0(kind, out, x_t, abar, points)
    mean = (abar_prev ** 0.5 * (1 - alpha) * x0 + alpha ** 0.5 * (1 - abar_prev) * x_t) / (1 - abar)
    if t == 0 or noise is None:
        return mean
    variance = ((1 - abar_prev) / (1 - abar) * (1 - alpha)).clamp(min=1e-20)
    return mean + variance ** 0.5 * noise


def ddim_step(schedule, kind, out, t, t_prev, x_t, points=None):
    """One deterministic step from t to t_prev < t; t_prev < 0 is the clean symbol."""
    abar = schedule.alphas_cumprod[t]
    abar_prev = schedule.alphas_cumprod[t_prev] if t_prev >= 0 else torch.tensor(1.0)
    x0 = to_x0(kind, out, x_t, abar, points)
    eps = (x_t - abar ** 0.5 * x0) / (1 - abar) ** 0.5
    return abar_prev ** 0.5 * x0 + (1 - abar_prev) ** 0.5 * eps


def matched_ladder(t_start, steps):
    """Descending steps of a deterministic run that starts at t_start; then comes the clean symbol."""
    steps = max(1, min(int(steps), t_start + 1))
    return [t_start - (t_start + 1) * k // steps for k in range(steps)]


def denoise(schedule, kind, model, y, noise_var, steps=1, points=None):
    """Deterministic denoising of y = x + n from the matched step on.

    model(x_t, t) is the network at the integer step t; y (..., 2) or complex with E|x|^2 = 1,
    noise_var = E|n|^2. Returns the symbol estimates."""
    t = schedule.matched_step(noise_var)
    x_t = y / (1 + noise_var) ** 0.5
    ladder = matched_ladder(t, steps)
    for now, following in zip(ladder, ladder[1:] + [-1]):
        x_t = ddim_step(schedule, kind, model(x_t, now), now, following, x_t, points)
    return x_t


def sample_ddpm(schedule, kind, model, y, noise_var, generator=None, start="matched", points=None):
    """The literature's mode: ancestral steps down to 0, from the matched step or, start="T", from the last
    one, where y stands in for pure noise."""
    t = schedule.num_train_timesteps - 1 if start == "T" else schedule.matched_step(noise_var)
    x_t = y / (1 + noise_var) ** 0.5
    complex_scale = 1.0 if torch.is_complex(x_t) else 0.5 ** 0.5
    for now in range(t, -1, -1):
        noise = complex_scale * torch.randn(x_t.shape, dtype=x_t.dtype, generator=generator)
        x_t = ddpm_step(schedule, kind, model(x_t, now), now, x_t, noise, points)
    return x_t


def denoise_continuous(model, y, noise_var, steps=1):
    """Deterministic denoising with a network conditioned on the noise level itself.

    model(y, noise_var) returns the symbol estimate E[x | y]. The standard deviation falls linearly to 0 in
    `steps` steps; one step is the MMSE estimate."""
    for k in range(steps):
        x0 = model(y, noise_var * (1 - k / steps) ** 2)
        y = x0 + (steps - k - 1) / (steps - k) * (y - x0)
    return y
