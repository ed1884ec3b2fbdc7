# SPDX-License-Identifier: GPL-3.0-or-later
"""soft_demapper_cf from its lookup table: the same soft bits, and a table that follows the noise."""
import time

import numpy as np
import pytest
from gnuradio import blocks, diffusion, gr


def run(block, y):
    tb = gr.top_block()
    source, sink = blocks.vector_source_c(y.tolist()), blocks.vector_sink_f()
    tb.connect(source, block, sink)
    tb.run()
    return np.array(sink.data())


@pytest.mark.parametrize("model, name", [("rx-qpsk", "qpsk"), ("rx-qam16", "qam16")])
def test_table_gives_the_soft_bits_of_the_network(model, name):
    rng, noise_var = np.random.default_rng(1), 10 ** -1.2
    points = np.asarray(diffusion.constellation(name))
    noise = rng.standard_normal((20000, 2)) @ [1, 1j] * np.sqrt(noise_var / 2)
    y = (rng.choice(points, 20000) + noise).astype(np.complex64)
    exact = run(diffusion.soft_demapper_cf(model, noise_var), y)
    block = diffusion.soft_demapper_cf(model, noise_var, "table")
    assert block.uses_table() and block.mode() == "table"
    error = np.tanh(exact / 2) - np.tanh(run(block, y) / 2)
    assert np.sqrt(np.mean(error ** 2)) < 1e-3


def test_auto_waits_for_the_table_of_a_new_noise_level():
    block = diffusion.soft_demapper_cf("rx-qpsk", 0.1, "auto")
    assert block.uses_table()
    block.set_noise_var(0.02)
    deadline = time.monotonic() + 10
    while not block.uses_table() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert block.uses_table()
    block.set_mode("exact")
    assert not block.uses_table()
    with pytest.raises(ValueError, match="mode 'fast'"):
        diffusion.soft_demapper_cf("rx-qpsk", 0.1, "fast")
