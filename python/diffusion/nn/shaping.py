# SPDX-License-Identifier: GPL-3.0-or-later
"""The shaper's objective in torch: I(X;Y) of a batch of pmfs over the true link, differentiable.

The gradient of I(X;Y) with respect to p(x) is the information density E[log p(y|x) / p(y)] - 1, the quantity
that the Blahut-Arimoto algorithm climbs; here it flows on into the network that generated the pmf. The same
formulas in numpy, with finer quadrature, are in baselines/shaper.py and baselines/shaper_impaired.py.
"""
import math

import numpy as np
import torch

from ..baselines.shaper_impaired import adc_edges
from ..square_grid import orbits, rail_levels


def hermite(n):
    """(nodes, weights) of E[f(z)], z standard normal."""
    t, w = np.polynomial.hermite.hermgauss(n)
    return torch.tensor(t * np.sqrt(2)), torch.tensor(w / np.sqrt(np.pi))


class AwgnObjective:
    """Square QAM in AWGN, power normalised. __call__(logits (B, K), snr_db (B,)) -> I in bits (B,)."""

    def __init__(self, points, nodes=24):
        m = math.isqrt(points.size)
        levels = rail_levels(m)
        self.points = torch.tensor(points)
        self.class_of = torch.tensor(orbits(points)[0])
        self.levels = torch.tensor(levels)
        self.upper = torch.tensor(np.flatnonzero(levels > 0))  # the link is alike in all four quadrants
        self.z, self.w = hermite(nodes)
        self.m = m

    def pmf(self, logits):
        return torch.softmax(logits[:, self.class_of], -1)

    def __call__(self, logits, snr_db):
        p = self.pmf(logits)
        scale = (p @ self.points.abs() ** 2).rsqrt()
        sigma = (0.5 * 10 ** (-snr_db / 10)).sqrt()
        x = self.levels * scale[:, None]
        y = (x[:, self.upper, None] + sigma[:, None, None] * self.z).flatten(1)
        law = torch.exp(-((y[:, :, None] - x[:, None]) / sigma[:, None, None]) ** 2 / 2)
        grid = p.view(-1, self.m, self.m)
        log_evidence = (law @ grid @ law.transpose(1, 2)).log()
        parts = log_evidence.view(len(p), self.upper.numel(), -1, self.upper.numel(), self.z.numel())
        mean = torch.einsum("biajc,a,c->bij", parts, self.w, self.w)
        quadrant = grid[:, self.upper][:, :, self.upper] * 4
        return -(quadrant * (1 + mean)).sum((1, 2)) / math.log(2)


class ImpairedObjective:
    """The link of baselines/shaper_impaired.py. __call__(logits (B, K), log_drive (B,), snr_db (B,),
    phase_noise_deg (B,), adc_bits) -> I in bits (B,). Inside float32: it is four fifths of the training."""

    def __init__(self, points, nodes=9):
        self.points = torch.tensor(points, dtype=torch.complex64)
        self.class_of = torch.tensor(orbits(points)[0])
        self.first = torch.tensor(np.flatnonzero((points.real > 0) & (points.imag > 0)))
        self.z, self.w = (t.float() for t in hermite(nodes))

    def __call__(self, logits, log_drive, snr_db, phase_noise_deg, adc_bits):
        logits, log_drive = logits.float(), log_drive.float()
        snr_db, phase_noise_deg = snr_db.float(), phase_noise_deg.float()
        p = torch.softmax(logits[:, self.class_of], -1)[:, self.first] * 4
        x = log_drive.exp()[:, None] * self.points[self.first]
        r2 = x.abs() ** 2
        x = x * (1 + r2 ** 3) ** (-1 / 6) * torch.exp(0.3j * r2 / (1 + r2))
        turn = torch.exp(1j * torch.deg2rad(phase_noise_deg)[:, None] * self.z)
        mean = x[:, :, None] * turn[:, None, :]
        sigma = (0.5 * 10 ** (-snr_db / 10)).sqrt()
        edges = torch.stack([torch.tensor(adc_edges(adc_bits, float(s)), dtype=sigma.dtype) for s in sigma])

        def rail(part):
            cdf = torch.special.ndtr((edges[:, None, None] - part[..., None]) / sigma[:, None, None, None])
            ends = cdf.new_zeros(cdf.shape[:-1] + (1,))
            return torch.diff(torch.cat([ends, cdf, ends + 1], -1), dim=-1).clamp(min=0)

        cells = torch.einsum("bqnx,bqny,n->bqxy", rail(mean.real), rail(mean.imag), self.w)
        output = torch.einsum("bq,bqxy->bxy", p, cells)
        output = sum(torch.rot90(output, k, (1, 2)) for k in range(4)) / 4
        entropy = lambda q: -torch.xlogy(q, q.clamp(min=1e-30)).sum((-1, -2))
        return (entropy(output) - (p * entropy(cells)).sum(1)) / math.log(2)
