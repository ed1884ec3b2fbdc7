# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak test's two programs: a transmitter of numbered frames and a receiver that notes what became of
each.

usage: soak_station.py tx|rx MEDIUM LOG SESSION

Both run until their standard input ends or they are killed. Lines of the logs, times in seconds:
  S wall cpu rss_kb frames counter     every second; frames sent or good, underflows or overflows
  F session number time                a good frame: who sent it, its number, when it began in the medium's
  time B time                               a frame that was found but could not be read
  G from to                            samples that are missing (overflow)
"""
import os
import struct
import sys
import threading
import time

import numpy as np
import pmt
from gnuradio import blocks, gr
from gnuradio.diffusion.ofdm import ofdm_rx, ofdm_tx
from gnuradio.diffusion.radio import open_device

RATE, FREQUENCY = 2e6, 2.45e9
PAYLOAD, FRAME, PERIOD = 112, 2320 - 160, 8000  # bytes; samples of a frame and from one to the next
LEVELS = "noise_dbm=-86,path_loss_db=50,adc_bits=12"  # -14 dBm + 30 - 30 - 50 + 86: 22 dB of SNR


def packet(session, number):
    body = np.random.default_rng(number).bytes(PAYLOAD - 8)
    return struct.pack(">II", session, number) + body


class Numbers(gr.sync_block):
    """Numbered packets without end, as a tagged stream."""

    def __init__(self, session):
        gr.sync_block.__init__(self, "numbers", None, [np.uint8])
        self.session, self.number = session, 0
        self.set_output_multiple(PAYLOAD)
        self.set_max_noutput_items(4 * PAYLOAD)

    def work(self, _, output_items):
        out = output_items[0]
        for at in range(0, len(out), PAYLOAD):
            out[at:at + PAYLOAD] = np.frombuffer(packet(self.session, self.number), np.uint8)
            self.add_item_tag(0, self.nitems_written(0) + at, pmt.intern("packet_len"),
                              pmt.from_long(PAYLOAD))
            self.number += 1
        return len(out)


class Clock(gr.sync_block):
    """Follows the tags rx_time: from sample numbers to the medium's time, and what is missing in between."""

    def __init__(self, log):
        gr.sync_block.__init__(self, "clock", [np.complex64], None)
        self.log, self.marks = log, []

    def work(self, input_items, _):
        n = len(input_items[0])
        for tag in self.get_tags_in_window(0, 0, n, pmt.intern("rx_time")):
            seconds = pmt.to_uint64(pmt.tuple_ref(tag.value, 0)) + pmt.to_double(pmt.tuple_ref(tag.value, 1))
            if self.marks:
                self.log(f"G {self.time(tag.offset):.7f} {seconds:.7f}")
            self.marks = [*self.marks[-9:], (tag.offset, seconds)]  # a new list: others read it meanwhile
        return n

    def time(self, sample):
        offset, seconds = next((m for m in reversed(self.marks) if m[0] <= sample), self.marks[0])
        return seconds + (sample - offset) / RATE


class Frames(gr.basic_block):
    """Notes every frame."""

    def __init__(self, log, clock):
        gr.basic_block.__init__(self, "frames", [], [])
        self.log, self.clock, self.good = log, clock, 0
        for name, handler in (("pdus", self._good), ("metrics", self._bad)):
            self.message_port_register_in(pmt.intern(name))
            self.set_msg_handler(pmt.intern(name), handler)

    def _time(self, meta):
        return self.clock.time(pmt.to_uint64(pmt.dict_ref(meta, pmt.intern("offset"), pmt.PMT_NIL)))

    def _good(self, message):
        data = bytes(pmt.u8vector_elements(pmt.cdr(message)))
        session, number = struct.unpack(">II", data[:8])
        self.good += data == packet(session, number)
        self.log(f"F {session} {number if data == packet(session, number) else -1} "
                 f"{self._time(pmt.car(message)):.7f}")

    def _bad(self, message):
        if not pmt.to_bool(pmt.dict_ref(message, pmt.intern("payload_ok"), pmt.PMT_F)):
            self.log(f"B {self._time(message):.7f}")


def main():
    role, medium, path, session = sys.argv[1:]
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    log = lambda line: os.write(file, (line + "\n").encode())  # a line is there whole, or not at all
    tb = gr.top_block("soak")
    device = f"driver=loopback,medium={medium},seed={session}"
    if role == "tx":
        source, tx = Numbers(int(session)), ofdm_tx("stream", "qpsk", "ldpc-1/2", "burst", 0.2,
                                                    PERIOD - FRAME)
        radio = open_device("tx", device, RATE, FREQUENCY, 30)
        tb.connect(source, tx, radio)
        count, counter = tx.sent, "underflows"
    else:
        radio = open_device("rx", f"{device},{LEVELS}", RATE, FREQUENCY, 50)
        clock, rx, nothing = Clock(log), ofdm_rx("native", "lmmse", "map"), blocks.null_sink(gr.sizeof_char)
        frames = Frames(log, clock)
        tb.connect(radio, clock)
        tb.connect(radio, rx, nothing)
        tb.msg_connect(rx, "pdus", frames, "pdus")
        tb.msg_connect(rx, "metrics", frames, "metrics")
        count, counter = lambda: frames.good, "overflows"
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    tb.start()
    print("started", flush=True)
    while True:
        last = stop.wait(1.0)
        rss = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
        log(f"S {time.monotonic():.3f} {time.process_time():.2f} {rss} {count()} "
            f"{radio.read_sensor(counter)}")
        if last:
            break
    tb.stop()
    tb.wait()


if __name__ == "__main__":
    main()
