# SPDX-License-Identifier: GPL-3.0-or-later
"""A bank of learned delay profiles beside the steps of DelayUnrolled, and the gate between the two.

Member k says g ~ CN(0, diag(gamma_k)). The pilots weigh the members by their evidence,

    w_k ~ pi_k(noise, pilots) CN(y; 0, S_k),  S_k = F_p diag(gamma_k) F_p^H + sigma^2 I,

and the bank's estimate is the exact posterior mean under this mixture, sum_k w_k diag(gamma_k) F_p^H S_k^-1
y: an LMMSE estimator that finds out which scene it is in, from a single frame. A small network then sets the
gate h = gate h_steps + (1 - gate) h_bank from quantities that phase and level of y do not change: the bank's
evidence and fit, how far the two estimates are apart, both variances, and what the last step's network saw.
"""

import math

import torch
from torch import nn

HIDDEN = 16
FACTS = 8


class ProfileBank(nn.Module):
    PILOTS = 32  # with more the pilots say it all, and a bank would cost the cube of their number

    def __init__(self, carriers, taps, members, width):
        super().__init__()
        self.profiles = nn.Parameter(initial_profiles(carriers, taps, members))
        self.prior = nn.Linear(2, members)
        nn.init.zeros_(self.prior.weight)
        nn.init.zeros_(self.prior.bias)
        self.gate1 = nn.Linear(FACTS + width, HIDDEN)
        self.gate2 = nn.Linear(HIDDEN, 1)
        nn.init.zeros_(self.gate2.weight)
        nn.init.constant_(self.gate2.bias, 2.0)

    def forward(self, net, y, pilots, lag, noise, condition, pooled, h, base):
        """y (B, P) complex128 of unit power, h (B, carriers) the steps' estimate and base its variance ->
        the gated estimate and its variance."""
        own, var, facts, apart = self.parts(net, y, pilots, lag, noise, condition, pooled, h, base)
        gate = self.gate(facts)
        mixed = own + gate.to(h.dtype) * (h - own)
        return mixed, gate * base + (1 - gate) * var + (gate * (1 - gate) * apart).clamp_min(1e-9)

    def gate(self, facts):
        return torch.sigmoid(self.gate2(nn.functional.silu(self.gate1(facts))))

    def parts(self, net, y, pilots, lag, noise, condition, pooled, h, base):
        """The bank's estimate (B, carriers), its mean variance (B, 1), what the gate sees (B, facts) and the
        distance of the two estimates (B, carriers)."""
        count, members = y.shape[1], self.profiles.shape[0]
        gamma = self.profiles.clamp(-16.0, 4.0).exp()
        r = net._lags_of(gamma).to(y.dtype)  # (K, 2 carriers - 1)
        # (B, K, P, P)
        s = r[:, lag].transpose(0, 1) + noise.to(y.real.dtype)[:, :, None, None] * torch.eye(count)
        low = torch.linalg.cholesky(s)
        white = torch.linalg.solve_triangular(
            low, y[:, None, :, None].expand(-1, members, -1, 1), upper=False
        )
        quad = (white.real**2 + white.imag**2).sum((2, 3))
        log_det = 2 * torch.diagonal(low, dim1=-2, dim2=-1).real.log().sum(-1)
        log = -quad - log_det + self.prior(condition).to(quad.dtype)
        w = log.softmax(1)
        alpha = torch.linalg.solve_triangular(low.mH, white, upper=True)[..., 0]  # S_k^-1 y
        spectrum = y.new_zeros(y.shape[0], members, h.shape[1])
        spectrum = spectrum.scatter(2, pilots[:, None].expand(-1, members, -1), alpha).to(torch.complex128)
        z = net._delays_of(spectrum.flatten(0, 1)).to(h.dtype).view(*spectrum.shape[:2], -1)
        own = net._response(torch.einsum("bk,kt,bkt->bt", w.to(h.dtype), gamma.to(h.dtype), z))
        with torch.no_grad():
            cross = r[:, pilots[:, :, None] - torch.arange(h.shape[1]) + h.shape[1] - 1].transpose(0, 1)
            explained = torch.linalg.solve_triangular(low, cross, upper=False)
            explained = (explained.real**2 + explained.imag**2).sum(2).mean(2).float()
            var = (w.float() * (gamma.sum(1) - explained).clamp_min(1e-9)).sum(1, keepdim=True)  # (B, 1)
        apart = (own - h).real ** 2 + (own - h).imag ** 2
        residual = (y - h.to(y.dtype).gather(1, pilots)).abs().square().mean(1, keepdim=True).float()
        facts = torch.cat(
            [
                (torch.logsumexp(log, 1, keepdim=True) / count).float() * 0.3,
                (w * quad).sum(1, keepdim=True).float() / count,
                (residual / noise + 1e-3).log() * 0.3,
                (apart.mean(1, keepdim=True) / noise + 1e-3).log() * 0.3,
                (var / noise).log() * 0.3,
                (base.mean(1, keepdim=True) / noise).log() * 0.3,
                condition,
                pooled,
            ],
            1,
        )
        return own, var, facts, apart


def whole_members(members):
    """How many of the initial profiles, the first ones, have their power on whole samples only."""
    return max(1, 2 * members // 3)


def initial_profiles(carriers, taps, members, whole=None):
    """Log profiles of unit power: two thirds exponential on whole samples from delay zero, over a quarter
    symbol; the others the same smeared over every tap and two samples early. Decays 0.3 to 12 samples. whole:
    how many of them are on whole samples instead of two thirds."""
    fine = taps // carriers
    first = whole_members(members) if whole is None else whole
    out = torch.full((members, taps), -16.0)
    for k in range(members):
        whole = k < first
        share = k / max(first - 1, 1) if whole else (k - first + 0.5) / (members - first)
        decay = 0.3 * 40**share
        l = torch.arange(0, fine * max(16, carriers // 4), fine if whole else 1, dtype=torch.float32)
        power = torch.exp(-l / fine / decay)
        at = l.long() if whole else (l.long() - 2 * fine) % taps
        out[k, at] = (power / power.sum()).log().clamp_min(-16.0)
    return out
