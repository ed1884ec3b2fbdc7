# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that speaks rtl_tcp's protocol: samples of ours where an RTL-SDR's would be.

To a client it says 12 bytes (RTL0, tuner type, number of gains; big-endian), then unsigned 8-bit I and Q
without end. The client sends commands of five bytes: one of code, four of value (1 frequency, 2 sample rate,
3 gain mode, 4 gain in tenths of dB, 5 correction in ppm, ...).

usage: python rtl_tcp_server.py PORT SAMPLES.npy       (complex64, full scale 1.0, over and over)
"""
import socket
import struct
import sys
import threading
import time

import numpy as np

R820T, GAINS = 5, 29
COMMANDS = {1: "frequency", 2: "rate", 3: "gain_mode", 4: "gain", 5: "ppm", 8: "agc", 13: "gain_index"}


class RtlTcpServer:
    """Serves one client after another; .commands holds what the latest said. Give it a process of its own for
    clients in C++: they may hold Python's lock while they wait for it."""

    def __init__(self, samples, port=0, host="127.0.0.1", on_command=lambda name, value: None):
        self.on_command = on_command
        rails = np.asarray(samples, np.complex64).view(np.float32)
        self.data = np.clip(np.round(rails * 127.5 + 127.5), 0, 255).astype(np.uint8).tobytes()
        self.commands, self.clients, self._stop = {}, 0, False
        self._socket = socket.create_server((host, port))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while not self._stop:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.clients += 1
            threading.Thread(target=self._listen, args=(client,), daemon=True).start()
            try:
                client.sendall(struct.pack(">4sII", b"RTL0", R820T, GAINS))
                start, sent, at = time.monotonic(), 0, 0
                while not self._stop:
                    chunk = self.data[at:at + 32768]
                    client.sendall(chunk)
                    at = (at + len(chunk)) % len(self.data)
                    sent += len(chunk)
                    ahead = sent / 2 / self.commands.get("rate", 1e6) - (time.monotonic() - start)
                    if ahead > 0.05:
                        time.sleep(ahead)
            except OSError:
                pass  # the client went
            client.close()

    def _listen(self, client):
        rest = b""
        while True:
            try:
                got = client.recv(4096)
            except OSError:
                return
            if not got:
                return
            rest += got
            while len(rest) >= 5:
                code, value = struct.unpack(">BI", rest[:5])
                rest = rest[5:]
                self.commands[COMMANDS.get(code, code)] = value
                self.on_command(COMMANDS.get(code, code), value)

    def close(self):
        self._stop = True
        self._socket.close()


if __name__ == "__main__":
    server = RtlTcpServer(np.load(sys.argv[2]), int(sys.argv[1]), on_command=lambda *c: print(*c, flush=True))
    print(f"serving at {server.port}", flush=True)
    threading.Event().wait()
