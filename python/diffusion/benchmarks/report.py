# SPDX-License-Identifier: GPL-3.0-or-later
"""The results as Markdown."""
from .latency import cause


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
    return f"{row[name]:.2f}x" if row.get(name) else None


RUNTIMES = ("torch_eager", "torch_eager_folded", "torch_eager_plain", "torch_compile", "onnxruntime",
            "openvino")


def markdown(r):
    """Everything that is in the results: some sections, or all."""
    parts = head(r)
    if "engine" in r:
        parts += engine(r, [n for n in RUNTIMES if n in r["runtimes"]]) + tables(r)
    for key, section in (("growth", growth), ("blocks", blocks), ("chains", chains), ("latency_us", latency)):
        if key in r:
            parts += section(r)
    return "\n".join(parts)


def head(r):
    machine = r["machine"]
    return [
        "# Benchmarks\n",
        f"Made by `./run bench`{' `--quick`' if r['quick'] else ''} on {machine['cores']} cores of "
        f"{machine['cpu']} (load {machine['load']:.1f}). One thread, CPU time, medians of 5 or more; ratios "
        "side by side in the same run. "
        + (f"Kernels for {r['simd']}; measured FMA peak of one core: **{r['peak_gflops']:.0f} GFLOP/s** "
           "FP32. "
           if "peak_gflops" in r else "") + "What the figures mean, and what was tried: "
                                            "[performance](performance.md).\n",
    ]


def engine(r, runtimes):
    return [
        "## Engine\n",
        "Noise predictor 2 - width - width - width - 2, deterministic steps; ratios above 1: ours is faster. "
        "torch_eager: the module as trained, conditioned on the step; torch_eager_folded: the condition "
        "folded into the weights by hand, as ours does by itself; torch_eager_plain: a network of the same "
        "size without any condition, the least that eager can take.\n",
        table(["runtime", "version"], [[n, r["runtimes"][n]] for n in runtimes]),
        table(["width", "activation", "steps", "batch", "of peak", "Msym/s"] + [f"vs {n}" for n in runtimes],
              [[e["width"], e["act"], e["steps"], e["batch"], percent(e["percent_peak"]), e["msym_per_s"]] +
               [ratio(e, f"vs_{n}") for n in runtimes] for e in r["engine"]]),
        "Receivers of the shipped shape (posterior, Gaussian skip, two hidden layers, SiLU), one step:\n",
        table(["output", "points", "width", "Msym/s"],
              [[e["output"], e["points"], e["width"], e["msym_per_s"]] for e in r["receiver"]]),
        "One convolutional layer of the estimators, width 3, 64 positions:\n",
        table(["activation", "channels", "outputs", "of peak"],
              [[e["act"], e["channels"], e["outputs"], percent(e["percent_peak"])]
               for e in r["convolution"]]),
    ]


def tables(r):
    return [
        "## Table\n",
        "Bilinear, 256 x 256 nodes, random network of the shipped shape at 15 dB. Error: RMS of the symbols, "
        "of tanh(LLR / 2) for soft bits, against the exact network. Every table measures its own "
        "(`engine_table.accuracy`).\n",
        "Mode `auto` uses a table when its measured RMS error is at most 1e-3 (soft bits: 1e-2 in tanh(LLR / "
        "2)) and it was made for the link in use; while a new one is made, and where the error is larger, "
        "the exact network runs. Mode `table` keeps the old table meanwhile; a new model has none yet, so "
        "the exact network runs and `without_table()` counts.\n",
        table(["output", "points", "Msample/s", "RMS error"],
              [[t["output"], t["points"], t["msamples_per_s"], t["rms_error"]] for t in r["tables"]]),
    ]


def growth(r):
    g = r["growth"]
    return ["## How cost grows\n",
            "CPU time of a symbol, ns: three hidden layers of the width (128), SiLU, the steps (1), the "
            "batch (1024) in a call from Python.\n",
            *[table([name] + [str(v) for v in g[name]], [["ns a symbol"] + list(g[name].values())])
              for name in ("batch", "width", "steps")],
            "Shipped receivers at 15 dB, 4096 symbols a call, ns a symbol:\n",
            table(["points", "symbols", "soft bits", "symbols, table"],
                  [[p, v["mean"], v["llr"], v["table"]] for p, v in g["constellation"].items()]),
            "Shipped OFDM estimators, a quarter of the carriers pilots, one frame a call:\n",
            table(["model", "us an estimate"], [[n, v] for n, v in g["carriers"].items()])]


def blocks(r):
    return [
        "## Blocks in a flowgraph\n",
        "16-QAM at 15 dB; symbols (OFDM symbols for the estimator, channel matrices for the MIMO estimator) "
        "per second of CPU time of the whole process: source, scheduler and sink included. shaper: the "
        "matcher called from Python, without a flowgraph; shaper_bc and deshaper_cb: 64-QAM at 15 dB, "
        "constant composition (ccdm) or sphere shaping (ess).\n",
        table(["block", "Msym/s"], [[n, b["msym_per_s"]] for n, b in r["blocks"].items()]),
    ]


def chains(r):
    return [
        "## Whole chains\n",
        "Packets of 96 bytes back to back (frames for the estimator, 16-QAM symbols at 15 dB for the "
        "demapper), 20 dB over the noise; by the clock on all cores, and per second of CPU time of the whole "
        "process.\n",
        "CPU against classical: CPU time over that of our classical chain on the same samples, median (least "
        "to largest) over the rounds, in which the chains took turns.\n",
        table(["chain", "Msample/s by the clock", "Msample/s of CPU time", "packets received",
               "CPU against classical"],
              [[n, c["msamples_per_s"], c.get("msamples_per_cpu_s"), share(c.get("packets_ok")),
                spread(c.get("cpu_ratio"))]
               for n, c in r["chains"].items()]),
    ]


def spread(v):
    return f"{v['median']:.2f} ({v['low']:.2f} to {v['high']:.2f})" if v else None


def latency(r):
    blocks = {n: v for n, v in r["latency_us"].items() if "calls" in v}
    calls = {n: v for n, v in r["latency_us"].items() if "calls" not in v}
    keys = ("p50", "p99", "max", "p50_cpu", "p99_cpu", "max_cpu", "calls", "above_5_ms", "above_5_ms_cpu",
            "involuntary",
            "page_faults", "seconds")
    late = [[n, c["us"], c["cpu_us"], c["involuntary"], c["voluntary"], c["minor_faults"] + c["major_faults"],
             cause(c)]
            for n, v in blocks.items() for c in v["late"]]
    return [
        "## Latency\n",
        "Calls of the scheduler into `denoiser_cc` (rx-qam16) with full batches, source and sink at full "
        "speed, each row one run without a break under the load above. `table`: the noise level moves twenty "
        "times a second, so that tables are made all the time. CPU: in CPU time of the call's thread, "
        "without what the system gave to others; switches: how often it did so during a call.\n",
        table(["mode, batch", "p50 us", "p99 us", "max us", "p50 CPU", "p99 CPU", "max CPU", "calls",
               "above 5 ms",
               "above 5 ms of CPU", "switches", "page faults", "seconds"],
              [[n, *(v[k] for k in keys)] for n, v in blocks.items()]),
        *(["Calls above 5 ms (the first 20 of a row), and where their time went:\n",
           table(["mode, batch", "us", "us of CPU", "involuntary switches", "voluntary switches",
                  "page faults", "cause"], late)]
          if late else ["No call took longer than 5 ms.\n"] if blocks else []),
        "Calls into the engine from Python (width 32, one step):\n",
        table(["call", "p50 us", "p99 us", "max us"],
              [[n, v["p50"], v["p99"], v["max"]] for n, v in calls.items()]),
    ]
