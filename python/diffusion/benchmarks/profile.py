# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time of a receiver chain goes: perf's samples of the receiver's own thread, added up by stage."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict

CHAINS = {"classical": ("lmmse", "map"), "diffusion": ("diffusion", "diffusion")}

# The first that fits a function (its library's name counts too).
STAGES = [
    ("kernel, allocation", r"\[k\]|kernel|malloc|free|operator (new|delete)|memmove|memset|memcpy"),
    ("demapper: network",
     r"tile<.*activation|diffusion_demapper|engine::receiver|film|panel|posterior|bit_ratios"),
    ("estimator: network", r"tile<|packed_dense|dense"),
    ("estimator: guided steps",
     r"delay_(guide|net)|toeplitz|quadratic_form|add_lags|apply_hermitian|engine::.*::dot|"
                                r"next_row|eliminate|add_reversed|all_stages|small_fft|feature_columns|update_gamma|"
                                r"column_means|modulate\b|pilot_stage|N_AVX|N_SSE"),
    ("estimator: LMMSE", r"lmmse|to_taps|to_carriers|invert_hermitian"),
    ("channel that moves", r"channel_tracker|dsp::\(anonymous namespace\)::dot"),
    ("frame synchronisation", r"frame_sync|correlate_all|preamble|lag_products|coherence|running_sums"),
    ("phase tracker", r"phase_tracker|atan2"),
    ("demapper: MAP, decisions", r"qam::|soft_bit|level_metrics"),
    ("decoder, CRC, EVM",
     r"payload_code|native_format|quantise|sum_of_sizes|libgnuradio-fec|viterbi|libvolk|ldpc|"
                          r"check_nodes|payload_points|::evaluate"),
    ("DFT, pilots, equaliser", r"_demodulator|turn_samples|fftw|gnuradio-fft|sincos|__sin|__cos"),
    ("messages, tags, scheduler", r"pmt|gnuradio-runtime|ofdm_rx_impl|libpthread|boost"),
]


class NoProfiler(RuntimeError):
    """perf is missing, or may not be used here."""


def measure(seconds=8.0, seed=1):
    """{chain: {"stages": {stage: share}, "functions": [(share, name)]}} of the receiver's thread."""
    perf = shutil.which("perf")
    if perf is None:
        raise NoProfiler("perf is not installed: apt install linux-perf")
    return {name: _chain(perf, name, seconds, seed) for name in CHAINS}


def _chain(perf, name, seconds, seed):
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "perf.data")
        _record(perf, data, ["-F", "1999"], name, seconds, seed)
        report = subprocess.run([perf, "report", "-i", data, "--stdio", "--no-children", "-g", "none", "-t",
                                 ";",
                                 "-F", "overhead,comm,dso,symbol"], capture_output=True, text=True)
    return add_up(report.stdout)


def _record(perf, data, options, name, seconds, seed):
    job = [sys.executable, "-c", f"from gnuradio.diffusion.benchmarks import profile; "
                                 f"profile.run_chain({name!r}, {seconds!r}, {seed!r})"]
    done = subprocess.run([perf, "record", "-q", *options, "-o", data, *job], capture_output=True, text=True)
    if done.returncode or not os.path.exists(data):
        why = done.stderr.strip().splitlines()
        raise NoProfiler("perf cannot record here (kernel.perf_event_paranoid at 2 or less is needed): "
                         + (why[-1] if why else "it says nothing"))


def flame_graph(path, seconds=4.0, seed=1, name="diffusion"):
    """Picture of the call stacks of a chain's receiver, to a file (.png, .svg, .pdf)."""
    from . import flame
    perf = shutil.which("perf")
    if perf is None:
        raise NoProfiler("perf is not installed: apt install linux-perf")
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, "perf.data")
        _record(perf, data, ["-F", "499", "--call-graph", "dwarf,8192"], name, seconds, seed)
        script = subprocess.run([perf, "script", "-i", data, "--no-inline", "-F", "comm,ip,sym"],
                                capture_output=True, text=True,
                                errors="replace")
    try:
        flame.draw(script.stdout, path, f"ofdm_rx, {name} chain")
    except ValueError as e:
        raise NoProfiler(f"perf: {e}") from e


def run_chain(name, seconds, seed):
    """The job under perf: packets back to back through the receiver for about so long."""
    from gnuradio import diffusion

    from . import chains
    samples, frame = chains.native_samples(seed)
    estimator, demapper = CHAINS[name]

    def make():
        return chains.Chain(samples, [diffusion.ofdm_rx("native", estimator, demapper)], frame,
                            chains.PAYLOAD)

    n, spent = 1 << 18, 0
    while spent < seconds:
        clock, *_ = chains.timed_run(make, n)
        spent += clock
        n = int(min(16 * n, max(n, 0.5 * seconds * n / max(clock, 1e-3))))


def add_up(report, thread="ofdm_rx"):
    """perf's report (overhead;comm;dso;symbol) as shares of the threads whose name holds ``thread``."""
    stages, functions, total = defaultdict(float), defaultdict(float), 0.0
    for line in report.splitlines():
        cells = [c.strip() for c in line.split(";")]
        if line.startswith("#") or len(cells) < 4 or not cells[0].endswith("%") or thread not in cells[1]:
            continue
        share, name = float(cells[0][:-1]), f"{cells[2]} {cells[3]}"
        total += share
        stage = next((s for s, pattern in STAGES if re.search(pattern, name)), "other")
        stages[stage] += share
        functions[re.sub(r"^.*\] ", "", cells[3])] += share
    if total <= 0:
        raise NoProfiler("perf has no sample of the receiver's thread")
    return {"stages": {k: v / total for k, v in sorted(stages.items(), key=lambda i: -i[1])},
            "functions": sorted(((s / total, f) for f, s in functions.items()), reverse=True)[:12]}


def markdown(results):
    """Tables: share of each stage in each chain, then the functions that take most."""
    names = list(results)
    stages = sorted({s for r in results.values() for s in r["stages"]},
                    key=lambda s: -max(r["stages"].get(s, 0) for r in results.values()))
    lines = ["| stage | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for stage in stages:
        lines.append(f"| {stage} | " + " | ".join(f"{100 * r['stages'].get(stage, 0):.1f}%"
                                                  for r in results.values())
                     + " |")
    for name, r in results.items():
        lines += ["", f"Functions, {name}:", "", "```"]
        lines += [f"{100 * share:5.1f}%  {function}" for share, function in r["functions"]]
        lines += ["```"]
    return "\n".join(lines) + "\n"
