# SPDX-License-Identifier: GPL-3.0-or-later
"""Train a denoising receiver for one constellation, measure it beside its baselines, write model and card.

The network predicts the symbols' posterior on top of the Gaussian law of the link (dsp/symbol_law): it
learns what departs from that law - converter cells, clipping, phase noise beyond first order, a law fitted
from few symbols - over random hardware, conditioned on the noise level and on what the fit knows.

example:
    gr-diffusion train receiver --constellation qam16 --seed 1
"""
import sys
import time
from pathlib import Path

import numpy as np
from gnuradio import diffusion

from ..cli.common import JobError, progress
from . import hardware

SNR_DB = (-10.0, 35.0)
HIDDEN = {"bpsk": [16, 16], "qpsk": [32, 32], "qam16": [32, 32], "qam64": [48, 48], "qam256": [64, 64]}
STEPS = {"bpsk": 1000, "qpsk": 1200, "qam16": 1600, "qam64": 1200, "qam256": 800}
SYMBOLS = 96    # per link that train
PROBE = 64      # further symbols per link that only tell how hard the link is
GROUPS = {"bpsk": 64, "qpsk": 64, "qam16": 48, "qam64": 32, "qam256": 16}   # links per step
LEAST_BITS = {"bpsk": 1, "qpsk": 1, "qam16": 1, "qam64": 2, "qam256": 3}    # of a drawn ADC

CONTEXT_JITTER = 0.15     # of the spreads below
DEPARTURE_PENALTY = 0.01  # on the mean square of what the network adds to a logit

# Where the entries of symbol_law.context() lie and how far they spread, over drawn hardware.
CONTEXT_MEAN = [12.0, 2.0, 0.4, 0.2, 0.0, 0.6, 0.1, 0.1] + [0.0] * 10
CONTEXT_SCALE = [12.0, 1.5, 0.5, 0.4, 1.0, 0.8, 0.2, 0.2] + [0.1] * 10


def add_arguments(parser):
    parser.add_argument("--constellation", choices=diffusion.constellation_names(), default="qam16")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of everything random (1)")
    parser.add_argument("--steps", type=int, metavar="N", help="training steps (by constellation)")
    parser.add_argument("--hidden", type=int, nargs="+", metavar="W", help="hidden widths (by constellation)")
    parser.add_argument("--draws", type=int, default=12288, metavar="N", help="links drawn (12288)")
    parser.add_argument("--out", type=Path, default=Path("models"), metavar="FOLDER",
                        help="where to (models)")
    parser.add_argument("--symbols", type=int, default=100000, metavar="N",
                        help="test symbols per row of the card (100000)")


def make_pool(points, draws, rng, least_bits=1):
    """Arrays of `draws` links: y (D, T, 2), index (D, T), context (D, 18), q2 (D, M, 5), q1, noise_var,
    snr."""
    m, total = points.size, SYMBOLS + PROBE
    pool = dict(y=np.empty((draws, total, 2), np.float32), index=np.empty((draws, total), np.int64),
                c=np.empty((draws, len(CONTEXT_MEAN)), np.float32), q2=np.empty((draws, m, 5), np.float32),
                q1=np.empty((draws, m), np.float32), noise_var=np.empty(draws, np.float32),
                snr=np.empty(draws, np.float32))
    for d in progress(range(draws), desc="drawing links"):
        unfitted = rng.random() < 0.25
        # Whoever does not fit has a link that is nearly ideal, or equalised; what breaks one is for fit() to
        # know.
        hw = hardware.draw(rng, *((0.1, 4) if unfitted else (1.0, least_bits)))
        snr = rng.uniform(*SNR_DB)
        full_scale = hw.full_scale(snr)
        law = diffusion.symbol_law(points)
        if not unfitted:
            n = int(10 ** rng.uniform(np.log10(max(24, m)), np.log10(max(4000, 24 * m))))
            known = rng.integers(0, m, n)
            received = hw.transmit(points, known, snr, rng.integers(2 ** 62), full_scale)
            law = diffusion.symbol_law.fit(points, known, received, hw.noise_var(snr))
            if rng.random() < 0.25:  # the noise moved after the fit
                snr = float(np.clip(snr + rng.uniform(-5, 5), *SNR_DB))
        index = rng.integers(0, m, total)
        y = hw.transmit(points, index, snr, rng.integers(2 ** 62), full_scale)
        noise_var = hw.noise_var(snr)
        pool["y"][d] = y.view(np.float32).reshape(-1, 2)
        pool["index"][d] = index
        pool["c"][d] = law.context(noise_var)
        pool["q2"][d], pool["q1"][d] = law.coefficients(noise_var)
        pool["noise_var"][d], pool["snr"][d] = noise_var, snr
    return pool


def split_probe(torch, pool):
    """Takes the probe symbols out of the pool; returns each link's weight: one over the Gaussian receiver's
    loss on them, so that neither one SNR nor links beyond help own the training."""
    from ..nn.film_mlp import iq2
    y, index = pool["y"][:, SYMBOLS:], pool["index"][:, SYMBOLS:]
    pool["y"], pool["index"] = pool["y"][:, :SYMBOLS].contiguous(), pool["index"][:, :SYMBOLS].contiguous()
    loss = torch.empty(len(y))
    for rows in torch.arange(len(y)).split(1024):
        logits = iq2(y[rows]) @ pool["q2"][rows].transpose(1, 2) + pool["q1"][rows][:, None]
        each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), index[rows].flatten(),
                                                 reduction="none")
        loss[rows] = each.reshape(len(rows), -1).mean(1)
    most = float(np.log(pool["q1"].shape[1]))  # a guess's loss
    return 1 / (loss.clamp(max=most) + 0.05)


def train(constellation, seed, steps=None, hidden=None, draws=12288):
    """(network, log): the trained torch module and a dictionary of what happened."""
    import torch
    from ..nn.film_mlp import FilmMlp, iq2
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    points = diffusion.constellation(constellation)
    m = points.size
    net = FilmMlp(hidden or HIDDEN[constellation], m, features="iq2", activation="silu", skip="gaussian",
                  condition={"kind": "mlp", "inputs": len(CONTEXT_MEAN), "hidden": 32},
                  normalisation={"input_scale": "vp", "condition_mean": CONTEXT_MEAN,
                                 "condition_scale": CONTEXT_SCALE})
    with torch.no_grad():  # small but not zero: at zero the gradient of the layers below vanishes
        net.layers[-1].weight.normal_(0, 0.02)
    start = time.monotonic()
    steps = steps or STEPS[constellation]
    as_torch = lambda pool: {k: torch.from_numpy(v) for k, v in pool.items()}
    pool = as_torch(make_pool(points, draws, rng, LEAST_BITS[constellation]))
    held_out = as_torch(make_pool(points, max(256, draws // 16), rng, LEAST_BITS[constellation]))
    weight, held_weight = split_probe(torch, pool), split_probe(torch, held_out)
    # No two links are the same: the context is not to be memorised, and the network departs from the Gaussian
    # law only where that pays on links it has not seen.
    jitter = CONTEXT_JITTER * torch.tensor(CONTEXT_SCALE)
    most = float(np.log(m))
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    groups = GROUPS[constellation]
    average = {k: v.detach().clone() for k, v in net.named_parameters()}

    def loss_of(p, w, rows, network=True, noise=0.0, penalty=0.0):
        skip = (p["q2"][rows], p["q1"][rows])
        c = p["c"][rows] + noise * torch.randn(len(rows), len(CONTEXT_MEAN))
        logits = (net(p["y"][rows], c, p["noise_var"][rows], skip) if network else
                  iq2(p["y"][rows]) @ skip[0].transpose(1, 2) + skip[1][:, None])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), p["index"][rows].flatten(),
                                                 reduction="none")
        # Single symbols of failed fits cost tens of nats: beyond a few guesses' worth they count by their
        # log.
        loss = torch.where(loss > 3 * most, 3 * most * (1 + torch.log(loss.clamp(min=1e-9) / (3 * most))),
                           loss)
        loss = (w[rows] * loss.reshape(len(rows), -1).mean(1)).mean()
        if penalty:
            departure = logits - (iq2(p["y"][rows]) @ skip[0].transpose(1, 2) + skip[1][:, None])
            loss = loss + penalty * departure.square().mean()
        return loss

    for step in progress(range(steps), desc="training"):
        rows = torch.from_numpy(rng.integers(0, draws, groups))
        loss = loss_of(pool, weight, rows, noise=jitter, penalty=DEPARTURE_PENALTY)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for k, v in net.named_parameters():
                average[k].lerp_(v, 0.01)
        if (step + 1) % 400 == 0:
            print(f"step {step + 1}: training loss {loss.item():.4f}, {time.monotonic() - start:.0f} s",
                  file=sys.stderr, flush=True)
    with torch.no_grad():
        for k, v in net.named_parameters():
            v.copy_(average[k])
        chunks = torch.arange(len(held_weight)).split(64)
        learned, gaussian = (sum(float(loss_of(held_out, held_weight, r, on)) * len(r) for r in chunks) /
                             len(held_weight) for on in (True, False))
    if not np.isfinite(learned):
        raise JobError("the training diverged; try another --seed or fewer --hidden")
    return net, {"seconds": time.monotonic() - start, "steps": steps, "draws": draws,
                 "held_out_loss": learned, "held_out_loss_gaussian": gaussian}


def torch_receiver(net, points):
    """f(y, noise_var, law) -> log posteriors (n, M), for measuring before the model is saved."""
    import torch

    def posterior(y, noise_var, law):
        f = lambda a: torch.from_numpy(np.ascontiguousarray(a, np.float32))
        q2, q1 = law.coefficients(noise_var)
        with torch.no_grad():
            out = net(f(np.stack([y.real, y.imag], -1)), f(law.context(noise_var)),
                      torch.tensor(noise_var, dtype=torch.float32), (f(q2), f(q1)))
        return out.numpy().astype(np.float64)

    return posterior


def run(args):
    from ..evaluate import receiver as evaluation
    from ..nn.export import save_model
    points = diffusion.constellation(args.constellation)
    name = f"rx-{args.constellation}"
    net, log = train(args.constellation, args.seed, args.steps, args.hidden, args.draws)
    print(f"{name}: held-out loss {log['held_out_loss']:.4f}, Gaussian law alone "
          f"{log['held_out_loss_gaussian']:.4f}; {log['seconds']:.0f} s", file=sys.stderr)
    posterior = torch_receiver(net, points)
    rows = evaluation.measure(points, args.symbols, 2000, args.seed + 1000,
                              evaluation.learned_by(posterior, points))
    command = f"./run train receiver --constellation {args.constellation} --seed {args.seed}"
    for option, value, default in (("--steps", args.steps, None), ("--draws", args.draws, 12288),
                                   ("--symbols", args.symbols, 100000)):
        command += f" {option} {value}" if value != default else ""
    if args.hidden:
        command += " --hidden " + " ".join(map(str, args.hidden))
    metadata = {
        "name": name, "task": "receiver", "network": net.config, "prediction_type": "posterior",
        "schedule": {"kind": "continuous"}, "snr_db": SNR_DB,
        "constellation": {"name": args.constellation,
                          "points": [[p.real, p.imag] for p in points.astype(complex)]},
        "normalisation": net.normalisation,
        "provenance": {"command": command, "seed": args.seed, "version": diffusion.__version__,
                       "data": f"{args.draws} random links of train/hardware.py, {SYMBOLS} symbols each"},
        "measured": {"rows": rows, **log}}
    args.out.mkdir(parents=True, exist_ok=True)
    save_model(args.out / f"{name}.safetensors", net, metadata)
    parameters = sum(p.numel() for p in net.parameters())
    (args.out / f"{name}.md").write_text(evaluation.card(name, args.constellation, net.config, parameters,
                                                         command,
                                                         log, rows, args.symbols))
    print(f"wrote {args.out / name}.safetensors ({parameters} parameters) and its card", file=sys.stderr)
