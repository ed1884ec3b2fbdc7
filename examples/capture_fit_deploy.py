#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture -> fit -> deploy, over two virtual radios with random hardware.

1. record: SECONDS of known 64-QAM frames over the pair; 2. fit: what its hardware does, to a model file;
3. deploy: a receiver is running; the model is loaded into it by a message, and EVM and BER on fresh frames
are compared before and after. With --device another pair of radios (a SoapySDR device that transmits and
receives).

    ./run exec python examples/capture_fit_deploy.py --seed 3
"""
import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pmt
from gnuradio import blocks, gr
from gnuradio.diffusion import capture, link, metrics, ofdm_rx, recording

TOOL = str(Path(sys.prefix) / "bin/gr-diffusion")
LETTER = Path(__file__).resolve().parent / "letter.txt"


def random_hardware(seed):
    """Settings of two virtual radios: amplifier, IQ imbalance, DC and clock, drawn by the seed."""
    rng = np.random.default_rng(seed)
    draw = {"tx_backoff_db": rng.uniform(3, 7), "tx_am_pm": rng.uniform(0.1, 0.4),
            "tx_iq_gain_db": rng.uniform(-0.8, 0.8), "tx_iq_phase_deg": rng.uniform(-4, 4),
            "rx_iq_gain_db": rng.uniform(-0.8, 0.8), "rx_iq_phase_deg": rng.uniform(-4, 4),
            "tx_dc": rng.uniform(0, 0.01), "rx_dc": rng.uniform(0, 0.01), "rx_cfo_hz": rng.uniform(-800, 800)}
    settings = ",".join(f"{k}={v:.4g}" for k, v in draw.items())
    return f"driver=loopback,medium=fit-{os.getpid()},pacing=fast,seed={seed},noise_dbm=-100,adc_bits=12,tx_pa=rapp,{settings}"


def tool(*arguments):
    print("$ gr-diffusion " + " ".join(map(str, arguments)), flush=True)
    done = subprocess.run([TOOL, *map(str, arguments)], stdout=sys.stdout)
    if done.returncode:
        sys.exit(done.returncode)


class Figures(gr.basic_block):
    """EVM and bit errors of the frames of a running receiver, whose packets are known."""

    def __init__(self, packets):
        gr.basic_block.__init__(self, "figures", [], [])
        self.packets, self.modem = packets, None
        self.reset()
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self._frame)

    def reset(self):
        self.evm, self.errors, self.bits, self.frames, self.ok, self.undone = [], 0, 0, 0, 0, 0

    def _frame(self, message):
        from gnuradio.diffusion import diffusion_python as compiled
        f = pmt.to_python(message)
        if not f["header_ok"]:
            return
        self.modem = self.modem or compiled.native_modulator()
        header = compiled.native_header(f["length"], link.MODULATIONS[f["modulation"]], f["fec"])
        sent = self.modem.payload_bits(header, self.packets[f["frame"] % len(self.packets)])
        self.frames += 1
        self.ok += f["payload_ok"]
        self.undone += bool(f.get("corrected"))
        m = link.MODULATIONS[f["modulation"]]
        x = compiled.qam(m).points[sent.reshape(-1, m) @ (1 << np.arange(m)[::-1])]
        self.evm.append(float(np.mean(np.abs(np.asarray(f["symbols"]) - x) ** 2)))
        self.errors += int(np.count_nonzero((np.asarray(f["llr"]) > 0) != sent))
        self.bits += sent.size

    def row(self):
        low, high = metrics.wilson(self.errors, max(1, self.bits))
        return {"frames": self.frames, "crc_ok": self.ok, "corrected": self.undone,
                "evm_db": float(10 * np.log10(np.mean(self.evm))), "bits": self.bits,
                "ber": self.errors / max(1, self.bits), "ber_lo": low, "ber_hi": high}


def frame_length(constellation):
    """Samples from one frame of what is recorded to the next."""
    tb = gr.top_block()
    source, sink = link.packet_source([bytes(112)]), blocks.null_sink(gr.sizeof_gr_complex)
    tb.connect(source, *link.transmitter(link.Settings(modulation=constellation, fec="ldpc-1/2"), "native"),
               sink)
    tb.run()
    return sink.nitems_read(0)


def first_frame(found, chunk=1 << 16):
    """About where the signal begins: where it comes to a quarter of the largest sample."""
    peak = max(np.abs(found.read(at, chunk)).max() for at in range(0, len(found), chunk))
    for at in range(0, len(found), chunk):
        loud = np.flatnonzero(np.abs(found.read(at, chunk)) > peak / 4)
        if loud.size:
            return at + int(loud[0])
    return 0


def settle(figures):
    """Waits until no frame has come for a second."""
    frames, since = figures.frames, time.monotonic()
    while time.monotonic() - since < 1:
        time.sleep(0.05)
        if figures.frames != frames:
            frames, since = figures.frames, time.monotonic()


def loaded(rx, seconds=30):
    """Waits until the receiver has taken over the model that the message named."""
    deadline = time.monotonic() + seconds
    while rx.core.demapper() != "diffusion" and time.monotonic() < deadline:
        time.sleep(0.01)


def fresh_frames(args, device, model):
    """Frames that the fit never saw, through one receiver that runs on; the model comes by message
    half-way."""
    name = args.folder / "fresh"
    tool("record", name, "--overwrite", "--send", LETTER, "--device", device, "--constellation",
         args.constellation,
         "--fec", "ldpc-1/2", "--frames", 2 * args.fresh, "--tx-gain", args.tx_gain, "--gain", args.gain,
         "--no-annotations")
    found = recording.open_recording(name)
    packets, _ = capture.sent_packets(found)
    source = recording.recording_source(found)
    rx, figures = ofdm_rx("native", "lmmse", "map"), Figures(packets)
    rows, half = [], [False]
    work, middle = source.work, first_frame(found) + frame_length(args.constellation) * args.fresh

    def paused(input_items, output_items):
        left = middle - source._at
        if left > 0:
            return work(input_items, [output_items[0][:left]])
        if not half[0]:
            settle(figures)            # what was read so far is through the receiver
            rows.append(figures.row())
            figures.reset()
            rx.core.to_basic_block()._post(pmt.intern("cmd"),
                                           pmt.cons(pmt.intern("model"), pmt.intern(str(model))))
            loaded(rx)
            half[0] = True
        return work(input_items, output_items)
    source.work = paused
    tb = gr.top_block()
    sink = blocks.null_sink(1)
    tb.connect(source, rx, sink)
    tb.msg_connect(rx, "frames", figures, "in")
    tb.run()
    settle(figures)
    rows.append(figures.row())
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the hardware (1)")
    parser.add_argument("--seconds", type=float, default=10, help="to record (10)")
    parser.add_argument("--fresh", type=int, default=400, help="fresh frames before, and after (400)")
    parser.add_argument("--device", help="SoapySDR arguments in place of random virtual radios")
    parser.add_argument("--constellation", default="qam64")
    parser.add_argument("--tx-gain", type=float, default=40)
    parser.add_argument("--gain", type=float, default=40)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/capture-fit-deploy"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    device = args.device or random_hardware(args.seed)
    model = args.folder / "mine.safetensors"
    frames = math.ceil(args.seconds * 1e6 / frame_length(args.constellation))
    tool("record", args.folder / "capture", "--overwrite", "--send", LETTER, "--device", device,
         "--constellation",
         args.constellation, "--fec", "ldpc-1/2", "--frames", frames, "--tx-gain", args.tx_gain, "--gain",
         args.gain)
    start = time.monotonic()
    tool("fit", "receiver", args.folder / "capture", "-o", model)
    seconds = time.monotonic() - start
    before, after = fresh_frames(args, device, model)
    for name, r in (("before", before), ("after", after)):
        print(f"{name:<7} {r['frames']} frames, {r['crc_ok']} CRC ok, EVM {r['evm_db']:.1f} dB, BER "
              f"{r['ber']:.2e} [{r['ber_lo']:.1e}, {r['ber_hi']:.1e}] before decoding")
    print(f"the fit took {seconds:.0f} s")
    if args.json:
        args.json.write_text(json.dumps({"before": before, "after": after, "fit_seconds": seconds},
                                        indent=2) + "\n")


if __name__ == "__main__":
    main()
