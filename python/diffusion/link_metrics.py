# SPDX-License-Identifier: GPL-3.0-or-later
"""link_metrics: how well a link does, as numbers with intervals, while it runs."""
import json
import threading
import time

import numpy as np
import pmt
from gnuradio import gr

from . import metrics

SCALES = np.exp2(np.linspace(-5, 5, 41))  # of the LLRs; the best one defines the GMI
STREAMS = {"frames": None, "ber": (np.uint8, np.uint8), "evm": (np.complex64, np.complex64),
           "nmse": (np.complex64, np.complex64), "gmi": (np.uint8, np.float32)}


class BlockSums:
    """Sums over stretches of a signal, at most `limit` rows: what a bootstrap needs, in bounded memory."""

    def __init__(self, width, limit=512):
        self.rows = np.empty((0, width))
        self.limit = limit

    def add(self, rows):
        self.rows = np.concatenate([self.rows, rows])
        while len(self.rows) > self.limit:  # merge neighbours; an odd one at the end stays
            n = len(self.rows) // 2 * 2
            self.rows = np.concatenate([self.rows[:n].reshape(-1, 2, self.rows.shape[1]).sum(1),
                                        self.rows[n:]])

    def ratio(self, transform=lambda r: r):
        """(value, low, high) of column 0 over column 1, bootstrapped; low and high are None for < 2 rows."""
        value = float(transform(self.rows[:, 0].sum() / self.rows[:, 1].sum()))
        if len(self.rows) < 2:
            return value, None, None
        low, high = metrics.bootstrap(self.rows, lambda r: transform(r[:, 0].sum() / r[:, 1].sum()), 200)
        return value, float(low), float(high)


def _decibel(ratio):
    return 10 * np.log10(max(ratio, 1e-30))


class LinkMetrics:
    """Accumulates bits, frames, symbols and LLRs; report() gives figures, counts and 95% intervals."""

    BLOCK = 64  # symbols that are summed at once; neighbours in a fading channel are not independent

    def __init__(self, bits_per_symbol=1):
        if not 1 <= int(bits_per_symbol) <= 16:
            raise ValueError(f"link_metrics: bits_per_symbol is {bits_per_symbol}, use 1 to 16")
        self.m = int(bits_per_symbol)
        self.clear()

    def clear(self):
        """Starts all figures anew."""
        self.bits = self.bit_errors = self.frames = self.frame_errors = 0
        self.powers = {"evm": BlockSums(2), "nmse": BlockSums(2)}
        self.losses = BlockSums(SCALES.size + 1)
        self.symbols = {"evm": 0, "nmse": 0, "gmi": 0}

    def add_bits(self, sent, received):
        """Arrays of the same size, 0 or not 0: counts bits and errors."""
        self.bits += sent.size
        self.bit_errors += int(np.count_nonzero((sent != 0) != (received != 0)))

    def add_frames(self, frames, errors):
        """Counts frames, and how many of them are bad. Raises ValueError where that cannot be."""
        if not 0 <= errors <= frames:
            raise ValueError(f"{errors} bad of {frames} frames")
        self.frames += int(frames)
        self.frame_errors += int(errors)

    def add_symbols(self, sent, received, kind="evm"):
        """kind "evm": error over sent power; "nmse": the same for channel estimates."""
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is left out, not warned of
            rows = np.stack([np.abs(received - sent) ** 2, np.abs(sent) ** 2], 1).astype(float)
        rows = rows[np.isfinite(rows).all(1)]
        self.symbols[kind] += len(rows)
        self._add(self.powers[kind], rows)

    def add_llrs(self, bits, llr):
        """Whole symbols: bits and LLRs (positive means 1) of length k bits_per_symbol."""
        self.add_bits(bits, llr > 0)
        # an infinite LLR that is wrong costs 14000 bits
        llr = np.clip(np.nan_to_num(llr.astype(float)), -1e4, 1e4)
        signed = np.where(bits != 0, llr, -llr).reshape(-1, self.m)
        loss = np.logaddexp(0, -SCALES[None, :, None] * signed[:, None, :]).sum(2) / np.log(2)
        self.symbols["gmi"] += len(signed)
        self._add(self.losses, np.concatenate([loss, np.ones((len(signed), 1))], 1))

    def _add(self, sums, rows):
        if len(rows):
            sums.add(np.add.reduceat(rows, np.arange(0, len(rows), self.BLOCK)))

    def report(self):
        """{name: float}: what has been measured, with NAME_low and NAME_high where the interval exists."""
        out = {}

        def put(name, value, low, high):
            out[name] = float(value)
            if low is not None:
                out[name + "_low"], out[name + "_high"] = float(low), float(high)

        if self.bits:
            put("ber", self.bit_errors / self.bits, *metrics.wilson(self.bit_errors, self.bits))
            out.update(bits=float(self.bits), bit_errors=float(self.bit_errors))
        if self.frames:
            put("per", self.frame_errors / self.frames, *metrics.wilson(self.frame_errors, self.frames))
            out.update(frames=float(self.frames), frame_errors=float(self.frame_errors))
        for kind, sums in self.powers.items():
            if len(sums.rows) and sums.rows[:, 1].sum() > 0:
                put(kind + "_db", *sums.ratio(_decibel))
                out[kind + "_symbols"] = float(self.symbols[kind])
        if len(self.losses.rows):
            best = int(np.argmin(self.losses.rows[:, :-1].sum(0)))
            chosen = BlockSums(2)
            chosen.rows = self.losses.rows[:, [best, -1]]
            put("gmi", *chosen.ratio(lambda loss: self.m - loss))
            out.update(gmi_symbols=float(self.symbols["gmi"]), llr_scale=float(SCALES[best]))
        return out


class link_metrics(gr.sync_block):
    """BER, PER, EVM, GMI and NMSE as messages, and on a ZMQ PUB socket.

    measure, and the streams it compares (reference first):
      "ber"     bytes, bytes       bits sent, bits received (0 or not 0, one an item)
      "gmi"     bytes, float       bits sent, LLRs (positive means 1); also gives the BER
      "evm"     complex, complex   symbols sent, symbols received: error over sent power, dB
      "nmse"    complex, complex   channel, its estimate: error over channel power, dB
      "frames"  no streams
    Always: message port "frames": a dictionary, or a PDU with one, that has "crc_ok" (a bool: one frame,
    good or bad), or "frames" and "frame_errors", and/or "bits" and "bit_errors" (counts). Other keys are
    left alone; a message without any of these, or with the wrong type, is logged and changes nothing.

    Message port "metrics", every `period` seconds (the figures at the end: last(), and the socket): a
    dictionary of doubles. Each figure NAME comes with its 95% interval NAME_low, NAME_high (Wilson for rates,
    bootstrap over stretches for the rest; absent while there is too little) and its counts:
      time (seconds since the start)
      ber, bits, bit_errors; per, frames, frame_errors; evm_db, evm_symbols; nmse_db, nmse_symbols;
      gmi (bits per symbol, after the best single scaling llr_scale), gmi_symbols
    What was not measured is absent. With cumulative, figures are since the start, else since the last
    message.

    address: of a ZMQ PUB socket to bind, e.g. "tcp://127.0.0.1:5599" (empty: none). Each report is a
    message of two parts: the topic b"link_metrics" and the same dictionary as JSON text. Slow or absent
    subscribers never hold up the flowgraph.
    """

    MAX_SYMBOLS = 1024  # of one work() call enter the GMI: it costs 41 logarithms a bit

    def __init__(self, measure="ber", bits_per_symbol=1, period=1.0, cumulative=True, address=""):
        if measure not in STREAMS:
            raise ValueError(f"link_metrics: measure is '{measure}', use one of {', '.join(STREAMS)}")
        if not 0.01 <= period <= 86400:
            raise ValueError(f"link_metrics: period is {period}, use 0.01 to 86400 seconds")
        gr.sync_block.__init__(self, "link_metrics", STREAMS[measure], None)
        self._measure, self._period, self._cumulative = measure, float(period), bool(cumulative)
        self._sums, self._lock = LinkMetrics(bits_per_symbol), threading.Lock()
        if measure == "gmi":
            self.set_output_multiple(int(bits_per_symbol))
        self._socket = self._bind(address)
        self._thread, self._stopping, self._last, self._warned = None, threading.Event(), {}, 0.0
        self.message_port_register_in(pmt.intern("frames"))
        self.message_port_register_out(pmt.intern("metrics"))
        self.set_msg_handler(pmt.intern("frames"), self._on_frame)

    @staticmethod
    def _bind(address):
        if not address:
            return None
        import zmq
        socket = zmq.Context.instance().socket(zmq.PUB)
        socket.linger = 0
        try:
            socket.bind(address)
        except zmq.ZMQError as e:
            socket.close()
            raise ValueError(f"link_metrics: address '{address}' cannot be bound ({e}); "
                             "use e.g. tcp://127.0.0.1:5599") from e
        return socket

    def start(self):
        self._stopping.clear()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._report_loop, daemon=True)
        self._thread.start()
        return True

    def stop(self):
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        return True

    def set_period(self, period):
        """Seconds between messages, 0.01 to 86400."""
        if not 0.01 <= period <= 86400:
            raise ValueError(f"link_metrics: period is {period}, use 0.01 to 86400 seconds")
        self._period = float(period)

    def reset(self):
        """Starts all figures anew."""
        with self._lock:
            self._sums.clear()

    def report(self):
        """The figures now, as a dict of floats."""
        with self._lock:
            return self._sums.report()

    def last(self):
        """The figures last published."""
        return dict(self._last)

    def work(self, input_items, output_items):
        sent, received = input_items
        n = len(sent)
        with self._lock:
            if self._measure == "ber":
                self._sums.add_bits(sent, received)
            elif self._measure == "gmi":
                n -= n % self._sums.m
                counted = min(n, self.MAX_SYMBOLS * self._sums.m)
                self._sums.add_llrs(sent[:counted], received[:counted])
                self._sums.add_bits(sent[counted:n], received[counted:n] > 0)
            else:
                self._sums.add_symbols(sent, received, self._measure)
        return n

    def _on_frame(self, message):
        try:
            self._add_frame(message)
        except Exception as e:  # a message must never stop a running flowgraph
            now = time.monotonic()
            if now - self._warned > 1:
                self._warned = now
                self.logger.warn(f"message ignored: {pmt.write_string(message)[:200]} ({e})")

    def _add_frame(self, message):
        meta = pmt.car(message) if pmt.is_pair(message) and not pmt.is_dict(message) else message
        if not pmt.is_dict(meta):
            raise ValueError("use a dictionary or a PDU with one")
        get = lambda key: pmt.dict_ref(meta, pmt.intern(key), pmt.PMT_NIL)
        added = []
        if not pmt.is_null(get("crc_ok")):
            added.append((self._sums.add_frames, 1, int(not pmt.to_bool(get("crc_ok")))))
        elif not pmt.is_null(get("frames")):
            added.append((self._sums.add_frames, pmt.to_long(get("frames")),
                          pmt.to_long(get("frame_errors"))))
        if not pmt.is_null(get("bits")):
            added.append((self._add_bit_count, pmt.to_long(get("bits")), pmt.to_long(get("bit_errors"))))
        if not added:
            raise ValueError("none of crc_ok, frames, bits is in it")
        if any(not 0 <= errors <= total for _, total, errors in added):
            raise ValueError("errors must be 0 to the total")
        with self._lock:
            for add, total, errors in added:
                add(total, errors)

    def _add_bit_count(self, bits, errors):
        self._sums.bits += bits
        self._sums.bit_errors += errors

    def _report_loop(self):
        while not self._stopping.wait(self._period):
            self._publish()
        self._publish()

    def _publish(self):
        with self._lock:
            figures = self._sums.report()
            if not self._cumulative:
                self._sums.clear()
        figures["time"] = time.monotonic() - self._started
        self._last = figures
        message = pmt.make_dict()
        for name, value in figures.items():
            message = pmt.dict_add(message, pmt.intern(name), pmt.from_double(value))
        self.message_port_pub(pmt.intern("metrics"), message)
        if self._socket is not None:
            import zmq
            try:
                self._socket.send_multipart([b"link_metrics", json.dumps(figures).encode()], zmq.DONTWAIT)
            except zmq.ZMQError:
                pass  # nobody can take it: a live figure is not worth waiting for
