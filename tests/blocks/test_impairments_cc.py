# SPDX-License-Identifier: GPL-3.0-or-later
"""impairments_cc and the classes behind it, held to closed form."""
import json
import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr

QAM16 = np.array([(2 * a - 3) + 1j * (2 * b - 3) for a in range(4) for b in range(4)]) / np.sqrt(10)


def run(block, x):
    tb = gr.top_block()
    source = blocks.vector_source_c(x.tolist())
    sink = blocks.vector_sink_c()
    tb.connect(source, block, sink)
    tb.run()
    return np.array(sink.data(), np.complex64)


def noise(n, seed=1):
    rng = np.random.default_rng(seed)
    return ((rng.standard_normal(n) + 1j * rng.standard_normal(n)) / np.sqrt(2)).astype(np.complex64)


def tone(n, cycles):
    return np.exp(2j * np.pi * cycles * np.arange(n) / n).astype(np.complex64)


def test_off_is_the_identity():
    x = noise(20000)
    np.testing.assert_array_equal(run(diffusion.impairments_cc(), x), x)


@pytest.mark.parametrize("gain_db, phase_deg", [(1, 5), (0, 3), (-2, 0), (0.1, -10)])
def test_image_rejection_ratio(gain_db, phase_deg):
    n, k = 4096, 300
    y = run(diffusion.impairments_cc(iq_gain_db=gain_db, iq_phase_deg=phase_deg), tone(n, k))
    spectrum = np.abs(np.fft.fft(y)) ** 2
    g, phi = 10 ** (gain_db / 20), np.radians(phase_deg)
    expected = (1 + 2 * g * np.cos(phi) + g ** 2) / (1 - 2 * g * np.cos(phi) + g ** 2)
    assert 10 * np.log10(spectrum[k] / spectrum[-k]) == pytest.approx(10 * np.log10(expected), abs=0.01)


def test_dc_offset_is_in_units_of_the_rms():
    y = run(diffusion.impairments_cc(dc=0.1, signal_power=0.25), np.zeros(100, np.complex64))
    np.testing.assert_allclose(y, 0.1 * 0.5 * (1 + 1j) / np.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize("p, saturation, am_pm", [(2, 1, 0.25), (3, 1, 0.3), (1.5, 0.7, 0), (0.5, 2, -0.1)])
def test_rapp_curves(p, saturation, am_pm):
    x = np.linspace(0, 20, 4001) * np.exp(0.3j)
    y = diffusion.power_amplifier.rapp(p, saturation, am_pm)(x.astype(np.complex64))
    u = np.abs(x) / saturation
    expected = x / (1 + u ** (2 * p)) ** (1 / (2 * p)) * np.exp(1j * am_pm * u ** 2 / (1 + u ** 2))
    np.testing.assert_allclose(y, expected, atol=2e-6 * saturation, rtol=2e-6)


def test_saleh_curves():
    aa, ba, ap, bp = 2.1587, 1.1517, 4.0033, 9.1040
    r = np.linspace(0, 3, 1001)
    pa = diffusion.power_amplifier.saleh(aa, ba, ap, bp)
    y = pa(r.astype(np.complex64))
    np.testing.assert_allclose(np.abs(y), aa * r / (1 + ba * r ** 2), atol=1e-6)
    np.testing.assert_allclose(np.angle(y)[1:], (ap * r ** 2 / (1 + bp * r ** 2))[1:], atol=1e-6)
    assert pa.saturation == pytest.approx(r[np.argmax(np.abs(y))], abs=3e-3)  # the grid's step


@pytest.mark.parametrize("pa", [diffusion.power_amplifier.rapp(2, 1, 0.25),
                                diffusion.power_amplifier.saleh()])
@pytest.mark.parametrize("backoff", [0, 3, 12])
def test_backoff_scales_the_drive_and_keeps_small_signal_gain(pa, backoff):
    x = noise(2000)
    pa.clear_backoff()
    native = pa(x * np.float32(pa.saturation * 10 ** (-backoff / 20)))
    pa.set_backoff(backoff)
    y = pa(x)
    np.testing.assert_allclose(y, native / (pa.saturation * 10 ** (-backoff / 20) * pa.gain), rtol=2e-5,
                               atol=1e-6)
    assert pa(np.array([1e-4], np.complex64))[0] == pytest.approx(1e-4, rel=1e-4)


@pytest.mark.parametrize("pa, law", [
    ("rapp", lambda u: 1 / (1 + u ** 4) ** 0.25 * np.exp(0.25j * u ** 2 / (1 + u ** 2))),
    ("saleh",
     lambda u: 1 / (1 + u ** 2) * np.exp(1j * 4.0033 / 1.1517 * u ** 2 / (1 + 9.1040 / 1.1517 * u ** 2))),
])
def test_bussgang_gain_for_gaussian_input(pa, law):
    backoff, n = 5, 300000
    x = noise(n)
    y = run(diffusion.impairments_cc(pa=pa, backoff_db=backoff), x)
    power = np.linspace(0, 40, 400001)  # |x|^2 of a unit complex Gaussian is exponential
    u = np.sqrt(power) * 10 ** (-backoff / 20)
    expected = np.trapz(law(u) * power * np.exp(-power), power)
    measured = np.vdot(x, y) / np.vdot(x, x)
    residual = np.mean(np.abs(y - measured * x) ** 2)
    assert abs(measured - expected) < 4 * np.sqrt(residual / n) + 1e-3 * abs(expected)


def test_reference_s2_warps_the_constellation_as_written():
    radio = diffusion.impairments("reference-s2", seed=3)
    radio.renormalise(QAM16)
    g, phi = 10 ** (1 / 20), np.radians(5)
    x = QAM16.real + 1j * g * (QAM16.imag * np.cos(phi) + QAM16.real *
                               np.sin(phi)) + 0.05 * (1 + 1j) / np.sqrt(2)
    u = np.abs(x) / 10 ** (3 / 20)
    x = x / (1 + u ** 4) ** 0.25 * np.exp(0.25j * u ** 2 / (1 + u ** 2))
    x /= np.sqrt(np.mean(np.abs(x) ** 2))
    np.testing.assert_allclose(radio.warp(QAM16), x, atol=2e-6)
    kappa = {k: radio.get(k) for k in ("kappa_tx", "kappa_rx", "phase_noise_deg")}
    assert kappa == {"kappa_tx": 0.05, "kappa_rx": 0.05, "phase_noise_deg": 4}


def test_iid_phase_noise_rms():
    n = 200000
    y = run(diffusion.impairments_cc(phase_noise_deg=4, seed=5), np.ones(n, np.complex64))
    rms = np.degrees(np.std(np.angle(y)))
    assert abs(rms / 4 - 1) < 4 / np.sqrt(2 * n)
    assert abs(np.corrcoef(np.angle(y)[1:], np.angle(y)[:-1])[0, 1]) < 4 / np.sqrt(n)


@pytest.mark.parametrize("linewidth, rate", [(100, 1e6), (2000, 200e3)])
def test_wiener_phase_noise_has_its_linewidth(linewidth, rate):
    n = 400000
    y = run(diffusion.impairments_cc(sample_rate=rate, linewidth_hz=linewidth, seed=6),
            np.ones(n, np.complex64))
    steps = np.angle(y[1:] * np.conj(y[:-1])).astype(float)
    expected = 2 * np.pi * linewidth / rate
    assert abs(np.var(steps) / expected - 1) < 4 * np.sqrt(2 / n)
    phase = np.cumsum(steps)
    m = 100  # independent increments: the variance over m samples is m times as large
    assert abs(np.var(phase[m::m] - phase[:-m:m]) / (m * expected) - 1) < 4 * np.sqrt(2 * m / n)


def test_cfo_is_a_pure_rotation():
    n, rate = 100000, 1e6
    y = run(diffusion.impairments_cc(sample_rate=rate, cfo_hz=-1234.5), np.ones(n, np.complex64))
    np.testing.assert_allclose(y, np.exp(-2j * np.pi * 1234.5 / rate * np.arange(n)), atol=1e-6)


@pytest.mark.parametrize("kt, kr", [(0.1, 0), (0, 0.08), (0.1, 0.1)])
def test_kappa_is_an_evm(kt, kr):
    n = 200000
    x = noise(n) * np.float32(0.5)
    error = run(diffusion.impairments_cc(kappa_tx=kt, kappa_rx=kr, signal_power=0.25, seed=7), x) - x
    expected = 0.25 * (kt ** 2 + kr ** 2 * (1 + kt ** 2))
    assert abs(np.mean(np.abs(error) ** 2) / expected - 1) < 4 / np.sqrt(n)
    assert abs(np.mean(error ** 2)) / expected < 4 / np.sqrt(n)  # circular


def test_receiver_order_puts_the_mixer_after_the_oscillator():
    n, k = 4096, 100
    settings = dict(cfo_hz=50 / n, iq_gain_db=1, dc=0.1)
    tx = np.abs(np.fft.fft(diffusion.impairments(**settings)(tone(n, k)))) / n
    rx = np.abs(np.fft.fft(diffusion.impairments(order="rx", **settings)(tone(n, k)))) / n
    assert tx[50] == pytest.approx(0.1, rel=1e-3) and tx[0] < 1e-4       # DC rotated with the carrier
    assert rx[0] == pytest.approx(0.1, rel=1e-3) and rx[50] < 1e-4
    image = tx[-k + 50]
    assert image > 0.03 and rx[-k - 50] == pytest.approx(image, rel=1e-3)


@pytest.mark.parametrize("preset", ["mild", "reference-s2", "harsh"])
def test_the_cut_does_not_matter_and_seeds_repeat(preset):
    x = noise(30000)
    make = lambda seed: diffusion.impairments(preset, sample_rate=1e6, seed=seed)
    whole, again, other = make(4)(x), make(4)(x), make(5)(x)
    np.testing.assert_array_equal(whole, again)
    assert np.mean(np.abs(whole - other) ** 2) > 1e-5
    radio, rng, parts = make(4), np.random.default_rng(0), []
    cuts = np.sort(rng.integers(0, x.size, 200))
    for part in np.split(x, cuts):
        parts.append(radio(part))
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    block = diffusion.impairments_cc(preset, 1e6, 4)
    block.set_max_noutput_items(257)
    np.testing.assert_array_equal(run(block, x), whole)
    radio.reset(4)
    np.testing.assert_array_equal(radio(x), whole)


def test_one_stage_leaves_the_noise_of_another_alone():
    x = np.ones(1000, np.complex64)
    alone = diffusion.impairments(kappa_tx=0.1, seed=1)(x)
    both = diffusion.impairments(kappa_tx=0.1, phase_noise_deg=1, seed=1)(x)
    rotated = diffusion.impairments(phase_noise_deg=1, seed=1)(x)
    np.testing.assert_allclose(both - rotated, alone - x, atol=1e-6)


def gmp_reference(branches, x):
    padded = np.concatenate([np.zeros(64, complex), x])
    at = lambda d: padded[64 - d:padded.size - d]
    return sum(c * at(d) * np.abs(at(d + e)) ** k for d, e, cs in branches for k, c in enumerate(cs))


BRANCHES = [(0, 0, [1, 0.02j, -0.1 + 0.03j]), (1, 0, [0.1j, 0, 0.02]), (2, -1, [0, 0.01]),
            (0, 3, [0, -0.02j])]


def test_memory_polynomial_matches_its_definition_and_limits_beyond_the_fit(tmp_path):
    x = noise(5000)
    x /= np.abs(x).max()
    pa = diffusion.power_amplifier.memory_polynomial(BRANCHES, 1.0, 0.9 + 0.1j)
    expected = gmp_reference(BRANCHES, x)
    np.testing.assert_allclose(pa(x), expected, atol=1e-6)
    pa.reset()
    np.testing.assert_allclose(np.concatenate([pa(p) for p in np.array_split(x, 37)]), expected, atol=1e-6)
    pa.reset()
    beyond = x * np.float32(3)
    limited = beyond / np.maximum(np.abs(beyond), 1)
    np.testing.assert_allclose(pa(beyond), gmp_reference(BRANCHES, limited), atol=1e-6)
    # driven: back-off from the largest fitted amplitude, linear gain taken out
    pa.reset()
    pa.set_backoff(10)
    drive = 10 ** (-10 / 20)
    quiet = noise(3000, 2) * np.float32(0.5)
    limited = quiet * drive / np.maximum(np.abs(quiet * drive), 1)
    np.testing.assert_allclose(pa(quiet), gmp_reference(BRANCHES, limited) / (drive * (0.9 + 0.1j)),
                               atol=3e-6)


def coefficient_file(**changes):
    whole = {"format": 1, "kind": "memory_polynomial", "saturation": 1.0, "gain": [0.9, 0.1], "branches": [
        {"delay": d, "envelope_delay": e, "coefficients": [[complex(c).real, complex(c).imag] for c in cs]}
        for d, e, cs in BRANCHES]}
    return {**whole, **changes}


def test_coefficients_load_by_path_and_by_name(tmp_path, monkeypatch):
    (tmp_path / "pa-lab.json").write_text(json.dumps(coefficient_file()))
    monkeypatch.setenv("GR_DIFFUSION_MODELS", f"/nonexistent:{tmp_path}")
    x = noise(2000)
    by_path = run(diffusion.impairments_cc(pa=str(tmp_path / "pa-lab.json"), backoff_db=12), x)
    by_name = run(diffusion.impairments_cc(pa="pa-lab", backoff_db=12), x)
    np.testing.assert_array_equal(by_path, by_name)
    assert np.std(by_name - x) > 0.01
    with pytest.raises(ValueError, match="pa-none.*GR_DIFFUSION_MODELS"):
        diffusion.impairments_cc(pa="pa-none")


@pytest.mark.parametrize("text", [
    "", "{", "[]", "null", '{"format": 1}', json.dumps(coefficient_file(format=2)),
    json.dumps(coefficient_file(branches=[])), json.dumps(coefficient_file(saturation=0)),
    json.dumps(coefficient_file(gain=[0, 0])), json.dumps(coefficient_file(gain=["a", 0])),
    json.dumps(coefficient_file(branches=[{"delay": 99, "envelope_delay": 0, "coefficients": [[1, 0]]}])),
    json.dumps(coefficient_file(branches=[{"delay": 0, "envelope_delay": -1, "coefficients": [[1, 0]]}])),
    json.dumps(coefficient_file(branches=[{"delay": 0, "envelope_delay": 0, "coefficients": [[1e99, 0]]}])),
    json.dumps(coefficient_file(branches=[{"delay": 0, "envelope_delay": 0, "coefficients": [[1, 0]] * 17}])),
])
def test_malformed_coefficients_are_refused_and_the_amplifier_stays(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    radio = diffusion.impairments(pa="rapp")
    with pytest.raises(ValueError, match="power amplifier"):
        radio.set("pa", str(path))
    assert radio.pa == "rapp"


@pytest.mark.parametrize("key, value", [
    ("iq_gain_db", float("nan")), ("backoff_db", 99), ("smoothness", 0), ("phase_noise_deg", -1),
    ("kappa_tx", -0.1),
    ("sample_rate", 0), ("signal_power", -1), ("cfo_hz", float("inf")), ("iq_phase_deg", "5"),
    ("order", "up"),
    ("nonsense", 1.0), ("linewidth_hz", -1)])
def test_bad_settings_are_named(key, value):
    with pytest.raises(ValueError, match=key):
        diffusion.impairments_cc(**{key: value})


def test_unknown_preset_is_named():
    with pytest.raises(ValueError, match="'nice'.*random"):
        diffusion.impairments_cc("nice")


def test_a_random_radio_follows_its_seed():
    radios = [diffusion.impairments("random", seed=s) for s in (1, 1, 2)]
    drawn = [[r.get(k) for k in ("iq_gain_db", "iq_phase_deg", "dc", "backoff_db", "kappa_tx")]
             for r in radios]
    assert drawn[0] == drawn[1] and drawn[0] != drawn[2]
    many = [diffusion.impairments("random", seed=s) for s in range(300)]
    for key, low, high in (("iq_gain_db", -1, 1), ("backoff_db", 3, 9), ("kappa_rx", 0.01, 0.05)):
        values = [r.get(key) for r in many]
        near = 0.1 * (high - low)
        assert low <= min(values) < low + near and high - near < max(values) <= high


def test_presets_exist_and_do_something():
    x = noise(1000)
    for name in diffusion.impairments.preset_names:
        changed = np.any(diffusion.impairments(name)(x) != x)
        assert changed == (name != "off")


def test_messages_change_settings_and_bad_ones_do_nothing():
    block = diffusion.impairments_cc("mild", 1e6)
    tb = gr.top_block()
    source, sink = blocks.null_source(8), blocks.null_sink(8)
    tb.connect(source, block, sink)
    tb.start()
    post = lambda message: block.to_basic_block()._post(pmt.intern("cmd"), message)
    pair = lambda key, value: pmt.cons(pmt.intern(key), value)
    for message in (pmt.from_double(3), pmt.PMT_NIL, pair("pa", pmt.from_long(3)),
                    pair("pa", pmt.intern("none")),
                    pair("cfo_hz", pmt.intern("x")), pair("cfo_hz", pmt.PMT_NIL), pair("preset", pmt.PMT_T),
                    pair("iq_gain_db", pmt.from_double(float("nan"))), pair("kappa_tx", pmt.from_double(-1)),
                    pmt.cons(pmt.from_long(1), pmt.from_long(2)), pmt.make_u8vector(4, 0)):
        post(message)
    post(pair("preset", pmt.intern("harsh")))
    post(pmt.dict_add(pmt.dict_add(pmt.make_dict(), pmt.intern("pa"), pmt.intern("saleh")),
                      pmt.intern("backoff_db"), pmt.from_long(9)))
    deadline = time.monotonic() + 5
    while block.get("backoff_db") != 9 and time.monotonic() < deadline:
        time.sleep(0.01)
    tb.stop()
    tb.wait()
    assert (block.get("backoff_db"), block.get("iq_gain_db"), block.get("cfo_hz"),
            block.pa()) == (9, 2, 1000, "saleh")


def test_not_finite_samples_stay_single():
    x = noise(200)
    bad = x.copy()
    bad[[20, 50, 90]] = [np.nan, np.inf, complex(1, -np.inf)]
    clean = x.copy()
    clean[[20, 50, 90]] = 0
    for pa in ("rapp", "saleh"):
        block = diffusion.impairments_cc("harsh", pa=pa, seed=2)
        np.testing.assert_array_equal(run(block, bad), run(diffusion.impairments_cc("harsh", pa=pa, seed=2),
                                                           clean))
        assert block.not_finite() == 3
    huge = np.full(10, 3e38 + 3e38j, np.complex64)
    for pa in ("rapp", "saleh"):
        assert np.isfinite(diffusion.impairments(pa=pa)(huge)).all()


def test_what_the_documentation_says_of_gr_channels_holds():
    from gnuradio import channels
    x = np.zeros(200000, np.complex64)
    y = run(channels.channel_model(0.3, 0, 1.0, [1], 5), x)
    # noise voltage: RMS of complex noise
    assert abs(np.mean(np.abs(y) ** 2) / 0.09 - 1) < 4 / np.sqrt(x.size)
    tone_in = tone(4096, 300)
    y = run(channels.impairments(-200, 0, 0, 0, 0, 100 / 4096, 0, 0), tone_in)
    assert np.argmax(np.abs(np.fft.fft(y))) == 300  # its frequency offset is undone at its output
    first, second = (run(channels.phase_noise_gen(0.1, 1.0), np.ones(1000, np.complex64)) for _ in range(2))
    np.testing.assert_array_equal(first, second)  # one seed in every instance
