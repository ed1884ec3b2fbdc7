# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks: kernels against the FMA peak and other runtimes, blocks in flowgraphs.

    gr-diffusion bench --quick

Everything on one thread, in CPU time, medians of at least 5; ratios are taken side by side in one run.
Without --quick, and from the source tree, the tables go to docs/benchmarks.md.
"""
import sys
from pathlib import Path

from .common import JobError, UsageError, common_options, write_json


def add_arguments(parser):
    common_options(parser)
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer rows, shorter runs")
    parser.add_argument("--latency", type=float, metavar="SECONDS",
                        help="how long call times in flowgraphs are watched (60; 4 with --quick)")
    parser.add_argument("--write", type=Path, metavar="FILE",
                        help="where the tables go (docs/benchmarks.md if there is such a folder; not with --quick)")


def run(args):
    from .. import benchmarks

    program = benchmarks.find_program()
    if program is None:
        raise JobError("the benchmark program was not built: install libbenchmark-dev, then build again")
    if args.latency is not None and not 1 <= args.latency <= 86400:
        raise UsageError(f"--latency is {args.latency}, use 1 to 86400 seconds")
    results = benchmarks.run_all(program, args.quick, args.seed, args.latency,
                                 lambda text: print(f"... {text}", file=sys.stderr, flush=True))
    text = benchmarks.markdown(results)
    print(text)
    write_json(args.json, results)
    target = args.write
    if target is None and not args.quick and Path("docs/benchmarks.md").parent.is_dir():
        target = Path("docs/benchmarks.md")
    if target:
        try:
            target.write_text(text)
        except OSError as e:
            raise JobError(f"{target} cannot be written: {e.strerror}") from e
        print(f"written: {target}")
