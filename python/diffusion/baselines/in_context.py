# SPDX-License-Identifier: GPL-3.0-or-later
"""An in-context receiver: a network that reads known pairs (x, y) and demaps further y, without any fitting.

Each pair goes through a small network, the results are averaged (a set has no order), and the average joins
the features of y. Trained over the same random hardware as our models (train/hardware.py), 8 to 512 pairs.
Needs torch.
"""
import numpy as np
import torch
from torch import nn

from ..train import hardware

MOST_PAIRS = 512
WIDTH = 96


class InContext(nn.Module):
    """forward(pairs (links, n, 4), y (links, k, 2), noise_db (links, 1)) -> logits (links, k, M)."""

    def __init__(self, points):
        super().__init__()
        self.read = nn.Sequential(nn.Linear(11, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(),
                                  nn.Linear(WIDTH, WIDTH))
        self.answer = nn.Sequential(nn.Linear(5 + 2 * WIDTH + 2, 2 * WIDTH), nn.SiLU(),
                                    nn.Linear(2 * WIDTH, 2 * WIDTH),
                                    nn.SiLU(), nn.Linear(2 * WIDTH, points))

    @staticmethod
    def _features(pairs):
        x, y = pairs[..., :2], pairs[..., 2:]
        p = (x ** 2).sum(-1, keepdim=True)
        e = y - x
        return torch.cat([x, y, p, x * p, e * 4, (e[..., :1] * x[..., :1] + e[..., 1:] * x[..., 1:]) * 4,
                          (e[..., 1:] * x[..., :1] - e[..., :1] * x[..., 1:]) * 4], -1)

    def forward(self, pairs, y, noise_db):
        h = self.read(self._features(pairs))
        n = torch.log10(torch.full_like(noise_db, float(min(pairs.shape[1], MOST_PAIRS))))
        context = torch.cat([h.mean(1), h.std(1), noise_db / 10, n], -1)[:, None].expand(-1, y.shape[1], -1)
        re, im = y[..., :1], y[..., 1:]
        return self.answer(torch.cat([re, im, re * re, im * im, re * im, context], -1))


def _links(points, count, rng, per):
    """Random links: x index (count, per), y (count, per), noise in dB (count, 1)."""
    index, ys, noise = rng.integers(0, points.size, (count, per)), [], []
    for row in index:
        hw, snr = hardware.draw(rng), rng.uniform(5, 32)
        ys.append(hw.transmit(points, row, snr, int(rng.integers(2 ** 62))))
        noise.append([-10 * np.log10(hw.noise_var(snr))])
    return index, np.array(ys), np.array(noise, np.float32)


def _rails(z):
    return torch.from_numpy(np.ascontiguousarray(z.astype(np.complex64)).view(np.float32).reshape(*z.shape, 2))


def train(points, seed=1, steps=4000, links=4000, batch=32, queries=64, log=lambda text: None):
    """A function (known index, y known, noise_var, y) -> log-likelihoods (n, M)."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng([seed, 11])
    per = MOST_PAIRS + queries
    index, y, noise = _links(points, links, rng, per)
    x, target = _rails(points[index]), torch.from_numpy(index)
    y, noise = _rails(y), torch.from_numpy(noise)
    net = InContext(points.size)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        pick = torch.from_numpy(rng.integers(0, links, batch))
        n = int(8 * 2 ** rng.uniform(0, 6))
        order = torch.from_numpy(rng.permutation(per))
        known, query = order[:n], order[n:n + queries]
        logits = net(torch.cat([x[pick][:, known], y[pick][:, known]], -1), y[pick][:, query], noise[pick])
        loss = nn.functional.cross_entropy(logits.reshape(-1, points.size),
                                           target[pick][:, query].reshape(-1))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            log(f"in-context step {step}: {loss.item():.3f}")
    net.eval()

    def demap(known, seen, noise_var, fresh):
        db = torch.tensor([[-10 * np.log10(noise_var)]], dtype=torch.float32)
        with torch.no_grad():
            pairs = torch.cat([_rails(points[known][None]), _rails(seen[None])], -1)
            return net(pairs, _rails(fresh[None]), db)[0].log_softmax(-1).numpy().astype(np.float64)
    return demap
