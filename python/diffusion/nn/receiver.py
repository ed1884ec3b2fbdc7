# SPDX-License-Identifier: GPL-3.0-or-later
"""The denoising receiver in torch: the reference for the C++ engine's, and what remote workers compute.

Takes models conditioned on the noise level itself (schedule "continuous", prediction_type "posterior"), the
kind that ships; a model on a discrete schedule is refused by name.
"""
import torch
from gnuradio import diffusion

from . import sampler
from .export import load_model
from .film_mlp import FilmMlp


class TorchReceiver:
    """(y complex64 (n,), noise_var) -> symbol estimates complex64 (n,), numpy in and out.

    name    shipped model or path
    device  of torch, e.g. "cpu" or "cuda"
    """

    def __init__(self, name, device="cpu"):
        tensors, metadata = load_model(diffusion.model_path(name))
        if metadata["task"] != "receiver" or metadata["prediction_type"] != "posterior":
            raise ValueError(f"{name} is a {metadata['task']} that predicts {metadata['prediction_type']}; "
                             "a worker takes receivers that predict posteriors")
        self.name = metadata["name"]
        self.device = torch.device(device)
        self.network = FilmMlp.from_config(metadata["network"], metadata.get("normalisation"))
        self.network.load_state_dict(tensors)
        self.network.to(self.device).eval()
        points = torch.tensor(metadata["constellation"]["points"], dtype=torch.float32)
        self.points = torch.complex(points[:, 0], points[:, 1]).to(self.device)
        self._ideal = diffusion.symbol_law(self.points.cpu().numpy())

    def law(self, state):
        """The symbol_law of a state (see Receiver.state()); the ideal link for an empty one."""
        return diffusion.symbol_law.from_state(self.points.cpu().numpy(),
                                               state) if len(state) else self._ideal

    def logits(self, y, noise_var, law=None):
        """Log-posteriors up to a constant, (n, M), of complex y (n,) on the device."""
        law = law or self._ideal
        to = dict(dtype=torch.float32, device=self.device)
        q2, q1 = (torch.as_tensor(q, **to) for q in law.coefficients(noise_var))
        context = torch.as_tensor(law.context(noise_var), **to)
        return self.network(torch.view_as_real(y), context, torch.tensor(noise_var, **to), (q2, q1))

    @torch.no_grad()
    def __call__(self, y, noise_var, steps=0, state=()):
        law = self.law(state)
        observed = torch.tensor(y, dtype=torch.complex64, device=self.device)

        def mean(x, level):
            return torch.softmax(self.logits(x, level, law), -1).to(self.points.dtype) @ self.points

        return sampler.denoise_continuous(mean, observed, float(noise_var), max(1, int(steps))).cpu().numpy()
