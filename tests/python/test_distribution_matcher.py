# SPDX-License-Identifier: GPL-3.0-or-later
"""Distribution matcher from Python: exact numbers of bits, optimal compositions, every input back."""
import itertools
import math
from decimal import Decimal, getcontext

import numpy as np
import pytest
from gnuradio import diffusion


def multinomial(counts):
    """Exact, by Python's integers."""
    value, n = 1, 0
    for c in counts:
        n += c
        value *= math.comb(n, c)
    return value


def divergence(counts, pmf):
    q = np.asarray(counts) / sum(counts)
    return float(np.sum(q[q > 0] * np.log(q[q > 0] / np.asarray(pmf)[q > 0])))


@pytest.mark.parametrize("seed", range(4))
def test_bits_are_the_floor_of_the_exact_multinomial(seed):
    rng = np.random.default_rng(seed)
    for n in (1, 2, 5, 64, 65, 200, 1024, 8192):
        for m in (1, 2, 3, 16, 64, 256):
            counts = rng.multinomial(n, rng.dirichlet(np.full(m, rng.choice([0.1, 1, 30])))).tolist()
            exact = multinomial(counts)
            matcher = diffusion.distribution_matcher(counts)
            k = exact.bit_length() - 1
            # One bit less is allowed only within 2^-15 octaves above a power of two.
            near = exact << 20 < (1 << k) * (2 ** 20 + 2 ** 5)
            assert matcher.bits == k or (near and matcher.bits == k - 1)
            if exact > 1:
                assert abs(matcher.log2_sequences - math.log2(exact)) < 1e-8
            assert matcher.rate_loss == pytest.approx(matcher.entropy - matcher.bits / n, abs=1e-12)


def test_composition_minimises_the_divergence():
    rng = np.random.default_rng(1)
    for _ in range(60):
        n, m = int(rng.integers(1, 9)), int(rng.integers(1, 5))
        p = rng.dirichlet(np.full(m, 0.5)) + 1e-12
        p /= p.sum()
        best = min(divergence(c, p) for c in itertools.product(range(n + 1), repeat=m) if sum(c) == n)
        counts = diffusion.quantize_composition(p, n)
        assert sum(counts) == n
        assert divergence(counts, p) <= best + 1e-12


def test_composition_of_long_blocks_cannot_be_improved_by_a_swap():
    rng = np.random.default_rng(2)
    for m, n in ((10, 1000), (36, 4096), (256, 8192), (256, 64)):
        p = rng.dirichlet(np.full(m, 0.3))
        p[0] = 0
        p /= p.sum()
        counts = diffusion.quantize_composition(p, n)
        assert sum(counts) == n and counts[0] == 0
        now = divergence(counts, p)
        for i, j in itertools.product(range(1, min(m, 40)), repeat=2):
            if i != j and counts[i]:
                other = counts.copy()
                other[i] -= 1
                other[j] += 1
                assert divergence(other, p) >= now - 1e-12


@pytest.mark.parametrize("n", [64, 333, 2048, 8192])
@pytest.mark.parametrize("m", [2, 8, 64, 256])
def test_random_blocks_come_back(m, n):
    rng = np.random.default_rng(m + n)
    matcher = diffusion.distribution_matcher(diffusion.quantize_composition(rng.dirichlet(np.ones(m)), n))
    bits = rng.integers(0, 2, 30 * matcher.bits, dtype=np.uint8)
    bits[:matcher.bits] = 0
    bits[matcher.bits:2 * matcher.bits] = 1
    symbols = matcher.match(bits)
    counts = np.apply_along_axis(np.bincount, 1, symbols.reshape(30, n), minlength=m)
    assert (counts == matcher.composition).all()
    back, bad = matcher.dematch(symbols)
    assert bad == 0
    np.testing.assert_array_equal(back, bits)


def test_rate_loss_falls_with_length_like_theory():
    # Stirling: loss -> ((m - 1) / 2 log2(2 pi n) + sum log2(p) / 2) / n, and the floor costs below 1 / n.
    p = np.array([0.4, 0.3, 0.2, 0.1])
    for n in (100, 1000, 8000):
        matcher = diffusion.distribution_matcher(diffusion.quantize_composition(p, n))
        theory = (1.5 * np.log2(2 * np.pi * n) + 0.5 * np.log2(p).sum()) / n
        assert theory - 0.1 / n < matcher.rate_loss < theory + 1.1 / n


@pytest.mark.parametrize("name", ["qam16", "qam64", "qam256"])
@pytest.mark.parametrize("length", [64, 8192])
def test_every_pmf_of_a_model_comes_back_from_spheres(name, length):
    rng = np.random.default_rng(4)
    shaper = diffusion.Shaper(f"ps-{name}", length, matcher="ess")
    for snr in np.arange(-5, 25.1, 0.5 if length == 64 else 5):
        code = shaper.code(snr)
        assert code.pmf.sum() == pytest.approx(1) and code.rate_loss >= 0
        bits = rng.integers(0, 2, 4 * code.bits, dtype=np.uint8)
        bits[:code.bits], bits[code.bits:2 * code.bits] = 0, 1
        back, bad = code.decode(code.encode(bits))
        assert bad == 0
        np.testing.assert_array_equal(back, bits)


def test_spheres_of_hardware_pmfs_come_back():
    rng = np.random.default_rng(5)
    shaper = diffusion.Shaper("ps-qam64", 200, matcher="ess")
    for snr, phase, bits in ((10, 0, 3), (15, 3, 4), (20, 6, 6), (25, 1, 5)):
        hardware = {"phase_noise_deg": phase, "adc_bits": bits}
        code = shaper.code(snr, hardware)
        # -log p in steps of 1/8: close to the pmf that was asked for, not equal to it.
        asked = shaper.pmf(snr, hardware)
        assert np.sum(code.pmf * np.log2(np.maximum(code.pmf, 1e-300) / asked)) < 0.01
        bits = rng.integers(0, 2, 20 * code.bits, dtype=np.uint8)
        back, bad = code.decode(code.encode(bits))
        assert bad == 0 and (back == bits).all()


def test_spheres_lose_less_rate_in_short_blocks_at_the_same_energy():
    for name, snr in (("qam16", 8.0), ("qam64", 12.0), ("qam256", 17.0)):
        for length in (64, 256):
            ccdm, ess = (diffusion.Shaper(f"ps-{name}", length, matcher=m) for m in ("ccdm", "ess"))
            energy = np.abs(ccdm.constellation) ** 2
            a, b = ccdm.code(snr), ess.code(snr)
            assert b.rate_loss < a.rate_loss
            assert b.pmf @ energy == pytest.approx(ccdm.pmf(snr) @ energy, rel=0.02)
            assert b.rate > a.rate


def test_mean_power_and_pmf_of_spheres():
    shaper = diffusion.Shaper("ps-qam64", 128, matcher="ess")
    code, rng = shaper.code(12.0), np.random.default_rng(6)
    symbols = code.encode(rng.integers(0, 2, 4000 * code.bits, dtype=np.uint8))
    x = shaper.points(12.0)[symbols]
    assert np.mean(np.abs(x) ** 2) == pytest.approx(1, abs=5e-3)
    np.testing.assert_allclose(np.bincount(symbols, minlength=64) / symbols.size, code.pmf, atol=1.5e-3)


def test_matcher_travels_in_the_state():
    shaper = diffusion.Shaper("ps-qam16", 256, matcher="ess")
    bits = np.random.default_rng(7).integers(0, 2, 5000, dtype=np.uint8)
    symbols, state = shaper.encode(bits, 9.0)
    state = type(state).from_bytes(state.to_bytes())
    assert state.matcher == "ess" and state.block_length == 256
    for other in (shaper, diffusion.Shaper("ps-qam16", 1024)):
        np.testing.assert_array_equal(other.decode(symbols, state), bits)
    with pytest.raises(ValueError, match="ccdm .* or ess"):
        diffusion.Shaper("ps-qam16", 256, matcher="huffman")


def test_wrong_sizes_are_named():
    matcher = diffusion.distribution_matcher([32, 32])
    with pytest.raises(ValueError, match="whole blocks of 60"):
        matcher.match(np.zeros(61, np.uint8))
    with pytest.raises(ValueError, match="whole blocks of 64"):
        matcher.dematch(np.zeros(63, np.uint8))
    with pytest.raises(ValueError, match="256"):
        diffusion.distribution_matcher([1] * 300)


def test_exact_math_is_right_to_the_last_bits():
    getcontext().prec = 40
    rng = np.random.default_rng(3)
    for x in np.concatenate([rng.uniform(-600, 600, 300), rng.uniform(-1, 1, 200), [0.0]]):
        true = float(Decimal(float(x)).exp())
        assert abs(diffusion.exact_math.exp(x) - true) <= 4e-16 * true
    for x in np.concatenate([np.exp(rng.uniform(-600, 600, 300)), np.exp(rng.uniform(-1e-3, 1e-3, 200))]):
        true = float(Decimal(float(x)).ln())
        assert abs(diffusion.exact_math.log(x) - true) <= 6e-16 * abs(true)
    assert diffusion.exact_math.log(0.0) == -np.inf and np.isnan(diffusion.exact_math.log(-1.0))
    assert diffusion.exact_math.exp(-1e9) == 0 and diffusion.exact_math.exp(1e9) == np.inf
