# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains a MIMO channel estimator (network kind "angular_unrolled").

    gr-diffusion train mimo --data FOLDER --out models/ce-mimo64x16.safetensors

Every batch has new channels (ray-traced, turned at random, synthetic plane waves and dense clusters, a
quarter of all with array errors), new pilots (random QPSK, Nt/4 to Nt, or orthogonal) and SNR -5 to 30 dB.
"""

import math
import time
from pathlib import Path

SNR_DB = (-5.0, 30.0)


def add_arguments(parser):
    parser.add_argument("--rx", type=int, nargs=2, default=[4, 4], help="receive array, columns rows (4 4)")
    parser.add_argument("--tx", type=int, nargs=2, default=[8, 8], help="transmit array, columns rows (8 8)")
    parser.add_argument(
        "--law",
        choices=["all", "three-clusters"],
        default="all",
        help="all: see above; three-clusters: linear arrays, the law of mimo_three_clusters.py alone (all)",
    )
    parser.add_argument("--data", type=Path, help="folder with mimo_upa_*.npz; none: synthetic only")
    parser.add_argument("--held-out", type=int, nargs="*", default=[4], help="masts left out of training (4)")
    parser.add_argument("--steps", type=int, default=3, help="unrolled steps of the network (3)")
    parser.add_argument("--width", type=int, default=16, help="channels of its hidden layers (16)")
    parser.add_argument(
        "--views", type=int, default=2, help="sets of beams, beside each other, whose estimates are "
                                             "averaged; one is trained (2)"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="time allowed (8)")
    parser.add_argument(
        "--iterations", type=int, default=0, help="batches instead of minutes: repeatable to the bit"
    )
    parser.add_argument(
        "--stop", type=int, default=0, help="batches after which to end, of the longer schedule of "
                                            "--iterations; 0: all (0)"
    )
    parser.add_argument("--batch", type=int, default=16, help="channels a batch (16)")
    parser.add_argument("--rate", type=float, default=3e-3, help="largest learning rate of Adam (0.003)")
    parser.add_argument("--start", type=Path, help="model file whose weights to start from, of as many steps "
                                                   "and as wide")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and data (1)")
    parser.add_argument("--out", type=Path, required=True, help="model file to write, NAME.safetensors")


class Source:
    """Batches of channels, pilots and SNR from one random generator."""

    def __init__(self, args, rng):
        from . import mimo_channels

        self.c, self.rng, self.rx, self.tx = mimo_channels, rng, args.rx, args.tx
        self.three = args.law == "three-clusters"
        self.traced = mimo_channels.RayTraced(args.data, args.held_out).train if args.data else None
        n = args.tx[0] * args.tx[1]
        self.counts = [0, n // 4, n // 2, n]
        if self.traced is not None and self.traced.shape[1:] != (args.rx[0] * args.rx[1], n):
            raise SystemExit(f"error: the files hold channels of {self.traced.shape[1:]}, not of these "
                             "arrays")

    def batch(self, size):
        rng = self.rng
        if self.three:
            from .mimo_three_clusters import draw

            h, _ = draw(rng, size, self.rx[0] * self.rx[1], self.counts[-1], 64)
            kind = int(rng.choice(3, p=(0.8, 0.1, 0.1)))
        else:
            h = self.mixed(size)
            kind = int(rng.choice(4, p=(0.5, 0.28, 0.2, 0.02)))
        p = self.c.pilots(rng, h.shape[2], self.counts[kind])
        snr_db = rng.uniform(*SNR_DB, size)
        noise_var = 10 ** (-snr_db / 10)
        return h, p, self.c.observe(rng, h, p, noise_var), noise_var, kind

    def mixed(self, size):
        import numpy as np

        rng, rx, tx = self.rng, self.rx, self.tx
        linear = [rx[0] * rx[1], 1], [tx[0] * tx[1], 1]  # a linear array is a planar one read in order
        parts = []
        if self.traced is not None:
            h = self.traced[rng.integers(len(self.traced), size=size // 2)]
            parts.append(self.c.turned(rng, h, rx, tx))
            parts.append(self.c.clusters(rng, size // 8, *linear))
        left = size - sum(len(h) for h in parts)
        parts.append(self.c.clusters(rng, left // 2, rx, tx))
        parts.append(self.c.plane_waves(rng, left - left // 2, rx, tx))
        h = np.concatenate(parts)
        wrong = rng.random(size) < 0.25
        if wrong.any():
            h[wrong] = self.c.real_array(rng, h[wrong], self.rx, self.tx)
        return h


def run(args):
    import numpy as np
    import torch
    from ..nn.mimo_net import AngularUnrolled

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    source = Source(args, rng)
    net = AngularUnrolled(args.rx, args.tx, args.steps, args.width)
    net.precision = torch.complex64
    if args.start:
        from safetensors.torch import load_file

        weights = load_file(args.start)
        if weights["prior"].shape != net.prior.shape:  # other arrays: the convolutions fit any
            weights["prior"] = torch.full_like(net.prior, weights["prior"].mean())
        net.load_state_dict(weights)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    optimiser = torch.optim.Adam(net.parameters(), args.rate, betas=(0.9, 0.98))
    expected = torch.full((4, 8), float("nan"))  # error by kind of pilots and SNR, a running mean
    print(f"{sum(p.numel() for p in net.parameters())} parameters", flush=True)
    start, i = time.monotonic(), 0
    while True:
        done = i / args.iterations if args.iterations else (time.monotonic() - start) / (60 * args.minutes)
        if done >= 1 or 0 < args.stop <= i:
            break
        for group in optimiser.param_groups:
            group["lr"] = args.rate * min(1, (i + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))
        loss = step(net, source, expected, args.batch)
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        if torch.isfinite(norm):
            optimiser.step()
            average.update_parameters(net)
        i += 1
        if i % 200 == 0:
            save(average.module, args, i)
        if i % 50 == 0:
            rows = (10 * torch.log10(expected[:, [1, 3, 5]])).round(decimals=1).tolist()
            print(f"{i:6d} {time.monotonic() - start:5.0f} s  dB at 2, 12, 22 dB: {rows}", flush=True)
    save(average.module, args, i)


def step(net, source, expected, size):
    import torch

    h, p, y, noise_var, kind = source.batch(size)
    h, noise = torch.from_numpy(h), torch.from_numpy(noise_var).float()
    outputs, err_var = net(torch.from_numpy(y), torch.from_numpy(p), noise, every=True)
    errors = [((o - h).abs() ** 2).mean((1, 2)) for o in outputs]
    last = errors[-1].detach()
    level = ((-10 * torch.log10(noise) - SNR_DB[0]) / 5).long().clamp(0, 7)
    for e, j in zip(last.tolist(), level.tolist()):
        old = expected[kind, j]
        expected[kind, j] = e if old.isnan() else 0.95 * old + 0.05 * e
    # Between dB of each channel and the mean error: a lost channel counts, but does not own the batch.
    floor = 0.3 * expected[kind, level] + 1e-6
    weight = [0.2] * (len(errors) - 1) + [1.0]
    loss = sum(w * torch.log(e + floor).mean() for w, e in zip(weight, errors))
    # Calibration of the variance alone: it must explain the errors (Gaussian likelihood).
    spread = err_var.clamp_min(1e-9)
    return loss + 0.05 * (spread.log() + (last / spread).clamp_max(100)).mean()


def save(net, args, iterations):
    import hashlib
    import shlex
    import sys
    from ..nn.export import save_model

    traced = f"ray-traced mimo_upa files, masts {args.held_out} left out; " if args.data else ""
    # not where they lie on this machine
    names = {str(args.data): "FOLDER", str(args.out): args.out.name, str(args.start): args.start
             and args.start.name}
    save_model(
        args.out,
        net,
        {
            "name": args.out.stem,
            "task": "estimator",
            "prediction_type": "sample",
            "schedule": {"kind": "continuous"},
            "network": {"kind": "angular_unrolled", **net.config,
                        **({"views": args.views} if args.views > 1 else {})},
            "snr_db": list(SNR_DB),
            "channel": {"kind": "mimo", "rx": args.rx, "tx": args.tx},
            "provenance": {
                "command": "gr-diffusion train mimo " + " ".join(shlex.quote(names.get(a, a))
                                                                 for a in sys.argv[3:]),
                "seed": args.seed,
                "iterations": iterations,
                "batch": args.batch,
                **({"start_sha256": hashlib.sha256(args.start.read_bytes()).hexdigest()} if args.start
                   else {}),
                "data": "three clusters" if args.law != "all" else traced + "synthetic plane waves and "
                                                                            "clusters",
            },
        },
    )
    print(f"wrote {args.out} after {iterations} batches", flush=True)
