# SPDX-License-Identifier: GPL-3.0-or-later
"""shaper_bc, shaped_parity, a noisy link, soft_demapper_cf with prior, shaped_decoder, deshaper_cb: the same
bits."""
import numpy as np
import pmt
import pytest
from gnuradio import analog, blocks, diffusion, gr


class Graph(gr.top_block):
    def __init__(self, model, code, snr_db, noise_db, words, tagged=True):
        super().__init__()
        size = diffusion.shaped_payload_bits(model, code, snr_db)
        self.payload = np.random.default_rng(5).integers(0, 2, size, dtype=np.uint8)
        self.parity = diffusion.shaped_parity(model, code)
        self.decoder = diffusion.shaped_decoder(model, code)
        length = self.parity.symbols()
        self.source, self.head = blocks.vector_source_b(self.payload.tolist(),
                                                        True), blocks.head(1, words * size)
        self.packets = blocks.stream_to_tagged_stream(1, 1, size, "bits")
        self.shaper = diffusion.shaper_bc(model, snr_db, length, length_tag_name="bits")
        self.noise, self.add = analog.noise_source_c(analog.GR_GAUSSIAN, 10 ** (-noise_db / 20),
                                                     3), blocks.add_cc()
        self.demapper = diffusion.soft_demapper_cf(model.replace("ps", "rx"), 10 ** (-noise_db / 10), "exact",
                                                   False)
        self.demapper.set_shaper(model)
        self.deshaper = diffusion.deshaper_cb(model, snr_db, length)
        self.bits, self.sent = blocks.vector_sink_b(), blocks.vector_sink_c()
        self.messages = blocks.message_debug()
        self.connect(self.source, self.head, self.packets, self.shaper, self.parity, (self.add, 0))
        self.connect(self.parity, self.sent)
        self.connect(self.noise, (self.add, 1))
        self.gate = blocks.tag_gate(gr.sizeof_gr_complex, tagged)
        self.connect(self.add, self.gate, self.demapper, (self.decoder, 0))
        self.connect(self.gate, (self.decoder, 1))
        self.connect(self.decoder, self.deshaper, self.bits)
        self.msg_connect(self.decoder, "snr", self.messages, "store")
        self.run()


@pytest.mark.parametrize("model, code, snr_db", [("ps-qam16", "2/3", 8.5), ("ps-qam64", "11/15", 13.0),
                                                 ("ps-qam256", "7/9", 20.0)])
def test_bits_come_back_through_noise(model, code, snr_db):
    words = 8  # whole groups of eight symbols: the demapper leaves less at the end of a stream
    g = Graph(model, code, snr_db, snr_db, words)
    out = np.array(g.bits.data(), np.uint8)
    np.testing.assert_array_equal(out, np.resize(g.payload, words * g.payload.size))
    assert g.decoder.words == words and g.decoder.failed == g.decoder.untagged == 0
    # The parity bits left every word its composition, so its power.
    sent = np.array(g.sent.data()).reshape(words, -1)
    np.testing.assert_allclose(np.mean(np.abs(sent) ** 2, 1), 1, atol=1e-5)
    assert g.messages.num_messages() == words
    assert pmt.to_double(pmt.cdr(g.messages.get_message(0))) == pytest.approx(snr_db, abs=0.3)


def test_noise_too_strong_and_tags_lost_are_counted():
    assert Graph("ps-qam64", "11/15", 13.0, 5.0, 2).decoder.failed == 2
    g = Graph("ps-qam64", "11/15", 13.0, 20.0, 2, tagged=False)
    assert g.decoder.untagged == 2 and g.decoder.words == 2


def test_codes_that_cannot_be_are_named():
    with pytest.raises(ValueError, match="higher rate"):
        diffusion.shaped_parity("ps-qam64", "3/5")
    with pytest.raises(ValueError, match="use one of 1/4"):
        diffusion.shaped_decoder("ps-qam64", "9/10")
