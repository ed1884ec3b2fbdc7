# SPDX-License-Identifier: GPL-3.0-or-later
"""Show the figures that link_metrics publishes, as they come: a line each, a live plot, or a picture file.

example:
    gr-diffusion watch tcp://127.0.0.1:5599
    gr-diffusion watch tcp://127.0.0.1:5599 --plot
    gr-diffusion watch tcp://127.0.0.1:5599 --png link.png
"""
import json
import math
import time
from pathlib import Path

from .common import JobError, common_options, write_json

FIGURES = (("ber", "BER"), ("per", "PER"), ("evm_db", "EVM dB"), ("gmi", "GMI bit"), ("nmse_db", "NMSE dB"))
KEPT = 600  # reports in the plot
MAX_SIZE = 65536


def add_arguments(parser):
    parser.add_argument("address", help="of link_metrics' ZMQ PUB socket, e.g. tcp://127.0.0.1:5599")
    parser.add_argument("--count", type=int, metavar="N", help="stop after N reports (on and on)")
    parser.add_argument("--timeout", type=float, metavar="S", help="fail when nothing comes for so long "
                                                                   "(wait)")
    parser.add_argument("--plot", action="store_true", help="a window with the figures over time")
    parser.add_argument("--png", type=Path, metavar="FILE", help="the same as a picture, anew with every "
                                                                 "report; needs no screen")
    common_options(parser, seed=False)


def parse(parts):
    """{name: float} of a message, or None if it is not one of link_metrics'."""
    if len(parts) != 2 or parts[0] != b"link_metrics" or len(parts[1]) > MAX_SIZE:
        return None
    try:
        figures = json.loads(parts[1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(figures, dict):
        return None
    return {k: float(v) for k, v in figures.items() if isinstance(v, (int, float)) and math.isfinite(v)}


def line(figures):
    """One line: each figure with its interval."""
    parts = [f"{figures.get('time', math.nan):8.1f} s"]
    for name, label in FIGURES:
        if name in figures:
            text = f"{label} {figures[name]:.4g}"
            if name + "_low" in figures and name + "_high" in figures:
                text += f" ({figures[name + '_low']:.3g} to {figures[name + '_high']:.3g})"
            parts.append(text)
    return "   ".join(parts)


class Plot:
    """One panel a figure, redrawn with every report: in a window, or in a file."""

    def __init__(self, png=None):
        self.png, self.plt, self.history = png, None, []
        if png:
            from matplotlib.figure import Figure
            self.figure = Figure(figsize=(8, 6))
            return
        import matplotlib.pyplot as plt
        self.plt = plt
        plt.ion()
        self.figure = plt.figure("link_metrics")

    def add(self, figures):
        self.history = self.history[-KEPT:] + [figures]
        names = [(n, label) for n, label in FIGURES if any(n in f for f in self.history)]
        self.figure.clear()
        axes = self.figure.subplots(max(1, len(names)), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (name, label) in zip(axes, names):
            rows = [f for f in self.history if name in f]
            t = [f.get("time", 0.0) for f in rows]
            axis.plot(t, [f[name] for f in rows])
            axis.fill_between(t, [f.get(name + "_low", f[name]) for f in rows],
                              [f.get(name + "_high", f[name]) for f in rows], alpha=0.25)
            axis.set_ylabel(label)
        axes[-1].set_xlabel("time, s")
        if self.png:
            try:
                self.figure.savefig(self.png, format="png")
            except OSError as e:
                raise JobError(f"--png {self.png} cannot be written: {e.strerror}") from e
            return
        self.figure.canvas.draw_idle()
        self.keep_alive()

    def keep_alive(self):
        if self.plt:
            self.plt.pause(0.01)


def run(args):
    import zmq

    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.linger = 0
    socket.setsockopt(zmq.SUBSCRIBE, b"link_metrics")
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_SIZE)
    try:
        socket.connect(args.address)
    except zmq.ZMQError as e:
        raise JobError(f"{args.address} is no address ({e}); use one like tcp://127.0.0.1:5599") from e
    plots = [Plot()] if args.plot else []
    plots += [Plot(args.png)] if args.png else []
    reports, heard = [], time.monotonic()
    try:
        while args.count is None or len(reports) < args.count:
            if not socket.poll(200):
                if args.timeout is not None and time.monotonic() - heard > args.timeout:
                    raise JobError(f"nothing came from {args.address} for {args.timeout:g} s; is "
                                   "link_metrics running with this address?")
                for plot in plots:
                    plot.keep_alive()
                continue
            figures = parse(socket.recv_multipart())
            if figures is None:
                continue
            heard = time.monotonic()
            reports = (reports if args.count else reports[-KEPT:]) + [figures]
            print(line(figures), flush=True)
            for plot in plots:
                plot.add(figures)
    except KeyboardInterrupt:
        pass
    finally:
        socket.close()
    write_json(args.json, {"reports": reports})
