# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks: kernels against the FMA peak and other runtimes, blocks in flowgraphs.

    gr-diffusion bench --quick

Everything on one thread, in CPU time, medians of at least 5; ratios are taken side by side in one run.
Without --quick, and from the source tree, the tables go to docs/benchmarks.md. --profile runs the receiver
chains under perf instead and prints where their time goes.
"""
import sys
from pathlib import Path

from .common import JobError, UsageError, common_options, write_json


def add_arguments(parser):
    common_options(parser)
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer rows, shorter runs")
    parser.add_argument("--latency", type=float, metavar="SECONDS",
                        help="how long call times are watched in each of four flowgraphs (60; 1 with "
                             "--quick)")
    parser.add_argument("--only", action="append", metavar="SECTION",
                        help="this section only, more by naming it again: engine, growth, blocks, chains, "
                             "latency; docs/ stays as it is")
    parser.add_argument("--profile", action="store_true",
                        help="profile the receiver chains with perf (Debian: linux-perf) instead of "
                             "benchmarks")
    parser.add_argument("--plot", type=Path, metavar="FILE",
                        help="with --profile: flame graph of the diffusion chain (.png, .svg, .pdf)")
    parser.add_argument("--write", type=Path, metavar="FILE",
                        help="where the tables go (docs/benchmarks.md if there is such a folder; not with "
                             "--quick)")


def run(args):
    from .. import benchmarks

    if args.profile:
        return run_profile(args)
    if unknown := set(args.only or ()) - set(benchmarks.SECTIONS):
        raise UsageError(f"--only is {min(unknown)}, use {', '.join(benchmarks.SECTIONS)}")
    program = benchmarks.find_program()
    if program is None:
        raise JobError("the benchmark program was not built: install libbenchmark-dev, then build again")
    if args.latency is not None and not 1 <= args.latency <= 86400:
        raise UsageError(f"--latency is {args.latency}, use 1 to 86400 seconds")
    results = benchmarks.run_all(program, args.quick, args.seed, args.latency,
                                 lambda text: print(f"... {text}", file=sys.stderr, flush=True),
                                 args.only or benchmarks.SECTIONS)
    text = benchmarks.markdown(results)
    print(text)
    write_json(args.json, results)
    target = args.write
    if target is None and not args.quick and not args.only and Path("docs/benchmarks.md").parent.is_dir():
        target = Path("docs/benchmarks.md")
    if target:
        try:
            target.write_text(text)
        except OSError as e:
            raise JobError(f"{target} cannot be written: {e.strerror}") from e
        print(f"written: {target}")


def run_profile(args):
    from ..benchmarks import profile

    try:
        results = profile.measure(3.0 if args.quick else 8.0, args.seed)
        if args.plot:
            profile.flame_graph(args.plot, 2.0 if args.quick else 4.0, args.seed)
    except profile.NoProfiler as e:
        raise JobError(str(e)) from e
    text = profile.markdown(results)
    print(text)
    write_json(args.json, {"profile": results})
    if args.write:
        try:
            args.write.write_text(text)
        except OSError as e:
            raise JobError(f"{args.write} cannot be written: {e.strerror}") from e
