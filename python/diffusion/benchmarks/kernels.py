# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs bench_engine (google-benchmark) and reads its JSON."""
import json
import subprocess
from pathlib import Path

QUICK = ("^peak$|network/(relu|silu|softplus)/width:(128/steps:10/batch:(64|8192)|32/steps:1)|"
         "table/.*points:16|posterior/.*points:16|convolution/silu/channels:64/outputs:64")


def find_program(name="bench_engine"):
    """The program that was installed beside this package, or None."""
    for folder in Path(__file__).resolve().parents:
        program = folder / "share" / "gr-diffusion" / "bench" / name
        if program.is_file():
            return program
    return None


def measure_kernels(program, quick):
    command = [str(program), "--benchmark_format=json", "--benchmark_repetitions=5",
               "--benchmark_report_aggregates_only=true", f"--benchmark_min_time={0.03 if quick else 0.1}"]
    if quick:
        command.append(f"--benchmark_filter={QUICK}")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{program} failed: {done.stderr.strip()[-300:]}")
    report = json.loads(done.stdout)
    rows = [parsed(b) for b in report["benchmarks"] if b["aggregate_name"] == "median"]
    peak = next(r["flops"] for r in rows if r["name"] == "peak")
    results = {"peak_gflops": peak / 1e9, "simd": report["context"].get("simd_target"), "engine": [],
               "receiver": [], "convolution": [], "tables": []}
    for r in rows:
        kind = r["name"].split("/")
        percent = 100 * r.get("flops", 0) / peak
        if kind[0] == "network":
            results["engine"].append({"width": r["width"], "act": kind[1], "steps": r["steps"],
                                      "batch": r["batch"],
                                      "percent_peak": percent, "msym_per_s": r["symbols"] / 1e6})
        elif kind[0] == "posterior":
            results["receiver"].append({"output": kind[1], "points": r["points"], "width": r["width"],
                                        "msym_per_s": r["symbols"] / 1e6})
        elif kind[0] == "convolution":
            results["convolution"].append({"act": kind[1], "channels": r["channels"], "outputs": r["outputs"],
                                           "percent_peak": percent})
        elif kind[0] == "table":
            results["tables"].append({"output": kind[1], "points": r["points"],
                                      "msamples_per_s": r["symbols"] / 1e6, "rms_error": r["rms_error"]})
    results["table"] = next(({k: t[k] for k in ("msamples_per_s", "rms_error")} for t in results["tables"]
                             if t["output"] == "symbols" and t["points"] == 16), {})
    return results


def parsed(b):
    """A benchmark's numbers, with the arguments in its name ("a/b/width:32/batch:64") as fields."""
    parts = b["run_name"].split("/")
    row = {key: int(value) for key, value in (p.split(":") for p in parts if ":" in p)}
    row["name"] = "/".join(p for p in parts if ":" not in p)
    row.update({k: b[k] for k in ("flops", "symbols", "rms_error") if k in b})
    return row
