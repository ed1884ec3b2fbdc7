# SPDX-License-Identifier: GPL-3.0-or-later
"""The DVB-S2 codes against GNU Radio's encoder, amplitude shaping around them, and shaped frames."""
import numpy as np
import pytest
from gnuradio import blocks, diffusion, dtv, gr

STOCK = {"1/4": dtv.C1_4, "1/3": dtv.C1_3, "2/5": dtv.C2_5, "4/9": dtv.C1_2, "3/5": dtv.C3_5, "2/3": dtv.C2_3,
         "11/15": dtv.C3_4, "7/9": dtv.C4_5, "37/45": dtv.C5_6, "8/9": dtv.C8_9}


@pytest.mark.parametrize("rate", STOCK)
def test_words_are_those_of_gr_dtv(rate):
    code = diffusion.ldpc_code(rate)
    bits = np.random.default_rng(1).integers(0, 2, 3 * code.k, dtype=np.uint8)
    tb = gr.top_block()
    source, sink = blocks.vector_source_b(bits.tolist()), blocks.vector_sink_b()
    encoder = dtv.dvb_ldpc_bb(dtv.STANDARD_DVBS2, dtv.FECFRAME_SHORT, STOCK[rate], dtv.MOD_OTHER)
    tb.connect(source, encoder, sink)
    tb.run()
    np.testing.assert_array_equal(code.encode(bits), np.array(sink.data(), np.uint8))


@pytest.mark.parametrize("rate, sigma", [("1/4", 1.4), ("4/9", 0.92), ("2/3", 0.66), ("37/45", 0.53),
                                         ("8/9", 0.47)])
def test_decoder_corrects_noise(rate, sigma):
    """1.2 dB or less above what the standard gives for quasi error-free reception."""
    code, rng = diffusion.ldpc_code(rate), np.random.default_rng(2)
    bits = rng.integers(0, 2, 5 * code.k, dtype=np.uint8)
    y = 2.0 * code.encode(bits) - 1 + sigma * rng.standard_normal(5 * code.n)
    assert np.mean((y > 0) != code.encode(bits)) > 0.01
    decoded, iterations = code.decode(2 * y / sigma ** 2)
    np.testing.assert_array_equal(decoded, bits)
    assert (iterations > 0).all()


def test_decoder_survives_anything():
    code, rng = diffusion.ldpc_code("2/3"), np.random.default_rng(3)
    word = 2.0 * code.encode(rng.integers(0, 2, code.k)) - 1
    erased = 8 * word
    erased[rng.permutation(code.n)[:3000]] = np.nan
    decoded, used = code.decode(erased)
    assert used[0] > 0 and (decoded == (word[:code.k] > 0)).all()
    for llr in (np.zeros(code.n), np.full(code.n, np.inf), rng.standard_normal(code.n) * 1e30,
                -np.inf * word):
        decoded, _ = code.decode(llr)
        assert np.isin(decoded, (0, 1)).all()
    with pytest.raises(ValueError, match="multiple of 16200"):
        code.decode(np.zeros(100))
    with pytest.raises(ValueError, match="use one of 1/4"):
        diffusion.ldpc_code("9/10")


def composition(bits, slope):
    levels = 2 * np.arange(2 ** (bits // 2 - 1)) + 1
    pmf = np.exp(-slope * levels.astype(float) ** 2 / levels[-1] ** 2)
    return diffusion.quantize_composition(pmf / pmf.sum(), 2 * 16200 // bits)


@pytest.mark.parametrize("bits, rate, slope", [(4, "3/5", 1), (4, "8/9", 3), (6, "11/15", 2), (6, "37/45", 0),
                                               (6, "8/9", 9),
                                               (8, "7/9", 2), (8, "8/9", 40)])
def test_shaped_words_keep_their_composition_and_come_back(bits, rate, slope):
    code = diffusion.pas_code(bits, rate, composition(bits, slope))
    rng = np.random.default_rng(bits)
    for payload in (rng.integers(0, 2, 2 * code.bits, dtype=np.uint8), np.zeros(code.bits, np.uint8),
                    np.ones(code.bits, np.uint8)):
        labels = code.encode(payload)
        points = diffusion.qam(bits).points
        x = points[np.packbits(np.pad(labels.reshape(-1, bits), ((0, 0), (8 - bits, 0))), axis=1).ravel()]
        smallest = np.abs(points.real).min()
        for word in x.reshape(-1, code.symbols):
            rails = np.concatenate([word.real, word.imag])
            counts = np.bincount(np.round((np.abs(rails) / smallest - 1) / 2).astype(int),
                                 minlength=len(code.amplitudes))
            assert counts.tolist() == code.amplitudes
            if payload.any() and not payload.all():
                assert abs(np.mean(rails > 0) - 0.5) < 0.05  # signs: parity and payload bits
        back, good = code.decode(10 * (2.0 * labels - 1))
        assert good.all()
        np.testing.assert_array_equal(back, payload)
    assert not code.decode(rng.standard_normal(16200))[1].any()


@pytest.mark.parametrize("bits, rate, slope", [(4, "3/5", 1), (6, "37/45", 2), (8, "7/9", 4)])
def test_sphere_shaped_words_come_back(bits, rate, slope):
    counts = composition(bits, slope)
    code, other = (diffusion.pas_code(bits, rate, counts, m) for m in ("ess", "ccdm"))
    payload = np.random.default_rng(bits).integers(0, 2, 2 * code.bits, dtype=np.uint8)
    labels = code.encode(payload)
    points = diffusion.qam(bits, [float(a) for a in code.amplitudes]).points
    x = points[np.packbits(np.pad(labels.reshape(-1, bits), ((0, 0), (8 - bits, 0))), axis=1).ravel()]
    assert np.mean(np.abs(x) ** 2) == pytest.approx(1, abs=0.02)
    back, good = code.decode(10 * (2.0 * labels - 1))
    assert good.all()
    np.testing.assert_array_equal(back, payload)
    # Both carry the same at this length, but for the spheres being several.
    assert code.rate == pytest.approx(other.rate, abs=0.03)


def test_rate_is_entropy_less_parity():
    counts = composition(6, 2.0)
    code = diffusion.pas_code(6, "37/45", counts)
    p = np.array(counts) / sum(counts)
    entropy = 2 * (1 - np.sum(p * np.log2(p)))
    assert code.rate == pytest.approx(entropy - 6 * (1 - 37 / 45) - code.rate_loss, abs=1e-3)
    assert 0 < code.rate_loss < 0.01


@pytest.mark.parametrize("bits, rate, what",
                         [(6, "3/5", "parity bits outnumber"), (5, "8/9", "5 bits per symbol"),
                          (4, "4/9", "parity bits outnumber")])
def test_combinations_that_cannot_be(bits, rate, what):
    with pytest.raises(ValueError, match=what):
        diffusion.pas_code(bits, rate, [100] * 4)


def test_shaped_qam_is_map_with_prior():
    amplitudes = np.array([0.5, 0.3, 0.15, 0.05])
    shaped, plain = diffusion.qam(6, amplitudes.tolist()), diffusion.qam(6)
    probability = amplitudes[np.round((np.abs(plain.points.real) / np.abs(plain.points.real).min() - 1) /
                                      2).astype(int)] * \
        amplitudes[np.round((np.abs(plain.points.imag) / np.abs(plain.points.imag).min() - 1) /
                            2).astype(int)] / 4
    assert probability.sum() == pytest.approx(1)
    assert probability @ np.abs(shaped.points) ** 2 == pytest.approx(1, abs=1e-5)
    assert shaped.entropy == pytest.approx(-probability @ np.log2(probability), abs=1e-6)
    rng = np.random.default_rng(1)
    y = (rng.standard_normal(300) + 1j * rng.standard_normal(300)).astype(np.complex64)
    metric = np.log(probability) - np.abs(y[:, None].astype(complex) - shaped.points) ** 2 / 0.1
    label = np.arange(64)
    expected = np.stack([np.logaddexp.reduce(metric[:, label >> (5 - b) & 1 == 1], axis=1) -
                         np.logaddexp.reduce(metric[:, label >> (5 - b) & 1 == 0], axis=1) for b in range(6)],
                        axis=1)
    np.testing.assert_allclose(shaped.soft(y, np.full(300, 0.1, np.float32)), expected, rtol=1e-3, atol=1e-3)


def frames(bits, snr_db, rng, count=3, **options):
    """(header indices, payloads, samples) of shaped frames with noise."""
    tx = diffusion.native_modulator()
    tx.bits_per_symbol = bits
    parts, payloads, indices = [np.zeros(300)], [], []
    for i in range(count):
        tx.shaping = -1
        tx.fec, index, _ = diffusion.shaped_mode(bits, snr_db - i, 2.0)
        tx.shaping = index
        payloads.append(rng.bytes(diffusion.shaped_code(bits, tx.fec, tx.shaping).bits // 8 - 3 * i))
        indices.append(tx.shaping)
        parts += [tx(payloads[-1]), np.zeros(300)]
    x = np.concatenate(parts)
    x = x * np.exp(2j * np.pi * 0.3 / 64 * np.arange(x.size))
    return indices, payloads, (x + np.sqrt(0.5 * 10 ** (-snr_db / 10)) *
                               (rng.standard_normal(x.size) + 1j *
                                rng.standard_normal(x.size))).astype(np.complex64)


@pytest.mark.parametrize("bits, snr", [(4, 9.0), (6, 14.0), (8, 20.0)])
@pytest.mark.parametrize("demapper", ["map", "diffusion"])
def test_shaped_frames_arrive(bits, snr, demapper):
    """The composition changes from frame to frame; the receiver has it from the header."""
    indices, payloads, y = frames(bits, snr, np.random.default_rng(bits))
    rx = diffusion.native_receiver()
    rx.set_demapper(demapper)
    received = rx(y, True)
    assert [f.payload for f in received] == payloads and all(f.payload_ok for f in received)
    assert [f.header.shaping for f in received] == indices and len(set(indices)) == 3
    assert all(f.note == "" and np.mean(np.abs(f.symbols) ** 2) == pytest.approx(1, abs=0.15)
               for f in received)


def test_shaped_and_plain_frames_mix():
    rng = np.random.default_rng(9)
    tx, rx = diffusion.native_modulator(), diffusion.native_receiver()
    rx.set_demapper("diffusion")
    tx.bits_per_symbol, tx.fec = 6, diffusion.shaped_fecs(6)[0]
    parts, payloads = [], []
    for shaping in (-1, 150, -1, 120, 150):
        tx.shaping = shaping
        payloads.append(rng.bytes(700))
        parts += [np.zeros(300), tx(payloads[-1])]
    x = np.concatenate(parts + [np.zeros(400)])
    y = x + 0.1 * np.sqrt(0.5) * (rng.standard_normal(x.size) + 1j * rng.standard_normal(x.size))
    assert [f.payload for f in rx(y.astype(np.complex64), True)] == payloads


@pytest.mark.parametrize("bits, low, high", [(4, 5, 9.5), (6, 9, 16), (8, 15, 21)])
def test_mode_follows_the_snr(bits, low, high):
    snrs = np.arange(low, high, 0.5)
    modes = [diffusion.shaped_mode(bits, snr, 1.0) for snr in snrs]
    rates, bearable = np.array([m[2] for m in modes]), np.log2(1 + 10 ** ((snrs - 1) / 10))
    assert (rates <= bearable).all() and (rates > bearable - 0.06).all()
    for fec, index, rate in modes:
        assert diffusion.shaped_code(bits, fec, index).rate == pytest.approx(rate)
    assert diffusion.shaped_mode(bits, -30)[2] > 0


def test_shaping_that_cannot_be_is_named():
    with pytest.raises(ValueError, match="finite"):
        diffusion.shaped_mode(6, float("nan"))
    with pytest.raises(ValueError, match="4, 6 or 8"):
        diffusion.shaped_mode(2, 10)
    tx = diffusion.native_modulator()
    with pytest.raises(ValueError, match="dvbs2"):
        tx.shaping = 100
    tx.fec = "dvbs2-37/45"
    with pytest.raises(ValueError, match="4, 6 or 8"):
        tx.shaping = 100
    tx.bits_per_symbol = 6
    with pytest.raises(ValueError, match="no AWGN state"):
        tx.shaping = 900
