# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks in flowgraphs: symbols through a repeating source, the block and a null sink, over the CPU time of
the whole process, so that source, sink and scheduler count too. Stock blocks beside ours. What this version
does not have, or has no model for, is left out."""
import time

import numpy as np

NOISE_VAR = 10 ** -1.5


def measure_blocks(quick, seed):
    """{name: {"msym_per_s"}}"""
    from gnuradio import diffusion
    rng = np.random.default_rng(seed)
    points = np.asarray(diffusion.constellation("qam16"))
    noise = rng.standard_normal((65536, 2)) @ [1, 1j] * np.sqrt(NOISE_VAR / 2)
    y = (points[rng.integers(0, 16, 65536)] + noise).astype(np.complex64)
    results = {}
    for name, make in candidates().items():
        try:
            block, vector = make()
        except (AttributeError, ValueError, TypeError):
            continue
        rates = [rate(block_or_new(make, block, first), y, vector, quick) for first in [True] +
                 [False] * (2 if quick else 4)]
        results[name] = {"msym_per_s": float(np.median(rates)) / 1e6}
    results.update(measure_shaper(quick, rng))
    results.update(measure_shaping_blocks(quick, rng))
    return results


def measure_shaper(quick, rng):
    """The distribution matcher both ways, called from Python: 64-QAM at 15 dB, 65536 bits a call."""
    from gnuradio import diffusion

    from .timing import side_by_side
    shaper, bits = diffusion.Shaper("ps-qam64"), rng.integers(0, 2, 65536, dtype=np.uint8)
    symbols, state = shaper.encode(bits, 15.0)
    times = side_by_side({"shaper encode, ps-qam64": lambda: shaper.encode(bits, 15.0),
                          "shaper decode, ps-qam64": lambda: shaper.decode(symbols, state)},
                         3 if quick else 5)
    return {name: {"msym_per_s": len(symbols) / float(np.median(t)) / 1e6} for name, t in times.items()}


def measure_shaping_blocks(quick, rng):
    """shaper_bc and deshaper_cb with both matchers, 64-QAM at 15 dB, by the symbols of a block."""
    from gnuradio import blocks, diffusion
    bits, results = rng.integers(0, 2, 1 << 18, dtype=np.uint8), {}
    for length in (1024,) if quick else (64, 1024):
        for matcher in ("ccdm", "ess"):
            def shaper(length=length, matcher=matcher):
                return diffusion.shaper_bc("ps-qam64", 15.0, length, matcher=matcher)

            def deshaper(length=length, matcher=matcher):
                return diffusion.deshaper_cb("ps-qam64", 15.0, length, matcher=matcher)

            sink = blocks.vector_sink_c()
            run_chain(blocks.vector_source_b(bits.tolist()), shaper(), sink)
            symbols, times = np.array(sink.data(), np.complex64), 1 if quick else 5
            per_symbol = shaper().rate()
            into = [rate(shaper(), bits, 1, quick) / per_symbol for _ in range(times)]
            back = [rate(deshaper(), symbols, 1, quick) for _ in range(times)]
            for name, rates in (("shaper_bc", into), ("deshaper_cb", back)):
                key = f"{name} {matcher}, blocks of {length}"
                results[key] = {"msym_per_s": float(np.median(rates)) / 1e6}
    return results


def run_chain(*parts):
    from gnuradio import gr
    tb = gr.top_block()
    tb.connect(*parts)
    tb.run()


def block_or_new(make, block, first):
    return block if first else make()[0]


def rate(block, y, vector, quick):
    """Items a second of CPU time; the size of the run is found by a short one."""
    spent, n = 0.0, 1 << 16
    while spent < (0.1 if quick else 0.6):
        n = 4 * n if spent < 0.02 else int(n * 1.3 * (0.1 if quick else 0.6) / spent)
        spent = cpu_of_run(block, y, vector, n)
    return n / vector / spent


def cpu_of_run(block, y, vector, n):
    from gnuradio import blocks, gr
    tb = gr.top_block()
    make = blocks.vector_source_b if y.dtype == np.uint8 else blocks.vector_source_c
    source = make(np.resize(y, len(y) // vector * vector), True, vector)
    head = blocks.head(y.itemsize * vector, max(1, n // vector))
    outputs = block.output_signature()
    sinks = [blocks.null_sink(outputs.sizeof_stream_item(i)) for i in range(max(1, outputs.min_streams()))]
    tb.connect(source, head, block)
    for i, sink in enumerate(sinks):
        tb.connect((block, i), sink)
    start = time.process_time()
    tb.run()
    return time.process_time() - start


def candidates():
    """name -> function returning (block, items of a symbol)."""
    from gnuradio import blocks, diffusion, digital

    def stock_soft(table):
        constellation = digital.constellation_16qam().base()
        if table:
            constellation.gen_soft_dec_lut(8, NOISE_VAR)
        return digital.constellation_soft_decoder_cf(constellation), 1

    def estimator(model, method):
        rng = np.random.default_rng(1)
        preamble = np.sqrt(2) * (2 * rng.integers(0, 2, 64) - 1) * (np.arange(64) % 2 == 0)
        second = (2 * rng.integers(0, 2, 64) - 1).astype(complex)
        for s in (preamble, second):
            s[:6] = s[59:] = s[32] = 0
        if method == "stock":
            return digital.ofdm_chanest_vcvc(preamble.astype(complex), second, 1), 64
        return diffusion.ofdm_channel_estimator_vcvc(model, preamble.astype(complex), second, 1,
                                                     method=method), 64

    def mimo(model, antennas, streams, random=0):
        """Orthogonal pilots, each antenna in its turn, or random QPSK."""
        rng = np.random.default_rng(1)
        pilots = np.eye(streams, dtype=complex)
        if random:
            pilots = np.sqrt(0.5) * (rng.choice([-1, 1], (streams, random, 2)) @ [1, 1j])
        return diffusion.mimo_channel_estimator(model, pilots.ravel().tolist(),
                                                NOISE_VAR), antennas * pilots.shape[1]

    return {
        "copy": lambda: (blocks.copy(8), 1),
        "denoiser_cc_exact": lambda: (diffusion.denoiser_cc("rx-qam16", NOISE_VAR, 1, "exact"), 1),
        "denoiser_cc_table": lambda: (diffusion.denoiser_cc("rx-qam16", NOISE_VAR, 1, "table"), 1),
        "soft_demapper_cf_exact": lambda: (diffusion.soft_demapper_cf("rx-qam16", NOISE_VAR, "exact"), 1),
        "soft_demapper_cf_table": lambda: (diffusion.soft_demapper_cf("rx-qam16", NOISE_VAR, "table"), 1),
        "stock constellation_soft_decoder_cf": lambda: stock_soft(False),
        "stock constellation_soft_decoder_cf, its table": lambda: stock_soft(True),
        "stock constellation_decoder_cb": lambda: (digital.constellation_decoder_cb(
            digital.constellation_16qam().base()), 1),
        "ofdm_channel_estimator_vcvc": lambda: estimator("ce-ofdm64", "diffusion"),
        "ofdm_channel_estimator_vcvc fast": lambda: estimator("ce-ofdm64-fast", "diffusion"),
        "ofdm_channel_estimator_vcvc ls": lambda: estimator("", "ls"),
        "ofdm_channel_estimator_vcvc lmmse": lambda: estimator("", "lmmse"),
        "stock ofdm_chanest_vcvc": lambda: estimator(None, "stock"),
        "mimo_channel_estimator": lambda: mimo("ce-mimo64x16", 16, 64),
        "mimo_channel_estimator, 16 QPSK pilots": lambda: mimo("ce-mimo64x16", 16, 64, 16),
        "mimo_channel_estimator, 16 x 4": lambda: mimo("ce-mimo16x4", 4, 16),
        "impairments_cc": lambda: (diffusion.impairments_cc(), 1),
        "quantizer_cc": lambda: (diffusion.quantizer_cc(4), 1),
    }
