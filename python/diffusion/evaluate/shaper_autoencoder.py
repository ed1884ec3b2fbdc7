# SPDX-License-Identifier: GPL-3.0-or-later
"""The papers' DNN benchmark: a trainable constellation and a neural demapper, trained together over the whole
SNR range.

After Stark, Ait Aoudia and Hoydis (2019): a network turns the SNR into M points and their pmf, another one
turns (y, SNR) into the posterior of the symbol; both climb H(X) - cross-entropy, which is at most I(X;Y), so
the demapper's rate on fresh noise is one that is achieved. The expectation over the symbols is a sum, not a
sampled one: no Gumbel trick is needed. Variants: "geometric" (points, equally likely), "joint" (points and
pmf). Two rates are given: what the demapper reaches, and what the same constellation carries with the true
law (MAP).
"""
import math

import numpy as np

SNR_DB = (-20.0, 20.0)
NODES, WEIGHTS = np.polynomial.hermite.hermgauss(20)
WEIGHTS = WEIGHTS / np.sqrt(np.pi)


def information(points, pmf, snr_db):
    """I(X;Y), bits, of any points and pmf in AWGN, power normalised: Gauss-Hermite in both rails."""
    points = points / np.sqrt(pmf @ np.abs(points) ** 2)
    sigma = np.sqrt(0.5 * 10 ** (-snr_db / 10))
    noise = np.sqrt(2) * sigma * (NODES[:, None] + 1j * NODES).ravel()
    weight = np.outer(WEIGHTS, WEIGHTS).ravel()
    total = 0.0
    for c, p in zip(points, pmf):
        if p > 0:
            y = c + noise
            exponent = (np.abs(noise)[:, None] ** 2 - np.abs(y[:, None] - points) ** 2) / (2 * sigma ** 2)
            total -= p * (weight @ np.log2(np.exp(exponent) @ pmf))
    return float(total)


class Autoencoder:
    """size points; noise "AWGN" or "Laplacian" (a rail), variant "geometric" or "joint"."""

    def __init__(self, size, noise="AWGN", variant="joint", seed=1, steps=2500, snr_db=SNR_DB, hidden=64):
        import torch
        from torch import nn
        from ..cli.common import progress
        from ..square_grid import square_qam

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.size, self.noise, self.joint, self.snr_db = size, noise, variant == "joint", snr_db
        self.mapper = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(),
                                    nn.Linear(64, 3 * size))
        self.demapper = nn.Sequential(nn.Linear(3, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
                                      nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, size))
        with torch.no_grad():  # starts as square QAM
            self.mapper[-1].weight.mul_(0.1)
            start = torch.view_as_real(torch.tensor(square_qam(int(math.log2(size)))).to(torch.complex64))
            self.mapper[-1].bias.copy_(torch.cat([start.flatten(), torch.zeros(size)]))
        parameters = [*self.mapper.parameters(), *self.demapper.parameters()]
        optimiser = torch.optim.Adam(parameters, 4e-3)
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        draws = max(2, 256 // size)
        for _ in progress(range(steps), desc=f"{variant} {size} {noise}"):
            snr = snr_db[0] + (snr_db[1] - snr_db[0]) * (torch.arange(16) + torch.rand(16)) / 16
            loss = -self._rate(snr, draws).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay.step()

    def _constellation(self, snr):
        """(points (B, M, 2) of unit power, log pmf (B, M))."""
        import torch

        out = self.mapper((snr / 20)[:, None])
        points = out[:, :2 * self.size].reshape(-1, self.size, 2)
        log_p = torch.log_softmax(out[:, 2 * self.size:] if self.joint else 0 * out[:, 2 * self.size:], -1)
        power = (log_p.exp()[..., None] * points ** 2).sum((1, 2))
        return points / power.sqrt()[:, None, None], log_p

    def _rate(self, snr, draws, loss=False):
        """(B,) rate of the demapper in bits, on fresh noise, draws a symbol; loss: what it loses to the true
        posterior on the same samples instead."""
        import torch

        points, log_p = self._constellation(snr)
        sigma = (0.5 * 10 ** (-snr / 10)).sqrt()[:, None, None, None]
        shape = (snr.numel(), self.size, draws, 2)
        if self.noise == "AWGN":
            noise = torch.randn(shape)
        else:
            u = torch.rand(shape) - 0.5
            noise = -u.sign() * torch.log1p(-2 * u.abs() * 0.9999999) / math.sqrt(2)
        y = points[:, :, None] + sigma * noise
        if loss:
            off = y[:, :, :, None] - points[:, None, None]
            far = (off ** 2).sum(-1) / (2 *
                                        sigma ** 2) if self.noise == "AWGN" else off.abs().sum(-1) * math.sqrt(2) / sigma
            log_true = torch.log_softmax(log_p[:, None, None] - far, -1)
        # Scaled so that neither noise nor points grow beyond a few units; with the SNR they are the same
        # information.
        y = y / (1 + sigma ** 2).sqrt()
        level = (snr / 20)[:, None, None, None].expand(*shape[:3], 1)
        log_q = torch.log_softmax(self.demapper(torch.cat([y, level], -1)), -1)
        at = torch.arange(self.size)[None, :, None, None].expand(*shape[:3], 1)
        own = torch.gather(log_q, -1, at)[..., 0].mean(-1)
        if loss:
            return (log_p.exp() * (torch.gather(log_true, -1, at)[..., 0].mean(-1) -
                                   own)).sum(-1) / math.log(2)
        return (log_p.exp() * (own - log_p)).sum(-1) / math.log(2)

    def constellation(self, snr_db):
        """(points complex (M,) of unit power, pmf (M,)) for that SNR."""
        import torch

        with torch.no_grad():
            points, log_p = self._constellation(torch.tensor([float(snr_db)]))
        pmf = log_p[0].exp().double().numpy()
        return points[0].double().numpy() @ [1, 1j], pmf / pmf.sum()

    def loss(self, snr_db, draws=40000, seed=7):
        """Bits per symbol that the demapper loses to the true posterior, on noise never seen; with the
        constellation's I(X;Y) that is its rate, far more sharply than by its own mean."""
        import torch

        torch.manual_seed(seed)
        with torch.no_grad():
            parts = [float(self._rate(torch.tensor([float(snr_db)]), 100, loss=True))
                     for _ in range(max(1, draws // (100 * self.size)))]
        return float(np.mean(parts))


def geometric(seed, steps=2500, snrs=range(0, 21, 2)):
    """Rows of study geometric: geometric, probabilistic and both together, AWGN, 16 and 64 points; the true
    law (MAP)."""
    from .. import Shaper
    from ..baselines import shaper as baseline
    from ..square_grid import rail_levels
    from .shaper import row

    rows = []
    for name, bits in (("qam16", 4), ("qam64", 6)):
        levels, model = rail_levels(1 << bits // 2), Shaper(f"ps-{name}", 4096)
        nets = {v: Autoencoder(1 << bits, variant=v, seed=seed, steps=steps, snr_db=(0.0, 20.0))
                for v in ("geometric", "joint")}
        for snr in snrs:
            best = baseline.blahut_arimoto_awgn(levels, snr)[0]
            add = lambda scheme, mi, **more: rows.append(row("geometric", f"{name} AWGN", snr, scheme, mi,
                                                             best, **more))
            add("uniform", baseline.mi_uniform(levels, snr))
            add("probabilistic", baseline.mi_awgn_square(levels, model.pmf(snr).reshape(levels.size, -1),
                                                         snr))
            for variant, net in nets.items():
                mi = information(*net.constellation(snr), snr)
                add("both" if variant == "joint" else variant, mi, demapper_bits=mi - net.loss(snr))
            add("capacity", baseline.capacity(snr))
    return rows
