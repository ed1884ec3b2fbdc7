# SPDX-License-Identifier: GPL-3.0-or-later
"""The native waveform without a flowgraph: codes, constellations, frames, and what must be refused."""
import binascii

import numpy as np
import pytest
from gnuradio import diffusion

BITS = (1, 2, 4, 6, 8)
# The long codes are all of one kind: the lowest, a middle and the highest rate stand for them.
FECS = [f for f in diffusion.fec_names() if not f.startswith("dvbs2")] + ["dvbs2-1/4", "dvbs2-2/3",
                                                                          "dvbs2-8/9"]
SNR_DB = {1: 6, 2: 9, 4: 16, 6: 22, 8: 29}
TAPS = np.array([0.8, 0, 0.4j, -0.3, 0.2 + 0.1j])


def noise(rng, n, variance):
    return (rng.standard_normal(n) + 1j * rng.standard_normal(n)) * np.sqrt(variance / 2)


def link(frames, snr_db, rng, cfo=0.0, taps=(1,), gap=250, fft_len=64):
    """Frames with gaps through static taps, CFO and noise."""
    gap = np.zeros(gap, np.complex64)
    x = np.concatenate([gap] + [part for frame in frames for part in (frame, gap)])
    y = np.convolve(x, taps)[:x.size] * np.exp(2j * np.pi * cfo / fft_len * np.arange(x.size))
    return (y + noise(rng, x.size, 10 ** (-snr_db / 10))).astype(np.complex64)


def transmit(rng, bits=2, fec="cc-1/2", count=3, size=120, **numerology):
    tx = diffusion.native_modulator(**numerology)
    tx.bits_per_symbol, tx.fec = bits, fec
    payloads = [rng.bytes(size) for _ in range(count)]
    return tx, payloads, [tx(p) for p in payloads]


@pytest.mark.parametrize("bits", BITS)
def test_constellations_are_those_of_gr_digital(bits):
    from gnuradio import digital
    c = diffusion.qam(bits)
    assert np.mean(np.abs(c.points) ** 2) == pytest.approx(1, abs=1e-6)
    if bits <= 2:
        stock = np.array((digital.constellation_bpsk if bits == 1 else digital.constellation_qpsk)().points())
        np.testing.assert_allclose(c.points, stock / np.abs(stock[0]), atol=1e-6)
    # Gray: nearest neighbours differ in one bit.
    distance = np.abs(c.points[:, None] - c.points)
    near = np.argwhere(np.isclose(distance, distance[distance > 1e-6].min(), rtol=1e-3))
    assert all(bin(i ^ j).count("1") == 1 for i, j in near)


@pytest.mark.parametrize("bits", BITS)
def test_soft_decisions_are_bitwise_map(bits):
    rng = np.random.default_rng(bits)
    c = diffusion.qam(bits)
    y = (1.3 * noise(rng, 500, 1)).astype(np.complex64)
    noise_var = rng.uniform(0.01, 1, y.size).astype(np.float32)
    metric = -np.abs(y[:, None].astype(complex) - c.points) ** 2 / noise_var[:, None]
    label = np.arange(2 ** bits)
    expected = np.stack([np.logaddexp.reduce(metric[:, label >> (bits - 1 - b) & 1 == 1], axis=1) -
                         np.logaddexp.reduce(metric[:, label >> (bits - 1 - b) & 1 == 0], axis=1)
                         for b in range(bits)], axis=1)
    np.testing.assert_allclose(c.soft(y, noise_var), expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("fec", FECS)
@pytest.mark.parametrize("size", [1, 7, 902, 903, 2500])
def test_codes_invert(fec, size):
    rng = np.random.default_rng(size)
    bits = rng.integers(0, 2, size, np.uint8)
    coded = diffusion.fec_encode(fec, bits)
    llr = (2.0 * coded - 1) * rng.uniform(1, 60, coded.size)
    if fec != "none":
        llr[::40] = 0  # erasures
    assert np.array_equal(diffusion.fec_decode(fec, llr, size), bits)


@pytest.mark.parametrize("fec, ebn0_db", [("cc-1/2", 5.0), ("cc-2/3", 5.8), ("cc-3/4", 6.5),
                                          ("ldpc-1/2", 2.5)])
def test_codes_gain_what_the_books_say(fec, ebn0_db):
    """Uncoded BPSK needs 6.8 to 9.6 dB for the BER of 1e-3 to 1e-5 that these codes have here."""
    rng = np.random.default_rng(3)
    errors = total = 0
    for _ in range(20):
        bits = rng.integers(0, 2, 1804, np.uint8)
        coded = diffusion.fec_encode(fec, bits)
        variance = 1 / (2 * bits.size / coded.size * 10 ** (ebn0_db / 10))
        y = 2.0 * coded - 1 + rng.standard_normal(coded.size) * np.sqrt(variance)
        errors += np.count_nonzero(diffusion.fec_decode(fec, 2 * y / variance, bits.size) != bits)
        total += bits.size
    assert errors <= 3e-4 * total


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("fec", FECS)
def test_every_modulation_and_code_crosses_a_channel(bits, fec):
    rng = np.random.default_rng(bits)
    tx, payloads, frames = transmit(rng, bits, fec)
    assert np.mean(np.abs(np.concatenate(frames)) ** 2) == pytest.approx(1, rel=0.1)
    # Uncoded, the weakest carrier decides: no fading there.
    snr_db = SNR_DB[bits] + (10 if fec == "none" else 6 if fec == "cc-3/4" else 2)
    received = diffusion.native_receiver()(link(frames, snr_db, rng, 0.37, (1,) if fec == "none" else TAPS),
                                           True)
    assert [f.payload for f in received] == payloads
    assert all(f.header_ok and f.payload_ok and f.header.fec == fec for f in received)
    assert [f.header.number for f in received] == [0, 1, 2]


@pytest.mark.parametrize("fft_len, cp_len", [(128, 16), (256, 64), (1024, 72)])
def test_other_numerologies(fft_len, cp_len):
    rng = np.random.default_rng(fft_len)
    _, payloads, frames = transmit(rng, 4, "cc-1/2", 2, 300, fft_len=fft_len, cp_len=cp_len)
    rx = diffusion.native_receiver(fft_len=fft_len, cp_len=cp_len)
    received = rx(link(frames, 17, rng, 0.2, TAPS, gap=3 * fft_len, fft_len=fft_len), True)
    assert [f.payload for f in received] == payloads


def test_frames_below_zero_db():
    """Preamble and header hold at -1 dB, where the payload cannot."""
    rng = np.random.default_rng(5)
    _, _, frames = transmit(rng, 2, "cc-1/2", 40, 30)
    received = diffusion.native_receiver()(link(frames, -1, rng, -0.6), True)
    assert sum(f.header_ok for f in received) >= 36


def test_metrics_are_right():
    """SNR, CFO, noise and channel of a known link; bounds are four standard deviations."""
    rng = np.random.default_rng(6)
    tx, _, frames = transmit(rng, 4, "cc-1/2", 8, 400)
    received = diffusion.native_receiver()(link(frames, 20, rng, 0.73, TAPS), True)
    k = np.arange(-32, 32)
    used = np.array(tx.used_carriers) + 32
    h = np.exp(-2j * np.pi * np.outer(k, np.arange(TAPS.size)) / 64) @ TAPS
    noise_var = 0.01 * 52 / 64
    snr_db = 10 * np.log10(np.mean(np.abs(h[used]) ** 2) / noise_var)
    for f in received:
        assert f.payload_ok and not f.decided
        assert f.cfo == pytest.approx(0.73, abs=2e-3)
        assert f.snr_db == pytest.approx(snr_db, abs=1.0)
        assert -f.evm_db == pytest.approx(snr_db, abs=1.0)
        # The DFT window opens a quarter of the prefix early: a linear phase, beside any common one.
        mine = f.channel * np.exp(2j * np.pi * k * 4 / 64)
        turn = np.vdot(h[used], mine[used])
        error = np.mean(np.abs(mine[used] * np.conj(turn) / abs(turn) - h[used]) ** 2)
        assert error < noise_var / 2
        # What the estimator says of its own error is of the right size.
        assert np.mean(f.channel_error[used]) / 5 < error < 5 * np.mean(f.channel_error[used])


@pytest.mark.parametrize("estimator", ["ls", "lmmse", "nomp", "sbl", "diffusion"])
@pytest.mark.parametrize("demapper", ["min-distance", "map", "diffusion"])
def test_every_pair_of_stages_receives(estimator, demapper):
    rng = np.random.default_rng(15)
    _, payloads, frames = transmit(rng, 4, "cc-1/2", 3, 60)
    rx = diffusion.native_receiver()
    rx.set_estimator(estimator)
    rx.set_demapper(demapper)
    assert [f.payload for f in rx(link(frames, 22, rng, 0.3, TAPS), True)] == payloads


def test_lmmse_learns_the_profile_and_beats_ls():
    rng = np.random.default_rng(7)
    _, _, frames = transmit(rng, 2, "cc-1/2", 30, 60)
    y = link(frames, 5, rng, 0.1, TAPS)
    k = np.arange(-32, 32)
    h = np.exp(-2j * np.pi * np.outer(k, np.arange(TAPS.size)) / 64) @ TAPS
    used = np.array(diffusion.native_modulator().used_carriers) + 32
    error = {}
    for name in ("ls", "lmmse"):
        rx = diffusion.native_receiver()
        rx.set_estimator(name)
        errors = []
        for f in rx(y, True):
            late = f.sync.offset - np.round((f.sync.offset - 250) /
                                            (frames[0].size + 250)) * (frames[0].size + 250) - 250
            mine = f.channel * np.exp(2j * np.pi * k * (4 - late) / 64)
            turn = np.vdot(h[used], mine[used])
            errors.append(np.mean(np.abs(mine[used] * np.conj(turn) / abs(turn) - h[used]) ** 2))
        error[name] = np.mean(errors[5:])
    assert error["lmmse"] < 0.6 * error["ls"]


def test_damaged_frames_are_refused():
    rng = np.random.default_rng(8)
    tx, payloads, frames = transmit(rng, 4, "cc-3/4", 4)
    front = tx.front_len
    frames[0] = frames[0].copy()
    frames[0][160:front] = noise(rng, front - 160, 1)        # header gone
    frames[1] = frames[1].copy()
    frames[1][front + 40:front + 500] = noise(rng, 460, 1)   # part of the payload gone
    rx = diffusion.native_receiver()
    received = rx(link(frames, 25, rng), True)
    assert [(f.header_ok, f.payload_ok) for f in received] == [(False, False), (True, False), (True, True),
                                                               (True, True)]
    assert [f.payload for f in received[2:]] == payloads[2:]
    assert rx.counters["header_failed"] == 1 and rx.counters["payload_failed"] == 1 and rx.counters["ok"] == 2


def test_header_crc_is_checked():
    """Random headers behind a good preamble: 2^-16 of them would pass the CRC."""
    rng = np.random.default_rng(9)
    tx, _, frames = transmit(rng, 2, "cc-1/2", 1)
    damaged = []
    for _ in range(150):
        frame = frames[0][:tx.front_len].copy()
        frame[160:] = noise(rng, frame.size - 160, 1)
        damaged.append(frame)
    received = diffusion.native_receiver()(link(damaged, 25, rng), True)
    assert len(received) == 150 and not any(f.header_ok for f in received)


def test_truncated_frame_is_counted_and_the_next_stream_is_clean():
    rng = np.random.default_rng(10)
    _, payloads, frames = transmit(rng)
    rx = diffusion.native_receiver()
    y = link(frames, 20, rng)
    assert [f.payload for f in rx(y[:y.size - 800], True)] == payloads[:2]
    assert rx.counters["truncated"] == 1
    assert [f.payload for f in rx(y, True)] == payloads


def test_any_cut_of_the_stream_gives_the_same_frames():
    rng = np.random.default_rng(11)
    _, payloads, frames = transmit(rng, 4, "cc-1/2", 6)
    y = link(frames, 18, rng, 0.4, TAPS)
    whole = diffusion.native_receiver()(y, True)
    rx, parts = diffusion.native_receiver(), []
    cuts = np.sort(rng.integers(0, y.size, 60))
    for part in np.split(y, cuts):
        parts += rx(part)
    parts += rx(y[:0], True)
    assert [f.payload for f in parts] == [f.payload for f in whole] == payloads
    np.testing.assert_array_equal(parts[3].llr, whole[3].llr)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_bad_samples_cost_one_frame_at_most(bad):
    rng = np.random.default_rng(12)
    _, payloads, frames = transmit(rng, 2, "cc-1/2", 4)
    y = link(frames, 20, rng)
    middle = 250 + frames[0].size + 250 + frames[0].size // 2
    y[middle:middle + 300] = bad
    received = [f.payload for f in diffusion.native_receiver()(y, True) if f.payload_ok]
    assert [received[0]] + received[-2:] == [payloads[0]] + payloads[2:]


def test_noise_and_hostile_iq_give_no_frame():
    rng = np.random.default_rng(13)
    rx = diffusion.native_receiver()
    for y in (noise(rng, 200000, 1), np.ones(50000), np.exp(0.3j * np.arange(50000)), np.zeros(50000),
              1e-30 * noise(rng, 50000, 1), 1e14 * noise(rng, 50000, 1), np.full(20000, np.nan)):
        assert not [f for f in rx(y.astype(np.complex64), True) if f.header_ok]


@pytest.mark.parametrize("call, words", [
    (lambda: diffusion.native_modulator(fft_len=100), "fft_len is 100"),
    (lambda: diffusion.native_modulator(cp_len=60), "cp_len is 60"),
    (lambda: diffusion.native_modulator(max_payload=0), "max_payload is 0"),
    (lambda: diffusion.native_modulator()(bytes(5000)), "5000 bytes"),
    (lambda: setattr(diffusion.native_modulator(), "fec", "turbo"), "turbo"),
    (lambda: setattr(diffusion.native_modulator(), "bits_per_symbol", 3), "3 bits"),
    (lambda: diffusion.native_receiver().set_estimator("best"), "use ls, lmmse"),
    (lambda: diffusion.native_receiver().set_demapper("best"), "use min-distance, map"),
    (lambda: diffusion.native_receiver().set_estimator("diffusion", "no-such-model"), "no-such-model"),
    (lambda: diffusion.native_receiver().set_demapper("diffusion", "no-such-model"), "no-such-model"),
    (lambda: diffusion.native_receiver().set_demapper("diffusion", "ce-ofdm64"), "ce-ofdm64"),
    (lambda: diffusion.native_receiver(fft_len=128).set_estimator("diffusion", "ce-ofdm64"), "64"),
])
def test_bad_settings_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_crc_is_the_one_of_zlib():
    rng = np.random.default_rng(14)
    tx, payloads, _ = transmit(rng, count=1)
    tx(payloads[0])
    assert tx.header.payload_crc == binascii.crc32(payloads[0])


@pytest.mark.parametrize("fft_len", [64, 256])
def test_fewer_pilots_are_irregular_and_sound_every_carrier(fft_len):
    """A half and a quarter of the pilots: so many a symbol, each carrier once in 26 and 52 symbols, no two
    symbols alike."""
    tx = diffusion.native_modulator(fft_len=fft_len)
    front = tx.front_len // (fft_len + 16) - 2
    for name, share in (("full", 1), ("half", 2), ("quarter", 4)):
        header = diffusion.native_header(100, 2, "cc-1/2", -1, name)
        sets = [tx.pilots_of(header, front + i) for i in range(13 * share)]
        assert all(len(s) == fft_len // 16 // share for s in sets)
        assert sorted(k for s in sets for k in s) == sorted(tx.used_carriers)
        assert len(tx.pilots_of(header, 0)) == fft_len // 16  # the header's symbols keep all


@pytest.mark.parametrize("pilots", ["half", "quarter"])
def test_fewer_pilots_cross_a_channel_and_the_header_says_so(pilots):
    rng = np.random.default_rng(17)
    tx = diffusion.native_modulator()
    tx.fec, tx.pilots = "ldpc-1/2", pilots
    full = diffusion.native_modulator()
    full.fec = "ldpc-1/2"
    payloads = [rng.bytes(112) for _ in range(4)]
    frames = [(full if i == 2 else tx)(p) for i, p in enumerate(payloads)]
    assert len(frames[0]) < len(frames[2])
    received = diffusion.native_receiver()(link(frames, 11, rng, 0.37, TAPS), True)
    assert [f.payload for f in received] == payloads
    assert [f.header.pilots for f in received] == [pilots, pilots, "full", pilots]
    with pytest.raises(ValueError, match="pilots is 'some'"):
        tx.pilots = "some"
