# SPDX-License-Identifier: GPL-3.0-or-later
"""Denoising in other processes over ZMQ: the wire format, the client, the worker.

Wire format, version 2. A message is four frames, all numbers little endian:

    0  header, 40 bytes: "GRDF", u8 version, u8 kind, u16 zero, u64 sequence, f64 noise_var, u32 steps,
       u32 symbols, u32 CRC-32 of this header (with zero in this place) and of frames 1 to 3, u32 zero
    1  model name, UTF-8, at most 64 bytes
    2  state of a fitted receiver (float64), empty for an unfitted one
    3  request, reply: complex64 symbols; error: UTF-8 text, at most 1000 bytes; ping, pong: empty

kind is one of request 1, reply 2, error 3, ping 4, pong 5. A reply repeats the sequence number, the model
and the number of symbols. At most 2^20 symbols and 2^16 values of state; a socket takes no larger frame.
Whoever receives anything else drops it: nothing is ever unpickled, and sizes are checked before they are
used.
"""
import struct
import threading
import time
import zlib

import numpy as np
import zmq

MAGIC = b"GRDF"
VERSION = 2
REQUEST, REPLY, ERROR, PING, PONG = 1, 2, 3, 4, 5
HEADER = struct.Struct("<4sBBHQdIIII")
MAX_SYMBOLS = 1 << 20
MAX_STATE = 1 << 16
MAX_FRAME = 8 * MAX_SYMBOLS  # bytes; a peer that sends more is cut off
DEFAULT_ADDRESS = "tcp://127.0.0.1:5757"


class WireError(ValueError):
    """A message is not of the wire format; the text says which field."""


def pack(kind, sequence, model="", symbols=0, noise_var=0.0, steps=0, state=b"", payload=b""):
    """Frames of one message; ``symbols`` counts the complex64 values of the payload (0 for text)."""
    name = model.encode()
    state = bytes(memoryview(state).cast("B")) if len(state) else b""
    payload = memoryview(payload).cast("B") if len(payload) else b""
    fields = (MAGIC, VERSION, kind, 0, sequence, noise_var, steps, symbols)
    crc = _checksum(HEADER.pack(*fields, 0, 0), name, state, payload)
    return [HEADER.pack(*fields, crc, 0), name, state, payload]


def _checksum(*frames):
    crc = 0
    for frame in frames:
        crc = zlib.crc32(frame, crc)
    return crc


def unpack(frames):
    """dict of a message's fields (payload and state as arrays, error as text).

    Raises WireError for whatever is not of the format.
    """
    if len(frames) != 4:
        raise WireError(f"{len(frames)} frames instead of 4")
    header, name, state, payload = (bytes(f) for f in frames)
    if len(header) != HEADER.size:
        raise WireError(f"a header of {len(header)} bytes instead of {HEADER.size}")
    magic, version, kind, zero, sequence, noise_var, steps, symbols, crc, zero2 = HEADER.unpack(header)
    if magic != MAGIC:
        raise WireError("it does not begin with GRDF")
    if version != VERSION:
        raise WireError(f"version {version}; this side speaks {VERSION}")
    if kind not in (REQUEST, REPLY, ERROR, PING, PONG):
        raise WireError(f"kind {kind} is unknown")
    if len(name) > 64 or len(state) > 8 * MAX_STATE or len(state) % 8 or symbols > MAX_SYMBOLS:
        raise WireError("a size is out of bounds")
    if kind in (REQUEST, REPLY) and len(payload) != 8 * symbols:
        raise WireError(f"{len(payload)} bytes of payload for {symbols} symbols")
    if kind == ERROR and len(payload) > 1000:
        raise WireError("an error text of more than 1000 bytes")
    if zero or zero2 or _checksum(header[:32] + bytes(8), name, state, payload) != crc:
        raise WireError("the checksum is wrong")
    try:
        model = name.decode()
    except UnicodeDecodeError as e:
        raise WireError("the model name is no UTF-8") from e
    fields = {"kind": kind, "sequence": sequence, "model": model, "noise_var": noise_var, "steps": steps,
              "symbols": symbols, "state": np.frombuffer(state, "<f8")}
    if kind in (REQUEST, REPLY):
        fields["payload"] = np.frombuffer(payload, "<c8")
    elif kind == ERROR:
        fields["error"] = payload.decode("utf-8", "replace")
    return fields


class _Worker:
    """The client's side of one worker: its socket, and since when it is not to be trusted."""

    def __init__(self, context, address, server_key):
        self.address = address
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = 64
        self.socket.maxmsgsize = MAX_FRAME
        if server_key:
            public, secret = zmq.curve_keypair()
            self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
            self.socket.curve_serverkey = server_key.encode()
        self.socket.connect(address)
        self.alive = False
        self.next_ping = 0.0
        self.patience = 0.1  # seconds between pings, doubled up to 5

    def ping(self, now, sequence):
        if now < self.next_ping:
            return
        self.next_ping = now + self.patience
        self.patience = min(2 * self.patience, 5.0)
        try:
            self.socket.send_multipart(pack(PING, sequence), flags=zmq.NOBLOCK)
        except zmq.Again:
            pass

    def is_alive(self):
        self.alive, self.patience = True, 0.1


class Client:
    """Spreads symbols over workers and brings them back in order; what no worker answers in time is
    computed by ``fallback``. Use it from one thread.

    addresses    ZMQ endpoints of workers (``gr-diffusion serve``)
    model        name that worker and client agree on
    fallback     f(y, noise_var, steps) -> x_hat, the native engine
    timeout      seconds that one call may wait for workers
    state        float64 state of a fitted receiver, or empty
    server_key   the workers' CURVE public key (40 characters), or empty
    """

    def __init__(self, addresses, model, fallback, timeout=0.05, state=(), server_key=""):
        if not addresses:
            raise ValueError("remote: no worker address; use e.g. " + DEFAULT_ADDRESS)
        if not 0 < timeout <= 60:
            raise ValueError(f"remote: timeout is {timeout} s, use more than 0 and at most 60")
        if server_key and len(server_key) != 40:
            raise ValueError(f"remote: the CURVE key has {len(server_key)} characters, a Z85 key has 40")
        self.model, self.fallback, self.timeout = model, fallback, timeout
        self.state = np.asarray(state, "<f8")
        self.counters = {"remote": 0, "native": 0, "resent": 0, "refused": 0}
        self.last_refusal = ""
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._sequence = 0
        try:
            self._workers = [_Worker(self._context, a, server_key) for a in addresses]
        except zmq.ZMQError as e:
            self._context.destroy(linger=0)
            raise ValueError(f"remote: an address among {list(addresses)} is wrong ({e})") from e
        for w in self._workers:
            self._poller.register(w.socket, zmq.POLLIN)

    def close(self):
        """Closes the sockets; also without having waited for replies."""
        self._context.destroy(linger=0)

    def workers_alive(self):
        return sum(w.alive for w in self._workers)

    def __call__(self, y, noise_var, steps=0):
        """complex64 (n,) in, complex64 (n,) out, in order; waits for workers at most ``timeout``."""
        out = np.empty(len(y), np.complex64)
        pending = self._send_all(y, noise_var, steps)
        deadline = time.monotonic() + self.timeout
        while pending:
            now = time.monotonic()
            if now >= deadline or not any(w.alive for w in self._workers):
                break
            wake = min(deadline, *(half for _, _, _, half in pending.values() if half > now), deadline)
            self._receive(pending, out, int(1000 * (wake - now)) + 1)
            self._resend_lost(pending, y, noise_var, steps, deadline)
        for first, last, worker, _ in pending.values():
            if worker is not None:
                worker.alive = False
            out[first:last] = self.fallback(y[first:last], noise_var, steps)
            self.counters["native"] += last - first
        self._drain()
        return out

    def _next(self):
        self._sequence += 1
        return self._sequence

    def _request(self, worker, y, noise_var, steps):
        sequence = self._next()
        frames = pack(REQUEST, sequence, self.model, len(y), noise_var, steps, self.state,
                      np.ascontiguousarray(y, "<c8"))
        try:
            worker.socket.send_multipart(frames, flags=zmq.NOBLOCK)
        except zmq.Again:
            worker.alive = False
        return sequence

    def _send_all(self, y, noise_var, steps):
        """One share for each living worker -> {sequence: (first, last, worker, half of its time)}."""
        now = time.monotonic()
        for w in self._workers:
            if not w.alive:
                w.ping(now, self._next())
        alive = [w for w in self._workers if w.alive]
        pending = {}
        if not alive:
            if len(y):
                pending[self._next()] = (0, len(y), None, now)
            return pending
        bounds = np.linspace(0, len(y), len(alive) + 1).astype(int).tolist()
        for w, first, last in zip(alive, bounds[:-1], bounds[1:]):
            for a in range(first, last, MAX_SYMBOLS):
                b = min(last, a + MAX_SYMBOLS)
                pending[self._request(w, y[a:b], noise_var, steps)] = (a, b, w, now + self.timeout / 2)
        return pending

    def _resend_lost(self, pending, y, noise_var, steps, deadline):
        """Half the time gone without an answer: the worker is taken as lost, another gets its share."""
        now = time.monotonic()
        for sequence, (first, last, worker, half) in list(pending.items()):
            if now < half or worker is None:
                continue
            worker.alive = False
            others = [w for w in self._workers if w.alive]
            if others:
                del pending[sequence]
                other = others[sequence % len(others)]
                pending[self._request(other, y[first:last], noise_var,
                                      steps)] = (first, last, other, deadline)
                self.counters["resent"] += 1

    def _receive(self, pending, out, wait_ms):
        ready = dict(self._poller.poll(wait_ms))
        for worker in self._workers:
            if worker.socket not in ready:
                continue
            try:
                fields = unpack(worker.socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                continue
            except WireError as e:
                self._refuse(worker, f"{worker.address}: {e}")
                continue
            self._take(worker, fields, pending, out)

    def _take(self, worker, fields, pending, out):
        kind, sequence = fields["kind"], fields["sequence"]
        if kind == PONG:
            worker.is_alive()
        elif kind == ERROR:
            self._refuse(worker, f"{worker.address}: {fields['error']}")
        elif kind == REPLY and sequence in pending:
            first, last = pending[sequence][:2]
            if fields["symbols"] != last - first or not np.isfinite(fields["payload"]).all():
                self._refuse(worker, f"{worker.address}: a reply of the wrong size, or not finite")
                return
            out[first:last] = fields["payload"]
            self.counters["remote"] += last - first
            worker.is_alive()
            del pending[sequence]
        # anything else is an answer that came too late

    def _refuse(self, worker, why):
        worker.alive = False
        self.counters["refused"] += 1
        self.last_refusal = why

    def _drain(self):
        while any(self._poller.poll(0)):
            self._receive({}, np.empty(0, np.complex64), 0)


class Server(threading.Thread):
    """One worker: answers requests at ``address`` with ``compute(fields) -> complex64 (symbols,)``.

    curve_keys   (public, secret) in Z85, or None for no encryption
    """

    def __init__(self, address, model, compute, curve_keys=None):
        super().__init__(daemon=True, name="gr-diffusion-worker")
        self.model, self.compute = model, compute
        self.counters = {"requests": 0, "symbols": 0, "refused": 0}
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.maxmsgsize = MAX_FRAME
        if curve_keys:
            self._socket.curve_publickey, self._socket.curve_secretkey = (k.encode() for k in curve_keys)
            self._socket.curve_server = True
        try:
            self._socket.bind(address)
        except zmq.ZMQError as e:
            self._context.destroy(linger=0)
            raise ValueError(f"serve: {address} cannot be bound ({e}); use e.g. {DEFAULT_ADDRESS}") from e
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._running = True

    def run(self):
        while self._running:
            if self._socket.poll(100):
                client, *frames = self._socket.recv_multipart()
                self._socket.send_multipart([client, *self._answer(frames)])
        self._context.destroy(linger=0)

    def stop(self):
        self._running = False
        self.join()

    def _answer(self, frames):
        try:
            fields = unpack(frames)
        except WireError as e:
            self.counters["refused"] += 1
            return pack(ERROR, 0, payload=str(e).encode()[:1000])
        sequence = fields["sequence"]
        if fields["kind"] == PING:
            return pack(PONG, sequence, self.model)
        try:
            if fields["kind"] != REQUEST:
                raise ValueError(f"a worker takes requests, not kind {fields['kind']}")
            if fields["model"] != self.model:
                raise ValueError(f"this worker runs {self.model}, not {fields['model']}")
            x = np.ascontiguousarray(self.compute(fields), "<c8")
        except Exception as e:  # whatever a request brings, the worker lives on
            self.counters["refused"] += 1
            return pack(ERROR, sequence, payload=f"{type(e).__name__}: {e}".encode()[:1000])
        self.counters["requests"] += 1
        self.counters["symbols"] += len(x)
        return pack(REPLY, sequence, self.model, len(x), fields["noise_var"], fields["steps"], payload=x)
