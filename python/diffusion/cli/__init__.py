# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: one module a subcommand, found by name.

A module has a docstring (first line: the one-line help; an indented ``gr-diffusion ...`` example),
``add_arguments(parser)`` and ``run(args)``, which returns None or an exit status. It imports what is
heavy inside run().
"""
import argparse
import importlib
import os
import pkgutil
import sys

from .common import JobError, Parser, UsageError

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def commands():
    """Names of the subcommands."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "common"
                  and not m.name.startswith("_"))


def main(argv=None):
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(
        prog="gr-diffusion", description="Diffusion models in GNU Radio: link, models, training, hardware.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    sub = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    names = commands()
    wanted = [argv[0]] if argv and argv[0] in names else names
    for name in wanted:
        module = importlib.import_module(f"{__name__}.{name}")
        p = sub.add_parser(name, help=module.__doc__.splitlines()[0], description=module.__doc__,
                           formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(p)
        p.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    try:
        status = args.run(args) or EXIT_OK
        sys.stdout.flush()
        return status
    except JobError as e:
        print(f"error: {e}", file=sys.stderr)
        return EXIT_USAGE if isinstance(e, UsageError) else EXIT_FAILED
    except BrokenPipeError:  # whoever read the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as e:
        print(f"error: {e.filename}: {e.strerror}" if e.filename else f"error: {e}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _version():
    from gnuradio import diffusion
    return diffusion.__version__
