# SPDX-License-Identifier: GPL-3.0-or-later
"""What the subcommands share: errors, JSON output, progress, common options."""
import argparse
import json
import math
import sys
from pathlib import Path


class JobError(Exception):
    """The job cannot be done; the message is one sentence that says what to do about it."""


class UsageError(JobError):
    """An option's value cannot be; exit status 2."""


class Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong with a command line, without the whole usage; exit status 2."""

    def error(self, message):
        self.exit(2, f"error: {message}; see '{self.prog} --help'\n")


def seed_number(text):
    """The type of --seed."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed, use 0 to {2**32 - 1}")
    return number


def common_options(parser, seed=True):
    """Adds --json and --seed. seed: whether anything in the command is random; the option is there without,
    so that scripts can give it everywhere."""
    parser.add_argument("--seed", type=seed_number, default=1, metavar="N",
                        help="seed of everything random (1)" if seed else "as everywhere; nothing here is "
                                                                          "random")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results for machines")


def plain(value):
    """NumPy scalars and arrays, dataclasses' paths and the like as JSON types; NaN and Inf as null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def write_json(path, results):
    """Writes results to path, if the user named one."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plain(results), indent=2) + "\n")
    except OSError as e:
        raise JobError(f"--json {path} cannot be written: {e.strerror}") from e


def progress(iterable, **kwargs):
    """A progress bar on a terminal, nothing elsewhere."""
    try:
        from tqdm import tqdm
    except ImportError:
        return iterable
    return tqdm(iterable, disable=not sys.stderr.isatty(), leave=False, **kwargs)
