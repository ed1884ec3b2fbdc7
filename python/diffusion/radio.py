# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples over a radio: any SoapySDR device, the virtual one included; one device, or two processes."""
import math
import os
import time
from pathlib import Path

import numpy as np
from gnuradio import blocks, gr

LEAD_S = 0.2     # silence in front: time for both streams to start
TAIL_S = 0.5     # and behind: what the devices still hold
AMPLITUDE = 0.2  # RMS of what is sent: an OFDM signal's peaks are four times that
ROOM = 16 << 20  # bytes of shared memory for a medium with one transmitter


class RadioError(RuntimeError):
    """The radio cannot be used; the message says what to do."""


def soapy():
    """gr-soapy, with the virtual radio's driver found wherever this package is installed, and room for its
    media."""
    for folder in Path(__file__).resolve().parents:
        modules = folder / "SoapySDR/modules0.8"
        if list(modules.glob("*diffusionLoopback*")):
            known = os.environ.get("SOAPY_SDR_PLUGIN_PATH", "")
            if str(modules) not in known.split(os.pathsep):
                os.environ["SOAPY_SDR_PLUGIN_PATH"] = os.pathsep.join(filter(None, [str(modules), known]))
            break
    from gnuradio import soapy as module
    return module


def driver_of(device):
    """The driver that SoapySDR arguments name."""
    words = dict(word.split("=", 1) for word in device.replace(" ", "").split(",") if "=" in word)
    return words.get("driver", "")


def open_device(direction, device, rate, frequency, gain=None, antenna=None, bandwidth=None, lo_offset=None):
    """A gr-soapy source ("rx") or sink ("tx") with these settings; None is the device's own choice.

    lo_offset: Hz by which the LO is tuned aside, where the driver has a digital stage to bring it back
    (docs/hardware.md).

    Raises RadioError naming what the device refuses and what it has instead.
    """
    if not rate > 0:
        raise RadioError(f"the sample rate is {rate:g}, use a positive number of samples/s")
    module = soapy()
    what = {"rx": "reception", "tx": "transmission"}[direction]
    try:
        tuning = f"OFFSET={lo_offset:.17g}" if lo_offset else ""
        block = (module.source if direction == "rx" else module.sink)(device, "fc32", 1, "", "", [tuning],
                                                                      [""])
    except Exception as e:  # SoapySDR's errors come as several types
        raise RadioError(f"device '{device}' cannot be opened for {what} ({e}); 'SoapySDRUtil --find' lists "
                         "what is there, driver=loopback needs no hardware") from e
    _refuse_outside(block, "get_sample_rate_range", rate, "sample rate", "samples/s", device)
    _refuse_outside(block, "get_frequency_range", frequency, "frequency", "Hz", device)
    if gain is not None:
        _refuse_outside(block, "get_gain_range", gain, "gain", "dB", device)
    try:
        if antenna is not None and antenna not in block.list_antennas(0):
            raise ValueError(f"antenna '{antenna}' is not among {', '.join(block.list_antennas(0))}")
        block.set_sample_rate(0, rate)
        block.set_frequency(0, frequency)
        if antenna is not None:
            block.set_antenna(0, antenna)
        if bandwidth is not None:
            block.set_bandwidth(0, bandwidth)
        if gain is not None:
            block.set_gain(0, gain)
    except Exception as e:
        raise RadioError(f"device '{device}' does not take these settings ({e}); "
                         f"'SoapySDRUtil --probe=\"{device}\"' lists what it has") from e
    return block


def _refuse_outside(block, question, value, name, unit, device):
    """gr-soapy only logs some of these; drivers that name no range may take anything."""
    try:
        ranges = getattr(block, question)(0)
        ranges = [(r.minimum(), r.maximum()) for r in (ranges if isinstance(ranges, (list, tuple))
                                                       else [ranges])]
    except Exception:
        return
    known = [(low, high) for low, high in ranges if high > low or high > 0]
    if known and not any(low <= value <= high for low, high in known):
        text = ", ".join(f"{low:g} to {high:g}" if high > low else f"{low:g}" for low, high in known[:12])
        raise RadioError(f"device '{device}': the {name} is {value:g} {unit}, it takes {text}")


def make_room():
    """Lets this program and those it starts keep media in a folder with room, if /dev/shm has none left."""
    if os.environ.get("GR_DIFFUSION_SHM"):
        return
    try:
        status = os.statvfs("/dev/shm")
        room = status.f_blocks == 0 or status.f_bavail * status.f_frsize >= ROOM
        writable = os.access("/dev/shm", os.W_OK)
    except OSError:
        room = writable = False
    if not (room and writable):
        os.environ["GR_DIFFUSION_SHM"] = "/tmp"


def exchange(samples, device, rate=1e6, frequency=2.45e9, tx_gain=None, rx_gain=None, amplitude=AMPLITUDE):
    """Transmits samples (unit mean power; sent with RMS amplitude) and returns what was received meanwhile.

    device: SoapySDR arguments, such as "driver=loopback,adc_bits=3"; one device does both. Gains in dB,
    None: the device's own choice.
    """
    sink = open_device("tx", device, rate, frequency, tx_gain)
    source = open_device("rx", device, rate, frequency, rx_gain)
    silence = np.zeros(int(LEAD_S * rate), np.complex64)
    x = np.concatenate([silence, amplitude * np.asarray(samples, np.complex64), silence])
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


def decibels(power):
    return 10 * math.log10(power)
