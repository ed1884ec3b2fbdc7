# SPDX-License-Identifier: GPL-3.0-or-later
"""Receiver, Estimator and Shaper: shared by threads, copied, sent to other processes."""
import copy
import pickle
import threading

import numpy as np
import pytest
from gnuradio import diffusion

ways = pytest.mark.parametrize("way", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))],
                               ids=["deepcopy", "pickle"])


def symbols(points, n, seed, noise_var=0.02):
    rng = np.random.default_rng(seed)
    x = points[rng.integers(0, points.size, n)]
    noise = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    return x, (x + 0.05 * x.conj() + np.sqrt(noise_var / 2) * noise).astype(np.complex64)


@ways
@pytest.mark.parametrize("kind", ["plain", "fitted", "cells", "noise"])
def test_a_receivers_copy_gives_the_same_bits(kind, way):
    rx = diffusion.Receiver("rx-qam16")
    x, y = symbols(rx.constellation, 1500, 1)
    if kind == "cells":
        y = diffusion.quantizer(3, 1.5)(y)
    if kind == "noise":
        rx = rx.with_noise(diffusion.NoiseLaw.fit((y - x)[:500]))
    elif kind != "plain":
        rx = rx.fit(x[:200], y[:200], 0.02)
    assert (rx.choice == kind) or kind in ("plain", "fitted")
    other = way(rx)
    assert other.choice == rx.choice and repr(other) == repr(rx)
    for first, second in zip(rx(y, 0.02), other(y, 0.02)):
        np.testing.assert_array_equal(first, second)


@ways
@pytest.mark.parametrize("name,method", [("ce-ofdm64", "diffusion"), ("ce-ofdm64", "sbl"),
                                         ("ce-mimo16x4", "auto")])
def test_an_estimators_copy_is_the_same(name, method, way):
    est = diffusion.Estimator(name, method)
    rng = np.random.default_rng(2)
    shape, pilots = ((3, 16), np.arange(0, 64, 4)) if est.kind == "ofdm" else ((3, 4, 16), np.eye(16))
    y = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    other = way(est)
    assert (other.name, other.method, other.n) == (est.name, est.method, est.n)
    np.testing.assert_array_equal(est(y, pilots, 0.1)[0], other(y, pilots, 0.1)[0])


@ways
def test_a_shapers_copy_decodes_what_it_encoded(way):
    sh = diffusion.Shaper("ps-qam64", 512, "ess")
    bits = np.random.default_rng(3).integers(0, 2, 900).astype(np.uint8)
    indices, state = sh.encode(bits, 12)
    other = way(sh)
    assert repr(other) == repr(sh) and "ps-qam64" in repr(sh)
    np.testing.assert_array_equal(other.decode(indices, state), bits)


def test_threads_share_an_estimator():
    est = diffusion.Estimator("ce-ofdm64")
    rng = np.random.default_rng(4)
    combs = [np.arange(0, 64, 4), np.arange(1, 64, 8)]
    y = [rng.standard_normal((20, p.size)) + 1j * rng.standard_normal((20, p.size)) for p in combs]
    expected = [est(y[k], combs[k], 0.1)[0] for k in (0, 1)]
    wrong = []

    def work(k):
        for _ in range(15):
            if not np.array_equal(est(y[k], combs[k], 0.1)[0], expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k % 2,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
