# SPDX-License-Identifier: GPL-3.0-or-later
"""What shaping can gain at most on the link of study coded, for decoders of bits: quadrature, ideal codes.

The rate of bit-metric decoding is H(X) - sum_i H(B_i | Y) (Boecherer 2014); its gain is how much more SNR
uniform QAM needs for the same rate. The pmf is the best product of two alike rail pmfs (what amplitude
shaping can send: signs equally likely), found by a simplex search.
"""
from functools import lru_cache

import numpy as np
from scipy.optimize import minimize


def rates(points, pmf, sigma, edges, turns, weights):
    """(I(X;Y), rate of bit-metric decoding): bits, cell by cell of the ADC. points: as they leave the
    amplifier."""
    from scipy.special import ndtr

    mean = points[:, None] * np.exp(1j * turns)
    rail = lambda v: np.diff(ndtr((edges - v[..., None]) / sigma), prepend=0, append=1, axis=-1)
    law = np.einsum("qnx,qny,n->qxy", rail(mean.real), rail(mean.imag), weights).reshape(points.size, -1)
    entropy = lambda q: -np.sum(np.where(q > 0, q * np.log2(np.maximum(q, 1e-300)), 0), -1)
    joint = pmf[:, None] * law
    output = joint.sum(0)
    width = int(np.log2(points.size))
    bits = (np.arange(points.size)[:, None] >> np.arange(width)[::-1]) & 1
    of_bits = sum(entropy(joint[bits[:, b] == v].sum(0)) for b in range(width)
                  for v in (0, 1)) - width * entropy(output)
    return float(entropy(output) - pmf @ entropy(law)), float(entropy(pmf) - of_bits)


def of_link(setting, pmf, snr_db, points=None):
    """rates() of 64-QAM (or of other points) of unit power under the pmf on the link of study coded."""
    from ..baselines.shaper_impaired import amplify
    from ..square_grid import square_qam
    from .shaper_coded import IMPAIRED, drive_and_power

    points = square_qam(6) if points is None else points
    points = points / np.sqrt(pmf @ np.abs(points) ** 2)
    sigma = np.sqrt(0.5 * 10 ** (-snr_db / 10))
    if setting == "AWGN":
        reach = np.abs(points.real).max() + 5 * sigma
        return rates(points, pmf, sigma, np.linspace(-reach, reach, 129)[1:-1], np.zeros(1), np.ones(1))
    drive, power = drive_and_power(setting, points, pmf)
    nodes, weights = np.polynomial.hermite.hermgauss(5)
    edges = np.linspace(-2.5, 2.5, 2 ** IMPAIRED["adc_bits"] + 1)[1:-1]
    turns = np.sqrt(2) * np.deg2rad(IMPAIRED["phase_noise_deg"]) * nodes
    return rates(amplify(drive * points) / np.sqrt(power), pmf, sigma, edges, turns, weights / np.sqrt(np.pi))


def rail_product(logits):
    """pmf (64,) of square_qam(6) whose amplitudes on both rails have logits (0, *logits)."""
    from ..square_grid import square_qam

    points = square_qam(6)
    step = np.abs(points.real).min()
    at = lambda v: np.round((np.abs(v) / step - 1) / 2).astype(int)
    p = np.exp(np.concatenate([[0], logits]))
    p = p[at(points.real)] * p[at(points.imag)]
    return p / p.sum()


def noise_rate(received, pmf, snr_db, nodes=10):
    """Rate of bit-metric decoding of points (64,) as received, in Gaussian noise alone, by quadrature; points
    and pmf look the same from four sides, so one quadrant stands for all. Quick enough for a search."""
    t, w = np.polynomial.hermite.hermgauss(nodes)
    noise, weight = np.sqrt(10 ** (-snr_db / 10)) * np.add.outer(t, 1j *
                                                                 t).ravel(), np.outer(w, w).ravel() / np.pi
    width = int(np.log2(pmf.size))
    first = np.flatnonzero([label >> width // 2 - 1 & 1 and label >> width - 1 & 1
                            for label in range(pmf.size)])
    y = np.add.outer(received[first], noise).ravel()
    metric = -np.abs(y[:, None] - received) ** 2 * 10 ** (snr_db / 10) + np.log(np.maximum(pmf, 1e-300))
    p = np.exp(metric - metric.max(1, keepdims=True))
    ones = (np.arange(pmf.size)[:, None] >> np.arange(width)) & 1
    q = np.clip(p @ ones / p.sum(1, keepdims=True), 1e-15, 1 - 1e-15)
    unsure = -(q * np.log2(q) + (1 - q) * np.log2(1 - q)).sum(1)
    return float(-pmf @ np.log2(np.maximum(pmf, 1e-300)) - 4 * np.outer(pmf[first], weight).ravel() @ unsure)


def moved(points, steps):
    """Points whose rails have the amplitudes 1, 1 + steps[0], 1 + steps[0] + steps[1], ... in place of 1, 3,
    5, 7."""
    smallest = np.abs(points.real).min()
    values = np.concatenate([[1], 1 + np.cumsum(steps)]) * smallest
    rail = lambda v: np.sign(v) * values[np.round((np.abs(v) / smallest - 1) / 2).astype(int)]
    return rail(points.real) + 1j * rail(points.imag)


def _sent(points, pmf, steps):
    from ..baselines.shaper_impaired import amplify
    from .shaper_coded import drive_and_power

    points = moved(points, steps)
    points = points / np.sqrt(pmf @ np.abs(points) ** 2)
    drive, power = drive_and_power("impaired", points, pmf)
    return points, amplify(drive * points) / np.sqrt(power)


def amplitudes(points, pmf, snr_db):
    """64 points of unit power under the pmf whose rails' amplitudes make up for the amplifier of study coded:
    the steps between them for which bits carry most at that SNR (2, 2, 2 is the square grid)."""
    points = np.asarray(points, complex)
    best = minimize(lambda v: -noise_rate(_sent(points, pmf, np.exp(v))[1], pmf, snr_db),
                    np.log([2.0, 2.1, 2.6]),
                    method="Nelder-Mead", options={"xatol": 0.02, "fatol": 1e-5, "maxfev": 120})
    return _sent(points, pmf, np.exp(best.x))[0]


def needed(setting, pmf, rate, low=2.0, high=24.0, points=None):
    """SNR in dB where bit-metric decoding of the pmf reaches the rate."""
    while high - low > 2e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if of_link(setting, pmf, middle, points)[1] < rate else (low, middle)
    return (low + high) / 2


@lru_cache(64)
def bit_metric_gain(setting, rate, free_amplitudes=False):
    """dB that the best amplitude shaping with an ideal code gains on uniform 64-QAM with an ideal code at
    that rate. free_amplitudes: as amplitudes() has them, not those of the grid."""
    from ..square_grid import square_qam

    uniform = needed(setting, np.full(64, 1 / 64), rate)
    # The best pmf at the SNR that it will need, 0.8 dB below: the rate is flat around it.
    best = minimize(lambda v: -of_link(setting, rail_product(v), uniform - 0.8)[1], [-0.35, -1.1, -2.0],
                    method="Nelder-Mead", options={"xatol": 0.02, "fatol": 1e-4, "maxfev": 80})
    pmf = rail_product(best.x)
    points = amplitudes(square_qam(6), pmf, uniform - 0.8) if free_amplitudes else None
    return uniform - needed(setting, pmf, rate, uniform - 3, uniform, points)
