# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds a bank of delay profiles to a trained channel estimator and fits the gate between the two.

    gr-diffusion train estimator_bank --start ce-ofdm64.safetensors --data FOLDER --out
    models/ce-ofdm64.safetensors

The steps stay as they are and the profiles are given (nn/profile_bank.py: exponential ones), so a frame's
error is a parabola in the gate's value: frames are estimated once, then a small network is fitted to their
parabolas. Seconds.
"""

import argparse
import hashlib
from pathlib import Path

from . import estimator

GROUPS = 4 * 10 * 4  # of a source: patterns, steps of 5 dB, octaves of pilots


def add_arguments(parser):
    parser.add_argument("--start", type=Path, required=True, help="model file to add the bank to")
    parser.add_argument("--data", type=Path, help="folder with siso_ofdm_*.npz and paths_*.npz; none: "
                                                  "synthetic only")
    parser.add_argument("--bank", type=int, default=12, help="delay profiles (12)")
    parser.add_argument("--batches", type=int, default=100, help="batches of 96 frames to fit the gate to "
                                                                 "(100)")
    parser.add_argument(
        "--dense", type=float, default=1.0, help="weight of frames with exponential profiles over the "
                                                 "others' (1)"
    )
    parser.add_argument("--whole", type=int, help="how many of the profiles are on whole samples (two "
                                                  "thirds)")
    parser.add_argument("--no-shift", action="store_true", help="no timing offsets: first paths at delay "
                                                                "zero")
    parser.add_argument(
        "--shares",
        type=float,
        nargs=4,
        default=list(estimator.SOURCES.values()),
        metavar=("RAY", "SPARSE", "TDL", "EXP"),
        help="shares of the sources: ray-traced, sparse clusters, tapped delay lines, exponential profiles",
    )
    parser.add_argument(
        "--smeared",
        type=float,
        default=-4.0,
        help="log weight before any evidence of the members that are not on whole samples (-4)",
    )
    parser.add_argument("--rounds", type=int, default=1500, help="steps of Adam on the gate (1500)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and data (1)")
    parser.add_argument("--out", type=Path, required=True, help="model file to write, NAME.safetensors")


def parabolas(net, source, batches):
    """What the gate sees of every frame, and its error at gate g as a g^2 + b g + c, over the carriers' mean
    power; the group of alike frames (source, pilots, pattern, SNR) that each belongs to."""
    import numpy as np
    import torch

    seen, kept = [], []
    inner = net.bank.parts
    net.bank.parts = lambda *a: kept.append((a[7], inner(*a))) or kept[-1][1]
    while len(seen) < batches:
        h, y, pilots, noise_var, kind, origin = (torch.from_numpy(x) for x in source.batch(96))
        if y.shape[1] > net.bank.PILOTS:
            continue
        with torch.no_grad():
            net(y, pilots, noise_var)
        steps, (own, _, facts, _) = kept.pop()
        truth = h / (y.abs() ** 2).mean(1, keepdim=True).sqrt()
        wrong, gap = own - truth, steps - own
        power = (truth.abs() ** 2).mean(1)
        a = (gap.abs() ** 2).mean(1) / power
        b = 2 * (wrong * gap.conj()).real.mean(1) / power
        c = (wrong.abs() ** 2).mean(1) / power
        level = torch.floor(-torch.log10(noise_var) * 2).long()
        group = origin * GROUPS + (kind * 10 + level + 1) * 4 + int(np.log2(y.shape[1])) - 2
        seen.append((facts, a, b, c, group))
    net.bank.parts = inner
    return [torch.cat(x) for x in zip(*seen)]


def fit_gate(bank, facts, a, b, c, group, rounds, favoured):
    """Minimises the mean over all groups of frames of the error in dB: each error over what the better of the
    two estimates makes in its group on average. favoured: a number for each frame, its share in the loss."""
    import torch

    best = torch.minimum(c, a + b + c)
    _, member = group.unique(return_inverse=True)
    size = torch.zeros(int(member.max()) + 1).index_add(0, member, torch.ones_like(best))
    expected = torch.zeros_like(size).index_add(0, member, best) / size
    share = favoured / favoured.mean()
    weight = 1 / expected[member].clamp_min(1e-7)
    parameters = [*bank.gate1.parameters(), *bank.gate2.parameters()]
    optimiser = torch.optim.Adam(parameters, 1e-2, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, rounds)
    for i in range(rounds):
        at = torch.randint(len(a), (1024,))
        g = bank.gate(facts[at])[:, 0]
        error = ((a[at] * g + b[at]) * g + c[at]).clamp_min(0) * weight[at]
        loss = (share[at] * (torch.sqrt(1 + 0.02 * error.clamp_max(1e4)) - 1) / 0.01).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (i + 1) % 300 == 0:
            print(f"{i + 1:5d} weighted error {float(loss.detach()):.4f}", flush=True)


def run(args):
    import numpy as np
    import torch
    from ..nn.delay_net import DelayUnrolled
    from ..nn.export import load_model, save_model
    from ..nn.profile_bank import initial_profiles, whole_members

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    _, metadata = load_model(args.start)
    config = {k: v for k, v in metadata["network"].items() if k not in ("kind", "bank")}
    net = DelayUnrolled(**config, bank=args.bank).eval()
    estimator.warm_start(net, args.start)
    with torch.no_grad():
        # A comb's pilots hardly tell these from the others, and where they are wrong they cost most.
        whole = whole_members(args.bank) if args.whole is None else args.whole
        net.bank.profiles.copy_(initial_profiles(config["carriers"], config["taps"], args.bank, whole))
        net.bank.prior.bias[whole:] += args.smeared
    everything = argparse.ArgumentParser()
    estimator.add_arguments(everything)
    options = everything.parse_args(["--out", "none"])
    options.data, options.carriers = args.data, config["carriers"]
    options.shares, options.no_shift = args.shares, args.no_shift
    source = estimator.Source(options, np.random.default_rng(args.seed))
    frames = parabolas(net, source, args.batches)
    _, a, b, c, _ = frames
    print(f"{len(a)} frames, steps better in {float((a + b < 0).float().mean()):.0%}", flush=True)
    dense = (frames[4] // GROUPS == source.names.index("exponential")).float()
    fit_gate(net.bank, *frames, args.rounds, 1 + (args.dense - 1) * dense)
    metadata["network"] = {"kind": "delay_unrolled", **net.config}
    metadata["name"] = args.out.stem
    metadata["provenance"] = {
        "command": f"gr-diffusion train estimator_bank --start {args.start.name} --data FOLDER --bank "
        f"{args.bank} --batches {args.batches} --smeared {args.smeared:g} --rounds {args.rounds} --dense "
        f"{args.dense:g} "
        + f"--whole {whole} --shares {' '.join(f'{s:g}' for s in args.shares)} "
        + "--no-shift " * args.no_shift
        + f"--seed {args.seed} --out {args.out.name}",
        "start_sha256": hashlib.sha256(args.start.read_bytes()).hexdigest(),
        "seed": args.seed,
        "start": metadata["provenance"],
    }
    metadata.pop("format", None)
    save_model(args.out, net, metadata)
    print(f"wrote {args.out}", flush=True)
