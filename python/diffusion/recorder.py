# SPDX-License-Identifier: GPL-3.0-or-later
"""From a SoapySDR device into a recording, transmitting meanwhile if wanted."""
import tempfile
import time
from pathlib import Path

import numpy as np
from gnuradio import blocks, gr

from . import link, playback
from .radio import AMPLITUDE, LEAD_S, TAIL_S, RadioError, open_device
from .recording import open_recording, recording_sink, sent_description, write_metadata


def _ask(function, *args):
    """What a device answers; drivers do not answer everything."""
    try:
        return function(*args)
    except Exception:
        return None


def state_of(source, settings):
    """Hardware and settings as the device tells them."""
    sensors = {name: _ask(source.read_sensor, name) for name in _ask(source.list_sensors) or ()}
    return {"device": settings.device, "sample_rate": _ask(source.get_sample_rate, 0),
            "frequency": _ask(source.get_frequency, 0),
            "gain_db": _ask(source.get_gain, 0), "antenna": _ask(source.get_antenna, 0),
            "bandwidth": _ask(source.get_bandwidth, 0), "tx_gain_db": settings.tx_gain, "sensors": sensors}


def samples_to_send(settings, waveform, packets, path):
    """IQ of the packets with silence around, RMS AMPLITUDE within frames, into a file; returns their number.
    A file, because ten minutes are five gigabytes."""
    silence = np.zeros(int(LEAD_S * settings.rate), np.complex64)
    silence.tofile(path)
    tb = gr.top_block("transmission")
    source, sink = link.packet_source(packets), blocks.file_sink(gr.sizeof_gr_complex, str(path), True)
    level = blocks.multiply_const_cc(AMPLITUDE)
    tb.connect(source, *link.transmitter(settings, waveform), level, sink)
    tb.run()
    sink.close()
    with open(path, "ab") as f:
        f.write(silence.tobytes())
    return Path(path).stat().st_size // gr.sizeof_gr_complex


def _packets(settings):
    data = Path(settings.file).read_bytes()
    if not data:
        raise ValueError(f"{settings.file} is empty: there is nothing to send")
    return data, link.split(data, settings.payload, settings.frames)


def record(name, settings, waveform="native", seconds=None, transmit=False, antenna=None, description="",
           annotate=True, overwrite=False, lo_offset=None):
    """Records into name; returns what the command prints. settings: link.Settings with device and what is
    sent."""
    s = settings
    if seconds is not None and not 0 < seconds * s.rate < 2 ** 40:
        raise ValueError(f"seconds is {seconds}, use a positive number")
    with tempfile.TemporaryDirectory(prefix="gr-diffusion-") as folder:
        return _record(name, s, waveform, seconds, transmit, antenna, description, annotate, overwrite,
                       lo_offset,
                       Path(folder) / "sent.c64")


def _record(name, s, waveform, seconds, transmit, antenna, description, annotate, overwrite, lo_offset,
            scratch):
    details, sent, data, packets = {}, 0, None, None
    if s.file:
        data, packets = _packets(s)
    if transmit:
        sent = samples_to_send(s, waveform, packets, scratch)
    count = int(seconds * s.rate) if seconds else (sent + int(TAIL_S * s.rate) if transmit else int(s.rate))
    source = open_device("rx", s.device, s.rate, s.frequency, s.rx_gain, antenna, lo_offset=lo_offset)
    sink = open_device("tx", s.device, s.rate, s.frequency, s.tx_gain,
                       lo_offset=lo_offset) if transmit else None
    if packets:
        whole = transmit and count >= sent
        details["sent"] = sent_description(packets, data, Path(s.file).name, {
            "waveform": waveform, "modulation": s.modulation, "fec": s.fec, "payload": s.payload,
            "transmitted": whole})
    state = state_of(source, s)
    out = recording_sink(name, state["sample_rate"] or s.rate, state["frequency"] or s.frequency, count,
                         hardware=s.device,
                         description=description, details={**details, "radio": state}, overwrite=overwrite)
    tb = gr.top_block("record")
    tb.connect(source, out)
    if transmit:
        samples = blocks.file_source(gr.sizeof_gr_complex, str(scratch))
        tb.connect(samples, sink)
    _run(tb, out, count, s.rate)
    problems = []
    if not out.count:
        problems.append("no sample came")
    elif out.error:
        problems.append(f"the disk took only {out.count} samples: {out.error}")
    elif out.count < count:
        problems.append(f"{out.count} of {count} samples came")
    end = state_of(source, s)["sensors"]
    lost = len(out.metadata["captures"]) - 1  # gr-soapy says by a tag rx_time that samples were lost
    if lost:
        problems.append(f"{lost} overflows: the computer or its disk was too slow, samples are missing")
    out.close(details={"radio": {**state, "sensors": end}})
    if not out.count:
        raise RadioError(f"device '{s.device}' delivered no samples; try another --rate, or another USB port")
    frames = frames_ok = None
    if annotate and waveform == "native":
        recording = open_recording(out.path, check=False)
        _, tally = playback.play(recording, "native", "lmmse", "map", annotate=True)
        frames, frames_ok = tally.detected, tally.ok
        out.metadata["annotations"] = playback.fitting(tally.annotations, out.count)
        write_metadata(out.path, out.metadata)
    db = lambda x: float(20 * np.log10(max(x, 1e-9)))
    if out.peak >= 0.999:
        problems.append("the samples reach full scale: less --gain")
    return {"name": str(out.path), "samples": out.count, "rate": state["sample_rate"] or s.rate,
            "frequency": state["frequency"] or s.frequency,
            "hardware": s.device, "frames": frames, "frames_ok": frames_ok,
            "rms_dbfs": db(np.sqrt(out.power / out.count)), "peak_dbfs": db(out.peak), "problems": problems}


def _run(tb, out, count, rate):
    """Until count samples are there; Ctrl-C, or a device that delivers nothing, ends it before."""
    tb.start()
    deadline = time.monotonic() + 5 + 3 * count / rate
    try:
        while out.count < count and out.error is None and time.monotonic() < deadline:
            time.sleep(0.02)
    except KeyboardInterrupt:
        pass
    tb.stop()
    tb.wait()
