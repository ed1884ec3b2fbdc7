# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of merit and their intervals; the definitions that every table of the project uses.

LLRs: positive means bit 1, as digital.constellation_soft_decoder_cf has it. Bits of a symbol: most
significant first. Constellations: unit mean power.
"""
import numpy as np

Z95 = 1.959963984540054


def wilson(errors, trials, z=Z95):
    """(lo, hi): the Wilson score interval of a rate, 95% by default (Wilson 1927)."""
    if trials <= 0 or not 0 <= errors <= trials:
        raise ValueError(f"{errors} errors in {trials} trials is no rate")
    p, zz = errors / trials, z * z / trials
    centre = (p + zz / 2) / (1 + zz)
    half = z * np.sqrt(p * (1 - p) / trials + zz / (4 * trials)) / (1 + zz)
    # Rounding must not put the rate itself outside: with no error the lower end is zero, not 1e-20.
    return min(max(0.0, centre - half), p), max(min(1.0, centre + half), p)


def bootstrap(samples, statistic=np.mean, resamples=1000, seed=1, level=0.95):
    """(lo, hi): percentile bootstrap interval of statistic(rows of samples).

    For ratios give rows of numerators and denominators and a statistic of the rows."""
    samples = np.asarray(samples)
    rng = np.random.default_rng(seed)
    n = len(samples)
    if n < 2:
        raise ValueError(f"{n} samples have no bootstrap interval; use 2 or more")
    if statistic is np.mean and samples.ndim == 1 and n > 20000:
        # Poisson bootstrap: for large n the same law without n-sized index gathers.
        draws = (rng.poisson(1.0, n) for _ in range(resamples))
        stats = [np.dot(w, samples) / w.sum() for w in draws]
    else:
        stats = [statistic(samples[rng.integers(0, n, n)], **({"axis": 0} if statistic is np.mean else {}))
                 for _ in range(resamples)]
    return tuple(np.quantile(stats, [(1 - level) / 2, (1 + level) / 2]))


def labels(bits_per_symbol):
    """(2^m, m) uint8: the bits of each symbol index, most significant first."""
    m = int(bits_per_symbol)
    return ((np.arange(1 << m)[:, None] >> np.arange(m)[::-1]) & 1).astype(np.uint8)


def bit_errors(bits, llr):
    """(errors, trials) of hard decisions on LLRs of the same shape."""
    bits = np.asarray(bits)
    return int(np.count_nonzero((np.asarray(llr) > 0) != (bits != 0))), bits.size


def ber(bits, llr):
    """(ber, lo, hi): bit error rate with its Wilson interval."""
    errors, trials = bit_errors(bits, llr)
    return (errors / trials, *wilson(errors, trials))


def _loss(signed, scale):
    return np.logaddexp(0.0, -scale * signed).sum(-1) / np.log(2)


def gmi_scale(bits, llr):
    """The single scaling of the LLRs that maximises the GMI (convex; golden section on a log axis)."""
    signed = np.where(np.asarray(bits) != 0, 1.0, -1.0) * np.asarray(llr, np.float64)
    ratio = (np.sqrt(5) - 1) / 2
    # Hopelessly sure LLRs (a linear receiver's that saw no noise in few symbols) want far less than a
    # thousandth.
    lo, hi = np.log(1e-3 / max(1.0, np.abs(signed).max(initial=0) / 100)), np.log(1e3)
    f = lambda u: _loss(signed, np.exp(u)).mean()
    a, b = hi - ratio * (hi - lo), lo + ratio * (hi - lo)
    fa, fb = f(a), f(b)
    while hi - lo > 1e-3:
        if fa < fb:
            hi, b, fb = b, a, fa
            a = hi - ratio * (hi - lo)
            fa = f(a)
        else:
            lo, a, fa = a, b, fb
            b = lo + ratio * (hi - lo)
            fb = f(b)
    return float(np.exp((lo + hi) / 2))


def gmi_scale_interval(bits, llr):
    """(scale, lo, hi): gmi_scale with its 95% interval, the sandwich of an M-estimator (Huber 1967); symbols
    are independent, bits of a symbol need not be."""
    scale = gmi_scale(bits, llr)
    signed = np.where(np.asarray(bits) != 0, 1.0, -1.0) * np.asarray(llr, np.float64)
    wrong = 1 / (1 + np.exp(np.clip(scale * signed, -700, 700)))
    score = (wrong * signed).sum(-1)  # the loss by the scale, sign changed
    curvature = (wrong * (1 - wrong) * signed ** 2).sum(-1).mean()
    half = Z95 * score.std() / np.sqrt(len(score)) / curvature if curvature > 0 else np.inf
    return scale, scale - half, scale + half


def reliability(bits, llr, edges):
    """(n, 5) for the bins between edges of the LLR: how many, mean claimed P(1), measured P(1), its Wilson
    interval. A bit and its LLR count with both signs (an LLR of a 0 is one of the opposite sign for a 1), so
    bins are symmetric."""
    sign = np.where(np.asarray(bits).ravel() != 0, 1.0, -1.0)
    size, right = np.abs(np.asarray(llr, np.float64).ravel()), (np.asarray(llr).ravel() * sign > 0)
    at = np.digitize(size, edges) - 1
    out = []
    for k in range(len(edges) - 1):
        here = at == k
        n = int(here.sum())
        if n == 0:
            continue
        ties = here & (size == 0)
        good = int(right[here].sum()) + int(ties.sum()) // 2
        out.append((n, float(np.mean(1 / (1 + np.exp(-size[here])))), good / n, *wilson(good, n)))
    return np.array(out).reshape(-1, 5)


def calibration_error(bits, llr, edges):
    """Expected calibration error: mean over bits of |claimed - measured P(1)|, by bins of the LLR."""
    table = reliability(bits, llr, edges)
    return float(np.sum(table[:, 0] * np.abs(table[:, 1] - table[:, 2])) / table[:, 0].sum())


def gmi_samples(bits, llr, scale=None):
    """(n,) bits per symbol whose mean is the GMI of uniform bits; bits, llr: (n, m). scale: the best one."""
    bits, llr = np.asarray(bits), np.asarray(llr, np.float64)
    if bits.ndim != 2 or bits.shape != llr.shape:
        raise ValueError(f"bits {bits.shape} and llr {llr.shape}: both must be (n, bits per symbol)")
    scale = gmi_scale(bits, llr) if scale is None else scale
    return bits.shape[1] - _loss(np.where(bits != 0, 1.0, -1.0) * llr, scale)


def gmi(bits, llr, scale=None):
    """Generalised mutual information of bit-wise decoding, bits per symbol (Alvarado et al. 2018, eq. 30)."""
    return float(gmi_samples(bits, llr, scale).mean())


def mutual_information_samples(log_likelihood, index, pmf=None):
    """(n,) information densities log2 p(y|x) / p(y), whose mean over the true channel is I(X;Y).

    log_likelihood: (n, M) natural log p(y|x_i) of the true channel law; index: (n,) the symbols sent."""
    log_likelihood = np.asarray(log_likelihood, np.float64)
    m = log_likelihood.shape[1]
    pmf = np.full(m, 1 / m) if pmf is None else np.asarray(pmf, np.float64)
    with np.errstate(divide="ignore"):
        joint = log_likelihood + np.log(pmf)
    top = joint.max(1, keepdims=True)
    evidence = top[:, 0] + np.log(np.exp(joint - top).sum(1))
    return (log_likelihood[np.arange(len(index)), index] - evidence) / np.log(2)


def mutual_information_awgn(points, noise_var, pmf=None, n=100000, seed=1):
    """(I, lo, hi) in bits: I(X;Y) of a constellation in complex AWGN of variance noise_var, by Monte
    Carlo."""
    points = np.asarray(points)
    pmf = np.full(points.size, 1 / points.size) if pmf is None else np.asarray(pmf, np.float64)
    rng = np.random.default_rng(seed)
    index = rng.choice(points.size, n, p=pmf)
    noise = np.sqrt(noise_var / 2) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    y = points[index] + noise
    density = mutual_information_samples(-np.abs(y[:, None] - points) ** 2 / noise_var, index, pmf)
    half = Z95 * density.std() / np.sqrt(n)
    return density.mean(), density.mean() - half, density.mean() + half


def evm_db(x_hat, x):
    """Error vector magnitude in dB: mean |x^ - x|^2 over mean |x|^2."""
    return nmse_db(x_hat, x)


def nmse_db(h_hat, h):
    """sum |h^ - h|^2 / sum |h|^2 over the whole set, in dB."""
    h_hat, h = np.asarray(h_hat), np.asarray(h)
    return float(10 * np.log10(np.sum(np.abs(h_hat - h) ** 2) / np.sum(np.abs(h) ** 2)))
