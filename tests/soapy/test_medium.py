# SPDX-License-Identifier: GPL-3.0-or-later
"""What the virtual radio's medium does to samples: lockstep, bursts, and a way of its own for each
transmitter."""
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from gnuradio.diffusion import multipath

sys.path.insert(0, str(Path(__file__).parent))
from soapy_c import END_BURST, RX, TX, Radio, SoapyError  # noqa: E402
from test_loopback import CLEAN, RATE, medium, qpsk  # noqa: E402, F401


def lockstep(medium, x, sizes=(4096, 4096), transmitter_first=False, burst=None, rx=None, tx=None):
    """x through a medium in lockstep, whole, from the medium's first sample; (rx, tx): settings."""
    tx_rate = (tx or {}).pop("rate", RATE)
    with Radio(medium=medium, pacing="lockstep",
               **{**CLEAN, **(rx or {})}).tune(RX, rate=RATE).open(RX) as r, \
            Radio(medium=medium, dac_bits=0, **(tx or {})).tune(TX, rate=tx_rate).open(TX) as t:
        for radio, direction in ((t, TX), (r, RX))[::1 if transmitter_first else -1]:
            radio.start(direction)
        at, received = 0, []
        while at < len(x):
            end = min(len(x), at + sizes[0])
            if burst:
                end = min(end, (at // burst + 1) * burst)
            code = t.write(x[at:end], END_BURST if burst and end % burst == 0 else 0, timeout_us=0)
            at += max(code, 0)
            rails, code, _, _ = r.read(sizes[1], 0)
            received += [rails] if code > 0 else []
        t.stop(TX)
        while True:
            rails, code, _, _ = r.read(sizes[1], 2000)
            if code <= 0:
                break
            received.append(rails)
        first = int(t.sensor("tx_first"))
        assert tx_rate != RATE or int(t.sensor("tx_next")) == first + len(x)
    rails = np.concatenate(received)
    return rails[:, 0] + 1j * rails[:, 1], first


def test_lockstep_gives_the_same_samples_however_they_are_cut(medium):
    x = qpsk(60000)
    settings = dict(rx=dict(noise_dbm=-70, profile="0;-3", doppler_hz=500, adc_bits=6, rx_cfo_hz=777, seed=3),
                    tx=dict(tx_preset="reference-s2", seed=3))
    runs = [lockstep(medium, x, sizes, **{k: dict(v) for k, v in settings.items()})[0]
            for sizes in ((4096, 4096), (1000, 8192), (5000, 333))]
    assert len(runs[0]) == 10000 + len(x)
    for other in runs[1:]:
        np.testing.assert_array_equal(runs[0], other)
    settings["rx"]["seed"] = 4
    assert np.any(lockstep(medium, x, **settings)[0] != runs[0])


def test_without_a_transmitter_lockstep_stands_still(medium):
    with Radio(medium=medium, pacing="lockstep").tune(RX, rate=RATE).open(RX) as rx:
        rx.start(RX)
        assert [rx.read(100, 5000)[1] for _ in range(3)] == [-1, -1, -1]
        assert rx.read_setting("pacing") == "lockstep"


@pytest.mark.parametrize("flagged", [True, False])
def test_taps_are_drawn_for_every_burst(medium, flagged):
    """Bursts by flag, or by 100 samples of silence between them; the draws are those of dsp's multipath."""
    n, burst, seed = 20, 2000, 9
    x = qpsk(n * burst)
    if not flagged:
        x.reshape(n, burst)[:, -100:] = 0
    y, first = lockstep(medium, x, burst=burst if flagged else None,
                        rx=dict(profile="0;-6", fading="burst", seed=seed))
    channel = multipath.rayleigh([1 / (1 + 10 ** -0.6), 10 ** -0.6 / (1 + 10 ** -0.6)], 0.0, seed * 1000003)
    wanted = []
    for k in range(n):
        channel.redraw()
        wanted.append(channel(x[k * burst:(k + 1) * burst]))
    np.testing.assert_allclose(y[first:first + len(x)], np.concatenate(wanted), atol=1e-5)


def test_every_transmitter_has_a_way_of_its_own(medium):
    """Path loss, delay, taps and CFO of two transmitters that send at once, told apart by their spectra."""
    n = 40000
    tone = lambda f: (0.5 * np.exp(2j * np.pi * f * np.arange(n))).astype(np.complex64)
    ways = {0.1: dict(tx_path_loss_db=6, tx_delay_ns=5000), -0.2: dict(tx_taps="1;0;0.5j", tx_cfo_hz=500)}
    with Radio(medium=medium, pacing="lockstep", **CLEAN, taps="0.5").tune(RX, rate=RATE).open(RX) as rx:
        rx.start(RX)
        radios = [Radio(medium=medium, dac_bits=0, **w).tune(TX, rate=RATE).open(TX) for w in ways.values()]
        for radio in radios:
            assert radio.start(TX) == 0
        received = []
        for at in range(0, n, 4000):
            for radio, f in zip(radios, ways):
                assert radio.write_all(tone(f)[at:at + 4000]) == 4000
            rails, code, _, _ = rx.read(8192, 0)
            received += [rails] if code > 0 else []
        starts = [int(r.sensor("tx_first")) for r in radios]
        while code > 0:
            rails, code, _, _ = rx.read(8192, 0)
            received += [rails] if code > 0 else []
        for radio in radios:
            radio.close()
    rails = np.concatenate(received)
    y = rails[:, 0] + 1j * rails[:, 1]
    k = np.arange(20000, 30000)
    amplitude = lambda f, start: np.mean(y[k] * np.exp(-2j * np.pi * f * (k - start))) / 0.5
    # the receiver's taps (0.5) count for the first, which has none of its own
    expected = 0.5 * 10 ** (-6 / 20) * np.exp(-2j * np.pi * 0.1 * 5)
    assert amplitude(0.1, starts[0]) == pytest.approx(expected, abs=2e-3)
    echo = abs(1 + 0.5j * np.exp(2j * np.pi * 0.2 * 2))
    assert abs(amplitude(-0.2 + 500 / RATE, starts[1])) == pytest.approx(echo, abs=2e-3)


def test_own_doppler_fades_one_transmitter_only(medium):
    x = np.full(40000, 0.5, np.complex64)
    y, first = lockstep(medium, x, tx=dict(tx_profile="0", tx_doppler_hz=1000), rx=dict(seed=2))
    gain = np.abs(y[first:first + len(x)]) / 0.5
    assert np.ptp(gain) > 0.5
    # Clarke's autocorrelation over 40 periods of 1 kHz: at half a wavelength (J0's first zero at 0.3827)
    # nothing is left
    h = y[first:first + len(x)] / 0.5
    lag = int(0.3827 * RATE / 1000)
    assert abs(np.vdot(h[:-lag], h[lag:])) < 0.5 * abs(np.vdot(h, h))


@pytest.mark.parametrize("delay_ns, rate", [(3000, RATE), (2500, RATE), (2500, 2 * RATE)])
def test_delays_are_kept_to_fractions_of_a_sample(medium, delay_ns, rate):
    f = 0.03
    x = (0.5 * np.exp(2j * np.pi * f * RATE / rate * np.arange(40000))).astype(np.complex64)
    y, first = lockstep(medium, x, rx=dict(delay_ns=delay_ns), tx=dict(rate=rate))
    k = np.arange(len(y))[15000:25000]
    turned = np.mean(y[k] * np.exp(-2j * np.pi * f * (k - first * RATE / rate))) / 0.5
    assert turned == pytest.approx(np.exp(-2j * np.pi * f * delay_ns * 1e-9 * RATE), abs=5e-3)


def through(medium, x, change=lambda tx, rx: None, rx=None, tx=None):
    """x through a clean fast medium, from its first sample that is not silent; and the receiver's sensors."""
    from test_loopback import transfer
    with Radio(medium=medium, pacing="fast", **{**CLEAN, **(rx or {})}).tune(RX, rate=RATE).open(RX) as r, \
            Radio(medium=medium, **{"dac_bits": 0, **(tx or {})}).tune(TX, rate=RATE).open(TX) as t:
        change(t, r)
        y = transfer(t, r, x)
        sensors = {s: int((r if s == "adc_clipped" else t).sensor(s)) for s in ("adc_clipped", "dac_clipped")}
    start = int(np.flatnonzero(np.abs(y) > 0.02)[0])  # an ADC has no zero
    return y[start:start + len(x)], sensors


def test_every_gain_stage_acts_and_too_much_clips(medium):
    x = qpsk(20000)
    level = lambda y: 10 * np.log10(np.mean(np.abs(y[1000:-1000]) ** 2))
    plain = level(through(medium, x)[0])
    for direction, name, value, gain in ((RX, "LNA", 10, -10), (RX, "VGA", 35, 5), (TX, "PAD", 12, -18)):
        def change(t, r):
            radio = r if direction == RX else t
            radio.set_stage(direction, name, value)
            assert radio.stage(direction, name) == value
        y, sensors = through(medium, x, change)
        assert level(y) - plain == pytest.approx(gain, abs=0.02) and sensors["adc_clipped"] == 0
    loud = lambda t, r: r.tune(RX, gain=70)
    y, sensors = through(medium, x, loud, rx=dict(adc_bits=8))
    assert np.abs(y.real).max() < 1 and sensors["adc_clipped"] > 19000
    quiet = lambda t, r: r.tune(RX, gain=70, agc=True)  # the AGC takes it back
    y, sensors = through(medium, x, quiet, rx=dict(adc_bits=8))
    assert level(y[9000:]) == pytest.approx(-12, abs=0.5) and sensors["adc_clipped"] < 5000
    y, sensors = through(medium, 4 * x, tx=dict(dac_bits=8))
    assert sensors["dac_clipped"] > 19000 and np.abs(y.real).max() <= 1


def test_the_dac_has_its_bits(medium):
    rng = np.random.default_rng(1)
    x = (rng.uniform(-0.99, 0.99, 20000) + 1j * rng.uniform(-0.99, 0.99, 20000)).astype(np.complex64)
    y, _ = through(medium, x, tx=dict(dac_bits=3))
    assert len(np.unique(np.round(y.real, 3))) == len(np.unique(np.round(y.imag, 3))) == 8


def test_receivers_mixer_and_transmitters_offset(medium):
    """The receiver's IQ imbalance makes an image, the transmitter's DC a carrier, phase noise a floor: in
    decibels."""
    n = 20000
    x = (0.5 * np.exp(2j * np.pi * 0.1 * np.arange(n))).astype(np.complex64)
    y, _ = through(medium, x, rx=dict(rx_iq_gain_db=1.0, rx_iq_phase_deg=5))
    at = lambda y, f: np.abs(np.mean(y[1000:19000] * np.exp(-2j * np.pi * f * np.arange(1000, 19000)))) / 0.5
    g, phi = 10 ** (1 / 20), np.deg2rad(5)
    assert at(y, -0.1) / at(y, 0.1) == pytest.approx(abs(1 - g * np.exp(1j * phi)) /
                                                     abs(1 + g * np.exp(-1j * phi)), rel=0.02)
    y, _ = through(medium, x, tx=dict(tx_dc=0.2))
    assert 0.5 * at(y, 0.0) == pytest.approx(0.2, rel=0.02)  # of the RMS at 0 dBm, which is 1
    y, _ = through(medium, x, tx=dict(tx_phase_noise_deg=4))
    turned = y[1000:19000] * np.exp(-2j * np.pi * 0.1 * np.arange(1000, 19000))
    assert np.rad2deg(np.std(np.angle(turned / np.mean(turned)))) == pytest.approx(4, rel=0.05)


def test_a_burst_that_ends_is_acknowledged(medium):
    with Radio(medium=medium).tune(TX, rate=RATE).open(TX) as tx:
        tx.start(TX)
        assert tx.write_all(qpsk(5000), END_BURST) == 5000
        code, flags, time_ns = tx.status()
        assert code == 0 and flags & END_BURST and time_ns > 0
        assert tx.status(1000)[0] == -1


@pytest.mark.parametrize("key, value, words", [
    ("fading", "fast", "use continuous or burst"), ("pacing", "slow", "realtime, fast or lockstep"),
    ("tx_taps", ";".join(["1"] * 65), "up to 64"), ("tx_path_loss_db", "loud", "use -50 to 250")])
def test_wrong_settings_are_named(medium, key, value, words):
    with pytest.raises(SoapyError, match=words):
        Radio(medium=medium, **{key: value})


def test_a_full_folder_is_an_error_not_a_crash(medium):
    """Files may not grow beyond 4 MiB in this process: the transmitter's ring cannot be had."""
    import subprocess
    code = (f"import sys, resource; sys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom soapy_c import "
            "*\nimport signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 22, 1 << 22))\n"
            f"Radio(medium={medium!r}).open(TX)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "GR_DIFFUSION_SHM": "/tmp"})
    assert done.returncode == 1 and "GR_DIFFUSION_SHM" in done.stderr, done.stderr
    assert not Path(f"/tmp/gr-diffusion-{os.getuid()}-{medium}").exists()
