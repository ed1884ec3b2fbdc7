# SPDX-License-Identifier: GPL-3.0-or-later
"""Sequence denoiser: taps that follow the envelope.

    out[n] = sum over k of (f_k(noise level) + g_k(|in| around n, noise level)) in[n + k],  |k| <= reach

f from a small MLP, g from a convolutional network of envelope, envelope^2 and noise level. Whatever the
weights, a rotation of the input rotates the output, as amplifiers do; the generalised memory polynomial
(Morgan et al. 2006) is the special case of polynomial g. Trained with noise of random level added to the
input it is a denoiser, the posterior mean at the matched noise level (MMSE regressor); without, a model of
the amplifier.
"""
import torch
from torch import nn


class SequenceNet(nn.Module):
    """reach: taps before and after; width: channels; noisy: whether it is told a noise level."""

    kernel = 9

    def __init__(self, reach=20, width=24, noisy=True):
        super().__init__()
        self.reach, self.noisy = reach, noisy
        taps, pad = 2 * reach + 1, self.kernel // 2
        self.conv = nn.ModuleList([nn.Conv1d(3, width, self.kernel, padding=pad),
                                   nn.Conv1d(width, width, self.kernel, padding=pad),
                                   nn.Conv1d(width, width, 1)])
        self.gate = nn.Conv1d(width, 2 * taps, 1)
        self.level = nn.ModuleList([nn.Linear(1, 16), nn.Linear(16, 2 * taps)])
        for zero in (self.gate.weight, self.gate.bias, self.level[1].bias):
            nn.init.zeros_(zero)
        nn.init.normal_(self.level[1].weight, 0, 0.01)
        self.level[1].bias.data[reach] = 1.0  # a wire

    def forward(self, y, noise_var):
        """y (batch, 2, n) of power about 1; noise_var (batch,), E|n|^2 -> (batch, 2, n)."""
        level = (-10 * torch.log10(noise_var) - 25) / 10 if self.noisy else torch.zeros_like(noise_var)
        envelope = (y ** 2).sum(1, keepdim=True).sqrt()
        h = torch.cat([envelope, envelope ** 2, level[:, None, None].expand_as(envelope)], 1)
        for layer in self.conv:
            h = nn.functional.silu(layer(h))
        fixed = self.level[1](nn.functional.silu(self.level[0](level[:, None])))
        re, im = (self.gate(h) + fixed[:, :, None]).chunk(2, 1)
        window = nn.functional.pad(y, (self.reach, self.reach)).unfold(2, y.shape[2], 1)
        return torch.stack([(re * window[:, 0] - im * window[:, 1]).sum(1),
                            (re * window[:, 1] + im * window[:, 0]).sum(1)], 1)
