# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the pmf for a link from a recording alone: symbols sent, samples received, no channel law.

CAPTURE is an npz file with x (symbols as sent, level * constellation[i], all points about equally often), y
(received, equalised) and, if they were sent at several levels, level (of each symbol); or a SigMF recording
of native or stock frames, as for `fit receiver` (one level). A pmf can be judged only at levels that were
recorded: with a limit on the mean power a recording needs several (1 to 1.8 in steps of 10%, say), as a
shaped constellation has larger points.

Samples held out decide: uniform stays unless Maxwell-Boltzmann, the diffusion model or the pmf found from the
samples carries more, beyond the 95% interval; the command says which and why. Written is a JSON file that
both ends load (`diffusion.FittedShaper.load`).

examples:
    gr-diffusion fit shaper symbols.npz -o mine.json
    gr-diffusion fit shaper symbols.npz -o mine.json --power free --matcher ess --block 256
"""
from pathlib import Path

import numpy as np

from ..cli.common import JobError, UsageError, common_options, write_json


def add_arguments(parser):
    parser.add_argument("capture", type=Path, help="npz file or SigMF recording")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--model", metavar="NAME", help="shaper whose constellation it is (the shipped one "
                                                        "that fits)")
    parser.add_argument("--power", default="mean", metavar="P",
                        help="mean: E|x|^2 no larger than recorded; a number: no larger than that; free: the "
                             "amplifier limits (mean)")
    parser.add_argument("--block", type=int, default=4096, help="symbols per block (4096)")
    parser.add_argument("--matcher", choices=("ccdm", "ess"), default="ccdm",
                        help="constant composition or spheres (ccdm)")
    common_options(parser)


def load(path):
    """(x, y, level or None)."""
    if path.suffix == ".npz":
        try:
            with np.load(path) as data:
                if not {"x", "y"} <= set(data.files):
                    raise JobError(f"{path.name} holds {', '.join(sorted(data.files)) or 'nothing'}; it "
                                   "needs x and y")
                return data["x"], data["y"], data["level"] if "level" in data.files else None
        except (OSError, ValueError) as e:
            raise JobError(f"{path} cannot be read: {e}") from e
    from gnuradio import gr
    from .. import capture
    from ..recording import RecordingError
    gr.logging().set_default_level(gr.log_levels.warn)
    try:
        known = capture.load(path, None, None, None, 1200, 2.0)
    except (capture.CaptureError, RecordingError, ValueError) as e:
        raise JobError(str(e)) from e
    return known.x, known.y, None


def run(args):
    from .. import Shaper

    if args.output.suffix != ".json":
        raise UsageError(f"--output is {args.output.name}; it is a JSON file, end it in .json")
    power = args.power
    if power not in ("mean", "free"):
        try:
            power = float(power)
        except ValueError:
            raise UsageError(f"--power is {power}; use mean, free or a number") from None
    x, y, level = load(args.capture)
    try:
        fitted = shaper_for(args.model, x, level).fit(x, y, level, power, args.block, args.matcher, args.seed)
    except ValueError as e:
        raise JobError(str(e)) from e
    print(f"{args.capture.name}: {x.size} symbols, law of the link: {fitted.law}")
    for name, s in fitted.schemes.items():
        print(f"{name:<18} level {s.level:.3f}  {s.bits:.4f} bit/symbol on held-out samples, 95% interval "
              f"{s.low:.4f} to {s.high:.4f}")
    print(fitted.reason)
    try:
        fitted.save(args.output)
    except OSError as e:
        raise JobError(f"{args.output} cannot be written: {e.strerror}") from e
    print(f"wrote {args.output}: diffusion.FittedShaper.load(\"{args.output}\") at both ends")
    write_json(args.json, {"capture": args.capture.name, "choice": fitted.choice, "reason": fitted.reason,
                           "law": fitted.law,
                           "pmf": fitted.pmf.tolist(), "level": fitted.level,
                           "rate_loss": fitted.code.rate_loss,
                           "schemes": {k: {**vars(s), "pmf": s.pmf.tolist()}
                                       for k, s in fitted.schemes.items()}})


def shaper_for(name, x, level):
    """The shaper named, or the shipped one on whose constellation x lies."""
    from .. import Shaper

    if name:
        return Shaper(name, 64)
    unit = np.asarray(x) / (1 if level is None else np.asarray(level))
    rails = np.unique(np.round(np.abs(unit.real) / max(np.abs(unit.real).max(), 1e-30), 3)).size
    for levels, model in ((2, "ps-qam16"), (4, "ps-qam64"), (8, "ps-qam256")):
        if rails <= levels:
            return Shaper(model, 64)
    raise ValueError("x lies on no square constellation of 16, 64 or 256 points: give --model, and level if "
                     "x was sent at several")
