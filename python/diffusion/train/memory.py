# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the sequence denoiser and the amplifier model of a measured power amplifier.

The measurement is an npz file as `fit pa` takes it: train, val and test input and output, aligned. Two
networks of nn/sequence_net.py are trained on the train split: a denoiser (output + noise of 5 to 50 dB ->
input) and a model of the amplifier (input -> output); the val split picks the checkpoint; the test split is
reported only.

example:
    gr-diffusion train memory pa_DPA_200MHz.npz --seed 1
"""
import sys
import time
from pathlib import Path

import numpy as np

from ..cli.common import JobError, common_options, progress, write_json
from ..fit.pa import load

SNR_DB = (5.0, 50.0)
VAL_SNRS = (10, 20, 30, 40)


def add_arguments(parser):
    parser.add_argument("measurement", type=Path, help="npz file with input and output samples")
    parser.add_argument("--name", default="seq-dpa200", help="name of the model (seq-dpa200)")
    parser.add_argument("--out", type=Path, default=Path("models"), metavar="DIR",
                        help="folder of the model (models)")
    parser.add_argument("--steps", type=int, default=5000, metavar="N", help="training steps of each network "
                                                                             "(5000)")
    parser.add_argument("--reach", type=int, default=20, metavar="N", help="taps before and after (20)")
    parser.add_argument("--width", type=int, default=24, metavar="N", help="channels (24)")
    common_options(parser)


def normalised(data):
    """The splits with input power 1 and linear gain 1, and the scales (input rms, complex gain)."""
    x, y = data["train"]
    rms = float(np.sqrt(np.mean(np.abs(x) ** 2)))
    gain = np.vdot(x, y) / np.vdot(x, x)
    return {s: (a / rms, b / (gain * rms)) for s, (a, b) in data.items()}, rms, gain


def as_tensor(z):
    import torch
    return torch.from_numpy(np.stack([z.real, z.imag]).astype(np.float32))


def val_nmse(net, source, target, snrs, power, seed=5):
    """NMSE in dB at each SNR (None: without noise)."""
    import torch
    out = []
    generator = torch.Generator().manual_seed(seed)
    for snr in snrs:
        level = power * 10 ** (-(99 if snr is None else snr) / 10)
        noisy = source[None] + (level / 2) ** 0.5 * torch.randn(source[None].shape, generator=generator)
        with torch.no_grad():
            error = net(noisy, torch.tensor([level])) - target
        out.append(10 * float(torch.log10((error ** 2).sum() / (target ** 2).sum())))
    return out


def train_net(data, noisy, seed, steps, reach, width, label, chunk=512, batch=16):
    """(network, log): of the output-to-input denoiser (noisy) or the input-to-output amplifier."""
    import torch
    from ..nn.sequence_net import SequenceNet
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = SequenceNet(reach, width, noisy)
    pick = (lambda pair: (as_tensor(pair[1]), as_tensor(pair[0]))) if noisy else (
        lambda pair: (as_tensor(pair[0]), as_tensor(pair[1])))
    source, target = pick(data["train"])
    power = float((source ** 2).sum(0).mean())
    snrs = VAL_SNRS if noisy else (None,)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    best, kept, start = np.inf, None, time.monotonic()
    for step in progress(range(steps), desc=label):
        at = rng.integers(0, source.shape[1] - chunk, batch)
        a, b = (torch.stack([z[:, i:i + chunk] for i in at]) for z in (source, target))
        snr = torch.from_numpy(rng.uniform(*SNR_DB,
                                           batch).astype(np.float32)) if noisy else torch.full((batch,), 99.0)
        level = power * 10 ** (-snr / 10)
        if noisy:
            a = a + torch.sqrt(level / 2)[:, None, None] * torch.randn(a.shape)
        error = ((net(a, level) - b) ** 2)[:, :, reach:-reach].mean((1, 2))
        # Every noise level counts by its logarithm: the scale is what linear filtering leaves of the noise.
        loss = torch.log(error / (0.25 * level + 3e-4) + 0.1).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            figures = val_nmse(net, *pick(data["val"]), snrs, power)
            if np.mean(figures) < best:
                best = float(np.mean(figures))
                kept = {k: v.clone() for k, v in net.state_dict().items()}
            if (step + 1) % 1000 == 0:
                print(f"{label} step {step + 1}: validation NMSE {np.round(figures, 2)} dB, "
                      f"{time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    if kept is None:
        raise JobError("the training diverged; try another --seed")
    net.load_state_dict(kept)
    return net, {"seconds": time.monotonic() - start, "validation_nmse_db": best,
                 "test_nmse_db": val_nmse(net, *pick(data["test"]), snrs, power), "snr_db": list(snrs)}


def model_description(name, reach, width, rms, gain, rate, provenance, measured):
    """What the model file says of itself."""
    return {"name": name, "task": "sequence", "prediction_type": "sample", "schedule": {"kind": "continuous"},
            "network": {"kind": "envelope_taps", "reach": reach, "width": width}, "snr_db": list(SNR_DB),
            "normalisation": {"input_rms": rms, "gain": [gain.real, gain.imag], "sample_rate_hz": rate},
            "provenance": provenance, "measured": measured}


def run(args):
    import torch
    from ..nn.export import save_model
    from .. import diffusion_python as native
    torch.set_num_threads(1)
    if args.steps < 1 or not 1 <= args.reach <= 64 or not 4 <= args.width <= 256:
        raise JobError("--steps must be positive, --reach 1 to 64, --width 4 to 256")
    pairs, rate = load(args.measurement)
    data, rms, gain = normalised(pairs)
    denoiser, log_d = train_net(data, True, args.seed, args.steps, args.reach, args.width, "denoiser")
    amplifier, log_a = train_net(data, False, args.seed, args.steps, args.reach, args.width, "amplifier")
    command = f"./run train memory {args.measurement.name} --seed {args.seed}"
    for option, value, default in (("--name", args.name, "seq-dpa200"), ("--steps", args.steps, 5000),
                                   ("--reach", args.reach, 20), ("--width", args.width, 24)):
        command += f" {option} {value}" if value != default else ""
    description = model_description(
        args.name, args.reach, args.width, rms, gain, rate,
        {"command": command, "seed": args.seed, "version": native.version(), "data": args.measurement.name},
        {"denoiser": log_d, "amplifier": log_a})
    arrays = {f"{part}.{k}": v for part, net in (("denoiser", denoiser), ("amplifier", amplifier))
              for k, v in net.state_dict().items()}
    path = args.out / f"{args.name}.safetensors"
    save_model(path, arrays, description)
    print(f"denoiser, test NMSE at {log_d['snr_db']} dB: {np.round(log_d['test_nmse_db'], 2)}; amplifier "
          f"{log_a['test_nmse_db'][0]:.2f} dB\nwrote {path} ({sum(a.numel() for a in arrays.values())} "
          "parameters)")
    write_json(args.json, description)
