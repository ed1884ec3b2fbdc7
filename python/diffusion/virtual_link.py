# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job's way over the virtual radio: this process receives, another one transmits.

Everything between the two processes' samples is the virtual radio's own doing, by its device arguments: DAC,
amplifier, IQ imbalance, DC and phase noise of the transmitter, path loss, Rayleigh taps drawn for every
burst, noise, ADC. In lockstep pacing no sample is lost and the same seed gives the same samples.
"""
import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from gnuradio import blocks, gr

from . import diffusion_python as compiled
from .medium import FULL_SCALE, FULL_SCALE_ABOVE, power_profile, received_power
from .radio import AMPLITUDE, TAIL_S, RadioError, decibels, make_room, open_device
from .station import Transmitter

PATH_LOSS_DB = 50
REFERENCE_GAIN_DB = 30  # transmit gain at which full scale is 0 dBm
TAIL = 4000             # samples of silence behind the last frame: a live receiver is never at its end
PATIENCE_S = 60         # without a single sample

_numbers = itertools.count()


def device_arguments(settings, medium, seed):
    """(transmitter's arguments and gain, receiver's arguments and gain) of the medium that the settings
    describe.

    Levels: the frames leave at 0 dBm mean power (the amplifier's back-off counts from there); the receive
    gain puts the ADC's full scale where the in-process medium has it, by the mean received power.
    """
    s = settings
    powers = power_profile(s.taps)
    signal = received_power(s.preset, None, seed) * 10 ** (-PATH_LOSS_DB / 10)
    noise = signal * 10 ** (-s.snr_db / 10)
    rail = np.sqrt((signal + noise) / 2)
    reach = FULL_SCALE.get(s.adc_bits, FULL_SCALE_ABOVE) if s.adc_bits else 10
    common = f"driver=loopback,medium={medium},pacing=lockstep,seed={seed}"
    profile = ";".join(f"{decibels(p):.6f}" for p in powers)
    return ((f"{common},tx_preset={s.preset}", REFERENCE_GAIN_DB - decibels(AMPLITUDE ** 2)),
            (f"{common},path_loss_db={PATH_LOSS_DB},noise_dbm={decibels(noise):.6f},profile={profile},fading=burst,"
             f"adc_bits={s.adc_bits}", -decibels((rail * reach) ** 2)))


def drawn_taps(settings, seed, count):
    """The taps that the virtual radio draws for its first bursts: the truth that the channel's NMSE needs."""
    powers = [10 ** (float(f"{decibels(p):.6f}") / 10) for p in power_profile(settings.taps)]
    channel = compiled.multipath.rayleigh([p / sum(powers) for p in powers], 0.0, seed * 1000003)
    taps = []
    for _ in range(count):
        channel.redraw()
        taps.append(np.array(channel.taps))
    return taps


class VirtualLink:
    """Two ends of the virtual radio: receivers here, the transmitter in a process of its own."""

    def __init__(self):
        make_room()
        self._transmitter = Transmitter()

    def close(self):
        self._transmitter.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def transmit(self, points, waveform, packets, seed):
        """[(iq, [(first sample, taps) of each frame])] for each of the settings, all from one
        transmission."""
        medium = f"link-{os.getpid()}-{next(_numbers)}"
        (device, gain), _ = device_arguments(points[0], medium, seed)
        receivers = [device_arguments(s, medium, seed)[1] for s in points]
        captures, answer = self._run(points[0], waveform, packets, device, gain, receivers, lockstep=True)
        out = []
        for settings, iq in zip(points, captures):
            if len(iq) != answer["next"] or answer["next"] - answer["first"] != answer["samples"]:
                raise RadioError(f"the virtual radio lost samples: {answer['samples']} were sent from number "
                                 f"{answer['first']} on, the receiver stands at {len(iq)}")
            taps = drawn_taps(settings, seed, len(packets))
            out.append((iq, [(answer["first"] + start, h) for start, h in zip(answer["starts"], taps)]))
        return out

    def transmit_over(self, settings, waveform, packets):
        """IQ of one transmission over the virtual radio as settings.device has it, in its own pacing."""
        s = settings
        captures, _ = self._run(s, waveform, packets, s.device, s.tx_gain, [(s.device, s.rx_gain)],
                                lockstep=False)
        return captures[0]

    def _run(self, settings, waveform, packets, device, gain, receivers, lockstep):
        with tempfile.TemporaryDirectory(prefix="gr-diffusion-") as folder:
            tb = gr.top_block("receivers")
            files = [Path(folder) / f"{i}.cf32" for i in range(len(receivers))]
            sources = [open_device("rx", d, settings.rate, settings.frequency, g) for d, g in receivers]
            sinks = [blocks.file_sink(gr.sizeof_gr_complex, str(f), False) for f in files]
            for source, sink in zip(sources, sinks):
                tb.connect(source, sink)
            tb.start()
            try:
                self._transmitter.begin(settings.plain(), waveform, packets, device, gain, AMPLITUDE, TAIL)
                answer = self._wait(sinks)
                self._drain(sinks, answer["next"] if lockstep else None)
            finally:
                tb.stop()
                tb.wait()
                del tb, sources, source, sinks, sink
            captures = [np.fromfile(f, np.complex64) for f in files]
        if not all(c.size for c in captures):
            raise RadioError(f"device '{device}' delivered no samples; try another medium=NAME")
        return captures, answer

    def _wait(self, sinks):
        """The transmitter's answer; an error when nothing moves any more."""
        seen, moved = -1, time.monotonic()
        while True:
            answer = self._transmitter.answer()
            if answer is not None:
                return answer
            count = sum(s.nitems_read(0) for s in sinks)
            if count != seen:
                seen, moved = count, time.monotonic()
            if time.monotonic() - moved > PATIENCE_S:
                raise RadioError(f"no sample came from the transmitter's process for {PATIENCE_S} s; is "
                                 "another program transmitting on this medium?")
            time.sleep(0.005)

    @staticmethod
    def _drain(sinks, count):
        """Until every receiver has read so many samples; None: for a while, in the medium's own time."""
        if count is None:
            time.sleep(TAIL_S)
            return
        end = time.monotonic() + PATIENCE_S
        while min(s.nitems_read(0) for s in sinks) < count and time.monotonic() < end:
            time.sleep(0.005)
