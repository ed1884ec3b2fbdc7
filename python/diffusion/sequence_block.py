# SPDX-License-Identifier: GPL-3.0-or-later
"""Block sequence_receiver: SequenceReceiver in a flowgraph."""
import pmt

from .sequence import SequenceReceiver
from .whole_blocks import symbol_block


class sequence_receiver(symbol_block):
    """QAM through an amplifier with memory: samples of a waveform in, symbols and LLRs out.

    waveform       OfdmWaveform or PulseWaveform; its blocks follow one another without a gap
    constellation  "qpsk", "qam16", "qam64" or "qam256"
    model          a sequence model ("seq-dpa200", or a file), or ""
    fit            file of SequenceReceiver.save_fit(), or ""; model or fit must be there
    noise_var      E|n|^2 of the samples, without the converter's
    rounds         of data consistency at most, 0 to 20
    align_tag      a tag of this key starts a block: samples before it that fill no block are skipped; "": the
    first
                   sample starts the first block

    Without a fit the amplifier's linear gain must be 1. Tags "noise_var" and "snr" (dB, of a waveform of
    power 1) set the noise from their block on. Port "cmd": a dictionary or pair with noise_var, snr or fit.
    Delay: one block."""

    def __init__(self, waveform, constellation="qam64", model="", fit="", noise_var=0.01, rounds=6,
                 align_tag=""):
        receiver = SequenceReceiver(waveform, constellation, model or None, rounds)
        if not (model or fit):
            raise ValueError("sequence_receiver: nothing is known of the amplifier; give a model "
                             "(seq-dpa200) or a fit")
        samples, symbols = waveform.block
        symbol_block.__init__(self, "sequence_receiver", samples, symbols, receiver.bits, noise_var)
        self._receiver, self._align = receiver, str(align_tag)
        self._settings["fit"] = self.set_fit
        if fit:
            self.set_fit(fit)

    def set_fit(self, path):
        """What SequenceReceiver.save_fit() wrote for this waveform's link."""
        self._receiver = self._receiver.with_fit(path)

    def choice(self):
        """What gives the first estimate: "network" or "polynomial"."""
        return self._receiver.choice

    def _before(self, available):
        if not self._align:
            return 0
        here = self.nitems_read(0)
        offsets = [t.offset - here for t in self.get_tags_in_window(0, 0, min(available, self._samples),
                                                                    pmt.intern(self._align))]
        return next((k for k in sorted(offsets) if k > 0), 0)

    def receive(self, samples):
        return self._receiver(samples, self._noise_var)
