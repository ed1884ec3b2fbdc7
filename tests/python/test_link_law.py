# SPDX-License-Identifier: GPL-3.0-or-later
"""The law of a link before its converter: against numpy, against the truth, and what Receiver makes of it."""
import dataclasses

import numpy as np
import pytest
from gnuradio import blocks, diffusion, gr
from scipy.stats import norm

from gnuradio.diffusion import metrics
from gnuradio.diffusion.baselines import receiver as baselines
from gnuradio.diffusion.train import hardware


def link(name, hw, snr_db, n, seed):
    points = diffusion.constellation(name)
    index = np.random.default_rng(seed).integers(0, points.size, n)
    return points, index, hw.transmit(points, index, snr_db, seed + 1)


def fitted(name="qam16", bits=3, snr_db=15, n=3000, seed=1, study="S2"):
    hw = dataclasses.replace(hardware.REFERENCE[study], bits=bits)
    points, index, y = link(name, hw, snr_db, n, seed)
    return hw, points, index, y, diffusion.symbol_law.fit(points, index, y, hw.noise_var(snr_db))


@pytest.mark.parametrize("bits, snr_db", [(1, 10), (2, 15), (3, 25), (5, 30)])
def test_cells_are_integrated(bits, snr_db):
    """log p(cell | symbol) of the fitted parameters, by a fine quadrature in numpy."""
    hw, points, _, y, law = fitted(bits=bits, snr_db=snr_db)
    link_law, noise_var = law.link, hw.noise_var(snr_db)
    sigma = np.sqrt(link_law["additive"] / 2 + link_law["uncertainty"])
    half, step = link_law["levels"] // 2, link_law["step"]
    angles = np.linspace(-6, 6, 601) * np.sqrt(link_law["phase_var"])
    weights = norm.pdf(np.linspace(-6, 6, 601)) * 0.02
    y = y[:50].astype(complex)

    def rail(mean, value):
        k = np.clip(np.floor(value / step), -half, half - 1)
        low = np.where(k == -half, -np.inf, k * step)[:, None]
        high = np.where(k == half - 1, np.inf, (k + 1) * step)[:, None]
        return norm.cdf((high - mean) / sigma) - norm.cdf((low - mean) / sigma)

    p = 0
    for angle, weight in zip(angles, weights):
        mean = link_law["means"] * np.exp(1j * angle)
        p = p + weight * rail(mean.real, y.real) * rail(mean.imag, y.imag)
    computed = np.exp(law.cell_log_likelihood(y, noise_var))
    np.testing.assert_allclose(computed, p, atol=2e-4 * p.max(), rtol=0.02)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_converter_biases_neither_centroids_nor_variances(bits):
    hw, points, _, _, law = fitted(bits=bits, n=20000)
    found, truth = law.link, hw.means(diffusion.constellation("qam16"))
    # 9 parameters of the radio from 2 n rails; two bits tell little more of the gain than its ratio to the
    # noise
    loss = {2: 12, 3: 4, 4: 4}[bits]
    assert np.mean(abs(found["means"] - truth) ** 2) < loss * 9 / 40000 * hw.noise_var(15) + 5e-6
    assert found["additive"] == pytest.approx(hw.noise_var(15), rel=0.08)
    if bits > 2:
        assert np.sqrt(found["phase_var"]) == pytest.approx(hw.phase_std, abs=0.02)
    as_seen = law.at(hw.noise_var(15))[:, :2] @ [1, 1j]
    assert np.mean(abs(as_seen - truth) ** 2) > np.mean(abs(found["means"] - truth) ** 2)


def test_levels_of_the_converter():
    """A largest level is the converter's where samples pile up in it, else nothing has gone beyond it yet."""
    rng = np.random.default_rng(3)
    points = diffusion.constellation("qpsk")
    index = rng.integers(0, 4, 2000)
    y = points[index] + 0.1 * (rng.standard_normal(2000) + 1j * rng.standard_normal(2000))
    for full_scale, levels in ((0.9, 4), (1.0, 4), (3.0, 16)):
        quantised = diffusion.quantizer(int(np.log2(levels)), full_scale)(y.astype(np.complex64))
        law = diffusion.symbol_law.fit(points, index, quantised, 0.02)
        # the last converter's 13 outer levels are never seen: 4 or 8 of them are as good
        assert law.link["levels"] == levels if full_scale <= 1 else law.link["levels"] in (4, 8)
        assert law.link["step"] == pytest.approx(2 * full_scale / levels)
    assert diffusion.symbol_law.fit(points, index, y.astype(np.complex64), 0.02).link["means"].size == 0


@pytest.mark.parametrize("name, study, bits, snr_db, n", [
    ("qam16", "S2", 5, 20, 50), ("qam16", "S2", 3, 20, 500), ("qam64", "S2", 5, 25, 50),
    ("qpsk", "S2", 1, 10, 50),
    ("qam16", "S1", 4, 15, 50), ("qam256", "S2", 3, 25, 2000), ("qam256", "S2", 5, 30, 50),
    ("qam64", "S2", 2, 20, 50)])
def test_fit_and_call_reach_map(name, study, bits, snr_db, n):
    """Few known symbols and what is received: at bitwise MAP, with known and with estimated noise
    variance."""
    hw, points, index, y, _ = fitted(name, bits, snr_db, n, study=study)
    rx = diffusion.Receiver("rx-" + name).fit(points[index], y, hw.noise_var(snr_db))
    assert rx.choice in ("cells", "ideal", "linear")
    _, sent, received = link(name, hw, snr_db, 12000, 50)
    bits = metrics.labels(rx.bits_per_symbol)[sent]
    bound = baselines.bit_llr(baselines.map_known_law(hw, points, snr_db, received))
    for noise_var in (hw.noise_var(snr_db), None):
        llr = rx(received, noise_var)[1]
        assert metrics.gmi(bits, llr) > metrics.gmi(bits, bound) - 0.012
        assert metrics.ber(bits, llr)[0] < max(1.03 * metrics.ber(bits, bound)[0],
                                               metrics.ber(bits, bound)[2])


def test_adapting_helps_and_can_be_left():
    hw, points, index, y, _ = fitted("qam16", 5, 20, 50)
    rx = diffusion.Receiver("rx-qam16").fit(points[index], y, hw.noise_var(20))
    _, sent, received = link("qam16", hw, 20, 12000, 60)
    bits = metrics.labels(4)[sent]
    alone, long = (metrics.gmi(bits, rx(received, hw.noise_var(20), adapt=a)[1]) for a in (False, True))
    assert long > alone
    short = rx(received[:500], hw.noise_var(20))[1]
    np.testing.assert_array_equal(short, rx(received[:500], hw.noise_var(20), adapt=False)[1])
    better = rx.adapted(received, hw.noise_var(20))
    np.testing.assert_array_equal(better(received, hw.noise_var(20), adapt=False)[1],
                                  rx(received, hw.noise_var(20))[1])
    again = diffusion.Receiver("rx-qam16").with_state(better.state())
    np.testing.assert_array_equal(again(received, 0.02)[1], better(received, 0.02, adapt=False)[1])
    # another noise, or samples off the converter's grid: the fit stays as it is
    assert rx.adapted(received, 10 * hw.noise_var(20)) is rx and rx.adapted(received * np.exp(0.2j)) is rx


@pytest.mark.parametrize("name, study, bits, snr_db", [
    ("qam16", "S1", 1, 20), ("qam256", "S1", 2, 20), ("qam16", "S1", 4, 0), ("qam16", "S2", 3, 20),
    ("qam64", "S2", 5, 20),
    ("qpsk", "S2", 5, 5)])
def test_nothing_known_but_the_converter_seen(name, study, bits, snr_db):
    """An unfitted model reads converter and radio off a long call's samples: at MAP where the network alone
    is far off."""
    hw = dataclasses.replace(hardware.REFERENCE[study], bits=bits)
    points, sent, y = link(name, hw, snr_db, 12000, 50)
    rx, told = diffusion.Receiver("rx-" + name), metrics.labels(int(np.log2(points.size)))[sent]
    bound = baselines.bit_llr(baselines.map_known_law(hw, points, snr_db, y))
    for noise_var, off in ((hw.noise_var(snr_db), 0.01), (None, 0.03)):  # four levels say little of the noise
        assert metrics.gmi(told, rx(y, noise_var)[1]) > metrics.gmi(told, bound) - off
    alone = metrics.gmi(told, rx(y, hw.noise_var(snr_db), adapt=False)[1])
    assert bits == 4 or alone < metrics.gmi(told, bound) - 0.03
    assert rx.choice == "ideal" and not rx.law.cells_known  # the original is as it was


def test_what_was_read_off_travels_and_is_not_invented():
    hw = dataclasses.replace(hardware.S2, bits=3)
    points, _, y = link("qam16", hw, 15, 4000, 70)
    rx, noise_var = diffusion.Receiver("rx-qam16"), hw.noise_var(15)
    seen = rx.adapted(y, noise_var)
    assert seen.choice == "cells" and not seen.law.fitted
    again = diffusion.Receiver("rx-qam16").with_state(seen.state())
    np.testing.assert_array_equal(again(y, noise_var)[1], rx(y, noise_var)[1])
    # no grid, a short call, or a receiver that was given its law: nothing is read off
    assert rx.adapted(y * np.exp(0.2j).astype(np.complex64), noise_var) is rx
    for other, part in ((rx, y[:500]), (rx.with_law(diffusion.symbol_law(points)), y)):
        np.testing.assert_array_equal(other(part, noise_var)[1], other(part, noise_var, adapt=False)[1])


@pytest.mark.parametrize("seed", range(4))
def test_what_is_read_off_never_costs(seed):
    """Random radios, noise variance misstated, gain and phase a little off: not behind the network alone."""
    rng = np.random.default_rng([seed, 9])
    hw = dataclasses.replace(hardware.draw(rng), bits=int(rng.integers(1, 7)))
    snr_db, points = rng.uniform(0, 30), diffusion.constellation("qam16")
    sent = rng.integers(0, 16, 4000)
    clean = dataclasses.replace(hw, bits=0).transmit(points, sent, snr_db, seed)
    y = diffusion.quantizer(hw.bits,
                            hw.full_scale(snr_db))((clean * 1.03 * np.exp(0.04j)).astype(np.complex64))
    rx, told, noise_var = diffusion.Receiver("rx-qam16"), metrics.labels(4)[sent], hw.noise_var(snr_db)
    for said in (noise_var / 1.5, noise_var, 1.5 * noise_var):
        assert metrics.gmi(told, rx(y, said)[1]) > metrics.gmi(told, rx(y, said, adapt=False)[1]) - 0.005


def test_symbols_out_of_place_stay_where_they_are():
    """Hardware that no radio's few parameters describe: unknown symbols do not pull it into shape."""
    rng = np.random.default_rng(8)
    points = diffusion.constellation("qam16")
    moved = points + 0.06 * (rng.standard_normal((16, 2)) @ [1, 1j])
    moved /= np.sqrt(np.mean(np.abs(moved) ** 2))
    noise_var = 0.004

    def send(index, seed):
        noise = np.random.default_rng(seed).standard_normal((index.size, 2)) @ [1, 1j]
        return diffusion.quantizer(5,
                                   2.2)((moved[index] + np.sqrt(noise_var / 2) * noise).astype(np.complex64))

    index, sent = rng.integers(0, 16, 800), rng.integers(0, 16, 12000)
    rx = diffusion.Receiver("rx-qam16").fit(points[index], send(index, 1), noise_var)
    better = rx.adapted(send(sent, 2), noise_var)
    error = [np.sqrt(np.mean(np.abs(r.law.link["means"] - moved) ** 2)) for r in (rx, better)]
    assert better is not rx and error[1] < error[0] and error[1] < 0.006


def test_block_takes_the_fit_and_samples_off_the_grid():
    hw, points, index, y, law = fitted("qam16", 3, 20, 500)
    noise_var = hw.noise_var(20)
    rx = diffusion.Receiver("rx-qam16").with_law(law, "cells")
    received = np.concatenate([link("qam16", hw, 20, 3000, 70)[2], [0.013 + 0.4j, np.inf, np.nan, 1e30]])
    received = received.astype(np.complex64)
    gaussian = diffusion.Receiver("rx-qam16").with_law(law, "gaussian")
    block = diffusion.denoiser_cc("rx-qam16", noise_var)
    block.to_basic_block()._post(__import__("pmt").intern("cmd"), rx.message())
    source, sink = blocks.vector_source_c(received.tolist()), blocks.vector_sink_c()
    top = gr.top_block()
    top.connect(source, block, sink)
    top.run()
    out = np.array(sink.data(), np.complex64)
    sound = received[:3001]
    np.testing.assert_allclose(out[:3000], rx(sound, noise_var)[0][:3000], atol=1e-6)
    np.testing.assert_array_equal(rx(sound, noise_var)[0][3000], gaussian(sound, noise_var)[0][3000])
    assert np.isfinite(out).all()


def test_bad_laws_are_refused():
    hw, points, index, y, law = fitted(n=200)
    state, at = law.state(), 10 + 2 * 11
    for entry, value in ((at, 0), (at, 2.5), (at + 1, 0), (at + 2, -1), (at + 3, 0), (at + 6, -1)):
        broken = state.copy()
        broken[entry] = value
        with pytest.raises(ValueError, match="refused"):
            diffusion.symbol_law.from_state(points, broken)
    with pytest.raises(ValueError, match="no converter"):
        diffusion.Receiver("rx-qam16").with_law(diffusion.symbol_law(points), "cells")
    with pytest.raises(ValueError, match="none of network"):
        diffusion.Receiver("rx-qam16").with_law(law, "else")
    with pytest.raises(ValueError, match="no converter"):
        diffusion.symbol_law(points).refined(index, y, y)
