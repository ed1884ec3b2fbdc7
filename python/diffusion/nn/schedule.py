# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise schedules, named and configured as the schedulers of Hugging Face diffusers are.

Variance preserving (Ho et al. 2020, eq. 4): x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e, where x_0 and e
have unit power. An observation y = x + n with E|n|^2 = noise_var is such an x_t up to a gain:
x_t = y / sqrt(1 + noise_var) at the level abar = 1 / (1 + noise_var). So the matched step of a noise level
is the t whose (1 - abar_t) / abar_t is nearest, in dB, to noise_var.
"""
import math
from dataclasses import dataclass, field
from typing import Optional, Sequence

import torch

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")


@dataclass(frozen=True)
class Schedule:
    """Discrete schedule of num_train_timesteps steps; the fields are those of a diffusers config."""
    num_train_timesteps: int = 1000
    beta_schedule: str = "linear"
    beta_start: float = 1e-4
    beta_end: float = 0.02
    trained_betas: Optional[Sequence[float]] = None
    betas: torch.Tensor = field(init=False, repr=False, compare=False)
    alphas_cumprod: torch.Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        betas = self._betas()
        if betas.numel() < 1 or not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError("schedule: every beta must lie in (0, 1); check beta_start and beta_end")
        object.__setattr__(self, "betas", betas)
        object.__setattr__(self, "alphas_cumprod", torch.cumprod(1 - betas, 0))

    def _betas(self):
        n = self.num_train_timesteps
        if self.trained_betas is not None:
            if len(self.trained_betas) != n:
                raise ValueError(f"schedule: {len(self.trained_betas)} trained_betas for "
                                 f"num_train_timesteps {n}; give one a step")
            return torch.tensor(self.trained_betas, dtype=torch.float32)
        if self.beta_schedule == "linear":
            return torch.linspace(self.beta_start, self.beta_end, n, dtype=torch.float32)
        if self.beta_schedule == "scaled_linear":
            return torch.linspace(self.beta_start ** 0.5, self.beta_end ** 0.5, n, dtype=torch.float32) ** 2
        if self.beta_schedule == "squaredcos_cap_v2":
            # Nichol and Dhariwal 2021, eq. 17, with its cap of 0.999.
            abar = lambda u: math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
            return torch.tensor([min(1 - abar((i + 1) / n) / abar(i / n), 0.999) for i in range(n)],
                                dtype=torch.float32)
        raise ValueError(f"schedule: beta_schedule '{self.beta_schedule}' is none of "
                         f"{', '.join(BETA_SCHEDULES)}")

    @classmethod
    def from_config(cls, config):
        """From a model file's "schedule" object (unknown keys are an error)."""
        known = ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "trained_betas")
        unknown = sorted(set(config) - set(known) - {"kind"})
        if unknown or config.get("kind", "discrete") != "discrete":
            raise ValueError(f"schedule: cannot use {config}; a discrete one has the fields "
                             f"{', '.join(known)}")
        return cls(**{k: config[k] for k in known if k in config})

    def to_config(self):
        """The model file's "schedule" object."""
        config = {"kind": "discrete", "num_train_timesteps": self.num_train_timesteps,
                  "beta_schedule": self.beta_schedule,
                  "beta_start": self.beta_start, "beta_end": self.beta_end}
        if self.trained_betas is not None:
            config["trained_betas"] = [float(b) for b in self.trained_betas]
        return config

    def noise_var(self):
        """(T,) noise variance E|n|^2 relative to the symbol's power at each step."""
        return (1 - self.alphas_cumprod) / self.alphas_cumprod

    def matched_step(self, noise_var):
        """The step whose noise level is nearest, in dB, to noise_var > 0; held to the ends outside."""
        if not noise_var > 0:
            raise ValueError(f"noise_var is {noise_var}, use a positive variance")
        return int((self.noise_var().log() - math.log(noise_var)).abs().argmin())

