# SPDX-License-Identifier: GPL-3.0-or-later
"""Baseline: a DNN demapper of the receiver's size, trained with binary cross entropy over the whole SNR
range.

Input [Re, Im] scaled to unit power, and the SNR in dB; output one LLR a bit. Trained on one Hardware with as
many labelled symbols as it likes, so it is a bound for supervised demapping rather than a rival from known
symbols.
"""
import numpy as np


def train(hardware, points, hidden=(32, 32), snr_db=(-10.0, 35.0), steps=1500, batch=8192, seed=1):
    """f(y, snr_db) -> LLRs float32 (n, bits), positive for bit 1."""
    import torch
    from ..metrics import labels
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    bits = labels(int(np.log2(points.size)))
    widths = [3, *hidden, bits.shape[1]]
    layers = []
    for a, b in zip(widths, widths[1:]):
        layers += [torch.nn.Linear(a, b), torch.nn.SiLU()]
    net = torch.nn.Sequential(*layers[:-1])

    def features(y, snr):
        scale = 1 / np.sqrt(1 + hardware.noise_var(snr))
        return torch.from_numpy(np.stack([y.real * scale, y.imag * scale, np.full(y.size, (snr - 12) / 12)],
                                         -1).astype(np.float32))

    optimiser = torch.optim.Adam(net.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 8e-3, total_steps=steps)
    groups = 16  # SNRs in a batch
    for _ in range(steps):
        x, target = [], []
        for snr in rng.uniform(*snr_db, groups):
            index = rng.integers(0, points.size, batch // groups)
            x.append(features(hardware.transmit(points, index, snr, int(rng.integers(2 ** 62))), snr))
            target.append(bits[index])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            net(torch.cat(x)), torch.from_numpy(np.concatenate(target).astype(np.float32)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()

    def demap(y, snr):
        with torch.no_grad():
            return net(features(y, snr)).numpy()

    return demap
