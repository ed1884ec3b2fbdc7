# SPDX-License-Identifier: GPL-3.0-or-later
"""What a shaped constellation can reach: uniform, Maxwell-Boltzmann, Blahut-Arimoto, capacity.

AWGN: square QAM is two independent rails, noise variance 1/SNR per complex symbol at unit power of the
shaped symbols. The expectation over the noise is a Gauss-Hermite sum. All rates in bits per complex symbol.
"""
import numpy as np
from scipy.optimize import minimize, minimize_scalar

NODES, WEIGHTS = np.polynomial.hermite.hermgauss(64)
WEIGHTS = WEIGHTS / np.sqrt(np.pi)


def capacity(snr_db):
    """log2(1 + SNR), bits per complex symbol."""
    return np.log2(1 + 10 ** (np.asarray(snr_db) / 10))


def rail_density(levels, pmf, sigma):
    """(d (m,) nats, mmse): information densities d_i = E[log p(y|x_i) / p(y)] of one real rail in
    Gaussian noise of standard deviation sigma, and E|x - E[x|y]|^2. I = sum p_i d_i."""
    y = levels[:, None] + np.sqrt(2) * sigma * NODES
    exponent = -((y[:, :, None] - levels) ** 2) / (2 * sigma ** 2)
    with np.errstate(divide="ignore"):
        joint = exponent + np.log(pmf)
    top = joint.max(-1, keepdims=True)
    likely = np.exp(joint - top)
    evidence = likely.sum(-1)
    density = (-NODES ** 2 - top[..., 0] - np.log(evidence)) @ WEIGHTS
    mean = likely @ levels / evidence
    mmse = pmf @ ((levels[:, None] - mean) ** 2 @ WEIGHTS)
    return density, mmse


def _unit(levels, pmf):
    """Levels scaled to the power 1/2 that one rail of a unit-power symbol has."""
    return levels * np.sqrt(0.5 / (pmf @ levels ** 2))


def rail_information(levels, pmf, snr_db):
    """I(X;Y) of one rail in bits, power normalised; (bits, gradient wrt pmf in nats, bound).

    The gradient counts the renormalisation: d_i - s x_i^2, where s = dI / d(power) = mmse / sigma^2
    (Guo, Shamai and Verdu 2005, "Mutual information and minimum mean-square error"). bound: no pmf on
    these levels at this power carries more than max(d_i - s (x_i^2 - 1/2)) (Blahut 1972, with the
    constraint's multiplier s)."""
    x = _unit(levels, pmf)
    sigma = np.sqrt(0.5 * 10 ** (-snr_db / 10))
    density, mmse = rail_density(x, pmf, sigma)
    slope = density - mmse / sigma ** 2 * (x ** 2 - 0.5)
    return float(pmf @ density / np.log(2)), slope, float(slope.max() / np.log(2))


def _amplitudes(levels):
    """(which amplitude each level has, the amplitudes): the two signs are alike."""
    values, index = np.unique(np.round(np.abs(levels), 9), return_inverse=True)
    return index.ravel(), values


def _pmf(logits, index):
    p = np.exp(logits - logits.max())[index]
    return p / p.sum()


def maxwell_boltzmann(levels, snr_db):
    """(bits per complex symbol, rail pmf): exp(-lambda x^2) with the best lambda, power normalised."""
    index, values = _amplitudes(levels)
    pmf = lambda u: _pmf(-np.exp(u) * values ** 2 / values.max() ** 2, index)
    best = minimize_scalar(lambda u: -rail_information(levels, pmf(u), snr_db)[0], bounds=(-8, 4.5),
                           method="bounded", options={"xatol": 1e-5})
    p = pmf(best.x)
    return 2 * rail_information(levels, p, snr_db)[0], p


def blahut_arimoto_awgn(levels, snr_db):
    """(bits per complex symbol, rail pmf, gap): the pmf that carries most at unit power, over every pmf
    and every scale of the grid. gap (bits) bounds from above what is left on this grid and scale.

    Quasi-Newton on the information density, from the best Maxwell-Boltzmann law: the fixed point is
    Blahut's and Arimoto's, whose own steps take thousands of rounds here."""
    index, values = _amplitudes(levels)
    count = np.bincount(index)

    def objective(logits):
        p = _pmf(logits, index)
        bits, slope, _ = rail_information(levels, p, snr_db)
        gradient = np.bincount(index, p * (slope - p @ slope)) / np.log(2)
        return -bits, -gradient

    start = np.bincount(index, np.log(maxwell_boltzmann(levels, snr_db)[1])) / count
    best = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 300})
    p = _pmf(best.x, index)
    bits, slope, bound = rail_information(levels, p, snr_db)
    for _ in range(200):  # Blahut-Arimoto steps lift what the quasi-Newton steps left at almost nothing
        if bound - bits < 1e-6:
            break
        lifted = p * np.exp(slope - p @ slope)
        lifted /= lifted.sum()
        now = rail_information(levels, lifted, snr_db)
        if now[0] < bits - 1e-9:
            break
        p, (bits, slope, bound) = lifted, now
    return 2 * bits, p, 2 * (bound - bits)


def mi_uniform(levels, snr_db):
    """Bits per complex symbol of the uniform pmf."""
    return 2 * rail_information(levels, np.full(levels.size, 1 / levels.size), snr_db)[0]


def mi_awgn_square(levels, pmf, snr_db):
    """I(X;Y), bits, of any pmf (m, m) over the square grid levels x levels, power normalised: quadrature
    in both rails. pmf[i, j]: probability of levels[i] + j levels[j]."""
    power = pmf.sum(1) @ levels ** 2 + pmf.sum(0) @ levels ** 2
    x = levels / np.sqrt(power)
    sigma = np.sqrt(0.5 * 10 ** (-snr_db / 10))
    y = (x[:, None] + np.sqrt(2) * sigma * NODES).ravel()
    law = np.exp(-((y[:, None] - x) ** 2) / (2 * sigma ** 2))
    log_evidence = np.log(law @ pmf @ law.T).reshape(x.size, NODES.size, x.size, NODES.size)
    mean_log = np.einsum("iajb,a,b->ij", log_evidence, WEIGHTS, WEIGHTS)
    return float(np.sum(pmf * (-1.0 - mean_log)) / np.log(2))


def blahut_arimoto(law, multiplicity=None, output_law=None, own=None, tolerance=1e-6, rounds=20000):
    """(bits, pmf (k,), gap): capacity of a discrete memoryless channel (Blahut 1972, Arimoto 1972).

    law: (k, n) p(y | x), one row an input or, by symmetry, a representative of equally used inputs;
    output_law: (k, n) the mean law of its class (default: law); own: (k,) mean of sum law log(law) where a
    row is already a mean over a class. Starts from multiplicity (default: uniform) and stops when the
    bound max d - I is below tolerance bits."""
    law = np.asarray(law, float)
    output_law = law if output_law is None else np.asarray(output_law, float)
    if own is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(law > 0, law * np.log(law), 0).sum(1)
    log_p = np.log(np.full(law.shape[0], 1 / law.shape[0])) if multiplicity is None else \
        np.log(np.asarray(multiplicity) / np.sum(multiplicity))
    step, last = 1.0, -np.inf
    for _ in range(rounds):
        p = np.exp(log_p - log_p.max())
        p /= p.sum()
        density = own - law @ np.log(np.maximum(p @ output_law, 1e-300))
        rate = p @ density
        if density.max() - rate < tolerance * np.log(2):
            break
        if rate < last:          # over-relaxed step (Matz and Duhamel 2004) went too far
            step, log_p, last = 1.0, best_log_p, -np.inf
            continue
        last, best_log_p = rate, log_p
        log_p = np.maximum(log_p + step * (density - rate), -200)
        step = min(step * 1.05, 50.0)
    return float(rate / np.log(2)), p, float((density.max() - rate) / np.log(2))
