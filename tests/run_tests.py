# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ctest and pytest and prints one total; started by ``./run test``.

usage: ./run test [--asan | --soak] [PYTEST ARGUMENTS]
"""
import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def stream(command, env):
    """Runs a command, shows its output as it comes, and returns (exit status, output)."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    return process.wait(), "".join(lines)


def count(pattern, text):
    return sum(int(n) for n in re.findall(pattern, text))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--asan", action="store_true", help="with address and undefined-behaviour sanitizers")
    parser.add_argument("--soak", action="store_true", help="the long runs only")
    args, pytest_args = parser.parse_known_args()

    env = dict(os.environ, OMP_NUM_THREADS="1", MPLBACKEND="Agg", PYTHONDONTWRITEBYTECODE="1")
    if args.asan:
        runtime = [subprocess.check_output(["g++", f"-print-file-name={name}"], text=True).strip()
                   for name in ("libasan.so", "libubsan.so", "libstdc++.so.6")]
        # Python is not instrumented, so the runtime must be there first; its own leaks are not ours.
        env.update(LD_PRELOAD=":".join(runtime), ASAN_OPTIONS="detect_leaks=0",
                   UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
    passed = failed = 0
    status = 0
    if not args.soak and not pytest_args:
        ctest_env = {k: v for k, v in env.items() if k != "LD_PRELOAD"}
        status, out = stream(["ctest", "--test-dir", str(args.build), "--output-on-failure", "-j2"],
                             ctest_env)
        total, bad = count(r"out of (\d+)", out), count(r"(\d+) tests? failed out of", out)
        passed, failed = total - bad, bad
    select = ["-m", "soak" if args.soak else "not soak"]
    where = [] if any(Path(a.split("::")[0]).exists() for a in pytest_args) else [str(ROOT / "tests")]
    code, out = stream([sys.executable, "-m", "pytest", *where, "-q", "-ra",
                        "--durations=8", *select, *pytest_args], env)
    tail = out.splitlines()[-1] if out else ""
    passed += count(r"(\d+) passed", tail)
    failed += count(r"(\d+) (?:failed|errors?)", tail)
    skipped = count(r"(\d+) skipped", tail)
    if passed == 0:
        print("error: no test ran", file=sys.stderr)
        status = status or 1
    if status == 0 and code != 0 and failed == 0:
        failed = 1  # pytest died without a summary
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return int(status != 0 or code != 0)


if __name__ == "__main__":
    sys.exit(main())
