# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains a channel estimator for OFDM (network kind "delay_unrolled").

    gr-diffusion train estimator --carriers 64 --data FOLDER --out models/ce-ofdm64.safetensors

Every batch has new channels (ray-traced files and synthetic laws), a new number of pilots, a new
pilot pattern for every sample, SNR -5 to 35 dB and a timing offset of a few samples. Nothing is
stored, so nothing can be learned by heart except the ray-traced links themselves.
"""

import hashlib
import math
import time
from pathlib import Path

SNR_DB = (-5.0, 35.0)
SOURCES = {"ray": 0.3, "sparse": 0.27, "tdl": 0.1, "exponential": 0.33}


def add_arguments(parser):
    parser.add_argument("--carriers", type=int, default=64, help="carriers of the OFDM symbol (64)")
    parser.add_argument(
        "--data", type=Path, help="folder with siso_ofdm_*.npz and paths_*.npz; none: synthetic only"
    )
    parser.add_argument(
        "--scenes", default="etoile,munich", help="ray-traced scenes to train on (etoile,munich)"
    )
    parser.add_argument("--held-out", type=int, nargs="*", default=[4], help="masts left out of training (4)")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=4,
        default=list(SOURCES.values()),
        metavar=("RAY", "SPARSE", "TDL", "EXP"),
        help="shares of the sources in a batch: ray-traced, sparse clusters, tapped delay lines, exponential "
             "profiles",
    )
    parser.add_argument(
        "--jitter-db",
        type=float,
        default=0.0,
        help="spread of the random change of each traced path's power, dB (0)",
    )
    parser.add_argument("--no-shift", action="store_true", help="no timing offsets: first paths at delay "
                                                                "zero")
    parser.add_argument("--steps", type=int, default=4, help="unrolled steps of the network (4)")
    parser.add_argument("--width", type=int, default=32, help="channels of its hidden layers (32)")
    parser.add_argument("--kernel", type=int, default=5, help="taps its convolutions span (5)")
    parser.add_argument(
        "--bank", type=int, default=0, help="delay profiles of the bank beside the steps; 0: no bank (0)"
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="time allowed (30)")
    parser.add_argument(
        "--iterations", type=int, default=0, help="batches instead of minutes: repeatable to the bit"
    )
    parser.add_argument("--batch", type=int, default=96, help="channels a batch (96)")
    parser.add_argument("--rate", type=float, default=2e-3, help="largest learning rate of Adam (0.002)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and data (1)")
    parser.add_argument("--resume", type=Path, help="state file of an earlier run to start from")
    parser.add_argument(
        "--start",
        type=Path,
        help="model file to take the weights from; of any number of carriers at the same sample rate",
    )
    parser.add_argument("--out", type=Path, required=True, help="model file to write, NAME.safetensors")


class Source:
    """Batches of channels, patterns and SNR from one random generator."""

    def __init__(self, args, rng):
        from . import channels

        self.c, self.rng, self.carriers, self.at_zero = channels, rng, args.carriers, args.no_shift
        self.traced = (
            channels.RayTraced(
                args.data, args.scenes.split(","), tuple(args.held_out), jitter_db=args.jitter_db
            )
            if args.data
            else None
        )
        share = dict(zip(SOURCES, args.shares))
        if not self.traced:
            share["sparse"] += share.pop("ray")
        self.names, self.share = list(share), [v / sum(share.values()) for v in share.values()]

    def counts(self):
        """A number of pilots: mostly few, sometimes all; of many carriers at most 96 (the cost of a step
        goes with the cube)."""
        rng, n = self.rng, self.carriers
        if n > 128:
            most = min(n // 4, 96)
            if rng.random() < 0.5:
                return int(rng.choice([most // 4, most // 2, most], p=(0.3, 0.4, 0.3)))
            return int(round(math.exp(rng.uniform(math.log(most / 4), math.log(most)))))
        kind = rng.random()
        if kind < 0.6:
            return int(rng.choice([n // 16, n // 8, n // 4, n // 2], p=(0.12, 0.28, 0.45, 0.15)))
        if kind < 0.93:
            return int(round(math.exp(rng.uniform(math.log(n / 16), math.log(n / 2)))))
        return int(rng.integers(n // 2, n + 1))

    def batch(self, size):
        import numpy as np

        rng, n = self.rng, self.carriers
        parts = rng.multinomial(size, self.share)
        h = []
        origin = np.repeat(np.arange(len(parts)), parts)
        for name, part in zip(self.names, parts):
            if part:
                h.append(
                    self.traced.draw(rng, part, n) if name == "ray" else getattr(self.c, name)(rng, part, n)
                )
        h = np.concatenate(h)
        h = h if self.at_zero else self.c.shifted(rng, h)
        pilots, kind = self.c.pilot_pattern(rng, size, n, self.counts())
        snr_db = rng.uniform(*SNR_DB, size)
        noise_var = 10 ** (-snr_db / 10)
        y = np.take_along_axis(h, pilots, 1) + np.sqrt(noise_var)[:, None] * self.c.rayleigh(
            rng, pilots.shape
        )
        return h, y.astype(np.complex64), pilots, noise_var.astype(np.float32), kind, origin


class Difficulty:
    """The error to expect of a channel, from what is known before the network runs: SNR, pilots, pattern,
    source. Errors are divided by it, so the loss is the mean over all settings of the NMSE in dB
    (d log a = da / a) and hopeless patterns do not drown the others. A small network learned on the way;
    its loss, e / E + log E, has its minimum at the mean error."""

    def __init__(self, carriers, sources):
        import torch

        self.carriers, self.sources = carriers, sources
        self.net = torch.nn.Sequential(
            torch.nn.Linear(3 + 4 + sources, 48), torch.nn.SiLU(), torch.nn.Linear(48, 1)
        )
        self.optimiser = torch.optim.Adam(self.net.parameters(), 3e-3)
        self.rows = torch.full(
            (9, 3), float("nan")
        )  # what is printed: irregular and comb, 1/4 and 1/8 pilots

    def weights(self, error, noise_var, count, kind, source):
        import torch

        one_hot = torch.nn.functional.one_hot
        fraction = torch.full_like(noise_var, math.log2(count / self.carriers))
        level, fraction = 0.3 * noise_var.log() + 1, 0.5 * fraction + 1
        known = torch.stack([level, fraction, 0.3 * fraction * noise_var.log()], 1)
        x = torch.cat([known, one_hot(kind, 4), one_hot(source, self.sources)], 1)
        expected = self.net(x)[:, 0]
        loss = ((error * torch.exp(-expected)).clamp_max(100) + expected).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self._note(error, noise_var, count, kind)
        return torch.exp(-expected.detach()).clamp_max(3e4)

    def _note(self, error, noise_var, count, kind):
        import torch

        column = {(16, 0): 0, (8, 0): 1, (16, 1): 2}
        for (part, k), j in column.items():
            if count * 64 == part * self.carriers:
                i = ((-10 * torch.log10(noise_var) - SNR_DB[0]) / 5).long().clamp(0, 7)
                for r in range(8):
                    e = error[(i == r) & (kind == k)]
                    if len(e):
                        old = self.rows[r, j]
                        self.rows[r, j] = e.mean() if old.isnan() else 0.95 * old + 0.05 * e.mean()


def run(args):
    import numpy as np
    import torch
    from ..nn.delay_net import DelayUnrolled

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    source = Source(args, rng)
    net = DelayUnrolled(args.carriers, steps=args.steps, width=args.width, kernel=args.kernel, bank=args.bank)
    if args.resume:
        net.load_state_dict(torch.load(args.resume, weights_only=True), strict=False)
    if args.start:
        args.start_sha256 = hashlib.sha256(args.start.read_bytes()).hexdigest()
        warm_start(net, args.start)
    average = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    optimiser = torch.optim.Adam(net.parameters(), args.rate, betas=(0.9, 0.98))
    balance = Difficulty(args.carriers, len(source.names))
    print(f"{sum(p.numel() for p in net.parameters())} parameters", flush=True)
    start, i, log = time.monotonic(), 0, []
    while True:
        done = i / args.iterations if args.iterations else (time.monotonic() - start) / (60 * args.minutes)
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = (
                args.rate * min(1, (i + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
            )
        loss, error = step(net, source, balance, args.batch)
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        if torch.isfinite(norm):
            optimiser.step()
            average.update_parameters(net)
        log.append(float(error))
        i += 1
        if i % 200 == 0:
            print(
                f"{i:6d} {time.monotonic() - start:6.0f} s  weighted {np.mean(log[-200:]):.4f}  dB "
                + report(balance),
                flush=True,
            )
            torch.save(average.module.state_dict(), args.out.with_suffix(".pt"))
    torch.save(average.module.state_dict(), args.out.with_suffix(".pt"))
    save(average.module, args, i)


def warm_start(net, path):
    """Weights of another number of carriers or of fewer steps. The convolutions fit any; what belongs to a
    delay (prior and embedding) keeps it: the first delays and the last, which are those before zero, as they
    are, and what was not there is like the latest delays that were. Steps that were not there repeat the last
    one, a bank that was not there, or of another size, starts as it does without training; one that is not
    wanted is left out."""
    import torch
    from ..nn.export import load_model

    tensors, _ = load_model(path)
    tensors = {k: torch.as_tensor(v) for k, v in tensors.items()}
    old, new = tensors["prior"].shape[-1], net.config["taps"]
    early, before = 3 * old // 4, old // 8
    if new < old:
        raise ValueError(f"{path} has {old} delays, more than the {new} of {net.config['carriers']} carriers")
    for name, value in tensors.items():
        if new > old and (name == "prior" or name.endswith("embedding")):
            last = value[..., early - before : early].mean(-1, keepdim=True)
            middle = last.expand(*value.shape[:-1], new - early - before)
            tensors[name] = torch.cat([value[..., :early], middle, value[..., old - before :]], -1)
    had = 1 + max(int(k.split(".")[1]) for k in tensors if k.startswith("steps."))
    for i in range(had, net.config["steps"]):
        for k in [k for k in tensors if k.startswith(f"steps.{had - 1}.")]:
            tensors[k.replace(f"steps.{had - 1}.", f"steps.{i}.")] = tensors[k].clone()
    own = {k: v for k, v in net.state_dict().items() if k.startswith("bank.")}
    if any(k not in tensors or tensors[k].shape != v.shape for k, v in own.items()) or not own:
        tensors = {**{k: v for k, v in tensors.items() if not k.startswith("bank.")}, **own}
    net.load_state_dict(tensors, strict=True)


def step(net, source, balance, size):
    import torch

    h, y, pilots, noise_var, kind, origin = (torch.from_numpy(a) for a in source.batch(size))
    outputs, err_var = net(y, pilots, noise_var, every=True)
    errors = [((o - h).abs() ** 2).mean(1) for o in outputs]
    w = balance.weights(errors[-1].detach(), noise_var, y.shape[1], kind, origin)
    weight = torch.linspace(0.05, 0.25, len(errors) - 1).tolist() + [1.0]
    # Linear, then a root beyond some fifty times the expected error: one lost channel must not own the batch.
    robust = [(torch.sqrt(1 + 0.02 * (e * w).clamp_max(1e4)) - 1) / 0.01 for e in errors]
    loss = sum(a * e.mean() for a, e in zip(weight, robust))
    # Calibration: the variance must explain the errors (Gaussian likelihood, of the variance only).
    actual = ((outputs[-1].detach() - h).abs() ** 2).mean(1)
    spread = err_var.mean(1).clamp_min(1e-9)
    loss = loss + 0.05 * (spread.log() + (actual / spread).clamp_max(100)).mean()
    return loss, robust[-1].detach().mean()


def report(balance):
    import torch

    rows = 10 * torch.log10(balance.rows)
    return "  ".join(
        name + " " + "/".join(f"{rows[i, j]:.1f}" for i in (1, 3, 5, 7))
        for j, name in enumerate(("irregular 1/4", "irregular 1/8", "comb-4"))
    )


def save(net, args, iterations):
    """Writes the model file; its card and measured figures are made by ``evaluate estimator``."""
    import shlex
    import sys
    from ..nn.export import save_model

    name = args.out.stem
    traced = f"ray-traced {args.scenes}, masts {args.held_out} left out; " if args.data else ""
    # Where things lie on the machine that trained is nobody's business: names instead of folders.
    names = {str(args.data): "FOLDER", str(args.out): args.out.name, str(args.resume): "STATE"}
    command = "gr-diffusion train estimator " + " ".join(shlex.quote(names.get(a, a)) for a in sys.argv[3:])
    save_model(
        args.out,
        net,
        {
            "name": name,
            "task": "estimator",
            "prediction_type": "sample",
            "schedule": {"kind": "continuous"},
            "network": {"kind": "delay_unrolled", **net.config},
            "snr_db": list(SNR_DB),
            "channel": {"kind": "ofdm", "carriers": args.carriers},
            "provenance": {
                "command": command,
                "seed": args.seed,
                "iterations": iterations,
                "batch": args.batch,
                "minutes": args.minutes,
                **({"start_sha256": args.start_sha256} if args.start else {}),
                "data": traced + "synthetic laws",
            },
        },
    )
    print(f"wrote {args.out} after {iterations} batches", flush=True)
