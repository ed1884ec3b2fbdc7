# SPDX-License-Identifier: GPL-3.0-or-later
"""Receiver, denoiser_cc and soft_demapper_cf under the prior of a shaped constellation, against Bayes in
numpy."""
import numpy as np
import pmt
import pytest
from gnuradio import blocks, diffusion, gr

SNR = 12.0
NOISE_VAR = 10 ** (-SNR / 10)


def link(n=4000, seed=1, snr=SNR, model="ps-qam64"):
    shaper, rng = diffusion.Shaper(model), np.random.default_rng(seed)
    sent = rng.choice(shaper.constellation.size, n, p=shaper.pmf(snr))
    noise = np.sqrt(NOISE_VAR / 2) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    return shaper, sent, (shaper.points(snr)[sent] + noise).astype(np.complex64)


def bayes(y, points, pmf, noise_var):
    """(posterior mean, LLRs) of points with these probabilities in Gaussian noise."""
    logits = np.log(pmf) - np.abs(y[:, None].astype(complex) - points) ** 2 / noise_var
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    bits = int(np.log2(points.size))
    ones = (np.arange(points.size)[:, None] >> np.arange(bits)[::-1]) & 1
    return p @ points, np.log(p @ ones) - np.log(p @ (1 - ones))


@pytest.mark.parametrize("bits", [16, 64, 256])
def test_receiver_is_bayes_under_the_prior(bits):
    shaper, _, y = link(model=f"ps-qam{bits}")
    rx = diffusion.Receiver(f"rx-qam{bits}")
    x_hat, llr = rx(y, NOISE_VAR, prior=shaper.pmf(SNR))
    power = shaper.pmf(SNR) @ np.abs(rx.constellation) ** 2
    mean, expected = bayes(y, rx.constellation / np.sqrt(power), shaper.pmf(SNR), NOISE_VAR)
    near = np.abs(expected) < 8
    assert np.std(x_hat - mean) < 0.01
    # The network's own error without a prior is 0.02 to 0.11.
    assert np.sqrt(np.mean((llr - expected)[near] ** 2)) < 0.15
    # The amplitude may also be said; the prior is forgotten with the next call.
    again = rx(y, NOISE_VAR, prior=shaper.pmf(SNR), amplitude=1 / np.sqrt(power))[1]
    np.testing.assert_allclose(again, llr, atol=1e-4)
    np.testing.assert_array_equal(rx(y, NOISE_VAR)[1], diffusion.Receiver(f"rx-qam{bits}")(y, NOISE_VAR)[1])


def test_prior_carries_information():
    """GMI-like rate H(X) - sum of bit uncertainties: the prior is worth several hundredths of a bit."""
    shaper, sent, y = link(40000)
    bits = (sent[:, None] >> np.arange(6)[::-1]) & 1
    uncertainty = lambda llr: np.mean(np.sum(np.logaddexp(0, np.where(bits, -llr, llr)), 1)) / np.log(2)
    rx, amplitude = diffusion.Receiver("rx-qam64"), np.abs(shaper.points(SNR)[0] / shaper.constellation[0])
    knows = uncertainty(rx(y, NOISE_VAR, prior=shaper.pmf(SNR))[1])
    blind = uncertainty(rx(y / amplitude, NOISE_VAR / amplitude ** 2)[1])
    exact = uncertainty(bayes(y, shaper.points(SNR), shaper.pmf(SNR), NOISE_VAR)[1])
    assert knows < exact + 2e-3 and knows < blind - 0.02


def test_noise_is_estimated_under_the_prior():
    shaper, _, y = link(4096, model="ps-qam16")
    rx = diffusion.Receiver("rx-qam16")
    estimated, given = rx(y, prior=shaper.pmf(SNR))[1], rx(y, NOISE_VAR, prior=shaper.pmf(SNR))[1]
    np.testing.assert_allclose(np.abs(estimated).mean(), np.abs(given).mean(), rtol=0.06)


def test_fitted_receiver_takes_a_prior():
    """A linear link with a gain of 0.9 and a turn, known from symbols of a uniform frame."""
    rng, rx = np.random.default_rng(3), diffusion.Receiver("rx-qam16")
    h = 0.9 * np.exp(0.1j)
    x = rx.constellation[rng.integers(0, 16, 2000)]
    noise = lambda n: np.sqrt(0.05 / 2) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    fitted = rx.fit(x, h * x + noise(2000), 0.05)
    pmf = diffusion.Shaper("ps-qam16").pmf(8.0)
    scale = 1 / np.sqrt(pmf @ np.abs(rx.constellation) ** 2)
    sent = rng.choice(16, 5000, p=pmf)
    y = h * scale * rx.constellation[sent] + noise(5000)
    bits = (sent[:, None] >> np.arange(4)[::-1]) & 1
    loss = lambda llr: np.mean(np.logaddexp(0, np.where(bits, -llr, llr)))
    assert loss(fitted(y, 0.05, prior=pmf)[1]) < loss(bayes(y, h * scale * rx.constellation, pmf,
                                                            0.05)[1]) + 0.02


@pytest.mark.parametrize("prior, what", [(np.ones(15), "15 prob"), ([-1] + [1] * 63, "not negative"),
                                         (np.zeros(64), "sums to 0"), (np.full(64, np.nan), "nan")])
def test_bad_priors_are_named(prior, what):
    rx = diffusion.Receiver("rx-qam64")
    with pytest.raises(ValueError, match=what):
        rx(np.ones(4), 0.1, prior=prior)
    with pytest.raises(ValueError, match=what):
        diffusion.soft_demapper_cf("rx-qam64", 0.1).set_prior(list(prior))


def run(block, y, tags, item):
    tb = gr.top_block()
    source = blocks.vector_source_c(y.tolist(), False, 1, tags)
    sink = blocks.vector_sink_f() if item == "f" else blocks.vector_sink_c()
    tb.connect(source, block, sink)
    tb.run()
    return np.array(sink.data())


def shaping(offset, index):
    value = pmt.make_tuple(pmt.from_uint64(index), pmt.from_uint64(10), pmt.from_uint64(0))
    return gr.tag_utils.python_to_tag((offset, pmt.intern("shaping"), value))


def test_blocks_follow_the_composition_tags():
    shaper = diffusion.Shaper("ps-qam64")
    first, second = link(1000, 1, 12.0)[2], link(1000, 2, 6.0)[2]
    y = np.concatenate([first, second])
    tags = [shaping(0, shaper.index(12.0)), shaping(1000, shaper.index(6.0)), shaping(1500, 40000000)]
    rx = diffusion.Receiver("rx-qam64")
    expected = [rx(part, NOISE_VAR, prior=shaper.pmf(snr)) for part, snr in ((first, 12.0), (second, 6.0))]
    demapper, denoiser = diffusion.soft_demapper_cf("rx-qam64",
                                                    NOISE_VAR), diffusion.denoiser_cc("rx-qam64", NOISE_VAR)
    for block in (demapper, denoiser):
        block.set_shaper("ps-qam64")
    np.testing.assert_allclose(run(demapper, y, tags, "f"), np.concatenate([e[1].ravel() for e in expected]),
                               atol=2e-3)
    np.testing.assert_allclose(run(denoiser, y, tags, "c"), np.concatenate([e[0] for e in expected]),
                               atol=1e-3)
    assert demapper.refused() == 1 and denoiser.refused() == 1
    # Without a shaper the tags mean nothing.
    plain = diffusion.soft_demapper_cf("rx-qam64", NOISE_VAR)
    np.testing.assert_allclose(run(plain, y, tags, "f"), rx(y, NOISE_VAR)[1].ravel(), atol=1e-4)


def test_prior_by_message_and_by_argument():
    shaper, _, y = link(1000)
    expected = diffusion.Receiver("rx-qam64")(y, NOISE_VAR, prior=shaper.pmf(SNR))[1].ravel()
    for how in ("message", "call", "shaper"):
        demapper = diffusion.soft_demapper_cf("rx-qam64", NOISE_VAR)
        tags = []
        if how == "call":
            demapper.set_prior(shaper.pmf(SNR).tolist())
        else:
            key, value = ("prior", pmt.init_f64vector(64,
                                                      shaper.pmf(SNR).tolist())) if how == "message" else (
            "shaper", pmt.intern("ps-qam64"))
            demapper.to_basic_block()._post(pmt.intern("cmd"), pmt.cons(pmt.intern(key), value))
            tags = [] if how == "message" else [shaping(0, shaper.index(SNR))]
        np.testing.assert_allclose(run(demapper, y, tags, "f"), expected, atol=2e-3)
    with pytest.raises(ValueError, match="16 points"):
        diffusion.soft_demapper_cf("rx-qam64", 0.1).set_shaper("ps-qam16")
