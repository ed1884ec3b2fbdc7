# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the pmf for a link from a recording alone: symbols sent, samples received, no channel law.

CAPTURE is an npz file with x (symbols as sent, level * constellation[i], all points about equally often), y
(received, equalised) and, if they were sent at several levels, level (of each symbol); or a SigMF recording
of native or stock frames, as for `fit receiver`. A pmf can be judged only at levels that were recorded: with
a limit on the mean power there have to be several (1 to 1.8 in steps of 10%, say), as a shaped constellation
has larger points. One recording for each level will do: name them all; their levels are the transmitter's
gains when they were recorded (`record --tx-gain`), or --levels-db.

Samples held out (whole frames of recordings) decide: uniform stays unless Maxwell-Boltzmann, the diffusion
model or the pmf found from the samples carries more, beyond the 95% interval; the command says which and why.
Written is a JSON file that both ends load (`diffusion.FittedShaper.load`).

examples:
    gr-diffusion fit shaper symbols.npz -o mine.json
    gr-diffusion fit shaper symbols.npz -o mine.json --power free --matcher ess --block 256
    gr-diffusion fit shaper gain40 gain41 gain42 gain43 gain44 -o mine.json --power 1
"""
from pathlib import Path

import numpy as np

from ..cli.common import JobError, UsageError, common_options, write_json


def add_arguments(parser):
    parser.add_argument("capture", type=Path, nargs="+", help="npz file, or SigMF recordings, one a level")
    parser.add_argument("--levels-db", type=float, nargs="+", metavar="DB",
                        help="of the recordings, 0: E|x|^2 = 1 (transmitter's gain above the lowest)")
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


def load(paths, levels_db=None):
    """(x, y, level or None, frame or None) of an npz file or of recordings, one a level."""
    if paths[0].suffix == ".npz":
        if len(paths) > 1 or levels_db:
            raise UsageError("an npz file says its levels itself: give one, without --levels-db")
        return (*_npz(paths[0]), None)
    from gnuradio import gr
    gr.logging().set_default_level(gr.log_levels.warn)
    found = [_recording(path) for path in paths]
    if levels_db is None:
        gains = [gain for _, gain in found]
        if None in gains and len(found) > 1:
            raise JobError(f"{paths[gains.index(None)].name} does not say the transmitter's gain: give "
                           "--levels-db")
        levels_db = [g - min(gains) for g in gains] if None not in gains else [0.0]
    if len(levels_db) != len(found):
        raise UsageError(f"--levels-db has {len(levels_db)} values for {len(found)} recordings; give one "
                         "each")
    # The receiver scales what it equalises to unit power; the link's own scale is the transmitter's.
    level = np.concatenate([np.full(k.x.size, 10 ** (db / 20)) for (k, _), db in zip(found, levels_db)])
    x, y = (level * np.concatenate([getattr(k, name) for k, _ in found]) for name in "xy")
    first = np.cumsum([0] + [k.frame.max() + 1 for k, _ in found])
    return x, y, level, np.concatenate([k.frame + at for (k, _), at in zip(found, first)])


def _npz(path):
    try:
        with np.load(path) as data:
            if not {"x", "y"} <= set(data.files):
                raise JobError(f"{path.name} holds {', '.join(sorted(data.files)) or 'nothing'}; it needs x "
                               "and y")
            return data["x"], data["y"], data["level"] if "level" in data.files else None
    except (OSError, ValueError) as e:
        raise JobError(f"{path} cannot be read: {e}") from e


def _recording(path):
    """(known symbols, the transmitter's gain in dB or None)."""
    from .. import capture
    from ..recording import RecordingError, open_recording
    try:
        known = capture.load(path, None, None, None, 1200, 2.0)
        radio = open_recording(path).detail("radio")
    except (capture.CaptureError, RecordingError, ValueError) as e:
        raise JobError(f"{path}: {e}") from e
    gain = radio.get("tx_gain_db") if isinstance(radio, dict) else None
    return known, float(gain) if isinstance(gain, (int, float)) else None


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
    x, y, level, frame = load(args.capture, args.levels_db)
    try:
        fitted = shaper_for(args.model, x, level).fit(x, y, level, power, args.block, args.matcher, args.seed,
                                                      frame)
    except ValueError as e:
        raise JobError(str(e)) from e
    names = ", ".join(path.name for path in args.capture)
    print(f"{names}: {x.size} symbols, law of the link: {fitted.law}")
    for name, s in fitted.schemes.items():
        print(f"{name:<18} level {s.level:.3f}  {s.bits:.4f} bit/symbol on held-out samples, 95% interval "
              f"{s.low:.4f} to {s.high:.4f}")
    print(fitted.reason)
    try:
        fitted.save(args.output)
    except OSError as e:
        raise JobError(f"{args.output} cannot be written: {e.strerror}") from e
    print(f"wrote {args.output}: diffusion.FittedShaper.load(\"{args.output}\") at both ends")
    write_json(args.json, {"capture": names, "choice": fitted.choice, "reason": fitted.reason,
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
