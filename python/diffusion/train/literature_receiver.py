# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the literature's denoising receiver, to be measured as it is described (evaluate receiver --study
papers).

Letafati, Ali and Latva-aho, "WiGenAI" (2023): a DDPM over constellation symbols, 3 conditional hidden layers
of 128 with softplus, the time step as an embedding, a linear output that predicts the noise. Not stated
there: the number of steps T and the schedule. Here T = 40 and linear betas up to 0.28, so that the last
step's level lies at -27 dB and every SNR of the study has a step that matches it; a shorter schedule would
not reach -25 dB.

example:
    gr-diffusion train literature_receiver --seed 1
"""
import sys
import time
from pathlib import Path

import numpy as np
from gnuradio import diffusion

from ..cli.common import progress

NAME = "ddpm-qam16"
STEPS, BETA_START, BETA_END = 40, 1e-4, 0.28
HIDDEN = [128, 128, 128]


def add_arguments(parser):
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of everything random (1)")
    parser.add_argument("--steps", type=int, default=12000, metavar="N", help="training steps (12000)")
    parser.add_argument("--batch", type=int, default=2048, metavar="N", help="symbols a step (2048)")
    parser.add_argument("--out", type=Path, default=Path("models/literature"), metavar="FOLDER",
                        help="where to (models/literature)")


def build():
    """(network, schedule) of the literature."""
    from ..nn.film_mlp import FilmMlp
    from ..nn.schedule import Schedule
    net = FilmMlp(HIDDEN, 2, features="iq", activation="softplus",
                  condition={"kind": "embedding", "steps": STEPS})
    return net, Schedule(STEPS, "linear", BETA_START, BETA_END)


def train(points, seed, steps, batch):
    """(network, schedule, log): the noise prediction loss (Ho et al. 2020, eq. 14) on clean symbols."""
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    net, schedule = build()
    with torch.no_grad():
        net.embedding.weight.normal_(0, 0.05)
    symbols = torch.from_numpy(np.stack([points.real, points.imag], -1).astype(np.float32))
    signal = schedule.alphas_cumprod.sqrt().float()
    noise = (1 - schedule.alphas_cumprod).sqrt().float()
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    average = {k: v.detach().clone() for k, v in net.named_parameters()}
    start, loss = time.monotonic(), 0.0
    per_level = batch // STEPS
    for step in progress(range(steps), desc="training"):
        t = torch.arange(STEPS)  # every level in every batch
        x0 = symbols[torch.randint(len(symbols), (STEPS, per_level))]
        e = torch.randn(x0.shape) * 0.5 ** 0.5  # E|e|^2 = 1
        x_t = signal[:, None, None] * x0 + noise[:, None, None] * e
        loss = (net(x_t, t) - e).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        cosine.step()
        with torch.no_grad():
            for k, v in net.named_parameters():
                average[k].lerp_(v, 0.005)
        if (step + 1) % 2000 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}, {time.monotonic() - start:.0f} s",
                  file=sys.stderr,
                  flush=True)
    with torch.no_grad():
        for k, v in net.named_parameters():
            v.copy_(average[k])
    return net, schedule, {"seconds": time.monotonic() - start, "steps": steps, "loss": float(loss)}


def metadata(points, net, schedule, args, log):
    """The model file's description."""
    command = f"./run train literature_receiver --seed {args.seed}"
    for option, value, default in (("--steps", args.steps, 12000), ("--batch", args.batch, 2048)):
        command += f" {option} {value}" if value != default else ""
    levels = schedule.noise_var().numpy()
    return {"name": NAME, "task": "receiver", "network": net.config, "prediction_type": "epsilon",
            "schedule": schedule.to_config(), "normalisation": net.normalisation,
            "snr_db": [float(-10 * np.log10(levels[-1])), float(-10 * np.log10(levels[0]))],
            "constellation": {"name": "qam16", "points": [[p.real, p.imag] for p in points.astype(complex)]},
            "provenance": {"command": command, "seed": args.seed, "version": diffusion.__version__,
                           "data": "clean 16-QAM symbols"},
            "measured": log}


def run(args):
    from ..nn.export import save_model
    points = diffusion.constellation("qam16")
    net, schedule, log = train(points, args.seed, args.steps, args.batch)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{NAME}.safetensors"
    save_model(path, net, metadata(points, net, schedule, args, log))
    parameters = sum(p.numel() for p in net.parameters())
    print(f"wrote {path} ({parameters} parameters), {log['seconds']:.0f} s", file=sys.stderr)
