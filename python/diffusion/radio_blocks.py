# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks for a link over any SoapySDR device: the radio, and a file in its frames."""
import os
from pathlib import Path

import numpy as np
import pmt
from gnuradio import blocks, gr

from . import radio
from .carousel import Assembly, split
from .link import LENGTH_TAG, packet_source

LONGEST = 65535  # bytes of a packet: a tag that says more must not make the sink hold the stream


class radio_source(gr.hier_block2):
    """Samples of a receiver: a gr-soapy source that sets only what it is told, so that the device string may
    change.

    device: SoapySDR arguments, such as "driver=loopback". sample_rate, frequency: Hz. gain: dB, None: the
    device's own choice. antenna, bandwidth (Hz): "" and 0 for the device's own choice. lo_offset: Hz that the
    LO is tuned aside, where the driver can bring it back. Output: complex, full scale 1.

    Raises RadioError naming what the device refuses and what it has instead.
    """
    direction = "rx"

    def __init__(self, device="driver=loopback", sample_rate=1e6, frequency=2.45e9, gain=None, antenna="",
                 bandwidth=0,
                 lo_offset=0):
        wire, none = gr.io_signature(1, 1, gr.sizeof_gr_complex), gr.io_signature(0, 0, 0)
        receives = self.direction == "rx"
        gr.hier_block2.__init__(self, "radio_source" if receives else "radio_sink",
                                none if receives else wire,
                                wire if receives else none)
        self.core = radio.open_device(self.direction, device, sample_rate, frequency, gain, antenna or None,
                                      bandwidth or None, lo_offset or None)
        self.connect(*((self.core, self) if receives else (self, self.core)))

    def set_sample_rate(self, sample_rate):
        self.core.set_sample_rate(0, sample_rate)

    def set_frequency(self, frequency):
        self.core.set_frequency(0, frequency)

    def set_gain(self, gain):
        """dB; None leaves it as it is."""
        if gain is not None:
            self.core.set_gain(0, gain)

    def set_antenna(self, antenna):
        """ "" leaves it as it is."""
        if antenna:
            self.core.set_antenna(0, antenna)

    def set_bandwidth(self, bandwidth):
        """Hz; 0 leaves it as it is."""
        if bandwidth:
            self.core.set_bandwidth(0, bandwidth)

    def read_sensor(self, name):
        """What the device says of itself."""
        return self.core.read_sensor(name)


class radio_sink(radio_source):
    """The same for a transmitter. Input: complex, full scale 1."""
    direction = "tx"


class carousel_source(gr.hier_block2):
    """A file as tagged packets, round and round, for ofdm_tx("stream"): a receiver may begin anywhere.

    payload: bytes of a packet, 4 of them number it. rounds: then the stream ends; 0: never.
    """

    def __init__(self, file, payload=112, rounds=0):
        gr.hier_block2.__init__(self, "carousel_source", gr.io_signature(0, 0, 0),
                                gr.io_signature(1, 1, gr.sizeof_char))
        if not 8 <= payload <= 4096:
            raise ValueError(f"carousel_source: payload is {payload} bytes, use 8 to 4096")
        if rounds < 0:
            raise ValueError(f"carousel_source: rounds is {rounds}, use 0 (for ever) or more")
        with open(file, "rb") as f:
            data = f.read()
        if not data:
            raise ValueError(f"carousel_source: {file} is empty, there is nothing to send")
        packets = split(data, payload, 1)
        self.packets, self.source = len(packets), packet_source(packets, repeat=True)
        if rounds:
            self.head = blocks.head(gr.sizeof_char, rounds * sum(map(len, packets)))
            self.connect(self.source, self.head, self)
        else:
            self.connect(self.source, self)


class carousel_sink(gr.sync_block):
    """The file that a carousel_source sends, from the tagged packets of ofdm_rx; then the flowgraph ends.

    Packets may be lost, come twice or begin anywhere. The file is written once it is complete and its CRC-32
    fits.
    """

    def __init__(self, file):
        gr.sync_block.__init__(self, "carousel_sink", [np.uint8], None)
        self.file, self.assembly, self.packet, self.missing = str(file), Assembly(), bytearray(), 0
        if Path(file).is_dir() or not os.access(Path(file).resolve().parent, os.W_OK):
            raise ValueError(f"carousel_sink: {file} is no file that can be written; name one in a folder "
                             "that exists")

    def complete(self):
        return self.assembly.data is not None

    def progress(self):
        """(parts that are there, parts needed)"""
        return self.assembly.progress()

    def work(self, input_items, _):
        data = input_items[0]
        n = len(data)
        tags = sorted(((t.offset - self.nitems_read(0), t.value) for t in
                       self.get_tags_in_window(0, 0, n, pmt.intern(LENGTH_TAG)) if pmt.is_integer(t.value)),
                      key=lambda tag: tag[0])
        starts = [at for at, _ in tags] + [n]
        self._take(data[:starts[0]])
        for (at, length), end in zip(tags, starts[1:]):
            length = pmt.to_long(length)
            self.packet, self.missing = bytearray(), length if 0 < length <= LONGEST else 0
            self._take(data[at:end])
        if not self.complete():
            return n
        try:
            with open(self.file, "wb") as f:
                f.write(self.assembly.data)
        except OSError as e:
            gr.logger(self.alias()).error(f"{self.file} cannot be written: {e.strerror}")
        return -1  # done

    def _take(self, data):
        taken = data[:self.missing]
        self.packet += taken.tobytes()
        self.missing -= len(taken)
        if self.packet and not self.missing:
            self.assembly.add(bytes(self.packet))
            self.packet = bytearray()
