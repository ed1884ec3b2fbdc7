# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``gr-diffusion bench`` measures: kernels (a C++ program), other runtimes beside them, blocks."""
import os
import platform

from .blocks import measure_blocks
from .chains import measure_chains
from .growth import measure_growth
from .kernels import find_program, measure_kernels
from .latency import measure_latency
from .report import markdown
from .runtimes import compare_runtimes

__all__ = ["SECTIONS", "find_program", "markdown", "run_all"]


SECTIONS = ("engine", "growth", "blocks", "chains", "latency")


def run_all(program, quick, seed, latency=None, progress=lambda text: None, only=SECTIONS):
    """The sections asked for as the dictionary that --json writes. latency: seconds of each latency
    measurement."""
    results = {"machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "load": os.getloadavg()[0]},
               "quick": bool(quick)}
    if "engine" in only:
        progress("kernels")
        results.update(measure_kernels(program, quick))
        progress("other runtimes")
        ratios, versions = compare_runtimes(quick, seed)
        results["runtimes"] = versions
        for row in results["engine"]:
            row.update({"vs_torch_eager": None, "vs_onnxruntime": None})  # not measured for this row
            row.update(ratios.get((row["width"], row["act"], row["steps"], row["batch"]), {}))
    for section, key, measure in (("growth", "growth", measure_growth), ("blocks", "blocks", measure_blocks),
                                  ("chains", "chains", measure_chains)):
        if section in only:
            progress(section)
            results[key] = measure(quick, seed)
    if "latency" in only:
        progress("latency")
        results["latency_us"] = measure_latency(find_program("bench_latency"), quick, seed, latency)
    return results


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
