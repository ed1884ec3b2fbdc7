# SPDX-License-Identifier: GPL-3.0-or-later
"""A file as frames that go round and round: the transmitter's packets, and their way back into a file."""
import threading
import zlib

PREFIX = 4  # bytes in front of each chunk: frame number and number of chunks, 2 each
MOST_CHUNKS = 60000


def split(data, payload, frames):
    """Packets of a carousel: frame number, number of chunks, chunk; the file and its CRC-32 are the
    chunks."""
    body = payload - PREFIX
    stream = data + zlib.crc32(data).to_bytes(4, "big")
    chunks = [stream[i:i + body] for i in range(0, len(stream), body)]
    if len(chunks) > MOST_CHUNKS:
        raise ValueError(f"the file needs {len(chunks)} frames of {payload} bytes, {MOST_CHUNKS} at most: "
                         "use a larger payload or a smaller file")
    count = max(frames, len(chunks))
    return [n.to_bytes(2, "big") + len(chunks).to_bytes(2, "big") + chunks[n % len(chunks)]
            for n in range(count)]


def join(packets):
    """The file from the packets that arrived, None if a chunk is missing or the CRC-32 does not fit."""
    assembly = Assembly()
    for p in packets:
        assembly.add(p)
    return assembly.data


class Assembly:
    """Packets in any order, from any number of rounds, into a file. Threads may add and ask.

    data is the file once all chunks are there and the CRC-32 fits, else None. A packet that contradicts what
    came before (another file, or the same transmitter started anew with one) begins a new file.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._chunks, self._total = {}, 0
        self.packets, self.data = 0, None

    def add(self, packet):
        if len(packet) <= PREFIX:
            return
        number, total = int.from_bytes(packet[:2], "big"), int.from_bytes(packet[2:4], "big")
        if not 0 < total <= MOST_CHUNKS:
            return
        with self._lock:
            self.packets += 1
            if self.data is not None:
                return
            key, chunk = number % total, bytes(packet[PREFIX:])
            if total != self._total or self._chunks.get(key, chunk) != chunk:
                self._chunks, self._total = {}, total
            self._chunks[key] = chunk
            if len(self._chunks) == total:
                stream = b"".join(self._chunks[i] for i in range(total))
                if zlib.crc32(stream[:-4]).to_bytes(4, "big") == stream[-4:]:
                    self.data = stream[:-4]
                else:  # parts of two files of one length
                    self._chunks = {}

    def progress(self):
        """(chunks there, chunks needed); (0, 0) before the first."""
        with self._lock:
            return len(self._chunks), self._total
