# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual radio through SoapySDR's C interface: what goes in comes out, as the settings say."""
import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
# noqa: E402
from soapy_c import (END_BURST, HAS_TIME, OVERFLOW, RX, STREAM_ERROR, TIME_ERROR, TIMEOUT, TX, UNDERFLOW,
                     Radio, SoapyError)

RATE = 1e6
CLEAN = dict(noise_dbm=-250, dac_bits=0, adc_bits=0)  # default gains and path loss: 0 dB in all


@pytest.fixture
def medium(request):
    name = f"test-{os.getpid()}-{abs(hash(request.node.name)) % 10 ** 8}"
    yield name
    assert not Path(f"/dev/shm/gr-diffusion-{os.getuid()}-{name}").exists(), "shared memory was left behind"


def qpsk(n, seed=1):
    rng = np.random.default_rng(seed)
    return (np.exp(0.5j * np.pi * (rng.integers(0, 4, n) + 0.5)) * 0.5).astype(np.complex64)


def pair(medium, rate=RATE, **settings):
    """A transmitter and a receiver, two devices on a fast medium."""
    rx = Radio(medium=medium, pacing="fast", **{**CLEAN, **settings}).tune(RX, rate=rate).open(RX)
    tx = Radio(medium=medium, **{k: v for k, v in {**CLEAN, **settings}.items()
                                 if k[:2] in ("tx", "da", "no")})
    return tx.tune(TX, rate=rate).open(TX), rx


def transfer(tx, rx, x, n=None):
    """x sent and received over a fast medium, from its first sample that is not silent."""
    rx.start(RX)
    tx.start(TX)
    sent, received = 0, []
    while sent < len(x):
        code = tx.write(x[sent:sent + 4096])
        assert code > 0
        sent += code
        rails, code, _, _ = rx.read(4096, 0)
        if code > 0:
            received.append(rails)
    tx.stop(TX)
    for _ in range(1000):
        rails, code, _, _ = rx.read(4096, 0)
        if code <= 0 or sum(map(len, received)) > len(x) + 40000:
            break
        received.append(rails)
    rails = np.concatenate(received).astype(float)
    return rails[:, 0] + 1j * rails[:, 1]


def aligned(y, x):
    """The stretch of y that x became, by correlation with x's beginning."""
    head = x[:2000]
    start = int(np.argmax(np.abs(np.correlate(y[:len(y) - len(head) + 1], head, "valid"))))
    assert len(y) >= start + len(x), "not all arrived"
    return y[start:start + len(x)]


def test_samples_cross_bit_exactly(medium):
    x = qpsk(100000)
    tx, rx = pair(medium)
    with tx, rx:
        y = transfer(tx, rx, x)
    np.testing.assert_allclose(aligned(y, x), x, rtol=1e-6)


@pytest.mark.parametrize("form, bits", [("CS16", 16), ("CS8", 8), ("CU8", 8)])
def test_integer_streams(medium, form, bits):
    with Radio(medium=medium, pacing="fast", **CLEAN).tune(RX, rate=RATE).open(RX, form) as rx, \
            Radio(medium=medium, dac_bits=0).tune(TX, rate=RATE).open(TX, form) as tx:
        scale, offset = {"CS16": (32768, 0), "CS8": (128, 0), "CU8": (127.5, 127.5)}[form]
        x = qpsk(20000)
        wire = np.round(np.stack([x.real, x.imag], 1) * scale + offset).astype(tx.formats[TX])
        rx.start(RX)
        tx.start(TX)
        assert tx.write_all(wire) == len(wire)
        tx.stop(TX)
        rails = []
        while sum(map(len, rails)) < 30000:
            part, code, _, _ = rx.read(4096, 1000)
            if code <= 0:
                break
            rails.append(part)
        y = (np.concatenate(rails).astype(float) - offset) / scale
        y = aligned(y[:, 0] + 1j * y[:, 1], x)
        assert np.abs(y - x).max() < 2.0 / scale


def test_noise_gain_and_path_loss_are_in_decibels(medium):
    tx, rx = pair(medium, noise_dbm=-80, path_loss_db=60)
    x = qpsk(200000)  # -6 dBFS
    with tx, rx:
        tx.tune(TX, gain=25)
        rx.tune(RX, gain=63)
        y = aligned(transfer(tx, rx, x), x)
    gain = np.vdot(x, y) / np.vdot(x, x)
    assert 20 * np.log10(abs(gain)) == pytest.approx(25 - 30 - 60 + 63, abs=0.02)
    noise = np.mean(np.abs(y - gain * x) ** 2)
    assert 10 * np.log10(noise) == pytest.approx(-80 + 63, abs=0.1)


@pytest.mark.parametrize("bits", [1, 4])
def test_converters_have_their_bits(medium, bits):
    tx, rx = pair(medium, adc_bits=bits, noise_dbm=-30)
    x = qpsk(20000)
    with tx, rx:
        y = transfer(tx, rx, x)
    step = 2 / 2 ** bits
    levels = np.unique(np.round((y.real / step - 0.5), 4))
    assert len(levels) <= 2 ** bits and np.allclose(levels, np.round(levels), atol=1e-3)
    assert len(levels) >= 2


def test_taps_cfo_and_several_transmitters_add_up(medium):
    cfo = 1234.0
    a, b = qpsk(60000, 1), qpsk(60000, 2)
    tx1, rx = pair(medium, taps="1;0;0.3-0.2j")
    tx2 = Radio(medium=medium, dac_bits=0, tx_cfo_hz=cfo).tune(TX, rate=RATE).open(TX)
    with tx1, tx2, rx:
        rx.start(RX)
        received = []
        tx1.start(TX)
        tx2.start(TX)
        for i in range(0, 60000, 4000):
            assert tx1.write_all(a[i:i + 4000]) == 4000 and tx2.write_all(b[i:i + 4000]) == 4000
            rails, code, _, _ = rx.read(8192, 0)
            received += [rails] if code > 0 else []
        assert rx.sensor("transmitters") == "2"
        tx1.stop(TX)
        tx2.stop(TX)
        for _ in range(100):
            rails, code, _, _ = rx.read(8192, 0)
            received += [rails] if code > 0 else []
    rails = np.concatenate(received)
    y = rails[:, 0] + 1j * rails[:, 1]
    echo = lambda x: np.convolve(x, [1, 0, 0.3 - 0.2j])[:x.size]
    first = aligned(y, a)
    start = int(np.argmax(np.abs(np.correlate(y[:len(y) - 1999], a[:2000], "valid"))))
    y = y[start:start + 60000]
    offsets = range(-3000, 3001)  # the second started a little later or earlier
    turned = np.exp(2j * np.pi * cfo / RATE * np.arange(y.size))
    rest = y - echo(a)
    lag = max(offsets, key=lambda k: abs(np.vdot(np.roll(b, k)[5000:7000], (rest / turned)[5000:7000])))
    other = np.roll(echo_rotating(b, cfo), lag)
    window = slice(5000, 50000)
    phase = np.vdot(other[window] * turned[window], rest[window])
    error = rest[window] - other[window] * turned[window] * phase / abs(phase)
    assert np.mean(np.abs(error) ** 2) < 1e-4 * np.mean(np.abs(rest[window]) ** 2)
    assert first.size == 60000


def echo_rotating(x, cfo):
    """Multipath acts before the frequency offset: the echo is turned by its delay less."""
    return np.convolve(x, [1, 0, 0.3 - 0.2j])[:x.size]


def test_clock_errors_shift_rate_and_carrier_together(medium):
    ppm, carrier = 50.0, 1e9
    tx, rx = pair(medium, clock_ppm=0)
    tx.write_setting("clock_ppm", ppm)
    n = 400000
    x = (0.5 * np.exp(2j * np.pi * 0.01 * np.arange(n))).astype(np.complex64)
    with tx, rx:
        tx.tune(TX, frequency=carrier)
        rx.tune(RX, frequency=carrier)
        y = transfer(tx, rx, x)
    y = y[np.flatnonzero(np.abs(y) > 0.4)[0]:]
    y = y[1000:300000]
    phase = np.unwrap(np.angle(y))
    measured = np.polyfit(np.arange(y.size), phase, 1)[0] / 2 / np.pi * RATE
    assert measured == pytest.approx(0.01 * RATE * (1 + ppm * 1e-6) + carrier * ppm * 1e-6, abs=0.5)
    assert np.abs(np.abs(y) - 0.5).max() < 1e-3


def test_a_different_rate_is_resampled_and_another_band_is_silent(medium):
    tx, rx = pair(medium)
    x = (0.5 * np.exp(2j * np.pi * 0.05 * np.arange(100000))).astype(np.complex64)
    with tx, rx:
        rx.tune(RX, rate=2.5e6)
        y = transfer(tx, rx, x)
        y = y[np.flatnonzero(np.abs(y) > 0.45)[0] + 500:][:100000]
        step = np.angle(y[1:] * np.conj(y[:-1]))
        np.testing.assert_allclose(step, 2 * np.pi * 0.05 / 2.5, atol=2e-3)
        rx.tune(RX, frequency=1.1e9)
        assert np.abs(transfer(tx, rx, x)).max() < 1e-3


def test_timestamps_and_timed_bursts_meet(medium):
    rate = 200e3  # slow enough that a busy machine keeps up
    with Radio(medium=medium, rx_buffer_ms=2000, **CLEAN).tune(RX, rate=rate).open(RX) as rx, \
            Radio(medium=medium, dac_bits=0).tune(TX, rate=rate).open(TX) as tx:
        rx.start(RX)
        tx.start(TX)
        when = tx.time() + 250_000_000
        x = qpsk(3000)
        assert tx.write_all(x, HAS_TIME | END_BURST, when) == 3000
        y, start = rx.read_all(100000)
        at = int(np.flatnonzero(np.abs(y) > 0.1)[0])
        assert abs(start + at / rate * 1e9 - when) < 2e9 / rate  # within two samples
        np.testing.assert_allclose(y[at:at + 3000], x, atol=1e-6)
        assert np.abs(y[at + 3000:]).max() < 1e-9
        assert tx.status()[:2] == (0, END_BURST | HAS_TIME)
        # long past
        assert tx.write_all(x, HAS_TIME | END_BURST, when) == 3000 and tx.status()[0] == TIME_ERROR
        assert tx.write_all(x, END_BURST) == 3000 and tx.status()[0] == 0
        assert tx.status(1000)[0] == TIMEOUT


def test_underflow_and_overflow_are_reported(medium):
    import time
    with Radio(medium=medium, rx_buffer_ms=20, **CLEAN).tune(RX, rate=RATE).open(RX) as rx, \
            Radio(medium=medium, dac_bits=0, tx_buffer_ms=20).tune(TX, rate=RATE).open(TX) as tx:
        rx.start(RX)
        tx.start(TX)
        tx.write_all(qpsk(1000))
        time.sleep(0.2)
        rails, code, flags, lost_at = rx.read(100)
        assert code == OVERFLOW and flags & HAS_TIME
        overflows, code = 1, OVERFLOW
        while code == OVERFLOW:  # a busy machine may make more of them
            rails, code, flags, time_ns = rx.read(100)
            overflows += code == OVERFLOW
        assert code == 100 and time_ns - lost_at > 150_000_000
        assert rx.sensor("overflows") == str(overflows)
        tx.write_all(qpsk(1000))
        assert tx.status()[0] == UNDERFLOW and tx.sensor("underflows") == "1"


def test_finite_acquisition_starts_in_time_and_ends(medium):
    with Radio(medium=medium, rx_buffer_ms=2000, **CLEAN).tune(RX, rate=200e3).open(RX) as rx:
        when = rx.time() + 250_000_000
        rx.start(RX, when, 5000)
        rails, code, flags, time_ns = rx.read(4096, 5000000)
        assert code == 4096 and not flags & END_BURST and 0 <= time_ns - when < 5000
        rails, code, flags, _ = rx.read(4096, 5000000)
        assert code == 904 and flags & END_BURST
        assert rx.read(10, 1000)[1] == TIMEOUT


def test_agc_brings_any_level_to_its_target(medium):
    for loss in (20, 75):
        tx, rx = pair(medium, path_loss_db=loss)
        with tx, rx:
            rx.tune(RX, agc=True)
            x = qpsk(300000)
            y = transfer(tx, rx, x)
            start = np.flatnonzero(np.abs(y) > 0.1)[0]  # before it, silence, at any gain
            y = y[start + 150000:start + 290000]
            assert 10 * np.log10(np.mean(np.abs(y) ** 2)) == pytest.approx(-12, abs=1)


def test_automatic_dc_removal(medium):
    for remove, expected in ((False, 0.2), (True, 0.0)):
        tx, rx = pair(medium, rx_dc=0.2)
        with tx, rx:
            rx.tune(RX, remove_dc=remove)
            y = transfer(tx, rx, qpsk(300000))
            # the average settles with a time constant of 8192 samples
            assert abs(np.abs(np.mean(y[200000:290000])) - expected) < 0.02


def test_hardware_time_can_be_set(medium):
    with Radio(medium=medium) as radio:
        radio.set_time(10 ** 15)
        assert 0 <= radio.time() - 10 ** 15 < 10 ** 9


def test_one_device_is_its_own_loopback(medium):
    with Radio(medium=medium, pacing="fast", **CLEAN).tune(RX, rate=RATE).tune(TX, rate=RATE) as radio:
        radio.open(RX).open(TX)
        x = qpsk(50000)
        np.testing.assert_allclose(aligned(transfer(radio, radio, x), x), x, rtol=1e-6)


def test_amplifier_and_noise_of_the_transmitter(medium):
    from gnuradio import diffusion
    tx, rx = pair(medium, tx_pa="rapp", tx_backoff_db="0", tx_iq_gain_db="1")
    x = qpsk(20000) * np.float32(1.4)
    with tx, rx:
        y = aligned(transfer(tx, rx, x), x)
    np.testing.assert_allclose(y, diffusion.impairments(pa="rapp", backoff_db=0, iq_gain_db=1)(x), atol=1e-5)


@pytest.mark.parametrize("args, message", [
    (dict(adc_bits=17), "adc_bits is '17', use 0 to 16"), (dict(adc_bits="many"), "adc_bits"),
    (dict(noise_dbm="nan"), "noise_dbm"), (dict(pacing="slow"), "pacing"), (dict(taps="1;x"), "taps has 'x'"),
    (dict(taps=""), "taps"), (dict(profile="0;nan"), "profile"), (dict(tx_preset="odd"), "preset"),
    (dict(tx_kappa_tx="-1"), "kappa_tx"), (dict(rx_nonsense="1"), "nonsense"),
    (dict(bits="4"), "no setting 'bits'"),
    (dict(medium="../x"), "medium is"), (dict(seed="-1"), "seed")])
def test_bad_arguments_are_named(args, message):
    with pytest.raises(SoapyError) as e:
        Radio(**{"medium": f"bad-{os.getpid()}", **args})
    assert message in str(e.value)


def test_settings_read_back_and_bad_ones_change_nothing(medium):
    with Radio(medium=medium) as radio:
        for key, value in (("adc_bits", "3"), ("path_loss_db", "71.5"), ("taps", "1;0.5j"),
                           ("pacing", "fast"),
                           ("rx_iq_gain_db", "0.5"), ("tx_pa", "saleh"), ("profile", "0;-3")):
            radio.write_setting(key, value)
            assert radio.read_setting(key) == value
        for key, value in (("adc_bits", "99"), ("tx_pa", "none-such"), ("taps", "1;2+")):
            before = radio.read_setting(key)
            with pytest.raises(SoapyError):
                radio.write_setting(key, value)
            assert radio.read_setting(key) == before


def test_streams_that_are_not_started_or_opened_twice(medium):
    with Radio(medium=medium).open(RX).open(TX) as radio:
        assert radio.read(10, 1000)[1] == TIMEOUT and radio.write(qpsk(10)) == STREAM_ERROR
        with pytest.raises(SoapyError, match="open already"):
            radio.open(RX)


def test_two_receivers_hear_the_same_and_a_delay_is_a_delay(medium):
    tx, near = pair(medium)
    far = Radio(medium=medium, delay_ns=7000, path_loss_db=56, noise_dbm=-250, adc_bits=0)
    far.tune(RX, rate=RATE).open(RX)
    x = qpsk(40000)
    with tx, near, far:
        near.start(RX)
        far.start(RX)
        tx.start(TX)
        heard = {near: [], far: []}
        started = {}
        for i in range(0, 40000, 4000):
            assert tx.write_all(x[i:i + 4000]) == 4000
            for radio, parts in heard.items():
                rails, code, _, time_ns = radio.read(4000, 0)
                if code > 0:
                    parts.append(rails)
                    started.setdefault(radio, time_ns)
        tx.stop(TX)
        for radio, parts in heard.items():
            while sum(map(len, parts)) < 60000:
                rails, code, _, _ = radio.read(4000, 100000)
                assert code > 0
                parts.append(rails)
    arrival = {}
    for radio, level in ((near, 1), (far, 10 ** (-6 / 20))):
        rails = np.concatenate(heard[radio])
        y = rails[:, 0] + 1j * rails[:, 1]
        at = int(np.flatnonzero(np.abs(y) > 0.1)[0])
        np.testing.assert_allclose(y[at:at + 40000], level * x, atol=1e-5)
        arrival[radio] = started[radio] + at / RATE * 1e9
    assert arrival[far] - arrival[near] == pytest.approx(7000, abs=1100)  # to the sample


def test_rayleigh_taps_follow_the_seed_and_doppler_moves_them(medium):
    gains = []
    for seed, doppler in ((1, 0), (1, 0), (2, 0), (1, 1000)):
        tx, rx = pair(medium, profile="0", seed=seed, doppler_hz=doppler)
        x = qpsk(30000)
        with tx, rx:
            y = transfer(tx, rx, x)
        start = int(np.flatnonzero(np.abs(y) > 1e-3)[0])
        gains.append((y[start:start + 30000] / x)[:29000])
    for still in gains[:3]:
        np.testing.assert_allclose(still, still[0], rtol=1e-4)
    assert gains[0][0] == pytest.approx(gains[1][0], rel=1e-5) and abs(gains[0][0] - gains[2][0]) > 1e-3
    assert np.ptp(np.abs(gains[3])) > 0.1 * np.abs(gains[3]).mean()  # 29 ms: 29 periods of 1 kHz
