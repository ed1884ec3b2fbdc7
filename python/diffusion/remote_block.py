# SPDX-License-Identifier: GPL-3.0-or-later
"""Block remote_denoiser: denoiser_cc computed by torch processes over ZMQ."""
import time

import numpy as np
import pmt
from gnuradio import gr

from . import remote


class remote_denoiser(gr.sync_block):
    """Equalised symbols in, denoised symbols out, computed by ``gr-diffusion serve`` processes.

    Order is kept; what a worker does not answer within ``timeout`` seconds is computed by the native
    engine, so a lost worker costs time, never samples. A call waits at most ``timeout``; once all workers
    are lost nothing waits, and they are asked again in growing intervals.

    model        shipped name or path, the one the workers serve
    addresses    list of ZMQ endpoints
    noise_var    E|n|^2; below 0: from tags "noise_var" or "snr" (dB), or messages on port "cmd"
    steps        denoising steps, 0: the model's own
    timeout      seconds
    server_key   the workers' CURVE public key, or ""

    Message port "cmd": a dictionary, or a pair, with "noise_var" or "snr". Port "status": a dictionary of
    counters (symbols computed "remote" and "native", shares "resent", answers "refused"), once a second.
    """

    def __init__(self, model, addresses=(remote.DEFAULT_ADDRESS,), noise_var=-1.0, steps=0, timeout=0.05,
                 server_key=""):
        gr.sync_block.__init__(self, name="remote_denoiser", in_sig=[np.complex64], out_sig=[np.complex64])
        from .receiver import Receiver  # numpy only
        self._receiver = Receiver(model)
        self._arguments = (list(addresses), self._receiver.name, timeout, server_key)
        # The sockets belong to the scheduler's thread; here they are made once to check the arguments.
        remote.Client(list(addresses), self._receiver.name, self._native, timeout, (), server_key).close()
        self._client = None
        self._noise_var, self._next_warning, self._held = -1.0, 0.0, 0
        self.set_noise_var(noise_var)
        self.set_steps(steps)
        self._refused = 0
        self._next_status = 0
        self.message_port_register_in(pmt.intern("cmd"))
        self.set_msg_handler(pmt.intern("cmd"), self._on_command)
        self.message_port_register_out(pmt.intern("status"))

    def _native(self, y, noise_var, steps):
        return self._receiver(y, noise_var)[0]

    def set_noise_var(self, noise_var):
        """E|n|^2 of the symbols; below 0: follow tags and messages."""
        if noise_var == 0 or not np.isfinite(noise_var):
            raise ValueError(f"remote_denoiser: noise_var is {noise_var}, use a positive variance E|n|^2, or "
                             "-1 for tags and messages")
        self._follow_tags = noise_var < 0
        if noise_var > 0:
            self._noise_var = float(noise_var)

    def set_steps(self, steps):
        """Denoising steps, 0 to 5; 0: the model's own."""
        if not 0 <= int(steps) <= 5:
            raise ValueError(f"remote_denoiser: steps is {steps}, use 0 (the model's own) to 5")
        self._steps = int(steps)

    def counters(self):
        """Symbols computed remote and native, shares resent, answers refused."""
        return dict(self._client.counters) if self._client else {"remote": 0, "native": 0, "resent": 0,
                                                                 "refused": 0}

    def _warn(self, text):
        """One line a second: whatever sends rubbish must not fill a disk."""
        self._held += 1
        if time.monotonic() >= self._next_warning:
            gr.log.warn(f"remote_denoiser: {text} ({self._held} such events since the last line)")
            self._next_warning, self._held = time.monotonic() + 1, 0

    def _set_level(self, key, value):
        """A noise level from a tag or a message; what is wrong is logged and changes nothing."""
        if not (pmt.is_real(value) or pmt.is_integer(value)):  # to_double() throws at others
            self._warn(f"{key} {str(value)[:100]} ignored, it is no real number")
            return
        number = pmt.to_double(value)
        level = number if key == "noise_var" else 10 ** (-number / 10) if abs(number) < 300 else -1
        if not (0 < level < np.inf):
            self._warn(f"{key} {number} ignored, it is out of range")
            return
        self._noise_var = level

    def _on_command(self, message):
        if pmt.is_pair(message) and pmt.is_symbol(pmt.car(message)):
            message = pmt.dict_add(pmt.make_dict(), pmt.car(message), pmt.cdr(message))
        try:
            found = [(k, pmt.dict_ref(message, pmt.intern(k), pmt.PMT_NIL)) for k in ("noise_var", "snr")]
            found = [(key, value) for key, value in found if not pmt.is_null(value)]
        except Exception:  # no dictionary, or a list that only looks like one
            found = []
        if not found:
            self._warn("message ignored, use a dictionary or a pair with noise_var or snr")
        for key, value in found:
            self._set_level(key, value)

    def start(self):
        addresses, model, timeout, key = self._arguments
        self._client = remote.Client(addresses, model, self._native, timeout, (), key)
        return True

    def stop(self):
        if self._client:
            self._client.close()
        return True

    def work(self, input_items, output_items):
        y, out = input_items[0], output_items[0]
        n = len(out)
        for first, last in self._stretches(n):
            part = y[first:last]
            bad = ~np.isfinite(part)
            if bad.any():
                part = np.where(bad, 0, part)
            level = self._noise_var if self._noise_var > 0 else 0.1
            out[first:last] = self._client(part, level, self._steps)
        self._publish()
        return n

    def _stretches(self, n):
        """Runs of symbols between tags; a tag's noise level counts from its symbol on."""
        start = 0
        if self._follow_tags:
            for tag in sorted(self.get_tags_in_window(0, 0, n), key=lambda t: t.offset):
                key = pmt.symbol_to_string(tag.key)
                if key not in ("noise_var", "snr"):
                    continue
                at = tag.offset - self.nitems_read(0)
                if at > start:
                    yield start, at
                    start = at
                self._set_level(key, tag.value)
        if start < n:
            yield start, n

    def _publish(self):
        counters = self._client.counters
        if counters["refused"] > self._refused and gr.high_res_timer_now() > self._next_status:
            gr.log.warn(f"remote_denoiser: {self._client.last_refusal}")
            self._refused = counters["refused"]
        if gr.high_res_timer_now() > self._next_status:
            self._next_status = gr.high_res_timer_now() + gr.high_res_timer_tps()
            self.message_port_pub(pmt.intern("status"),
                                  pmt.to_pmt({**counters, "alive": self._client.workers_alive()}))
