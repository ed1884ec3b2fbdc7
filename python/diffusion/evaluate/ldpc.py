# SPDX-License-Identifier: GPL-3.0-or-later
"""Block error rates with gr-fec's LDPC codes, at rates 1/2 and 3/4, decoded by gr-fec or, ten times quicker,
by ours.

Rate 1/2: the (1800, 902) code that GNU Radio ships. Rate 3/4: GNU Radio ships none; a (3, 12)-regular
(1800, 1350) code is drawn here from a seed, without cycles of length 4, and given to gr-fec as an alist file.
"""
import tempfile
from pathlib import Path

import numpy as np
from gnuradio import blocks, diffusion, fec, gr

RATES = ("1/2", "3/4")
GAIN, LIMIT, LEAST = 1.8, 15.0, 0.01  # as dsp/payload_code.cc: what gr-fec's decoder makes the best of
ITERATIONS = 40


def draw_regular(n=1800, m=450, column_weight=3, seed=34):
    """(n, column_weight) rows of each column's ones: no two columns share two rows, row weights nearly
    equal."""
    rng = np.random.default_rng(seed)
    weight = np.zeros(m, int)
    neighbours = [set() for _ in range(m)]
    columns = []
    for _ in range(n):
        rows = []
        for _ in range(column_weight):
            free = np.ones(m, bool)
            for r in rows:
                free[list(neighbours[r]) + [r]] = False
            order = np.flatnonzero(free)
            lightest = order[weight[order] == weight[order].min()]
            rows.append(int(rng.choice(lightest)))
            weight[rows[-1]] += 1
        for r in rows:
            neighbours[r].update(x for x in rows if x != r)
        columns.append(sorted(rows))
    return np.array(columns)


def write_alist(path, columns, m):
    """The parity-check matrix as MacKay's alist."""
    n = len(columns)
    rows = [[c + 1 for c in range(n) if r in columns[c]] for r in range(m)]
    most = max(map(len, rows))
    lines = [f"{n} {m}", f"{columns.shape[1]} {most}", " ".join(["3"] * n),
             " ".join(str(len(r)) for r in rows)]
    lines += [" ".join(str(r + 1) for r in c) for c in columns]
    lines += [" ".join(map(str, r + [0] * (most - len(r)))) for r in rows]
    path.write_text("\n".join(lines) + "\n")


class Ldpc:
    """n coded and k information bits a word; encode() and decode() take many words at once."""

    def __init__(self, rate):
        if rate not in RATES:
            raise ValueError(f"rate is {rate!r}, use one of {', '.join(RATES)}")
        if rate == "1/2":
            self._file = gr.prefix() + "/share/gnuradio/fec/ldpc/n_1800_k_0902_gap_28.alist"
        else:
            self._folder = tempfile.TemporaryDirectory()
            path = Path(self._folder.name) / "n_1800_k_1350.alist"
            write_alist(path, draw_regular(), 450)
            self._file = str(path)
        self._encoder = fec.ldpc_encoder_make(self._file)
        self._decoder = fec.ldpc_decoder.make(self._file, 1.0, ITERATIONS)
        self._quick = diffusion.ldpc_decoder(self._file, ITERATIONS)
        self.k, self.n = int(self._encoder.get_input_size()), int(self._encoder.get_output_size())

    def _run(self, source, block, sink):
        top = gr.top_block()
        top.connect(source, block, sink)
        top.run()
        return np.array(sink.data())

    def encode(self, bits):
        """uint8 (words, k) -> (words, n)."""
        block = fec.encoder(self._encoder, gr.sizeof_char, gr.sizeof_char)
        out = self._run(blocks.vector_source_b(bits.ravel().tolist()), block, blocks.vector_sink_b())
        return out.astype(np.uint8).reshape(-1, self.n)

    def decode(self, llr):
        """float (words, n), log P(1) / P(0) -> uint8 (words, k)."""
        x = np.clip(GAIN * llr, -LIMIT, LIMIT).astype(np.float32).ravel()
        x = np.where(np.abs(x) < LEAST, np.copysign(np.float32(LEAST), x), x)
        block = fec.decoder(self._decoder, gr.sizeof_float, gr.sizeof_char)
        out = self._run(blocks.vector_source_f(x.tolist()), block, blocks.vector_sink_b())
        return out.astype(np.uint8).reshape(-1, self.k)

    def decode_words(self, llr):
        """The same by our sum-product decoder: whole words, uint8 (words, n)."""
        return self._quick(np.asarray(llr, np.float32))[0]
