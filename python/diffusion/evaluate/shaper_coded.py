# SPDX-License-Identifier: GPL-3.0-or-later
"""What arrives: amplitude shaping around an LDPC code against uniform 64-QAM with the same family of codes.

Word error rates are simulated with the link's own encoder, demapper (bitwise MAP, prior known) and decoder;
the noise is the same for all schemes (common random numbers). Uniform has every code of the family, each at
the SNR where it is best, and that order of bits, of seven, with which the code does best; shaping has the
compositions of the shaper model and the best of its two first codes; orders and codes are chosen with other
noise. Net rate: payload bits that arrive intact per symbol, rate (1 - word error rate). Impaired: the same
Rapp amplifier for both, phase noise, ADC; the receivers measure one centroid an ideal point and one noise
variance from 20000 known symbols, as a real one would. Both have the same mean power out of the amplifier,
that of uniform QAM at drive 0.55, and SNR is that power over the noise's ("impaired"); or the same mean power
into it, the SNR's reference too ("impaired, equal drive"). Schemes "..., points for the amplifier": the
amplitudes of a rail are moved so that the amplifier's compression is made up for (shaper_bounds.amplitudes).
"""
from functools import lru_cache
from itertools import permutations

import numpy as np

UNIFORM = ("4/9", "3/5", "2/3", "11/15", "7/9")
TARGET = 0.1  # word error rate at which SNRs are compared: net rate is 0.9 of the scheme's
IMPAIRED = {"drive": 0.55, "phase_noise_deg": 1.0, "adc_bits": 6}
SETTINGS = ("AWGN", "impaired", "impaired, equal drive")
SHAPED = "diffusion, amplitude shaping"
MOVED = ", points for the amplifier"


def drive_and_power(setting, points, pmf):
    """(what the points, of unit power under the pmf, are multiplied by before the amplifier, power that is
    called 1)."""
    from ..baselines.shaper_impaired import amplify

    if setting != "impaired":
        return IMPAIRED["drive"], IMPAIRED["drive"] ** 2
    from ..square_grid import square_qam
    power = lambda drive, points, pmf: float(pmf @ np.abs(amplify(drive * points)) ** 2)
    wanted = power(IMPAIRED["drive"], square_qam(6), np.full(64, 1 / 64))
    low, high = 0.1, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, points, pmf) < wanted else (low, middle)
    return low, wanted


def channel(setting, x, snr_db, rng, drive, power):
    """x (E|x|^2 = 1) through the link; the noise is drawn first, so that all schemes have the same."""
    from .. import quantizer
    from ..baselines.shaper_impaired import amplify

    noise = np.sqrt(0.5 * 10 ** (-snr_db / 10)) * (rng.standard_normal(x.size) +
                                                   1j * rng.standard_normal(x.size))
    turn = np.deg2rad(IMPAIRED["phase_noise_deg"]) * rng.standard_normal(x.size)
    if setting == "AWGN":
        return (x + noise).astype(np.complex64)
    y = amplify(drive * x) / np.sqrt(power) * np.exp(1j * turn) + noise
    return quantizer(IMPAIRED["adc_bits"], 2.5)(y.astype(np.complex64))


class Scheme:
    """Words of one code on one constellation: encode, demap, decode."""

    def __init__(self, bits, code, constellation, setting, seed, order="", moved_at=None):
        from .shaper_bounds import amplitudes

        self.bits, self.code, self.constellation, self.setting = bits, code, constellation, setting
        self.shaped = hasattr(code, "amplitudes")
        self.symbols = code.symbols if self.shaped else code.n // bits
        self.payload = code.bits if self.shaped else code.k
        self.rate = self.payload / self.symbols
        self.order = None if self.shaped else order_of(code, bits, order)
        self.seed = seed
        self.pmf = self.probabilities()
        self.points = constellation.points.astype(complex)
        if moved_at is not None:  # for that SNR in dB
            self.points = amplitudes(self.points, self.pmf, moved_at)
        self.drive = drive_and_power(setting, self.points, self.pmf)

    def probabilities(self):
        """(M,) of the points."""
        points = self.constellation.points
        if not self.shaped:
            return np.full(points.size, 1 / points.size)
        rails = np.array(self.code.amplitudes) / sum(self.code.amplitudes)
        step = np.abs(points.real).min()
        at = lambda v: np.round((np.abs(v) / step - 1) / 2).astype(int)
        return rails[at(points.real)] * rails[at(points.imag)] / 4

    def labels(self, payload):
        """(words, symbols) of labels."""
        coded = self.code.encode(payload.ravel()).reshape(len(payload), -1)
        coded = coded if self.shaped else coded[:, self.order]
        return coded.reshape(len(payload), self.symbols, self.bits) @ (1 << np.arange(self.bits)[::-1])

    def learn(self, snr_db):
        """(points, noise_var) of the link as measured on known symbols; AWGN needs none of that."""
        if self.setting == "AWGN":
            return self.constellation.points, 10 ** (-snr_db / 10)
        rng = np.random.default_rng([self.seed, 7])
        words = -(-20000 // self.symbols)
        sent = self.labels(rng.integers(0, 2, (words, self.payload), dtype=np.uint8)).ravel()
        y = channel(self.setting, self.points[sent], snr_db, rng, *self.drive)
        # A cubic law of the centroids, least squares: outer points of a shaped frame are rare.
        basis = lambda x: np.stack([x, x * np.abs(x) ** 2, x * np.abs(x) ** 4], 1)
        points = self.points
        weights = np.linalg.lstsq(basis(points[sent]), y, rcond=None)[0]
        return basis(points) @ weights, np.mean(np.abs(y - (basis(points) @ weights)[sent]) ** 2)

    def demap(self, y, points, noise_var):
        """LLRs (n, bits) under the prior."""
        if self.setting == "AWGN":
            return self.constellation.soft(y, np.full(y.size, noise_var, np.float32))
        log_prior = np.log(np.maximum(self.pmf, 1e-30))
        metric = np.empty((y.size, self.pmf.size), np.float32)
        for i, c in enumerate(points):
            metric[:, i] = log_prior[i] - np.abs(y - np.complex64(c)) ** 2 / noise_var
        p = np.exp(metric - metric.max(1, keepdims=True))
        ones = ((np.arange(self.pmf.size)[:, None] >> np.arange(self.bits)[::-1]) & 1).astype(np.float32)
        return np.log(np.maximum(p @ ones, 1e-30)) - np.log(np.maximum(p @ (1 - ones), 1e-30))

    def errors(self, snr_db, words):
        """Word errors of so many words."""
        wrong = 0
        points, noise_var = self.learn(snr_db)
        for from_ in range(0, words, 20):
            n = min(20, words - from_)
            y_rng, payload_rng = (np.random.default_rng([self.seed, round(100 * snr_db) + 5000, from_, k])
                                  for k in (0, 1))
            payload = payload_rng.integers(0, 2, (n, self.payload), dtype=np.uint8)
            sent = self.labels(payload).ravel()
            y = channel(self.setting, self.points[sent], snr_db, y_rng, *self.drive)
            llr = self.demap(y, points, noise_var).astype(np.float32).reshape(n, -1)
            if not self.shaped:
                ordered = np.empty_like(llr)
                ordered[:, self.order] = llr
                llr = ordered
            decoded, _ = self.code.decode(llr.ravel())
            wrong += int((decoded.reshape(n, -1) != payload).any(1).sum())
        return wrong


def order_of(code, bits, kinds):
    """Which bit of a uniform code word each bit of the labels is. kinds: "" for a random order; else the bits
    of a rail (s: sign, m, l: the next), those first that get the bits that most checks know."""
    rng = np.random.default_rng(99)
    if not kinds:
        return rng.permutation(code.n)
    by_checks = np.concatenate([rng.permutation(code.heavy),
                                code.heavy + rng.permutation(code.k - code.heavy),
                                code.k + rng.permutation(code.n - code.k)])
    share = dict(zip(kinds, by_checks.reshape(len(kinds), -1)))
    return np.stack([rng.permutation(share[k]) for k in "sml"[:bits // 2]], 1).ravel()


@lru_cache(16)
def best_order(rate, seed, start, words):
    """The order with which uniform 64-QAM needs least SNR in AWGN."""
    from .. import ldpc_code, qam

    needs = {o: needed_snr(Scheme(6, ldpc_code(rate), qam(6), "AWGN", seed + 1000, o), start, words)[1]
             for o in ["", *map("".join, permutations("sml"))]}
    return min(needs, key=needs.get)


def needed_snr(scheme, start, words, step=0.1):
    """({snr: word errors}, SNR where the word error rate is TARGET, its 95% interval): straight lines in the
    logit, the interval from Wilson's bounds of every point."""
    from ..metrics import wilson

    found, snr = {}, round(start / step) * step
    while not found or min(found.values()) > 0.04 * words:
        found[round(snr, 3)] = scheme.errors(snr, words)
        snr += step
        if len(found) > 40:
            break
    snr = round(start / step) * step
    while max(found.values()) < 0.6 * words and len(found) < 60:
        snr -= step
        found[round(snr, 3)] = scheme.errors(snr, words)
    snrs = np.array(sorted(found))
    goal = np.log(TARGET / (1 - TARGET))
    def at(rates):
        rates = np.clip(np.minimum.accumulate(rates), 1e-4, 1 - 1e-4)
        logit = np.log(rates / (1 - rates))
        return float(np.interp(-goal, -logit, snrs))
    bounds = [wilson(found[s], words) for s in snrs]
    return found, at(np.array([found[s] / words for s in snrs])), (at(np.array([b[0] for b in bounds])),
                                                                  at(np.array([b[1] for b in bounds])))


def shaped_schemes(bits, setting, rate, seed):
    """The schemes of that rate, one for each of the first two codes that have a composition for it."""
    from .. import qam, shaped_code, shaped_fecs

    out = []
    for fec in shaped_fecs(bits):
        codes = [c for c in (shaped_code(bits, fec, i) for i in range(100, 301)) if c.rate >= rate]
        mine = min(codes, key=lambda c: c.rate, default=None)
        if mine is not None and mine.rate < rate + 0.03:
            out.append(Scheme(bits, mine, qam(bits, [float(a) for a in mine.amplitudes]), setting, seed))
    return out[:2]


def coded(seed, words=200, settings=SETTINGS[:2], rates=UNIFORM):
    """Rows: each uniform code at the SNR it needs, and shaping at the same rate at the SNR that it needs;
    with an amplifier also both with the amplitudes moved."""
    from .. import qam, ldpc_code
    from ..cli.common import progress
    from .shaper_bounds import bit_metric_gain, of_link

    bits, rows = 6, []
    for setting in settings:
        for rate in progress(rates, desc=f"coded {setting}"):
            start = 10 * np.log10(2 ** (bits * ldpc_code(rate).k / ldpc_code(rate).n) -
                                  1) + (2.0 if setting == "AWGN" else 2.3)
            order = best_order(rate, seed, round(start, 1), max(2, words // 5))
            uniform = Scheme(bits, ldpc_code(rate), qam(bits), setting, seed, order)
            trial = shaped_schemes(bits, setting, uniform.rate, seed + 1000)
            needed = [needed_snr(s, start - 0.9, max(2, words // 4), 0.2)[1] for s in trial]
            shaped = shaped_schemes(bits, setting, uniform.rate, seed)[int(np.argmin(needed))]
            schemes = [("uniform", uniform, start), (SHAPED, shaped, start - 0.9)]
            if setting != "AWGN":
                schemes += [(name + MOVED, Scheme(bits, s.code, s.constellation, setting, seed, order, at),
                             at)
                            for name, s, at in schemes]
            needs = {}
            for name, scheme, at in schemes:
                found, snr, interval = needed_snr(scheme, at, words)
                needs[name] = snr, interval
                code = scheme.code.code_rate if scheme.shaped else rate
                row = lambda study, snr, net, **more: {
                    "study": study, "setting": f"qam64 {setting}", "snr_db": snr, "scheme": name,
                    "mi_bits": of_link(setting, scheme.pmf, snr, scheme.points)[0], "percent_of_ba": None,
                    "net_rate": scheme.rate * net, "rate": scheme.rate, "code": code, **more}
                rows += [row("coded", point, 1 - wrong / words, words=words, word_errors=wrong)
                         for point, wrong in sorted(found.items())]
                rows.append(row("coded needed SNR", snr, 1 - TARGET, interval_db=interval, rate_of=rate,
                                order=order))
                if name != "uniform":
                    (other, wide), (mine, narrow) = needs["uniform"], needs[name]
                    rows[-1].update(gain_db=other - mine,
                                    gain_interval_db=(wide[0] - narrow[1], wide[1] - narrow[0]))
                if scheme.shaped:
                    rows[-1].update(bound_db=bit_metric_gain(setting, uniform.rate, name != SHAPED))
        _at_equal_rates([r for r in rows if r["study"] == "coded needed SNR"
                         and r["setting"] == f"qam64 {setting}"])
    return rows


def _at_equal_rates(rows):
    """Shaping's rate is 0.02 bit or less above its rival's: gain_equal_rate_db is to uniform at just that
    rate, on the straight line between two of its codes."""
    at = sorted((r["rate"], r["snr_db"]) for r in rows if r["scheme"] == "uniform")
    for r in rows:
        if r["scheme"].startswith(SHAPED):
            i = min(max(int(np.searchsorted([rate for rate, _ in at], r["rate"])) - 1, 0), len(at) - 2)
            slope = (at[i + 1][1] - at[i][1]) / (at[i + 1][0] - at[i][0]) if len(at) > 1 else 0.0
            r["gain_equal_rate_db"] = at[i][1] + slope * (r["rate"] - at[i][0]) - r["snr_db"]


def show(rows):
    """The SNRs needed side by side."""
    uniform = {(r["setting"], r["rate_of"]): r for r in rows if r["study"] == "coded needed SNR"
               and r["scheme"] == "uniform"}
    for r in rows:
        if "gain_db" not in r:
            continue
        other = uniform[r["setting"], r["rate_of"]]
        shaped = f", at equal rate {r['gain_equal_rate_db']:.2f} dB, bound for bits {r['bound_db']:.2f} dB" if "bound_db" in r else ""
        print(f"{r['setting']}: {other['rate']:.3f} bit/symbol uniform with code {other['code']} needs "
              f"{other['snr_db']:.2f} dB; {r['scheme']}, {r['rate']:.3f} with code {r['code']}, "
              f"{r['snr_db']:.2f} dB: {r['gain_db']:.2f} dB ({r['gain_interval_db'][0]:.2f} to "
              f"{r['gain_interval_db'][1]:.2f}){shaped}")
