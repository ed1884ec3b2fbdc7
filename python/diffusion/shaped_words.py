# SPDX-License-Identifier: GPL-3.0-or-later
"""An LDPC code around shaper_bc and deshaper_cb, in a flowgraph: amplitude shaping (Boecherer, Steiner and
Schulte 2015).

One block of the shaper is one code word of 16200 bits. shaped_parity puts the word's parity bits into the
signs of its last symbols, which the shaper's packets leave free (payload()): signs are equally likely anyway,
so the word keeps its composition. shaped_decoder takes the soft bits of a demapper that knows the prior,
decodes, and hands corrected symbols with the tag "shaping" to deshaper_cb; what SNR it saw goes out as
messages for the shaper and the demapper.

    bits, packets of payload() -> shaper_bc -> shaped_parity -> link -> soft_demapper_cf -> shaped_decoder ->
    deshaper_cb
"""
import numpy as np
import pmt
from gnuradio import gr

from .diffusion_python import ldpc_code, shaper_core


class _Words:
    """What both ends know: where information and parity bits of a word are among its labels' bits."""

    def __init__(self, model, code):
        self.code = ldpc_code(code)
        probe = shaper_core(model, 64)
        self.grid = probe.constellation.astype(complex)
        self.width = int(np.log2(self.grid.size))
        self.symbols = self.code.n // self.width
        self.parity_symbols = (self.code.n - self.code.k) // 2
        if self.parity_symbols > self.symbols:
            raise ValueError(f"code {code} has more parity bits than a word of {self.grid.size}-QAM has "
                             "signs; use a higher rate")
        self.core = shaper_core(model, self.symbols)
        at = np.arange(self.code.n).reshape(self.symbols, self.width)
        self.parity = at[self.symbols - self.parity_symbols:][:, [0, self.width // 2]].ravel()
        self.information = np.random.default_rng(1).permutation(np.setdiff1d(at.ravel(), self.parity))
        self.weights = 1 << np.arange(self.width)[::-1]

    def bits(self, labels):
        return ((labels[:, None] >> np.arange(self.width)[::-1]) & 1).astype(np.uint8).ravel()

    def labels(self, bits):
        return bits.reshape(-1, self.width) @ self.weights

    def fill(self, bits):
        """Parity bits of the word to their places."""
        bits[self.parity] = self.code.encode(bits[self.information])[self.code.k:]
        return bits


def shaped_payload_bits(model="ps-qam64", code="11/15", snr_db=15.0):
    """Largest packet, in bits, whose word of the composition for that SNR leaves the parity's signs free."""
    words = _Words(model, code)
    one = words.core.code(words.core.index(float(snr_db)))
    # Whatever the classes of the symbols: the matcher's bits, and the two signs of those without parity.
    plain = np.bincount(words.core.class_of)
    composition = np.bincount(words.core.class_of, one.pmf * words.symbols)
    matched = one.bits - int(round(float(composition @ np.log2(plain))))
    return matched + 2 * (words.symbols - words.parity_symbols)


class shaped_parity(gr.sync_block):
    """Words of shaped symbols in and out; tags pass. Blocks of shaper_bc must have words' length
    (symbols())."""

    def __init__(self, model="ps-qam64", code="11/15"):
        gr.sync_block.__init__(self, "shaped_parity", [np.complex64], [np.complex64])
        self._words = _Words(model, code)
        self.set_output_multiple(self._words.symbols)

    def symbols(self):
        """Symbols of a word, which shaper_bc's block_length must be."""
        return self._words.symbols

    def work(self, inputs, outputs):
        w, n = self._words, len(outputs[0])
        for at in range(0, n, w.symbols):
            x = inputs[0][at:at + w.symbols]
            index = _index_of(self.get_tags_in_range(0, self.nitems_read(0) + at,
                                                     self.nitems_read(0) + at + 1), w)
            if index is None:  # no word begins here: nothing to put parity to
                outputs[0][at:at + w.symbols] = x
                continue
            labels = w.core.decide(index, x).astype(np.int64)
            outputs[0][at:at + w.symbols] = w.core.points(index)[w.labels(w.fill(w.bits(labels)))]
        return n


class shaped_decoder(gr.basic_block):
    """Inputs: soft bits (tags scaled by a demapper or not at all do not matter) and the received symbols with
    their tags "shaping". Output: the symbols of the decoded words. Messages: "snr" (snr_db . dB less
    margin_db, for what changes until it is heeded), "noise" (noise_var . E|n|^2)."""

    def __init__(self, model="ps-qam64", code="11/15", iterations=50, margin_db=0.0):
        gr.basic_block.__init__(self, "shaped_decoder", [np.float32, np.complex64], [np.complex64])
        self._words, self._iterations, self._margin = _Words(model, code), int(iterations), float(margin_db)
        self.set_output_multiple(self._words.symbols)
        # so that the buffer before it holds two words of soft bits
        self.set_relative_rate(1.0 / self._words.width)
        self.set_tag_propagation_policy(gr.TPP_DONT)
        for port in ("snr", "noise"):
            self.message_port_register_out(pmt.intern(port))
        self.words = self.failed = self.untagged = 0
        self.compositions = set()

    def forecast(self, noutput_items, ninputs):
        return [self._words.code.n, self._words.symbols]

    def general_work(self, inputs, outputs):
        w = self._words
        if len(inputs[0]) < w.code.n or len(inputs[1]) < w.symbols or len(outputs[0]) < w.symbols:
            return 0
        llr, y = np.nan_to_num(inputs[0][:w.code.n]), inputs[1][:w.symbols]
        at = self.nitems_read(1)
        tags = self.get_tags_in_range(1, at, at + 1)
        index = _index_of(tags, w)
        self.words += 1
        if index is None:
            self.untagged += 1
            outputs[0][:w.symbols] = y
        else:
            decoded, used = w.code.decode(np.concatenate([llr[w.information],
                                                          llr[w.parity]]).astype(np.float32),
                                          self._iterations)
            self.failed += int(used[0] == 0)
            self.compositions.add(index)
            bits = np.zeros(w.code.n, np.uint8)
            bits[w.information] = decoded
            x = w.core.points(index)[w.labels(w.fill(bits))]
            outputs[0][:w.symbols] = x
            noise_var = max(float(np.mean(np.abs(np.nan_to_num(y) - x) ** 2)), 1e-9)
            for port, key, value in (("snr", "snr_db", -10 * np.log10(noise_var) - self._margin),
                                     ("noise", "noise_var", noise_var)):
                self.message_port_pub(pmt.intern(port), pmt.cons(pmt.intern(key), pmt.from_double(value)))
        for t in tags:
            self.add_item_tag(0, self.nitems_written(0), t.key, t.value)
        self.consume(0, w.code.n)
        self.consume(1, w.symbols)
        return w.symbols


def _index_of(tags, words):
    """The composition index that a tag "shaping" names, None without one that makes sense."""
    for t in tags:
        if pmt.eq(t.key, pmt.intern("shaping")) and pmt.is_tuple(t.value) and pmt.length(t.value) == 3:
            first = pmt.tuple_ref(t.value, 0)
            if pmt.is_uint64(first) or (pmt.is_integer(first) and pmt.to_long(first) >= 0):
                index = pmt.to_uint64(first) if pmt.is_uint64(first) else pmt.to_long(first)
                if index < words.core.states:
                    return int(index)
    return None
