# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit a receiver to a capture of known frames over your own hardware.

CAPTURE is a SigMF recording of native or stock frames (made by `gr-diffusion record`, best with --send or
--sent), or an npz file with x and y (known symbols, unit power, and what was received, equalised; optional
noise_var and frame), or with iq (samples with native or stock frames in them; optional waveform, payloads).

Written is a model file that denoiser_cc, soft_demapper_cf and ofdm_rx load while they run: by the message
(model . FILE) to port cmd, or set_model(FILE). Frames held out decide whether the fit is better than the
linear receiver (than the classical path, for frames of a waveform); if it is not, the model is that receiver,
and the command says so.

examples:
    gr-diffusion fit receiver capture -o mine.safetensors
    gr-diffusion fit receiver symbols.npz -o mine.safetensors --model rx-qam64 --json fit.json
"""
import shlex
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from ..cli.common import JobError, UsageError, common_options, progress, write_json


def add_arguments(parser):
    parser.add_argument("capture", type=Path, help="SigMF recording (with or without ending) or npz file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="model file, .safetensors")
    parser.add_argument("--model", metavar="NAME", help="receiver to begin with (the shipped one that fits)")
    parser.add_argument("--waveform", choices=("native", "stock"), help="of the frames (what was sent, else "
                                                                        "native)")
    parser.add_argument("--type", choices=("cf32_le", "ci16_le", "ci8", "cu8"),
                        help="read the recording's samples as this, without metadata")
    parser.add_argument("--rate", type=float, metavar="HZ", help="sample rate, with --type")
    parser.add_argument("--frames", type=int, default=1200, metavar="N", help="to learn from, at most "
                                                                              "(%(default)s)")
    parser.add_argument("--max-cfo", type=float, default=2.0, metavar="SPACINGS",
                        help="largest carrier offset searched, subcarrier spacings (%(default)s)")
    common_options(parser)


def run(args):
    from gnuradio import diffusion, gr

    from .. import capture, guarded_fit
    from ..recording import RecordingError

    start = time.monotonic()
    if args.output.suffix != ".safetensors":
        raise UsageError(f"--output is {args.output.name}; model files end in .safetensors")
    if args.frames < 2:
        raise UsageError(f"--frames is {args.frames}, use 2 or more")
    gr.logging().set_default_level(gr.log_levels.warn)
    try:
        known = capture.load(args.capture, args.waveform, args.type, args.rate, args.frames, args.max_cfo)
        rx = diffusion.Receiver(args.model or f"rx-{known.constellation}")
        if rx.bits_per_symbol != known.bits_per_symbol:
            raise JobError(f"--model {args.model} is for {2 ** rx.bits_per_symbol} points, the capture holds "
                           f"{known.constellation}")
        load = partial(capture.load, args.capture, args.waveform, args.type, args.rate, args.frames,
                       args.max_cfo)
        radios, known_again = fit_radios(rx, known, load) if known.waveform == "native" else (None, known)
        fit = guarded_fit.guarded(rx, known_again, lambda items: progress(items, desc="fitting"))
    except (capture.CaptureError, guarded_fit.FitError, RecordingError, ValueError) as e:
        raise JobError(str(e)) from e
    figures = {"linear": fit.linear.figures(), "fitted": fit.fitted.figures()}
    if radios:
        figures = {"linear": radios["before"].figures(), "fitted": radios["after"].figures()}
    result = {"capture": args.capture.name, "constellation": known.constellation, "base": rx.name,
              "frames": int(np.unique(known.frame).size), "known_symbols": fit.known_symbols,
              "noise_var": fit.noise_var, "choice": fit.receiver.choice, "kept": fit.kept,
              "guard": fit.reason,
              "held_out": figures, "frames_of": known.waveform, "problems": known.problems,
              "radios": None if radios is None else {k: radios[k] for k in ("kept", "guard", "evm_db")}}
    facts = {**result, "command": _command()}
    if radios and radios["kept"]:
        facts["waveform"] = radios["numbers"]
    try:
        fit.receiver.save_model(args.output, facts)
    except OSError as e:
        raise JobError(f"{args.output} cannot be written: {e.strerror}") from e
    seconds = time.monotonic() - start
    _report(args, result, known, seconds)
    write_json(args.json, {**result, "model": str(args.output), "seconds": seconds})


def fit_radios(rx, known, load):
    """What the radios of a native link do, fitted and judged on held-out frames: (what it found, known
    symbols with it undone, or as they were)."""
    from .. import guarded_fit, waveform_fit
    held_out = waveform_fit.held_out_of(known)
    if len(known.frames) < 10:
        return None, known
    numbers = waveform_fit.correction(known, lambda condition: load(condition=condition), held_out)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "candidate.safetensors"
        guarded_fit.classical(rx).save_model(path, {"waveform": numbers})
        again = load(model=path)
    bits, before, after = waveform_fit.paired(known, again, held_out)
    before, after = guarded_fit.Comparison(bits, before), guarded_fit.Comparison(bits, after)
    frames = [{f["frame"].sync.offset: f["frame"].evm_db for f in k.frames
               if held_out(f["frame"].sync.offset)}
              for k in (known, again)]
    fall = [frames[0][at] - frames[1][at] for at in frames[0].keys() & frames[1].keys()]
    kept, reason = guarded_fit.judge(before, after, "classical path", fall)
    evm = [float(np.median(list(k.values()) or [0.0])) for k in frames]
    found = {"kept": kept, "guard": reason, "numbers": numbers, "before": before,
             "after": after if kept else before,
             "evm_db": evm}
    return found, again if kept else known


def _command():
    return "gr-diffusion " + " ".join(shlex.quote(Path(a).name if "/" in a else a) for a in sys.argv[1:])


def _report(args, r, known, seconds):
    for problem in known.problems:
        print(f"note: {problem}")
    unit = f"{known.waveform} frames" if known.waveform else "groups"
    print(f"{args.capture.name}: {r['known_symbols']} known {r['constellation']} symbols in {r['frames']} "
          f"{unit}, noise {-10 * np.log10(r['noise_var']):.1f} dB below the signal")
    undone = "radios undone, " if r["radios"] and r["radios"]["kept"] else ""
    name = {"linear": "classical path" if known.waveform else "linear receiver",
            "fitted": f"fit ({undone}{r['choice']})"}
    for key, f in r["held_out"].items():
        print(f"{name[key]:<32} held-out BER {f['ber']:.3g} [{f['ber_lo']:.2g}, {f['ber_hi']:.2g}], GMI "
              f"{f['gmi']:.3f} bit")
    if r["radios"]:
        before, after = r["radios"]["evm_db"]
        print(f"radios: image, DC and amplifier undone, median EVM of held-out frames {before:.1f} -> "
              f"{after:.1f} dB")
        print(f"guard of the radios: {r['radios']['guard']}")
    print(f"guard of the symbols: {r['guard']}")
    print(f"wrote {args.output}: load it with the message (model . {args.output}) to port cmd, or "
          f"diffusion.Receiver(\"{args.output}\")")
    print(f"({seconds:.0f} s)")
