# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole chains in flowgraphs: samples through a repeating source, the receiver and a null sink.

Each chain is run on as many cores as there are and timed twice: by the clock (what a radio may deliver) and
in CPU time of the whole process (what it costs, whatever else the machine does). Packets lie back to back, 20
dB over the noise behind two paths, with a carrier offset of a tenth of a carrier. How many of them arrived is
counted, because a receiver that loses packets saves itself their work."""
import time

import numpy as np

SNR_DB, CFO, PAYLOAD = 20.0, 0.1, 96
FRAMES = 256  # that go round
SYMBOLS = 10  # data symbols of a frame in the estimator's chain


# What a chain's CPU time is held against: the same receiver with the classical stages, on the same samples.
AGAINST = {"ofdm_rx diffusion": "ofdm_rx classical",
           "ofdm_rx waveform=stock, diffusion": "ofdm_rx waveform=stock"}


def measure_chains(quick, seed):
    """{name: {"msamples_per_s" by the clock, "msamples_per_cpu_s", "packets_ok" share or None}}; chains of
    AGAINST also have "cpu_ratio", {"to": name, "median", "low", "high"} over the rounds.

    The chains take turns, so that what else the machine does meets all of them."""
    results, lengths = {}, {}
    made = candidates(seed)
    least = 0.3 if quick else 2.0
    for name, make in made.items():
        try:
            make()
        except (AttributeError, ValueError, TypeError) as e:  # not in this version, or no model for it
            results[name] = {"msamples_per_s": None, "error": str(e)}
            continue
        lengths[name] = length(make, least)
    runs = {name: [] for name in lengths}
    compared = set(AGAINST) | set(AGAINST.values())
    for turn in range(3 if quick else 7):
        for name, n in lengths.items():
            if turn == 0 or name in compared or not quick:
                runs[name].append((n, *timed_run(made[name], n)))
    for name in made:
        if name in runs:
            results[name] = summary(runs[name])
            if AGAINST.get(name) in runs:
                results[name]["cpu_ratio"] = {"to": AGAINST[name], **ratio(runs[name], runs[AGAINST[name]])}
    return {name: results[name] for name in made}


def length(make, least):
    """Samples that take about `least` seconds."""
    n = 1 << 17
    for _ in range(3):
        clock, *_ = timed_run(make, n)
        if clock > 0.6 * least:
            break
        n = int(n * min(32, 1.1 * least / clock))
    return n


def summary(runs):
    """Medians of (samples, seconds by the clock, CPU seconds, share of packets)."""
    shares = [ok for *_, ok in runs if ok is not None]
    return {"msamples_per_s": float(np.median([n / clock for n, clock, _, _ in runs])) / 1e6,
            "msamples_per_cpu_s": float(np.median([n / cpu for n, _, cpu, _ in runs])) / 1e6,
            "packets_ok": float(np.mean(shares)) if shares else None}


def ratio(runs, others):
    """CPU time of a sample over that of the other chain in the same turn: median, least and largest."""
    values = [cpu / n / (other_cpu / m) for (n, _, cpu, _), (m, _, other_cpu, _) in zip(runs, others)]
    return {"median": float(np.median(values)), "low": float(min(values)), "high": float(max(values))}


def timed_run(make, n):
    """(seconds by the clock, CPU seconds, share of the packets that arrived or None) of n samples."""
    from gnuradio import blocks, gr
    chain = make()
    tb = gr.top_block()
    source = blocks.vector_source_c(chain.samples, True)
    head = blocks.head(8, n)
    sink = blocks.null_sink(chain.parts[-1].output_signature().sizeof_stream_item(0))
    tb.connect(source, head, *chain.parts, sink)
    start, cpu = time.perf_counter(), time.process_time()
    tb.run()
    spent = time.perf_counter() - start, time.process_time() - cpu
    return *spent, chain.share(n, sink)


class Chain:
    """Blocks in a row, and what they get: complex64 samples, `frame` of them a packet."""

    def __init__(self, samples, parts, frame=0, payload=0):
        self.samples, self.parts, self.frame, self.payload = samples, parts, frame, payload

    def share(self, n, sink):
        """Of the packets that were sent, those that came out."""
        return sink.nitems_read(0) / self.payload / (n // self.frame) if self.frame else None


def candidates(seed):
    """name -> function returning a Chain."""
    from gnuradio import diffusion, digital
    made = {}

    def once(waveform):
        if waveform not in made:
            made[waveform] = {"native": native_samples, "stock": stock_samples}[waveform](seed)
        return made[waveform]

    def native(estimator, demapper):
        samples, frame = once("native")
        return Chain(samples, [diffusion.ofdm_rx("native", estimator, demapper)], frame, PAYLOAD)

    def stock(receiver):
        samples, frame = once("stock")
        return Chain(samples, [receiver], frame, PAYLOAD)

    return {
        "ofdm_rx classical": lambda: native("lmmse", "map"),
        "ofdm_rx diffusion": lambda: native("diffusion", "diffusion"),
        "ofdm_rx waveform=stock": lambda: stock(diffusion.ofdm_rx("stock")),
        "ofdm_rx waveform=stock, diffusion": lambda: stock(diffusion.ofdm_rx("stock", "diffusion", "diffusion")),
        "stock digital.ofdm_rx": lambda: stock(digital.ofdm_rx(bps_header=1, bps_payload=2)),
        "estimator": lambda: estimator_chain("ours", seed),
        "estimator fast": lambda: estimator_chain("fast", seed),
        "estimator stock": lambda: estimator_chain("stock", seed),
        "demapper": lambda: demapper_chain("ours", seed),
        "demapper stock": lambda: demapper_chain("stock", seed),
    }


def received(x, seed):
    """Two paths, carrier offset, noise at SNR_DB, all seeded; unit mean power before."""
    rng = np.random.default_rng(seed)
    x = x / np.sqrt(np.mean(np.abs(x) ** 2))
    y = (x + 0.3j * np.roll(x, 3)) * np.exp(2j * np.pi * CFO / 64 * np.arange(x.size))
    noise = rng.standard_normal((x.size, 2)) @ [1, 1j] * np.sqrt(0.5 * np.mean(np.abs(y) ** 2) *
                                                                 10 ** (-SNR_DB / 10))
    return (y + noise).astype(np.complex64)


def native_samples(seed):
    """What ofdm_tx sends by default (QPSK, convolutional code of rate 1/2), without a gap."""
    from gnuradio import diffusion
    rng = np.random.default_rng(seed)
    tx = diffusion.native_modulator()
    tx.bits_per_symbol, tx.fec = 2, "cc-1/2"
    frames = [tx(rng.bytes(PAYLOAD)) for _ in range(FRAMES)]
    return received(np.concatenate(frames), seed), frames[0].size


def stock_samples(seed):
    """What digital.ofdm_tx sends: QPSK, no code."""
    from gnuradio import blocks, digital, gr
    rng = np.random.default_rng(seed)
    tb = gr.top_block()
    source = blocks.vector_source_b(list(rng.bytes(PAYLOAD * FRAMES)))
    tagger = blocks.stream_to_tagged_stream(1, 1, PAYLOAD, "packet_length")
    tx, sink = digital.ofdm_tx(bps_header=1, bps_payload=2), blocks.vector_sink_c()
    tb.connect(source, tagger, tx, sink)
    tb.run()
    x = np.array(sink.data())
    return received(x, seed), x.size // FRAMES


def estimator_chain(which, seed):
    """Aligned OFDM frames: prefix off, FFT, channel estimator, equalizer."""
    from gnuradio import blocks, diffusion, digital, fft
    from gnuradio.digital import ofdm_txrx
    words = [list(map(complex, make(64, ofdm_txrx._def_occupied_carriers, ofdm_txrx._def_pilot_carriers)))
             for make in (ofdm_txrx._make_sync_word1, ofdm_txrx._make_sync_word2)]
    if which == "stock":
        estimator = digital.ofdm_chanest_vcvc(*words, SYMBOLS)
    else:
        model = {"ours": "ce-ofdm64", "fast": "ce-ofdm64-fast"}[which]
        estimator = diffusion.ofdm_channel_estimator_vcvc(model, *words, SYMBOLS)
    rng = np.random.default_rng(seed)
    used = np.array(words[1]) != 0
    data = np.where(used, np.sqrt(0.5) * (rng.choice([-1, 1], (FRAMES, SYMBOLS, 64, 2)) @ [1, 1j]), 0)
    carriers = np.concatenate([np.broadcast_to(words, (FRAMES, 2, 64)), data], 1)
    symbols = np.fft.ifft(np.fft.ifftshift(carriers, -1))
    x = np.concatenate([symbols[..., -16:], symbols], -1).ravel()
    equalizer = digital.ofdm_equalizer_simpledfe(
        64, digital.constellation_qpsk().base(), ofdm_txrx._def_occupied_carriers,
        ofdm_txrx._def_pilot_carriers,
        ofdm_txrx._def_pilot_symbols)
    chain = Chain(received(x, seed), [
        blocks.keep_m_in_n(8, 64, 80, 16), blocks.stream_to_vector(8, 64),
        fft.fft_vcc(64, True, [], True), estimator, blocks.stream_to_tagged_stream(8, 64, SYMBOLS, "frame"),
        digital.ofdm_frame_equalizer_vcvc(equalizer.base(), 16, "frame", True)])
    chain.held = equalizer
    return chain


def demapper_chain(which, seed):
    """Equalised 16-QAM symbols: soft bits (exact or table, as mode auto decides), Viterbi decoder of rate
    1/2."""
    from gnuradio import diffusion, digital, fec
    rng = np.random.default_rng(seed)
    points = np.asarray(diffusion.constellation("qam16"))
    noise_var = 10 ** -1.5
    noise = rng.standard_normal((65536, 2)) @ [1, 1j] * np.sqrt(noise_var / 2)
    y = (points[rng.integers(0, 16, 65536)] + noise).astype(np.complex64)
    if which == "stock":
        constellation = digital.constellation_16qam().base()
        constellation.gen_soft_dec_lut(8, noise_var)
        demapper = digital.constellation_soft_decoder_cf(constellation)
    else:
        demapper = diffusion.soft_demapper_cf("rx-qam16", noise_var)
    decoder = fec.decoder(fec.cc_decoder.make(2048, 7, 2, [109, 79], 0, -1, fec.CC_TERMINATED), 4, 1)
    chain = Chain(y, [demapper, decoder])
    chain.held = demapper
    return chain
