# SPDX-License-Identifier: GPL-3.0-or-later
"""The results as Markdown."""


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(lines + ["| " + " | ".join(rows_of(r)) + " |" for r in rows]) + "\n"


def rows_of(row):
    return [f"{v:.3g}" if isinstance(v, float) else "-" if v is None else str(v) for v in row]


def percent(x):
    return f"{x:.0f}%"


def share(x):
    return None if x is None else percent(100 * x)


def ratio(row, name):
    return f"{row[name]:.2f}x" if name in row else None


def markdown(r):
    machine = r["machine"]
    others = ", ".join(f"{k} {v}" for k, v in r["runtimes"].items()) or "none installed"
    runtimes = [n for n in ("torch_eager", "onnxruntime", "openvino") if n in r["runtimes"]]
    parts = [
        "# Benchmarks\n",
        f"Made by `./run bench`{' `--quick`' if r['quick'] else ''} on {machine['cores']} cores of {machine['cpu']} "
        f"(load {machine['load']:.1f}), kernels for {r['simd']}. One thread, CPU time, medians of 5 or more; ratios "
        f"side by side in the same run. Measured FMA peak of one core: **{r['peak_gflops']:.0f} GFLOP/s** FP32. "
        f"Other runtimes: {others}.\n",
        "## Engine\n",
        "Noise predictor 2 - width - width - width - 2, deterministic steps; ratios above 1: ours is faster.\n",
        table(["width", "activation", "steps", "batch", "of peak", "Msym/s"] + [f"vs {n}" for n in runtimes],
              [[e["width"], e["act"], e["steps"], e["batch"], percent(e["percent_peak"]), e["msym_per_s"]] +
               [ratio(e, f"vs_{n}") for n in runtimes] for e in r["engine"]]),
        "Receivers of the shipped shape (posterior, Gaussian skip, two hidden layers, SiLU), one step:\n",
        table(["output", "points", "width", "Msym/s"],
              [[e["output"], e["points"], e["width"], e["msym_per_s"]] for e in r["receiver"]]),
        "One convolutional layer of the estimators, width 3, 64 positions:\n",
        table(["activation", "channels", "outputs", "of peak"],
              [[e["act"], e["channels"], e["outputs"], percent(e["percent_peak"])] for e in r["convolution"]]),
        "## Table\n",
        "Bilinear, 256 x 256 nodes, random network of the shipped shape at 15 dB. Error: RMS of the symbols, of "
        "tanh(LLR / 2) for soft bits, against the exact network. Every table measures its own "
        "(`engine_table.accuracy`).\n",
        "Mode `auto` uses a table when its measured RMS error is at most 1e-3 (soft bits: 1e-2 in tanh(LLR / 2)) and "
        "it was made for the link in use; while a new one is made, and where the error is larger, the exact "
        "network runs. Mode `table` keeps the old table meanwhile.\n",
        table(["output", "points", "Msample/s", "RMS error"],
              [[t["output"], t["points"], t["msamples_per_s"], t["rms_error"]] for t in r["tables"]]),
        "## Blocks in a flowgraph\n",
        "16-QAM at 15 dB; symbols (OFDM symbols for the estimator) per second of CPU time of the whole process: "
        "source, scheduler and sink included.\n",
        table(["block", "Msym/s"], [[n, b["msym_per_s"]] for n, b in r["blocks"].items()]),
        "## Whole chains\n",
        "Packets of 96 bytes back to back (frames for the estimator, 16-QAM symbols at 15 dB for the demapper), 20 dB "
        "over the noise; by the clock on all cores, and per second of CPU time of the whole process.\n",
        table(["chain", "Msample/s by the clock", "Msample/s of CPU time", "packets received"],
              [[n, c["msamples_per_s"], c.get("msamples_per_cpu_s"), share(c.get("packets_ok"))]
               for n, c in r["chains"].items()]),
        "## Latency of a call\n",
        "Network of width 32, one step, called from Python, by the clock and under the load above.\n",
        table(["call", "p50 us", "p99 us", "max us"],
              [[n, v["p50"], v["p99"], v["max"]] for n, v in r["latency_us"].items()]),
    ]
    return "\n".join(parts)
