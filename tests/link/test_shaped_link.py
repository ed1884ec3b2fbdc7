# SPDX-License-Identifier: GPL-3.0-or-later
"""Shaped payloads in the blocks and in the link job."""
import json

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr
from gnuradio.diffusion import link
from gnuradio.diffusion.cli import main


def send(tx, packets):
    """IQ of the packets."""
    tb = gr.top_block()
    source, sink = link.packet_source(packets), blocks.vector_sink_c()
    tb.connect(source, tx, sink)
    tb.run()
    return np.concatenate([np.array(sink.data(), np.complex64), np.zeros(4000, np.complex64)])


def test_transmitter_follows_the_snr_fed_back():
    """What a receiver reports goes back by message; the far end learns the composition from the header."""
    rng, seen, snr_db = np.random.default_rng(1), [], 13.0
    tx = diffusion.ofdm_tx("stream", "qam64")
    assert tx.shaping() == -1
    for noise_db in (-15.0, -14.0, -17.0):
        tx.core.to_basic_block()._post(pmt.intern("cmd"),
                                       pmt.cons(pmt.intern("shaping_snr_db"), pmt.from_double(snr_db)))
        packets = [rng.bytes(1200)]
        iq = send(tx, packets)
        iq = iq + np.sqrt(0.5 * 10 ** (noise_db / 10)) * (rng.standard_normal(iq.size) +
                                                          1j * rng.standard_normal(iq.size))
        got = link.receive(iq.astype(np.complex64), "lmmse", "map")
        if -noise_db >= snr_db:  # the link was as good as said
            assert got.packets == packets
        frame = got.frames[0]
        assert frame["shaping"] == diffusion.shaped_mode(6, snr_db, 2.0)[1] == tx.shaping()
        seen.append(frame["shaping"])
        snr_db = frame["snr_db"] - 1  # carriers have 64/52 of the full band's SNR
    assert len(set(seen)) == 3
    tx.core.to_basic_block()._post(pmt.intern("cmd"), pmt.cons(pmt.intern("shaping_snr_db"), pmt.PMT_NIL))
    assert link.receive(send(tx, [b"plain"]), "lmmse", "map").frames[0]["shaping"] == -1 == tx.shaping()


def test_bad_requests_change_nothing():
    tx = diffusion.native_ofdm_tx("qam64", "cc-3/4")
    with pytest.raises(ValueError, match="finite"):
        tx.set_shaping_snr_db(float("inf"))
    tx.set_shaping_snr_db(15)
    index = tx.shaping()
    with pytest.raises(ValueError, match="4, 6 or 8"):
        tx.set_modulation("qpsk")
    assert (tx.shaping(), tx.modulation()) == (index, "qam64") and tx.fec().startswith("dvbs2")
    tx.set_shaping_snr_db(float("nan"))
    assert tx.shaping() == -1 and tx.fec() == "cc-3/4"


def test_link_job_with_shaping(tmp_path, capsys):
    results = tmp_path / "results.json"
    status = main(["link", "--shaping", "--snr", "26", "--adc-bits", "6", "--frames", "9", "--quick",
                   "--in-process",
                   "--report", str(tmp_path / "report"), "--json", str(results)])
    found = json.loads(results.read_text())
    assert status == 0 and found["file_intact"]
    assert "so the same 4.7" in capsys.readouterr().out
    for name in ("classical", "diffusion", "uniform, diffusion"):
        assert 3 < found["receivers"][name]["net_rate"] < 5 and 4 < found["receivers"][name]["gmi"] < 6


@pytest.mark.parametrize("snr_db", [16.0, 18.3, 22.0])
def test_uniform_beside_it_has_the_same_rate(snr_db):
    settings = link.Settings(shaping=True, modulation="qam64", snr_db=snr_db).shaped()
    uniform = settings.uniform()
    fec, index, rate = settings.mode()
    assert not uniform.shaping and uniform.payload == settings.payload
    assert rate <= np.log2(1 + 10 ** ((snr_db - settings.backoff_db) / 10)) < rate + 0.4 or rate > 4.5
    symbols = lambda fec, index: diffusion.native_header(settings.payload, 6, fec, index)
    modem = diffusion.native_modulator()
    assert modem.frame_len(symbols(uniform.fec, -1)) == modem.frame_len(symbols(fec, index))


def test_shaping_needs_amplitudes():
    with pytest.raises(ValueError, match="shaping needs amplitudes"):
        link.Settings(shaping=True, modulation="qpsk").check()
