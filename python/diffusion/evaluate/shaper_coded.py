# SPDX-License-Identifier: GPL-3.0-or-later
"""What arrives: amplitude shaping around an LDPC code against uniform 64-QAM with the same family of codes.

Word error rates are simulated with the link's own encoder, demapper (bitwise MAP, prior known) and decoder; the
noise is the same for all schemes (common random numbers). Uniform has every code of the family, each at the
SNR where it is best; shaping has one code and the compositions of the shaper model. Net rate: payload bits that arrive
intact per symbol, rate (1 - word error rate). Impaired: Rapp amplifier at the same drive for both (equal mean power
into it), phase noise, ADC; the receivers measure one centroid an ideal point and one noise variance from 20000 known
symbols, as a real one would.
"""
import numpy as np

UNIFORM = ("4/9", "3/5", "2/3", "11/15", "7/9")
TARGET = 0.1  # word error rate at which SNRs are compared: net rate is 0.9 of the scheme's
IMPAIRED = {"drive": 0.55, "phase_noise_deg": 1.0, "adc_bits": 6}


def channel(setting, x, snr_db, rng):
    """x (E|x|^2 = 1) through the link; the noise is drawn first, so that all schemes have the same."""
    from .. import quantizer
    from ..baselines.shaper_impaired import amplify

    noise = np.sqrt(0.5 * 10 ** (-snr_db / 10)) * (rng.standard_normal(x.size) + 1j * rng.standard_normal(x.size))
    turn = np.deg2rad(IMPAIRED["phase_noise_deg"]) * rng.standard_normal(x.size)
    if setting == "AWGN":
        return (x + noise).astype(np.complex64)
    # Noise relative to the power before the amplifier: the same SNR for the same power.
    y = amplify(IMPAIRED["drive"] * x) / IMPAIRED["drive"] * np.exp(1j * turn) + noise
    return quantizer(IMPAIRED["adc_bits"], 2.5)(y.astype(np.complex64))


class Scheme:
    """Words of one code on one constellation: encode, demap, decode."""

    def __init__(self, bits, code, constellation, setting, seed):
        self.bits, self.code, self.constellation, self.setting = bits, code, constellation, setting
        self.shaped = hasattr(code, "amplitudes")
        self.symbols = 16200 // bits
        self.payload = code.bits if self.shaped else code.k
        self.rate = self.payload / self.symbols
        self.order = np.random.default_rng(99).permutation(16200)
        self.seed = seed

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
        y = channel(self.setting, self.constellation.points[sent], snr_db, rng)
        # A cubic law of the centroids, least squares: outer points of a shaped frame are rare.
        basis = lambda x: np.stack([x, x * np.abs(x) ** 2, x * np.abs(x) ** 4], 1)
        points = self.constellation.points.astype(complex)
        weights = np.linalg.lstsq(basis(points[sent]), y, rcond=None)[0]
        return basis(points) @ weights, np.mean(np.abs(y - (basis(points) @ weights)[sent]) ** 2)

    def demap(self, y, points, noise_var):
        """LLRs (n, bits) under the prior."""
        if self.setting == "AWGN":
            return self.constellation.soft(y, np.full(y.size, noise_var, np.float32))
        power = np.abs(self.constellation.points) ** 2
        log_prior = np.zeros(power.size)
        if self.shaped:
            rails = np.array(self.code.amplitudes) / sum(self.code.amplitudes)
            step = np.abs(self.constellation.points.real).min()
            at = lambda v: np.round((np.abs(v) / step - 1) / 2).astype(int)
            log_prior = np.log(np.maximum(rails[at(self.constellation.points.real)] * rails[at(self.constellation.points.imag)], 1e-30))
        metric = np.empty((y.size, power.size), np.float32)
        for i, c in enumerate(points):
            metric[:, i] = log_prior[i] - np.abs(y - np.complex64(c)) ** 2 / noise_var
        p = np.exp(metric - metric.max(1, keepdims=True))
        ones = ((np.arange(power.size)[:, None] >> np.arange(self.bits)[::-1]) & 1).astype(np.float32)
        return np.log(np.maximum(p @ ones, 1e-30)) - np.log(np.maximum(p @ (1 - ones), 1e-30))

    def errors(self, snr_db, words):
        """Word errors of so many words."""
        wrong = 0
        points, noise_var = self.learn(snr_db)
        for from_ in range(0, words, 20):
            n = min(20, words - from_)
            y_rng, payload_rng = (np.random.default_rng([self.seed, round(100 * snr_db) + 5000, from_, k]) for k in (0, 1))
            payload = payload_rng.integers(0, 2, (n, self.payload), dtype=np.uint8)
            sent = self.labels(payload).ravel()
            y = channel(self.setting, self.constellation.points[sent], snr_db, y_rng)
            llr = self.demap(y, points, noise_var).astype(np.float32).reshape(n, -1)
            if not self.shaped:
                ordered = np.empty_like(llr)
                ordered[:, self.order] = llr
                llr = ordered
            decoded, _ = self.code.decode(llr.ravel())
            wrong += int((decoded.reshape(n, -1) != payload).any(1).sum())
        return wrong


def needed_snr(scheme, start, words, step=0.1):
    """({snr: word errors}, SNR where the word error rate is TARGET, its 95% interval): straight lines in the logit,
    the interval from Wilson's bounds of every point."""
    from ..metrics import wilson

    found, snr = {}, round(start / step) * step
    while not found or min(found.values()) > 0.02 * words:
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


def coded(seed, words=200, settings=("AWGN", "impaired"), model="qam64", rates=UNIFORM):
    """Rows: each uniform code at the SNR it needs, and shaping at the same rate at the SNR that it needs."""
    from .. import qam, shaped_code, shaped_fecs, ldpc_code
    from ..cli.common import progress

    bits, rows = 6, []
    for setting in settings:
        for rate in progress(rates, desc=f"coded {setting}"):
            code = ldpc_code(rate)
            uniform = Scheme(bits, code, qam(bits), setting, seed)
            start = 10 * np.log10(2 ** uniform.rate - 1) + (2.0 if setting == "AWGN" else 2.3)
            for fec in shaped_fecs(bits):  # the first with a composition of that rate
                codes = [c for c in (shaped_code(bits, fec, i) for i in range(100, 301)) if c.rate >= uniform.rate]
                mine = min(codes, key=lambda c: c.rate)
                if mine.rate < uniform.rate + 0.03:
                    break
            shaped = Scheme(bits, mine, qam(bits, [float(a) for a in mine.amplitudes]), setting, seed)
            results = {}
            for name, scheme, at in (("uniform", uniform, start), ("diffusion, amplitude shaping", shaped, start - 0.9)):
                found, snr, interval = needed_snr(scheme, at, words)
                results[name] = snr
                for point, wrong in sorted(found.items()):
                    rows.append({"study": "coded", "setting": f"qam64 {setting}", "snr_db": point, "scheme": name,
                                 "mi_bits": None, "percent_of_ba": None, "net_rate": scheme.rate * (1 - wrong / words),
                                 "rate": scheme.rate, "words": words, "word_errors": wrong,
                                 "code": rate if name == "uniform" else mine.code_rate})
                rows.append({"study": "coded needed SNR", "setting": f"qam64 {setting}", "snr_db": snr, "scheme": name,
                             "mi_bits": None, "percent_of_ba": None, "net_rate": scheme.rate * (1 - TARGET),
                             "rate": scheme.rate, "interval_db": interval,
                             "code": rate if name == "uniform" else mine.code_rate})
            # Shaping's rate is a little above (0.015 bit or less as a rule); the difference counts against it.
            rows[-1]["gain_db"] = results["uniform"] - rows[-1]["snr_db"]
            low, high = rows[-1]["interval_db"]
            other = next(r["interval_db"] for r in reversed(rows) if r["study"] == "coded needed SNR" and r["scheme"] == "uniform")
            rows[-1]["gain_interval_db"] = (other[0] - high, other[1] - low)
    return rows


def show(rows):
    """The SNRs needed side by side."""
    for r in rows:
        if "gain_db" in r:
            other = next(o for o in rows if o["study"] == r["study"] and o["setting"] == r["setting"]
                         and o["scheme"] == "uniform" and abs(o["rate"] - r["rate"]) < 0.05)
            print(f"{r['setting']}: {other['rate']:.3f} bit/symbol uniform with code {other['code']} needs "
                  f"{other['snr_db']:.2f} dB, {r['rate']:.3f} shaped {r['snr_db']:.2f} dB: {r['gain_db']:.2f} dB "
                  f"({r['gain_interval_db'][0]:.2f} to {r['gain_interval_db'][1]:.2f})")
