# SPDX-License-Identifier: GPL-3.0-or-later
"""The delay of each block in samples, as docs/real-time.md lists it: a known symbol goes in at one place, and
comes out at that place plus the delay."""
import numpy as np
import pytest

from gnuradio import blocks, diffusion, gr

AT = 1234
N = 6000


def through(block, x, out=blocks.vector_sink_c):
    tb, sink = gr.top_block(), out()
    tb.connect(blocks.vector_source_c(x.tolist()), block, sink)
    tb.run()
    return np.array(sink.data())


def one_symbol_differs(points, n=N):
    """All symbols the first point but for one, the last point."""
    x = np.full(n, points[0])
    x[AT] = points[-1]
    return x.astype(np.complex64)


@pytest.mark.parametrize("mode", ["exact", "table"])
def test_denoiser_has_none(mode):
    points = np.asarray(diffusion.constellation("qam16"))
    x = one_symbol_differs(points)
    y = through(diffusion.denoiser_cc("rx-qam16", 0.01, 1, mode), x)
    assert y.size == N
    assert list(np.flatnonzero(np.abs(y - points[0]) > 0.5)) == [AT]


def test_demapper_has_none():
    points = np.asarray(diffusion.constellation("qam16"))
    llr = through(diffusion.soft_demapper_cf("rx-qam16", 0.01), one_symbol_differs(points),
                  blocks.vector_sink_f)
    bits = (llr.reshape(N, 4) > 0).astype(int)
    assert list(np.flatnonzero((bits != bits[0]).any(1))) == [AT]


@pytest.mark.parametrize("make", [lambda: diffusion.impairments_cc(), lambda: diffusion.quantizer_cc(8, 4.0)])
def test_sample_blocks_have_none(make):
    x = np.zeros(N, np.complex64)
    x[AT] = 1 + 0.5j
    y = through(make(), x)
    assert y.size == N and int(np.argmax(np.abs(y))) == AT


def test_channel_estimator_has_none():
    """Data symbol m of frame f goes out as item f * n_data_symbols + m."""
    rng = np.random.default_rng(1)
    words = [rng.choice([-1, 1], 64).astype(complex) for _ in range(2)]
    data = np.zeros((5, 3, 64), complex)
    data[3, 1, 7] = 1
    x = np.concatenate([np.concatenate([words, d]) for d in data]).ravel()
    tb, sink = gr.top_block(), blocks.vector_sink_c(64)
    tb.connect(blocks.vector_source_c(x.tolist(), False, 64),
               diffusion.ofdm_channel_estimator_vcvc("", *words, 3, method="ls"), sink)
    tb.run()
    y = np.array(sink.data()).reshape(-1, 64)
    assert len(y) == 15 and list(np.flatnonzero(np.abs(y).sum(1))) == [3 * 3 + 1]


def test_receiver_is_sure_within_the_stated_samples():
    """A frame comes out when its last sample is in, or the synchroniser's latency behind its start, whichever
    is later."""
    modulator, receiver = diffusion.native_modulator(), diffusion.native_receiver()
    frame = modulator(bytes(range(96)))
    silence = np.zeros(3000, np.complex64)
    rng = np.random.default_rng(2)
    noise = lambda n: (0.01 * (rng.standard_normal((n, 2)) @ [1, 1j])).astype(np.complex64)  # noqa: E731
    x = np.concatenate([noise(1000) + silence[:1000], frame + noise(frame.size),
                        noise(3000)]).astype(np.complex64)
    arrived = None
    for end in range(0, x.size, 20):
        if receiver(x[end:end + 20]):
            arrived = end + 20
            break
    latency = diffusion.frame_sync(modulator.geometry).latency
    assert latency == 864  # docs/real-time.md
    assert 1000 + frame.size <= arrived <= 1000 + max(frame.size, latency) + 20
