# SPDX-License-Identifier: GPL-3.0-or-later
"""Learn the law of a receiver's noise from a recording without a signal.

The capture is a SigMF recording (.sigmf-meta, its -data beside it), an npz file with an array `noise` (or
with one array alone), or raw complex64 samples (.cf32, .fc32). Give symbols as the demapper gets them: after
the equaliser, with the gain that makes the signal's power 1; --gain scales what was recorded. The law goes to
a JSON file that Receiver.with_noise() and Receiver.fit(..., noise=) take.

example:
    gr-diffusion fit noise quiet.sigmf-meta -o noise-lab.json
    gr-diffusion fit noise quiet.npz -o noise-lab.json --gain 12.5
"""
import zipfile
from pathlib import Path

import numpy as np

from ..cli.common import JobError, common_options, write_json

MOST = 20000  # samples; more teach a memoryless law nothing


def add_arguments(parser):
    parser.add_argument("capture", type=Path, help="noise-only recording: SigMF, npz or raw complex64")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file for the law")
    parser.add_argument("--gain", type=float, default=1.0, metavar="FACTOR",
                        help="amplitude factor that brings the signal to power 1 (1)")
    parser.add_argument("--samples", type=int, default=MOST, metavar="N", help=f"use at most N samples "
                                                                               f"({MOST})")
    common_options(parser)


def load(path):
    """complex samples of a capture."""
    try:
        if path.suffix in (".sigmf-meta", ".sigmf-data"):
            return _sigmf(path)
        if path.suffix in (".cf32", ".fc32", ".c64"):
            return np.fromfile(path, np.complex64)
        with np.load(path, allow_pickle=False) as file:
            key = "noise" if "noise" in file.files else file.files[0] if len(file.files) == 1 else None
            if key is None:
                raise JobError(f"{path} has {', '.join(file.files)}; it needs an array noise")
            return np.asarray(file[key]).ravel()
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as e:
        raise JobError(f"{path} is no capture of complex samples: {e}") from e


def _sigmf(path):
    import json
    content = json.loads(path.with_suffix(".sigmf-meta").read_text())
    kind = content["global"]["core:datatype"]
    data = path.with_suffix(".sigmf-data")
    if kind in ("cf32_le", "cf32"):
        return np.fromfile(data, "<c8")
    if kind in ("ci16_le", "ci16"):
        pairs = np.fromfile(data, "<i2").reshape(-1, 2) / 32768
        return pairs[:, 0] + 1j * pairs[:, 1]
    raise JobError(f"{path}: samples of type {kind} are not read here; use cf32_le or ci16_le")


def run(args):
    from gnuradio import diffusion

    samples = load(args.capture)
    if not (args.gain > 0 and np.isfinite(args.gain)):
        raise JobError(f"--gain {args.gain}: use a positive factor")
    if args.samples < 50:
        raise JobError(f"--samples {args.samples}: use 50 or more")
    if samples.size > args.samples:  # spread over the whole recording
        samples = samples[np.linspace(0, samples.size - 1, args.samples).astype(int)]
    try:
        law = diffusion.NoiseLaw.fit(samples * args.gain, seed=args.seed)
    except (TypeError, ValueError) as e:
        raise JobError(f"{args.capture}: {e}") from e
    used = samples * args.gain
    variance = np.mean(np.abs(used - used.mean()) ** 2)
    gaussian = -1 - np.log(np.pi * variance)
    gain = float((law.log_density(used).mean() - gaussian) / np.log(2))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    law.save(args.output)
    print(f"{law.choice}: {law.components} Gaussians from {law.samples} samples, E|n|^2 = "
          f"{law.noise_var:.4g}; {gain:.3f} bit a sample likelier than circular Gaussian noise")
    print(f"wrote {args.output}")
    write_json(args.json, {"choice": law.choice, "components": law.components, "samples": law.samples,
                           "noise_var": law.noise_var, "bits_over_gaussian": gain})
