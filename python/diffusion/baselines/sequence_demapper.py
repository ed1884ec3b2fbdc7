# SPDX-License-Identifier: GPL-3.0-or-later
"""Baseline: a convolutional demapper trained with labels for one constellation under one kind of
interference.

Sees 25 samples around a symbol; trained by binary cross entropy over the whole range of interference powers.
"""
import numpy as np


def train(draw, bits, steps=800, width=32, batch=8, length=512, seed=1):
    """f(y) -> LLRs float32 (n, bits). draw(rng, n) -> (y complex (n,), labels (n, bits))."""
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    layers, inputs = [], 2
    for _ in range(3):
        layers += [torch.nn.Conv1d(inputs, width, 9, padding=4), torch.nn.SiLU()]
        inputs = width
    net = torch.nn.Sequential(*layers, torch.nn.Conv1d(width, bits, 1))
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=steps)
    tensor = lambda y: torch.from_numpy(np.stack([y.real, y.imag]).astype(np.float32))
    for _ in range(steps):
        pairs = [draw(rng, length) for _ in range(batch)]
        target = torch.from_numpy(np.stack([b.T for _, b in pairs]).astype(np.float32))
        logits = net(torch.stack([tensor(y) for y, _ in pairs]))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()

    def demap(y):
        with torch.no_grad():
            return net(tensor(y)[None])[0].T.numpy()

    return demap
