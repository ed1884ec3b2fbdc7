# SPDX-License-Identifier: GPL-3.0-or-later
"""Frame detection: geometry against gr-digital, every offset and CFO, false-alarm law, hostile input."""
import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.digital import ofdm_txrx

FFT, CP = 64, 16


def noise(rng, n, variance=1.0):
    x = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    return (x * np.sqrt(variance / 2)).astype(np.complex64)


def stock_preamble():
    """From gr-digital's own sync words and numpy's FFT; unit power."""
    geometry = FFT, ofdm_txrx._def_occupied_carriers, ofdm_txrx._def_pilot_carriers
    out = []
    for word in (ofdm_txrx._make_sync_word1(*geometry), ofdm_txrx._make_sync_word2(*geometry)):
        symbol = np.fft.ifft(np.fft.ifftshift(word))
        out += [symbol[-CP:], symbol]
    preamble = np.concatenate(out)
    return (preamble / np.sqrt(np.mean(np.abs(preamble) ** 2))).astype(np.complex64)


PREAMBLE = stock_preamble()


def rotate(x, cfo, phase=0.0):
    return x * np.exp(1j * (2 * np.pi * cfo * np.arange(len(x)) / FFT + phase))


def place(total, frames):
    """A stream with (offset, cfo, phase) preambles."""
    x = np.zeros(total, np.complex64)
    for offset, cfo, phase in frames:
        x[offset:offset + len(PREAMBLE)] += rotate(PREAMBLE, cfo, phase)
    return x


def find(x, **settings):
    sync = diffusion.frame_sync(**settings)
    return sync(x) + sync.flush()


def test_stock_geometry_is_gr_digitals():
    g = diffusion.ofdm_geometry.stock()
    g.normalise()
    args = FFT, ofdm_txrx._def_occupied_carriers, ofdm_txrx._def_pilot_carriers
    np.testing.assert_allclose(g.sync_word1, ofdm_txrx._make_sync_word1(*args), atol=1e-6)
    np.testing.assert_allclose(g.sync_word2, ofdm_txrx._make_sync_word2(*args), atol=1e-6)
    assert g.occupied_carriers == [list(c) for c in ofdm_txrx._def_occupied_carriers]
    assert g.pilot_carriers == [list(c) for c in ofdm_txrx._def_pilot_carriers]
    np.testing.assert_array_equal(np.real(g.pilot_symbols), ofdm_txrx._def_pilot_symbols)
    symbol = diffusion.modulate_ofdm_symbol(g, g.sync_word2)
    expected = np.fft.ifft(np.fft.ifftshift(g.sync_word2)) * FFT
    np.testing.assert_allclose(symbol, np.concatenate([expected[-CP:], expected]), atol=1e-4)


@pytest.mark.parametrize("cfo", [-2, -1.5, -1.06, -1, -0.5, 0, 0.1, 0.94, 1, 1.7, 2])
def test_every_offset_at_5_db(cfo):
    # 701 apart: the offsets run through the blocks of the search.
    rng = np.random.default_rng(int(100 * cfo) + 1000)
    truth = [(300 + 701 * i, cfo, rng.uniform(0, 6.28)) for i in range(160)]
    x = place(701 * 162, truth) + noise(rng, 701 * 162, 10 ** -0.5)
    frames = find(x)
    assert len(frames) == len(truth)
    timing = np.array([f.offset for f in frames], int) - [offset for offset, _, _ in truth]
    assert np.abs(timing).max() <= 2 and np.mean(timing == 0) > 0.95
    errors = np.array([f.cfo for f in frames]) - cfo
    # Each symbol's matched filter has phase variance 1 / (2 * 80 snr); two, 80 samples apart.
    sigma = np.sqrt(2 / (2 * 80 * 10 ** 0.5)) * FFT / (2 * np.pi * 80)
    assert np.sqrt(np.mean(errors ** 2)) < 1.3 * sigma and np.abs(errors).max() < 6 * sigma
    snr = np.mean([f.power for f in frames]) / np.mean([f.noise_var for f in frames])
    assert abs(10 * np.log10(snr) - 5) < 0.3
    # 104 - 16 free dimensions a frame; a residual CFO of sigma leaves a little of the signal in them.
    assert abs(np.mean([f.noise_var for f in frames]) * 10 ** 0.5 - 1) < 0.02 + 5 / np.sqrt(88 * 160)
    assert min(f.metric for f in frames) > 1


def test_every_sample_offset_without_noise():
    for offset in range(0, 2200, 13):
        frames = find(place(offset + 400, [(offset, 0.3, 1.0)]))
        assert [f.offset for f in frames] == [offset]
        assert abs(frames[0].cfo - 0.3) < 1e-3 and frames[0].snr_db > 40


@pytest.mark.parametrize("bits, snr_db", [(1, 5), (2, 3), (3, 2), (4, 2), (8, 2)])
def test_coarse_converters(bits, snr_db):
    rng = np.random.default_rng(bits)
    truth = [(300 + 701 * i, rng.uniform(-2, 2), rng.uniform(0, 6.28)) for i in range(300)]
    x = place(701 * 302, truth)
    x = x + noise(rng, x.size, 10 ** (-snr_db / 10))
    x = diffusion.quantizer(bits, 2.0 * np.sqrt((1 + 10 ** (-snr_db / 10)) / 2))(x)
    frames = find(x)
    hit = sum(any(abs(int(f.offset) - o) <= 4 and abs(f.cfo - c) < 0.15 for f in frames) for o, c, _ in truth)
    assert hit >= 0.97 * len(truth) and len(frames) <= len(truth)


def test_multipath_finds_the_first_path_and_the_cfo():
    rng = np.random.default_rng(5)
    scale = np.exp(-np.arange(6) / 2)
    scale = np.sqrt(scale / scale.sum())
    truth, x = [], np.zeros(250 * 800, np.complex64)
    for i in range(248):
        offset, cfo = 300 + 800 * i + int(rng.integers(0, 300)), rng.uniform(-2, 2)
        faded = np.convolve(PREAMBLE, scale * noise(rng, 6))
        x[offset:offset + faded.size] += rotate(faded, cfo)
        truth.append((offset, cfo))
    frames = find(x + noise(rng, x.size, 0.01))
    hit = [min(((int(f.offset) - o, f.cfo - c) for f in frames), key=lambda e: abs(e[0])) for o, c in truth]
    timing, cfo = np.array(hit).T
    # The first of the 6 paths may be in a fade; then a later one counts as first (the DFT starts cp/4 early).
    assert np.mean((timing >= -4) & (timing <= 4)) > 0.98
    assert np.mean(np.abs(cfo) < 0.05) > 0.98 and len(frames) <= len(truth)


def test_results_do_not_depend_on_the_cut():
    rng = np.random.default_rng(8)
    truth = [(100 + 620 * i, rng.uniform(-2, 2), 0.0) for i in range(40)]
    x = place(26000, truth) + noise(rng, 26000, 0.2)
    key = lambda frames: [(f.offset, f.cfo, f.metric, f.noise_var) for f in frames]
    whole = key(find(x))
    assert len(whole) == 40
    sync = diffusion.frame_sync()
    for cuts in (np.arange(1, x.size), np.sort(rng.integers(0, x.size, 300)), np.arange(0, x.size, 4096)):
        sync.reset()
        got = [f for part in np.split(x, cuts) for f in sync(part)]
        assert key(got + sync.flush()) == whole


def test_reports_are_in_time_and_in_order():
    rng = np.random.default_rng(9)
    x = place(20000, [(5000, 0, 0), (9000, 1, 0)]) + noise(rng, 20000, 0.1)
    sync, seen = diffusion.frame_sync(), []
    for i in range(0, x.size, 100):
        for f in sync(x[i:i + 100]):
            seen.append(f.offset)
            assert i + 100 - f.offset <= sync.latency + 100
        assert all(o in seen for o in (5000, 9000) if o < sync.decided)
    assert seen == [5000, 9000]


def test_false_alarm_law_holds_where_it_can_be_measured():
    # Statistics of noise against their Beta laws: A exactly, B from above.
    rng = np.random.default_rng(10)
    sync = diffusion.frame_sync()
    x = noise(rng, 3_000_000, 7.0)
    a, b = sync.statistics(x, 0.5)
    n, grid = 160, np.linspace(0, 1, 4001)
    for tail in (1e-2, 1e-3, 1e-4):
        level_a = grid[np.argmax([diffusion.beta_tail(2, n - 2, t) < tail for t in grid])]
        level_b = grid[np.argmax([diffusion.beta_tail(2 * CP, n + CP - 1 - 2 * CP, t) < tail for t in grid])]
        expected = diffusion.beta_tail(2, n - 2, level_a)
        # Neighbouring delays are dependent: about 8 (A) or 64 (B) share one excursion.
        assert abs(np.mean(a > level_a) - expected) < 5 * np.sqrt(8 * expected / a.size)
        assert np.mean(b > level_b) <= tail + 5 * np.sqrt(64 * tail / b.size)


def test_false_alarms_stay_below_their_bound():
    rng = np.random.default_rng(11)
    x = noise(rng, 2_000_000)
    count = len(find(x, false_alarm_rate=1e-5, coarse_pass=0.3))
    assert 0 < count <= 20 + 5 * np.sqrt(20)  # above 0: the bound is not kept by a dead detector


@pytest.mark.parametrize("bits", [0, 1, 2, 3, 8])
def test_no_frame_in_noise(bits):
    rng = np.random.default_rng(20 + bits)
    x = noise(rng, 2_000_000)
    if bits:
        x = diffusion.quantizer(bits, 1.3)(x)
    sync = diffusion.frame_sync()
    assert sync(x) + sync.flush() == []
    # By the law the expected number in ten minutes at 1 Msample/s is at most 600e6 * 1e-12.
    assert diffusion.beta_tail(2, 158, sync.threshold_one_path) * sync.hypotheses <= 0.5e-12 * 1.001
    assert diffusion.beta_tail(32, 143, sync.threshold_multipath) * sync.hypotheses <= 0.5e-12 * 1.001


def test_hostile_streams():
    rng = np.random.default_rng(30)
    n = 40000
    tone = np.exp(2j * np.pi * 0.013 * np.arange(n)).astype(np.complex64)
    bad = noise(rng, n)
    bad[::97] = np.nan
    bad[::101] = np.inf
    for x in (np.zeros(n, np.complex64), np.ones(n, np.complex64), tone, tone * 1e-20, tone * 1e14, bad,
              np.full(n, np.nan, np.complex64), np.eye(1, n, 77, dtype=np.complex64)[0],
              np.zeros(0, np.complex64)):
        assert find(x) == []
    # and a frame behind the trouble is found
    trouble = np.concatenate([bad, tone * 1e14, place(4000, [(2500, -1.2, 0)]) + noise(rng, 4000, 0.1)])
    frames = find(trouble.astype(np.complex64))
    assert len(frames) == 1 and abs(int(frames[0].offset) - (2 * n + 2500)) <= 1


@pytest.mark.parametrize("setting", [{"max_cfo": -1}, {"max_cfo": float("nan")}, {"false_alarm_rate": 0},
                                     {"false_alarm_rate": 1}, {"coarse_pass": 0}, {"coarse_pass": 2}])
def test_bad_settings_are_named(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        diffusion.frame_sync(**setting)


def test_bad_geometry_is_named():
    for name, value, message in [("fft_len", 63, "fft_len is 63"), ("cp_len", 0, "cp_len is 0"),
                                 ("occupied_carriers", [[99]], "carrier 99"),
                                 ("occupied_carriers", [], "no set"),
                                 ("occupied_carriers", [[7]], "both a pilot"),
                                 ("pilot_symbols", [[1]], "pilot_symbols"),
                                 ("sync_word1", [0] * 64, "sync_word1"), ("sync_word2", [1], "sync_word2"),
                                 ("sync_word1", [1] * 64, "odd and even")]:
        g = diffusion.ofdm_geometry.stock()
        setattr(g, name, value)
        with pytest.raises(ValueError, match=message):
            diffusion.frame_sync(g)


def test_another_waveform():
    """128 carriers, first word on even carriers."""
    rng = np.random.default_rng(40)
    g = diffusion.ofdm_geometry()
    g.fft_len, g.cp_len = 128, 32
    active = [k for k in range(-50, 51) if k]
    g.pilot_carriers = [active[::12]]
    g.pilot_symbols = [[1] * len(active[::12])]
    g.occupied_carriers = [[k for k in active if k not in active[::12]]]
    word = np.zeros((2, 128), complex)
    word[0, [64 + k for k in active if k % 2 == 0]] = np.sqrt(2) * rng.choice([-1, 1], 50)
    word[1, [64 + k for k in active]] = rng.choice([-1, 1], 100)
    g.sync_word1, g.sync_word2 = word
    preamble = np.concatenate([diffusion.modulate_ofdm_symbol(g, w) for w in word]) / 10
    x = noise(rng, 60000, 0.5)
    truth = [(1000 + 1459 * i, rng.uniform(-2, 2)) for i in range(38)]
    for offset, cfo in truth:
        x[offset:offset + 320] += preamble * np.exp(2j * np.pi * cfo * np.arange(320) / 128)
    frames = find(x, geometry=g)
    assert len(frames) == len(truth)
    assert max(abs(int(f.offset) - o) for f, (o, _) in zip(frames, truth)) <= 2
    assert max(abs(f.cfo - c) for f, (_, c) in zip(frames, truth)) < 0.06


@pytest.mark.parametrize("cp_len", [24, 32])
def test_half_a_symbol_early_is_no_path(cp_len):
    """With a long prefix word 1, late by a path and early by half a symbol, is within a prefix of the first
    path."""
    rng = np.random.default_rng(50)
    tx, rx = diffusion.native_modulator(cp_len=cp_len), diffusion.native_receiver(cp_len=cp_len)
    frame = tx(b"half a symbol early")
    truth, parts = [], [np.zeros(400, np.complex64)]
    for delay in np.repeat(np.arange(8, cp_len - 4), 6):
        y = np.convolve(frame, np.r_[1, np.zeros(delay - 1), 0.95 * np.exp(1j * rng.uniform(0, 6.28))])
        truth.append(sum(map(len, parts)))
        parts += [y, np.zeros(250)]
    y = np.concatenate(parts).astype(np.complex64)
    frames = rx(y + noise(rng, y.size, 0.03), True)
    assert len(frames) == len(truth)
    assert max(abs(int(f.sync.offset) - t) for f, t in zip(frames, truth)) <= 1
    assert np.mean([f.payload_ok for f in frames]) > 0.95
