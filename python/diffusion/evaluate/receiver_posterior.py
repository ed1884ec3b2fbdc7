# SPDX-License-Identifier: GPL-3.0-or-later
"""Study "posterior": how good any receiver could be that gets the same few known symbols, beside Receiver.fit
and MAP.

The Bayes receiver averages p(cell | symbol) over the posterior of the radio's parameters given the known
symbols and 10000 further ones that nobody knows. Prior: uniform over what train/hardware.py draws (IQ gain
and phase, DC, phase noise, back-off, smoothness, AM-PM), every impairment present; variance of the additive
noise, gain, rotation and converter exactly known, which is more than any receiver knows. Sampled by
differential evolution (ter Braak 2006). BER and GMI of all are sums over all cells under the true law: no
test noise, so only the known symbols drawn make figures differ.
"""
import numpy as np
from gnuradio import diffusion
from scipy.special import ndtr

from .. import metrics
from ..cli.common import progress
from ..train import hardware
from . import receiver as evaluation

LOW = np.array([-1.5, -8.0, 0.0, 0.0, 1.0, 1.5, 0.0])
HIGH = np.array([1.5, 8.0, 0.1, 7.0, 10.0, 4.0, 0.45])
POINTS = (("rx-qam16", "S2-1bit", 10), ("rx-qam16", "S2-1bit", 20), ("rx-qam64", "S2-1bit", 10),
          ("rx-qam256", "S2-1bit", 10), ("rx-qam256", "S2-1bit", 20), ("rx-qam256", "S2-1bit", 30),
          ("rx-qam256", "S2-2bit", 20), ("rx-qam256", "S2", 20))
WALKERS, BURN, KEPT = 40, 150, 150     # generations; 100 draws of those kept are averaged
LINKS, UNKNOWN = 6, 10000
NODES = 9                              # Gauss-Hermite, of the phase


def radio_of(theta):
    """Hardware without a converter of one draw."""
    gain, phase, dc, turn, backoff, smoothness, am_pm = theta
    return hardware.Hardware(dict(iq_gain_db=gain, iq_phase_deg=phase, dc=dc, phase_noise_deg=turn, pa="rapp",
                                  backoff_db=backoff, smoothness=smoothness, am_pm=am_pm))


class Cells:
    """p(cell | symbol) of radios behind one converter at one noise level."""

    def __init__(self, hw, points, snr_db):
        self.points, self.deviation = points, np.sqrt(hw.noise_var(snr_db) / 2)
        half = 2 ** hw.bits // 2
        self.step, self.levels = hw.full_scale(snr_db) / half, 2 * half
        self.inner = self.step * np.arange(1 - half, half)
        self.angle, weight = np.polynomial.hermite_e.hermegauss(NODES)
        self.weight = weight / weight.sum()
        self.centres = self.step * (np.arange(-half, half) + 0.5)

    def rails(self, radio):
        """Two arrays (nodes, M, levels), the first weighted."""
        mu = np.exp(1j * self.angle * radio.phase_std)[:, None] * radio.means(self.points)
        out = []
        for rail in (mu.real, mu.imag):
            below = ndtr((self.inner - rail[..., None]) / self.deviation)
            edge = np.ones(rail.shape + (1,))
            out.append(np.diff(np.concatenate([0 * edge, below, edge], -1), axis=-1))
        return out[0] * self.weight[:, None, None], out[1]

    def table(self, radio):
        """(M, levels^2)"""
        a, b = self.rails(radio)
        return np.einsum("tia,tib->iab", a, b, optimize=True).reshape(self.points.size, -1)

    def of(self, y):
        """Level of each rail."""
        return [np.clip(np.floor(v / self.step).astype(int) + self.levels // 2, 0, self.levels - 1)
                for v in (y.real, y.imag)]

    def log_likelihood(self, radio, known, seen, counts):
        """Of known symbols (their levels: seen), and of others by how often each cell was hit."""
        a, b = self.rails(radio)
        p = np.einsum("tk,tk->k", a[:, known, seen[0]], b[:, known, seen[1]])
        grid = np.tensordot(a, b, ((0, 1), (0, 1))) / self.points.size
        return np.log(p + 1e-30).sum() + np.sum(counts * np.log(grid + 1e-30))

    def figures(self, true, llr):
        """(BER, GMI) of LLRs (cells, bits) under the true table."""
        sent = metrics.labels(llr.shape[1])
        p = true / len(true)
        wrong, lost = 0.0, 0.0
        for k in range(llr.shape[1]):
            one, zero = p[sent[:, k] == 1].sum(0), p[sent[:, k] == 0].sum(0)
            wrong += np.sum(np.where(llr[:, k] > 0, zero, one))
            lost += np.sum(one * np.logaddexp(0, -llr[:, k]) + zero * np.logaddexp(0, llr[:, k]))
        return wrong / llr.shape[1], llr.shape[1] - lost / np.log(2)


def llr_of(table, bits):
    """(cells, bits) of p(cell | symbol)."""
    sent = metrics.labels(bits)
    log = lambda p: np.log(np.maximum(p, 1e-300))
    return np.stack([log(table[sent[:, k] == 1].sum(0)) - log(table[sent[:, k] == 0].sum(0))
                     for k in range(bits)], 1)


def posterior(cells, known, seen, counts, rng):
    """Draws of the radio's parameters (n, 7)."""
    def value(theta):
        if np.any(theta <= LOW) or np.any(theta >= HIGH):
            return -np.inf
        return cells.log_likelihood(radio_of(theta), known, seen, counts)

    d = LOW.size
    many = LOW + (HIGH - LOW) * rng.uniform(size=(4 * WALKERS, d))
    level = np.array([value(t) for t in many])
    best = np.argsort(-level)[:WALKERS]
    walkers, level, kept = many[best], level[best], []
    for generation in range(BURN + KEPT):
        for i in range(WALKERS):
            a, b = rng.choice(WALKERS, 2, replace=False)
            jump = 1.0 if generation % 10 == 9 else 2.38 / np.sqrt(2 * d) * rng.uniform(0.3, 1.1)
            to = walkers[i] + jump * (walkers[a] - walkers[b]) + 1e-4 * (HIGH - LOW) * rng.standard_normal(d)
            there = value(to)
            if np.log(rng.uniform()) < there - level[i]:
                walkers[i], level[i] = to, there
        if generation >= BURN:
            kept.append(walkers.copy())
    kept = np.concatenate(kept)
    return kept[np.linspace(0, len(kept) - 1, 100).astype(int)]


def one_link(name, study, snr, n_known, seed):
    """{receiver: (BER, GMI)}; seed: a list."""
    rx = diffusion.Receiver(name)
    points, hw, bits = rx.constellation, evaluation.STUDIES[study], rx.bits_per_symbol
    rng = np.random.default_rng([*seed, 0xB0, int(snr) + 100])
    known, index = rng.integers(0, points.size, n_known), rng.integers(0, points.size, UNKNOWN)
    seen, y = (hw.transmit(points, i, snr, int(rng.integers(2 ** 62))) for i in (known, index))
    cells = Cells(hw, points, snr)
    true = cells.table(hw)
    counts = np.zeros((cells.levels, cells.levels))
    np.add.at(counts, tuple(cells.of(y)), 1)
    every = (cells.centres[:, None] + 1j * cells.centres).ravel().astype(np.complex64)
    draws = posterior(cells, known, cells.of(seen), counts, rng)
    table = np.mean([cells.table(radio_of(t)) for t in draws], 0)
    fit = rx.fit(points[known], seen, hw.noise_var(snr))
    more = fit.adapted(y, hw.noise_var(snr))
    llr = {"map": llr_of(true, bits), "posterior": llr_of(table, bits),
           "fit": more(every, hw.noise_var(snr), adapt=False)[1],
           "fit-alone": fit(every, hw.noise_var(snr), adapt=False)[1]}
    return {k: cells.figures(true, v.astype(float)) for k, v in llr.items()}


def measure_study(args, names):
    """Rows of the points, see measure()."""
    points = [p for p in POINTS if p[0] in names and (not args.snr or p[2] in args.snr)]
    return measure(points, (args.known or [50])[0], args.seed)


def measure(points, known, seed, links=LINKS):
    """Rows: means over draws of the symbols. points: (model, setting, SNR)."""
    rows = []
    print("| model, setting, SNR | GMI of MAP | Bayes below it [95%] | Receiver.fit below it | known symbols "
          "only | BER: MAP, Bayes, Receiver.fit |\n| --- | --- | --- | --- | --- | --- |")
    for name, study, snr in progress(points, desc="points"):
        results = [one_link(name, study, snr, known, [seed, k]) for k in range(links)]
        for receiver in results[0]:
            ber, gmi = np.array([r[receiver] for r in results]).T
            below = np.array([r["map"][1] for r in results]) - gmi
            lo, hi = metrics.bootstrap(ber, seed=seed)
            gap_lo, gap_hi = metrics.bootstrap(below, seed=seed)
            rows.append({"study": "posterior", "setting": f"{study}, {known} known symbols, {links} draws",
                         "snr_db": snr,
                         "receiver": receiver, "model": name, "ber": float(ber.mean()), "ber_lo": float(lo),
                         "ber_hi": float(hi), "gmi": float(gmi.mean()), "below_map": float(below.mean()),
                         "below_lo": float(gap_lo), "below_hi": float(gap_hi)})
        r = {row["receiver"]: row for row in rows[-4:]}
        gap = lambda k: f"{r[k]['below_map']:.3f} [{r[k]['below_lo']:.3f}, {r[k]['below_hi']:.3f}]"
        print(f"| {name}, {study}, {snr} dB | {r['map']['gmi']:.3f} | {gap('posterior')} | {gap('fit')} | "
              f"{gap('fit-alone')} | " +
              ", ".join(f"{r[k]['ber']:.4f}" for k in ("map", "posterior", "fit")) + " |",
              flush=True)
    return rows
