# SPDX-License-Identifier: GPL-3.0-or-later
"""Shaper, its baselines and its models: rates against closed forms and bounds, bits back, the law
generated."""
import subprocess
import sys

import numpy as np
import pytest
from gnuradio import diffusion
from gnuradio.diffusion import square_grid
from gnuradio.diffusion.baselines import shaper as baseline
from gnuradio.diffusion.baselines.shaper_impaired import ImpairedLink, amplify

BITS = {"ps-qam16": 4, "ps-qam64": 6, "ps-qam256": 8}


@pytest.fixture(scope="module", params=BITS)
def shaper(request):
    return diffusion.Shaper(request.param)


def trapezoid_rail(levels, pmf, sigma):
    """I(X;Y) of a real rail in bits: differential entropies on a fine grid, no quadrature nodes shared."""
    y = np.arange(levels.min() - 10 * sigma, levels.max() + 10 * sigma, sigma / 8)
    p = np.exp(-((y[:, None] - levels) ** 2) / (2 * sigma ** 2)) @ pmf / np.sqrt(2 * np.pi) / sigma
    h = -np.sum(np.where(p > 0, p * np.log2(np.maximum(p, 1e-300)), 0)) * sigma / 8
    return h - 0.5 * np.log2(2 * np.pi * np.e * sigma ** 2)


# --- baselines -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("m, snr", [(2, 3), (4, -5), (4, 12), (8, 10), (8, 25), (16, 18), (16, 25)])
def test_rail_information_is_the_entropy_difference(m, snr):
    levels = square_grid.rail_levels(m)
    rng = np.random.default_rng(m)
    pmf = rng.dirichlet(np.ones(m))
    scaled = levels * np.sqrt(0.5 / (pmf @ levels ** 2))
    true = trapezoid_rail(scaled, pmf, np.sqrt(0.5 * 10 ** (-snr / 10)))
    assert baseline.rail_information(levels, pmf, snr)[0] == pytest.approx(true, abs=2e-5)


def test_information_gradient_counts_the_renormalisation():
    levels, snr, h = square_grid.rail_levels(8), 11.0, 1e-6
    rng = np.random.default_rng(1)
    pmf = rng.dirichlet(np.ones(8))
    slope = baseline.rail_information(levels, pmf, snr)[1] / np.log(2)
    for direction in rng.standard_normal((5, 8)):
        direction -= direction.mean()
        up, down = (baseline.rail_information(levels, pmf + s * h * direction, snr)[0] for s in (1, -1))
        assert slope @ direction == pytest.approx((up - down) / (2 * h), rel=1e-4)


@pytest.mark.parametrize("m, snr", [(4, 5), (8, 10), (8, 15), (16, 15), (16, 20)])
def test_order_of_schemes_and_certificate(m, snr):
    levels = square_grid.rail_levels(m)
    uniform, boltzmann = baseline.mi_uniform(levels, snr), baseline.maxwell_boltzmann(levels, snr)[0]
    best, pmf, gap = baseline.blahut_arimoto_awgn(levels, snr)
    assert uniform < boltzmann <= best + 1e-9 < baseline.capacity(snr)
    assert 0 <= gap < 1e-4
    assert baseline.mi_awgn_square(levels, np.outer(pmf, pmf), snr) == pytest.approx(best, abs=1e-5)


def test_published_points():
    # 64-QAM in AWGN, computed while the project was planned (shaper's section of the measurement rules).
    levels = square_grid.rail_levels(8)
    for snr, uniform, best in ((10, 3.269, 3.452), (15, 4.681, 4.893)):
        assert baseline.mi_uniform(levels, snr) == pytest.approx(uniform, abs=6e-4)
        assert baseline.blahut_arimoto_awgn(levels, snr)[0] == pytest.approx(best, abs=6e-4)


def test_blahut_arimoto_of_channels_with_known_capacity():
    e = 0.11  # binary symmetric: 1 - H(e); Z channel with 1/2: log2(5/4); erasure: 1 - e
    rate, pmf, gap = baseline.blahut_arimoto([[1 - e, e], [e, 1 - e]])
    assert rate == pytest.approx(1 + e * np.log2(e) + (1 - e) * np.log2(1 - e), abs=1e-6)
    rate, pmf, gap = baseline.blahut_arimoto([[1, 0], [0.5, 0.5]])
    assert rate == pytest.approx(np.log2(1.25), abs=2e-6) and pmf[1] == pytest.approx(0.4, abs=2e-3)
    rate, _, _ = baseline.blahut_arimoto([[1 - e, e, 0], [0, e, 1 - e]])
    assert rate == pytest.approx(1 - e, abs=1e-6)


def test_impaired_law_matches_simulation():
    """Information density by Monte Carlo through the link itself, each step written anew."""
    snr, phase, bits, drive, n = 16.0, 3.0, 4, 1.1, 60000
    link = ImpairedLink(snr, phase, bits)
    rng = np.random.default_rng(1)
    pmf = np.full(64, 1 / 64)
    sent = rng.integers(0, 64, n)
    z = drive * link.points[sent]
    r = np.abs(z)
    z = z / (1 + r ** 6) ** (1 / 6) * np.exp(1j * 0.3 * r ** 2 / (1 + r ** 2))
    np.testing.assert_allclose(z, amplify(drive * link.points[sent]))
    sigma = np.sqrt(0.5 / 10 ** 1.6)
    y = z * np.exp(1j * np.deg2rad(phase) * rng.standard_normal(n))
    y = y + sigma * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    adc = diffusion.quantizer(bits, 1 + 1.5 * sigma)
    q = adc(y.astype(np.complex64))
    step = 2 * (1 + 1.5 * sigma) / 2 ** bits
    cell = (np.round(q.real / step - 0.5).astype(int) + 2 ** (bits - 1),
            np.round(q.imag / step - 0.5).astype(int) + 2 ** (bits - 1))
    # The law of every point by rotation of the first quadrant's.
    law, _ = link.laws(drive)
    law = law.reshape(len(link.first), 16, 16)
    full = np.empty((64, 16, 16))
    for turn in range(4):
        for k, i in enumerate(link.first):
            at = np.argmin(np.abs(link.points - link.points[i] * 1j ** turn))
            # y -> j y: (re, im) -> (-im, re)
            w = law[k]
            for _ in range(turn):
                w = w[:, ::-1].T
            full[at] = w
    density = np.log2(full[sent, cell[0], cell[1]] / full.mean(0)[cell])
    assert link.information(pmf, drive) == pytest.approx(density.mean(), abs=4 * density.std() / np.sqrt(n))


# --- models --------------------------------------------------------------------------------------------

def test_constellation_and_pmf(shaper):
    m = 2 ** BITS[shaper.name]
    np.testing.assert_allclose(shaper.constellation, square_grid.square_qam(BITS[shaper.name]), atol=1e-6)
    np.testing.assert_allclose(shaper.constellation, diffusion.constellation(shaper.name[3:]), atol=1e-6)
    for snr in (-20, -5, 0.04, 7.77, 25, 60):
        p = shaper.pmf(snr)
        assert p.dtype == np.float64 and p.shape == (m,) and p.min() > 0
        assert p.sum() == pytest.approx(1, abs=1e-14)
        assert p @ np.abs(shaper.points(snr)) ** 2 == pytest.approx(1, abs=5e-3)
    np.testing.assert_array_equal(shaper.pmf(7.04), shaper.pmf(7.0))


def test_pmf_is_at_the_optimum(shaper):
    """All 301 SNRs the shipped models are promised for: quick, as the optimum's bound says when it is
    reached."""
    levels = square_grid.rail_levels(2 ** (BITS[shaper.name] // 2))
    for snr in np.arange(-50, 251) / 10:
        mi = baseline.mi_awgn_square(levels, shaper.pmf(snr).reshape(levels.size, -1), snr)
        best, _, gap = baseline.blahut_arimoto_awgn(levels, snr)
        uniform = baseline.mi_uniform(levels, snr)
        assert gap < 1e-3 and mi >= 0.999 * best, snr
        if best - uniform > 0.02:
            assert mi - uniform >= 0.97 * (best - uniform), snr


# 3 bits between 12 and 17 dB is where the best drive jumps from one of its two maxima to the other.
@pytest.mark.parametrize("snr, phase, bits", [(15, 3, 4), (20, 0, 3), (20, 6, 5), (12, 3, 6), (15, 0, 3),
                                              (16.3, 1.5, 3),
                                              (13.2, 4.5, 3)])
def test_hardware_pmf_is_near_the_optimum_and_beats_maxwell_boltzmann(snr, phase, bits):
    shaper, link = diffusion.Shaper("ps-qam64"), ImpairedLink(snr, phase, bits)
    hardware = {"phase_noise_deg": phase, "adc_bits": bits}
    drive = np.abs(shaper.points(snr, hardware)[0] / shaper.constellation[0])
    rate = link.information(shaper.pmf(snr, hardware), drive)
    assert rate >= 0.995 * link.best()[0]
    assert rate > link.maxwell_boltzmann()[0] > link.uniform()[0]


@pytest.mark.parametrize("bits", [3, 4, 5, 6])
@pytest.mark.parametrize("phase", [0, 3, 6])
def test_hardware_pmfs_of_all_links_are_near_the_optimum(phase, bits):
    shaper, hardware = diffusion.Shaper("ps-qam64"), {"phase_noise_deg": phase, "adc_bits": bits}
    for snr in (10, 12, 15, 17, 20):
        link = ImpairedLink(snr, phase, bits)
        drive = np.abs(shaper.points(snr, hardware)[0] / shaper.constellation[0])
        assert link.information(shaper.pmf(snr, hardware), drive) >= 0.995 * link.best()[0], snr


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 1001, 4096, 100003])
def test_any_number_of_bits_comes_back(shaper, n):
    rng = np.random.default_rng(n)
    for bits in (rng.integers(0, 2, n, dtype=np.uint8), np.zeros(n, np.uint8), np.ones(n, np.uint8)):
        for snr in (-5.0, 9.96, 25.0):
            symbols, state = shaper.encode(bits, snr)
            back = shaper.decode(symbols, diffusion.ShapingState.from_bytes(state.to_bytes()))
            assert back.dtype == np.uint8 and shaper.bad_blocks == 0
            np.testing.assert_array_equal(back, bits)
            if n == 0:
                assert symbols.size == 0


def test_far_end_needs_only_symbols_and_header(shaper):
    bits = np.random.default_rng(1).integers(0, 2, 5000, dtype=np.uint8)
    symbols, state = diffusion.Shaper(shaper.name, 512).encode(bits, 12.34)
    assert state.index == shaper.index(12.34) and len(state.to_bytes()) == 8
    np.testing.assert_array_equal(shaper.decode(symbols, state), bits)


def test_rate_is_the_entropy_less_the_loss(shaper):
    for snr in (5, 12, 18):
        p, code = shaper.pmf(snr), shaper.code(snr)
        assert code.entropy == pytest.approx(-np.sum(p * np.log2(p)), abs=0.01)
        assert code.rate == pytest.approx(code.entropy - code.rate_loss, abs=1e-9)
        assert 0 < code.rate_loss < 0.06


def test_reverse_process_generates_the_pmf():
    shaper = diffusion.Shaper("ps-qam16")
    n = 4000
    for snr in (4.0, 10.0):
        p = shaper.pmf(snr)
        counts = np.bincount(shaper.generate(n, snr, steps=150), minlength=16)
        # Chi square with 15 degrees of freedom: above 60 once in 4e6; what 150 steps lack adds to it.
        assert np.sum((counts - n * p) ** 2 / (n * p)) < 60
        uniform = np.sum((counts - n / 16) ** 2 / (n / 16))
        assert snr > 4 or uniform > 200  # the test can tell the pmf from the uniform one


def test_posterior_knows_the_prior():
    shaper, snr = diffusion.Shaper("ps-qam64"), 12.0
    np.testing.assert_allclose(shaper.posterior(np.zeros(3) + 0j, 1e9, snr)[1], shaper.pmf(snr), atol=1e-8)
    y = np.array([0.21 - 0.4j])
    p = shaper.pmf(snr) * np.exp(-np.abs(y - shaper.points(snr).astype(complex)) ** 2 / 0.1)
    np.testing.assert_allclose(shaper.posterior(y, 0.1, snr)[0], p / p.sum(), atol=1e-6)


def test_llrs_that_know_the_prior_carry_more():
    """With the sender's pmf in the demapper the bit-wise rate (H(X) - sum of bit uncertainties,
    Boecherer 2014) is higher than with equally likely points, and close to I(X;Y)."""
    shaper, snr, n = diffusion.Shaper("ps-qam64"), 12.0, 40000
    rng = np.random.default_rng(5)
    p, noise_var = shaper.pmf(snr), 10 ** -1.2
    sent = rng.choice(64, n, p=p)
    points = shaper.points(snr).astype(complex)
    y = points[sent] + np.sqrt(noise_var / 2) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    bits = (sent[:, None] >> np.arange(6)[::-1]) & 1
    entropy = -np.sum(p * np.log2(p))
    rate = lambda llr: entropy - np.mean(np.sum(np.logaddexp(0, np.where(bits, -llr, llr)), 1)) / np.log(2)
    llr = shaper.llr(y, noise_var, snr)
    assert llr.dtype == np.float32 and np.mean((llr > 0) == bits) > 0.85
    likely = np.exp(-np.abs(y[:, None] - points) ** 2 / noise_var)
    ones = (np.arange(64)[:, None] >> np.arange(6)[::-1]) & 1
    blind = np.log((likely @ ones) / (likely @ (1 - ones)))
    best = baseline.blahut_arimoto_awgn(square_grid.rail_levels(8), snr)[0]
    assert rate(blind) + 0.02 < rate(llr) < best + 0.02
    assert rate(llr) > best - 0.06


def test_wrong_use_is_named():
    shaper = diffusion.Shaper("ps-qam16")
    with pytest.raises(ValueError, match="0 and 1"):
        shaper.encode(np.array([0, 1, 2]), 10)
    with pytest.raises(ValueError, match="snr_db is nan"):
        shaper.pmf(float("nan"))
    with pytest.raises(ValueError, match="AWGN only"):
        shaper.pmf(10, {"adc_bits": 4})
    with pytest.raises(ValueError, match="'adc'"):
        diffusion.Shaper("ps-qam64").pmf(10, {"adc": 4})
    symbols, state = shaper.encode(np.ones(100, np.uint8), 10)
    with pytest.raises(ValueError, match="the state says"):
        shaper.decode(symbols[:-1], state)
    with pytest.raises(ValueError, match="does not exist"):
        shaper.decode(symbols, diffusion.ShapingState(60000, 4096, 100))
    with pytest.raises(ValueError, match="8 bytes"):
        diffusion.ShapingState.from_bytes(b"123")
    with pytest.raises(TypeError, match="integers"):
        shaper.decode(symbols.astype(complex), state)
    with pytest.raises(TypeError, match="ShapingState"):
        shaper.decode(symbols, None)
    with pytest.raises(ValueError, match="no state"):
        shaper.decode(symbols, diffusion.ShapingState(-1, 4096, 100))
    for call in (shaper.decide, lambda y, snr: shaper.llr(y, 0.1, snr)):
        with pytest.raises(ValueError, match="NaN"):
            call([1, np.nan], 10)
    with pytest.raises(ValueError, match="noise_var is 0"):
        shaper.llr(np.ones(3), 0, 10)
    with pytest.raises(ValueError, match="block_length is -5"):
        diffusion.Shaper("ps-qam16", -5)
    shaper.decode(symbols[::-1] ^ 3, state)  # wrong symbols: wrong bits, no error
    # another constellation's, not a link's errors
    for wrong in (symbols + 100, symbols.astype(int) - 1 - symbols.min()):
        with pytest.raises(ValueError, match="symbols of ps-qam16 are 0 to 15"):
            shaper.decode(wrong, state)
    with pytest.raises(ValueError, match="the state says"):  # and at once: its blocks would fill the memory
        shaper.decode(symbols, diffusion.ShapingState(state.index, 64, 2**32 - 1))
    with pytest.raises(TypeError, match="snr_db is None"):
        shaper.pmf(None)


def test_no_torch_at_run_time():
    code = ("import sys, numpy as np; from gnuradio import diffusion; s = diffusion.Shaper('ps-qam16'); "
            "s.decode(*s.encode(np.ones(9, np.uint8), 3)); assert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)
