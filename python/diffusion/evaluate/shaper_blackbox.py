# SPDX-License-Identifier: GPL-3.0-or-later
"""Study blackbox: Shaper.fit on samples of links whose law it is not told, judged by the true law.

What fit() sees are 64-QAM symbols, equally likely, at several levels, and what comes out. The rates in
mi_bits are those of the pmfs it found under the true law (quadrature; Laplacian noise: Monte Carlo),
estimated_bits what it believed from held-out samples. Beside them the optimum that knows the law.
"""
import numpy as np

SYMBOLS = 240000
LEVELS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.65, 1.8)


def awgn(snr_db):
    """(y of x, power limit, true rate of (pmf, level), {scheme: optimum})."""
    from ..baselines import shaper as baseline
    from ..square_grid import rail_levels, square_qam

    levels, points = rail_levels(8), square_qam(6)
    def receive(x, rng):
        noise = rng.standard_normal(x.size) + 1j * rng.standard_normal(x.size)
        return x + np.sqrt(0.5 * 10 ** (-snr_db / 10)) * noise
    def rate(pmf, level):  # at the SNR that this pmf has at this level
        power = level ** 2 * (pmf @ np.abs(points) ** 2)
        return baseline.mi_awgn_square(levels, pmf.reshape(8, 8), snr_db + 10 * np.log10(power))
    return receive, 1.0, rate, {"uniform": baseline.mi_uniform(levels, snr_db),
                                "maxwell-boltzmann": baseline.maxwell_boltzmann(levels, snr_db)[0],
                                "blahut-arimoto": baseline.blahut_arimoto_awgn(levels, snr_db)[0]}


def impaired(snr_db, phase_noise_deg, adc_bits):
    """Amplifier, phase noise, converter: the amplifier limits the power."""
    from .. import quantizer
    from ..baselines.shaper_impaired import ImpairedLink, amplify

    link = ImpairedLink(snr_db, phase_noise_deg, adc_bits)
    full_scale = 1 + (3 if adc_bits > 4 else 1.5) * link.sigma
    def receive(x, rng):
        turn = np.deg2rad(phase_noise_deg) * rng.standard_normal(x.size)
        noise = rng.standard_normal(x.size) + 1j * rng.standard_normal(x.size)
        return quantizer(adc_bits, full_scale)((amplify(x) * np.exp(1j * turn) + link.sigma *
                                                noise).astype(np.complex64))
    return receive, "free", link.information, {"uniform": link.uniform()[0],
                                               "maxwell-boltzmann": link.maxwell_boltzmann()[0],
                                               "blahut-arimoto": link.best()[0]}


def laplacian(snr_db):
    """Laplacian noise a rail; the optimum is not computed, the best Maxwell-Boltzmann law is."""
    from ..square_grid import square_qam
    from .shaper_literature import mi_laplace

    points = square_qam(6)
    def receive(x, rng):
        b = np.sqrt(0.25 * 10 ** (-snr_db / 10))
        return x + rng.laplace(0, b, x.size) + 1j * rng.laplace(0, b, x.size)
    def rate(pmf, level):
        return mi_laplace(points, pmf, snr_db + 10 * np.log10(level ** 2 * (pmf @ np.abs(points) ** 2)))
    laws = [np.exp(-a * np.abs(points) ** 2) for a in np.linspace(0, 2, 21)]
    return receive, 1.0, rate, {"uniform": rate(np.full(64, 1 / 64), 1.0),
                                "maxwell-boltzmann": max(rate(p / p.sum(),
                                                              (p.sum() / (p @ np.abs(points) ** 2)) ** 0.5)
                                                         for p in laws)}


LINKS = {"AWGN": (awgn, (12.0,)), "AWGN, nothing to gain": (awgn, (24.0,)),
         "PA, 0 deg, ADC 6 bits": (impaired, (15.0, 0, 6)), "PA, 3 deg, ADC 4 bits": (impaired, (15.0, 3, 4)),
         "PA, 3 deg, ADC 3 bits": (impaired, (17.0, 3, 3)), "Laplacian": (laplacian, (12.0,))}


def blackbox(seed, symbols=SYMBOLS, links=LINKS):
    from .. import Shaper
    from ..cli.common import progress
    from .shaper import row

    rows, shaper = [], Shaper("ps-qam64", 4096)
    points = shaper.constellation.astype(complex)
    for name, (make, arguments) in progress(links.items(), desc="blackbox"):
        rng = np.random.default_rng([seed, len(rows)])
        receive, power, rate, truth = make(*arguments)
        level = np.resize(np.array(LEVELS) if power != "free" else np.geomspace(0.7, 2.0, len(LEVELS)),
                          symbols)
        x = level * points[rng.integers(0, 64, symbols)]
        fitted = shaper.fit(x, receive(x, rng), level, power, seed=seed)
        best = truth.get("blahut-arimoto")
        setting = f"qam64 {name}"
        for scheme, bits in truth.items():
            rows.append(row("blackbox", setting, arguments[0], f"{scheme}, law known", bits, best))
        for scheme, s in fitted.schemes.items():
            kept = scheme == fitted.choice
            rows.append(row("blackbox", setting, arguments[0], f"{scheme}, from samples",
                            rate(s.pmf, s.level), best,
                            fitted.code.rate_loss if kept else 0.0, kept=kept, estimated_bits=s.bits,
                            interval=[s.low, s.high], level=s.level, law=fitted.law))
        rows[-1]["reason"] = fitted.reason
    return rows
