# SPDX-License-Identifier: GPL-3.0-or-later
"""The link's transmitter as a process of its own: started by the receiver's side, told over its standard
input.

One JSON object a line in, one a line out. In: {"settings", "waveform", "packets" (base64), "device",
"tx_gain", "amplitude", "tail"}. Out: {"samples", "starts", "first", "next"}: samples sent, where each
frame begins, and what the virtual radio says of the stream's first and next sample; or {"error"}. It ends
with its input, so it never outlives who started it.
"""
import base64
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from .radio import RadioError


class Transmitter:
    """The process; ``begin`` a transmission, then ``finish`` it."""

    def __init__(self):
        # The same packages, however this program found them.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._process = subprocess.Popen([sys.executable, "-m", "gnuradio.diffusion.station"], env=env,
                                         text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE)
        self._lines, self._said = [], []
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in (
            (self._process.stdout, self._lines), (self._process.stderr, self._said))]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(pipe, kept):
        for line in pipe:
            kept.append(line)
            del kept[:-50]

    @property
    def pid(self):
        return self._process.pid

    def begin(self, settings, waveform, packets, device, tx_gain, amplitude, tail=0):
        order = {"settings": settings, "waveform": waveform, "device": device, "tx_gain": tx_gain,
                 "amplitude": amplitude, "tail": tail,
                 "packets": [base64.b64encode(p).decode() for p in packets]}
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except OSError:
            self._fail()

    def answer(self):
        """The answer if it is there, else None."""
        if self._lines:
            answer = json.loads(self._lines.pop(0))
            if "error" in answer:
                raise RadioError(answer["error"])
            return answer
        if self._process.poll() is not None:
            self._fail()
        return None

    def _fail(self):
        self._process.wait()
        for reader in self._readers:
            reader.join(1)
        if self._lines:
            return
        if self._process.returncode == -signal.SIGINT:
            raise KeyboardInterrupt  # Ctrl-C reaches both, and sometimes that one first
        last = next((line.strip() for line in reversed(self._said) if line.strip()), "it said nothing")
        raise RadioError(f"the transmitter's process ended with status {self._process.returncode} ({last})")

    def close(self):
        try:
            self._process.stdin.close()
            self._process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def transmit(order):
    """One transmission: modulated, then played to the device."""
    import numpy as np
    import pmt
    from gnuradio import blocks, gr

    from . import link
    from .radio import driver_of, open_device
    fields = order["settings"]
    settings = link.Settings(**{**fields, "file": Path(fields["file"])})
    packets = [base64.b64decode(p) for p in order["packets"]]
    tb = gr.top_block("modulator")
    source, modulated = link.packet_source(packets), blocks.vector_sink_c()
    tb.connect(source, *link.transmitter(settings, order["waveform"]), modulated)
    tb.run()
    iq = order["amplitude"] * np.array(modulated.data(), np.complex64)
    starts = sorted(t.offset for t in modulated.tags() if pmt.eq(t.key, pmt.intern(link.LENGTH_TAG)))
    iq = np.concatenate([iq, np.zeros(order["tail"], np.complex64)])
    sink = open_device("tx", order["device"], settings.rate, settings.frequency, order["tx_gain"])
    tb = gr.top_block("transmitter")
    samples = blocks.vector_source_c(iq.tolist())
    tb.connect(samples, sink)
    tb.run()
    answer = {"samples": len(iq), "starts": starts}
    if driver_of(order["device"]) == "loopback":
        answer.update({name: int(sink.read_sensor("tx_" + name)) for name in ("first", "next")})
    return answer


def main():
    from gnuradio import gr
    # a sink that waits for its receiver says so ten times a second
    gr.logging().set_default_level(gr.log_levels.err)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    orders = iter(sys.stdin.readline, "")
    # The transmission may wait for a receiver that is gone: the end of the input ends it.
    lines, there = [], threading.Condition()

    def listen():
        for line in orders:
            with there:
                lines.append(line)
                there.notify()
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        with there:
            while not lines:
                there.wait()
            order = json.loads(lines.pop(0))
        try:
            answer = transmit(order)
        except Exception as e:  # the other side says it to the user
            answer = {"error": str(e) or type(e).__name__}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
