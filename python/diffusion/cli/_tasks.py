# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands with tasks (train, evaluate): one module a task, found by name, imported when it is asked for."""
import argparse
import importlib
import pkgutil
import sys
from pathlib import Path

from .common import Parser, write_json


def tasks(package):
    """Names of the modules in a subpackage that define add_arguments(parser) and run(args)."""
    folder = Path(__file__).resolve().parent.parent / package
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)])
                  if "def add_arguments(" in (folder / f"{m.name}.py").read_text())


def add_arguments(parser, package):
    names = tasks(package)
    parser.add_argument("task", choices=names, metavar="TASK", help=f"one of: {', '.join(names)}")
    parser.add_argument("options", nargs=argparse.REMAINDER, help=f"see: gr-diffusion {package} TASK --help")


def run(args, package):
    try:
        module = importlib.import_module(f"gnuradio.diffusion.{package}.{args.task}")
    except ModuleNotFoundError as e:
        if e.name not in ("torch", "safetensors"):
            raise
        print(f"error: {package} needs {e.name}: start it as './run {package}', or pip install torch "
              "safetensors",
              file=sys.stderr)
        return 1
    parser = Parser(
        prog=f"gr-diffusion {package} {args.task}", description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    module.add_arguments(parser)
    own_json = "--json" in parser.format_usage()
    if not own_json:
        parser.add_argument("--json", type=Path, metavar="FILE",
                            help="write what the model files say, for machines")
    options = parser.parse_args(args.options)
    status = module.run(options)
    if not own_json and options.json:
        from ..nn.export import saved
        write_json(options.json, {"models": [{"file": path, **facts} for path, facts in saved.items()]})
    return status
