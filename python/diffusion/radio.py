# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples over a radio: any SoapySDR device that transmits and receives, the virtual one included."""
import time

import numpy as np
from gnuradio import blocks, gr

LEAD_S = 0.2     # silence in front: time for both streams to start
TAIL_S = 0.5     # and behind: what the devices still hold


class RadioError(RuntimeError):
    """The radio cannot be used; the message says what to do."""


def exchange(samples, device, rate=1e6, frequency=2.45e9, tx_gain=None, rx_gain=None, amplitude=0.2):
    """Transmits samples (unit mean power; sent with RMS amplitude) and returns what was received meanwhile.

    device: SoapySDR arguments, such as "driver=loopback,adc_bits=3"; one device does both. Gains in dB,
    None: the device's own choice.
    """
    from gnuradio import soapy
    if not rate > 0:
        raise RadioError(f"the sample rate is {rate}, use a positive number of samples/s")
    silence = np.zeros(int(LEAD_S * rate), np.complex64)
    x = np.concatenate([silence, amplitude * np.asarray(samples, np.complex64), silence])
    try:
        radio = [make(device, "fc32", 1, "", "", [""], [""]) for make in (soapy.sink, soapy.source)]
        for block, gain in zip(radio, (tx_gain, rx_gain)):
            block.set_sample_rate(0, rate)
            block.set_frequency(0, frequency)
            if gain is not None:
                block.set_gain(0, gain)
    except Exception as e:  # SoapySDR's errors come as several types
        raise RadioError(f"device '{device}' cannot be opened for transmission and reception ({e}); "
                         "'SoapySDRUtil --find' lists what is there") from e
    sink, source = radio
    tb = gr.top_block("radio")
    transmit, received = blocks.vector_source_c(x.tolist()), blocks.vector_sink_c()
    count = x.size + int(TAIL_S * rate)
    head = blocks.head(gr.sizeof_gr_complex, count)
    tb.connect(transmit, sink)
    tb.connect(source, head, received)
    tb.start()
    # The receiver ends by itself; a device that delivers nothing must not hang the job.
    deadline = time.monotonic() + 5 + 3 * count / rate
    while head.nitems_written(0) < count and time.monotonic() < deadline:
        time.sleep(0.02)
    tb.stop()
    tb.wait()
    iq = np.array(received.data(), np.complex64)
    if not iq.size:
        raise RadioError(f"device '{device}' delivered no samples; try another --rate, or another USB port")
    return iq
