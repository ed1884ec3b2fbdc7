# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``gr-diffusion bench`` measures: kernels (a C++ program), other runtimes beside them, blocks."""
import os
import platform

from .blocks import measure_blocks
from .chains import measure_chains
from .kernels import find_program, measure_kernels
from .latency import measure_latency
from .report import markdown
from .runtimes import compare_runtimes

__all__ = ["find_program", "markdown", "run_all"]


def run_all(program, quick, seed):
    """All sections as the dictionary that --json writes."""
    results = measure_kernels(program, quick)
    results["machine"] = {"cpu": cpu_name(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
    ratios, versions = compare_runtimes(quick, seed)
    results["runtimes"] = versions
    for row in results["engine"]:
        row.update(ratios.get((row["width"], row["act"], row["steps"], row["batch"]), {}))
    results["blocks"] = measure_blocks(quick, seed)
    results["chains"] = measure_chains(quick, seed)
    results["latency_us"] = measure_latency(quick, seed)
    results["quick"] = bool(quick)
    return results


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
