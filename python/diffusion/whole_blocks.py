# SPDX-License-Identifier: GPL-3.0-or-later
"""What Python blocks share that receive stretches of samples: symbols and LLRs out, settings by tag and
message."""
import time

import numpy as np
import pmt
from gnuradio import gr


class symbol_block(gr.basic_block):
    """Complex samples in; symbols (complex64) and LLRs (float32, bits of a symbol one after the other) out.

    A subclass gives receive(samples) -> (symbols, llr). What goes wrong there is logged, at most a line a
    second, and counted; zeros come out in its place, so that nothing after it loses its place in the stream.
    samples, symbols: of one stretch; history: samples before and after it that receive() gets as well."""

    def __init__(self, name, samples, symbols, bits, noise_var, history=0):
        gr.basic_block.__init__(self, name=name, in_sig=[np.complex64], out_sig=[np.complex64, np.float32])
        self._samples, self._symbols, self._bits, self._around = samples, symbols, bits, 2 * history
        self._next_warning, self._held = 0.0, 0
        self._counts = {"blocks": 0, "failed": 0, "bad_samples": 0, "refused": 0, "skipped": 0}
        self._settings = {"noise_var": self.set_noise_var, "snr": self._set_snr}
        self.set_noise_var(noise_var)
        # Both outputs are offered the same number of items: room for the LLRs of one stretch at least.
        self.set_output_multiple(symbols * bits)
        if history:
            self.set_history(2 * history + 1)
            self.declare_sample_delay(history)
        self.set_tag_propagation_policy(gr.TPP_DONT)
        self.message_port_register_in(pmt.intern("cmd"))
        self.set_msg_handler(pmt.intern("cmd"), self._on_command)

    def set_noise_var(self, noise_var):
        """E|n|^2 of the samples."""
        if not (noise_var > 0 and np.isfinite(noise_var)):
            raise ValueError(f"{self.name()}: noise_var is {noise_var}, use a positive variance E|n|^2")
        self._noise_var = float(noise_var)

    def noise_var(self):
        return self._noise_var

    def counters(self):
        """blocks received; of them failed; samples that were no finite number; tags and messages refused;
        samples skipped to get in step."""
        return dict(self._counts)

    def _set_snr(self, snr_db):
        if not abs(snr_db) < 300:
            raise ValueError(f"snr is {snr_db} dB")
        self.set_noise_var(10 ** (-snr_db / 10))

    def _warn(self, text):
        self._held += 1
        if time.monotonic() >= self._next_warning:
            gr.log.warn(f"{self.name()}: {text} ({self._held} such events since the last line)")
            self._next_warning, self._held = time.monotonic() + 1, 0

    def _apply(self, key, value):
        """One setting; what is wrong is logged and counted and changes nothing."""
        try:
            value = pmt.to_python(value)
            self._settings[key](float(value) if key in ("noise_var", "snr") else value)
        except Exception as e:  # whatever a message holds, the flowgraph goes on
            self._counts["refused"] += 1
            self._warn(f"{key} {str(value)[:100]} ignored ({str(e)[:200]})")

    def _on_command(self, message):
        if pmt.is_pair(message) and pmt.is_symbol(pmt.car(message)):
            message = pmt.dict_add(pmt.make_dict(), pmt.car(message), pmt.cdr(message))
        try:
            known = [k for k in self._settings if pmt.dict_has_key(message, pmt.intern(k))]
        except Exception:  # no dictionary, or a list that only looks like one
            known = []
        if not known:
            self._counts["refused"] += 1
            self._warn(f"message ignored, use a dictionary or a pair with {', '.join(self._settings)}")
            return
        for key in known:
            self._apply(key, pmt.dict_ref(message, pmt.intern(key), pmt.PMT_NIL))

    def forecast(self, noutput_items, ninputs):
        return [self._samples + self._around] * ninputs

    def _before(self, available):
        """Samples to skip before the next stretch."""
        return 0

    def general_work(self, input_items, output_items):
        y = input_items[0]
        room = len(output_items[0]) // (self._symbols * self._bits)
        skip = self._before(len(y) - self._around)
        if skip:
            self._counts["skipped"] += skip
            self.consume(0, skip)
            return gr.WORK_CALLED_PRODUCE
        count = min(room, (len(y) - self._around) // self._samples)
        if count == 0:
            return gr.WORK_CALLED_PRODUCE
        for tag in self.get_tags_in_window(0, 0, self._samples):
            key = pmt.symbol_to_string(tag.key)
            if key in ("noise_var", "snr"):
                self._apply(key, tag.value)
        part = y[:self._samples + self._around]
        bad = ~np.isfinite(part)
        if bad.any():
            self._counts["bad_samples"] += int(bad.sum())
            part = np.where(bad, 0, part)
        symbols, soft = self._symbols, self._symbols * self._bits
        output_items[0][:symbols], output_items[1][:soft] = 0, 0
        self._counts["blocks"] += 1
        try:
            x_hat, llr = self.receive(part)
            if not (np.isfinite(x_hat).all() and np.isfinite(llr).all()):
                raise ValueError("its numbers are not finite")
            output_items[0][:symbols], output_items[1][:soft] = x_hat, np.ravel(llr)
        except Exception as e:  # samples decide what the mathematics meets: the flowgraph goes on
            self._counts["failed"] += 1
            self._warn(f"a block could not be received ({str(e)[:200]})")
        self.consume(0, self._samples)
        self.produce(0, symbols)
        self.produce(1, soft)
        return gr.WORK_CALLED_PRODUCE
