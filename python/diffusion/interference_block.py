# SPDX-License-Identifier: GPL-3.0-or-later
"""Block interference_receiver: InterferenceReceiver in a flowgraph."""
from .interference import InterferenceLaw, InterferenceReceiver
from .whole_blocks import symbol_block


class interference_receiver(symbol_block):
    """Equalised symbols under interference of a learned law in, symbols and LLRs out.

    constellation  name
    law            file that InterferenceLaw.save() wrote, or an InterferenceLaw
    noise_var      E|n|^2 of the Gaussian noise beside it, E|x|^2 = 1
    block          symbols received at once; two windows of the law more on either side overlap
    rounds         turns between symbols and interference

    The interference's power is estimated in every block. Tags "noise_var" and "snr" (dB) set the noise from
    their block on. Port "cmd": a dictionary or pair with noise_var, snr or law (file). Delay: two windows of
    the law."""

    def __init__(self, constellation="qam16", law=None, noise_var=0.01, block=1024, rounds=24):
        if not law:
            raise ValueError("interference_receiver: law is missing; give the file that "
                             "InterferenceLaw.save() wrote")
        if not 64 <= int(block) <= 16384:
            raise ValueError(f"interference_receiver: block is {block}, use 64 to 16384")
        self._receiver = InterferenceReceiver(constellation, law, rounds)
        self._margin = 2 * self._receiver.law.window
        symbol_block.__init__(self, "interference_receiver", int(block), int(block), self._receiver.bits,
                              noise_var,
                              self._margin)
        self._settings["law"] = self.set_law

    def set_law(self, law):
        """Another law of the same window."""
        law = law if isinstance(law, InterferenceLaw) else InterferenceLaw.load(law)
        if 2 * law.window != self._margin:
            raise ValueError(f"its window is {law.window}, this block was made for {self._margin // 2}")
        self._receiver.law = law

    def receive(self, samples):
        x_hat, llr = self._receiver(samples, self._noise_var)
        inside = slice(self._margin, len(samples) - self._margin)
        return x_hat[inside], llr[inside]
