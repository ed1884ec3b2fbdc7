# SPDX-License-Identifier: GPL-3.0-or-later
"""Every shipped receiver model: the C++ engine against torch, on random and on received symbols."""
import numpy as np
import pytest
from gnuradio import diffusion

torch = pytest.importorskip("torch")
from gnuradio.diffusion.baselines.receiver import bit_llr
from gnuradio.diffusion.nn.export import load_model
from gnuradio.diffusion.nn.film_mlp import FilmMlp
from gnuradio.diffusion.train import hardware

MODELS = [m.name for m in diffusion.models() if m.task == "receiver"]


def torch_logits(path, y, noise_var, law):
    """The reference, in float64 so that only the engine's rounding is measured."""
    state, metadata = load_model(path)
    net = FilmMlp.from_config(metadata["network"], metadata["normalisation"])
    net.load_state_dict(state)
    net.double()
    f = lambda a: torch.from_numpy(np.asarray(a, np.float64))
    y = y.astype(np.complex128)
    with torch.no_grad():
        return net(f(np.stack([y.real, y.imag], -1)), f(law.context(noise_var)),
                   torch.tensor(noise_var, dtype=torch.float64),
                   tuple(map(f, law.coefficients(noise_var)))).numpy()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("snr_db", [-8, 8, 20, 34])
@pytest.mark.parametrize("kind", ["random", "received", "fitted"])
def test_engine_equals_torch(name, snr_db, kind):
    rng = np.random.default_rng(1)
    engine = diffusion.fitted_receiver(name)
    points = engine.constellation
    noise_var = 10 ** (-snr_db / 10)
    index = rng.integers(0, points.size, 3000)
    if kind == "random":
        y = ((rng.standard_normal(3000) + 1j * rng.standard_normal(3000))).astype(np.complex64)
    else:
        y = hardware.S2.transmit(points, index, snr_db, 2)
    if kind == "fitted":
        engine.set_law(diffusion.symbol_law.fit(points, index, y, hardware.S2.noise_var(snr_db)))
        noise_var = hardware.S2.noise_var(snr_db)
    expected = torch_logits(engine.path, y, noise_var, engine.law)
    logits = engine.network(y, noise_var)
    # Relative to the logits' size: a posterior is their differences, and they grow as 1 / noise_var.
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()
    x_hat, llr = engine(y, noise_var)
    p = np.exp(expected - expected.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    size = 1e-5 * np.abs(expected).max()  # a logit's error is a posterior's relative error
    np.testing.assert_allclose(x_hat, p @ points.astype(complex), atol=1e-5 + 2 * size)
    best = bit_llr(expected)
    inside = np.abs(best) < 70  # beyond, floats underflow, and the engine holds them to +-87
    np.testing.assert_allclose(llr[inside], best[inside], atol=1e-4 + 4 * size, rtol=1e-4)
    assert (llr[~inside] * np.sign(best[~inside]) > 69).all()


@pytest.mark.parametrize("name", MODELS)
def test_models_reach_the_bound_they_can_reach(name):
    """S2 at 20 dB, 2000 known symbols: near MAP, ahead of the linear receiver where that is off MAP."""
    from gnuradio.diffusion.evaluate import receiver as evaluation
    rx = diffusion.Receiver(name)
    rows = {r["receiver"]: r for r in evaluation.measure_point(rx.constellation, "S2", 20, 20000, 2000, 5,
                                                               evaluation.learned_of(rx))}
    assert rows["fit"]["gmi"] > rows["diffusion"]["gmi"] - 0.005
    assert rows["diffusion"]["gmi"] > rows["map"]["gmi"] - (0.02 if rx.bits_per_symbol < 8 else 0.1)
    if rx.bits_per_symbol > 2:
        assert rows["diffusion"]["ber_hi"] < rows["linear"]["ber_lo"]
    else:
        assert rows["diffusion"]["ber"] <= 2 * rows["linear"]["ber"] + 1e-4
