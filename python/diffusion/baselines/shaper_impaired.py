# SPDX-License-Identifier: GPL-3.0-or-later
"""The impaired shaping link as a discrete channel: Rapp PA, i.i.d. phase noise, AWGN, b-bit ADC.

z = drive x through a Rapp amplifier of smoothness 3 that saturates at 1, with AM-PM 0.3 r^2 / (1 + r^2) rad;
Gaussian phase noise; complex noise of variance 1/SNR (SNR: saturation power over noise power); mid-rise ADC
of b bits a rail over +-(1 + 3 sigma), or +-(1 + 1.5 sigma) for b <= 4, sigma = sqrt(0.5 / SNR). The law
p(cell | x) is exact but for the Gauss-Hermite sum over the phase. The link looks the same from four sides,
so one quadrant's points stand for all; drive is optimised for every scheme.
"""
from functools import lru_cache

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import ndtr

from ..square_grid import orbits, square_qam
from .shaper import blahut_arimoto

PHASE_NODES, PHASE_WEIGHTS = np.polynomial.hermite.hermgauss(21)
PHASE_WEIGHTS = PHASE_WEIGHTS / np.sqrt(np.pi)
DRIVES = (0.3, 2.5)


def amplify(z):
    """Rapp p = 3 at saturation 1 with AM-PM 0.3 r^2 / (1 + r^2) rad."""
    r2 = np.abs(z) ** 2
    return z / (1 + r2 ** 3) ** (1 / 6) * np.exp(0.3j * r2 / (1 + r2))


def adc_edges(adc_bits, sigma):
    """Inner edges of the cells of one rail; the outermost cells are open."""
    full_scale = 1 + (3 if adc_bits > 4 else 1.5) * sigma
    return np.linspace(-full_scale, full_scale, 2 ** adc_bits + 1)[1:-1]


class ImpairedLink:
    """One state of the link. Classes are the orbits of the square: rotations and reflections."""

    def __init__(self, snr_db, phase_noise_deg, adc_bits, bits_per_symbol=6):
        self.points = square_qam(bits_per_symbol)
        self.class_of, self.size = orbits(self.points)
        self.sigma = np.sqrt(0.5 * 10 ** (-snr_db / 10))
        self.phase = np.sqrt(2) * np.deg2rad(phase_noise_deg) * PHASE_NODES
        self.edges = adc_edges(adc_bits, self.sigma)
        self.first = np.flatnonzero((self.points.real > 0) & (self.points.imag > 0))
        self.laws = lru_cache(64)(self._laws)

    def _rail(self, mean):
        cdf = ndtr((self.edges - mean[..., None]) / self.sigma)
        return np.diff(cdf, prepend=0, append=1, axis=-1)

    def _laws(self, drive):
        """(law (q, cells), law averaged over the four rotations), for the points of one quadrant."""
        mean = amplify(drive * self.points[self.first])[:, None] * np.exp(1j * self.phase)
        cells = np.einsum("qnx,qny,n->qxy", self._rail(mean.real), self._rail(mean.imag), PHASE_WEIGHTS)
        turned = sum(np.rot90(cells, k, (1, 2)) for k in range(4)) / 4
        return cells.reshape(len(cells), -1), turned.reshape(len(cells), -1)

    def _quadrant(self, pmf):
        p = np.asarray(pmf, float)[self.first]
        return p / p.sum()

    def information(self, pmf, drive):
        """I(X;Y), bits, of a pmf (M,) that is the same in all four quadrants."""
        law, turned = self.laws(float(drive))
        p = self._quadrant(pmf)
        entropy = lambda q: -np.sum(np.where(q > 0, q * np.log2(np.maximum(q, 1e-300)), 0), -1)
        return float(entropy(p @ turned) - p @ entropy(law))

    def _best_drive(self, rate, drives=DRIVES):
        # Fine enough for both of its maxima: with few ADC bits the points can lock to the cells in two ways.
        grid = np.geomspace(*drives, 25)
        at = grid[np.argmax([rate(d) for d in grid])]
        step = grid[1] / grid[0]
        best = minimize_scalar(lambda d: -rate(d), bounds=(max(at / step, drives[0]),
                                                           min(at * step, drives[1])), method="bounded",
                               options={"xatol": 2e-3})
        return best.x

    def uniform(self):
        """(bits, pmf, drive)."""
        pmf = np.full(self.points.size, 1 / self.points.size)
        drive = self._best_drive(lambda d: self.information(pmf, d))
        return self.information(pmf, drive), pmf, drive

    def maxwell_boltzmann(self):
        """(bits, pmf, drive): best lambda (of either sign) and best drive together."""
        energy = np.abs(self.points) ** 2
        def pmf(slope):
            p = np.exp(-slope * (energy - energy.min()))
            return p / p.sum()
        best = None
        for start in ((0.0, np.log(0.8)), (1.0, 0.0), (2.0, np.log(1.5)), (1.5, np.log(2.0))):
            found = minimize(lambda v: -self.information(pmf(v[0]), np.exp(np.clip(v[1], *np.log(DRIVES)))),
                             start, method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-6})
            best = found if best is None or found.fun < best.fun else best
        return -best.fun, pmf(best.x[0]), float(np.exp(best.x[1]))

    def best(self, mirrored=False, tolerance=1e-4, grid_tolerance=1e-3, drives=DRIVES):
        """(bits, pmf, drive, gap): Blahut-Arimoto at the best drive. mirrored: points that are mirror
        images share one probability, as the models' classes have it; without, four-fold symmetry only."""
        if mirrored:
            groups = [np.flatnonzero(self.class_of[self.first] == k) for k in range(self.size.size)]
        else:
            groups = [np.array([i]) for i in range(self.first.size)]

        def solve(drive, tolerance):
            law, turned = self.laws(float(drive))
            if not mirrored:
                return blahut_arimoto(law, output_law=turned, tolerance=tolerance)
            return self._grouped(law, turned, groups, tolerance)

        drive = self._best_drive(lambda d: solve(d, grid_tolerance)[0], drives)
        bits, p, gap = solve(drive, tolerance)
        quadrant = np.empty(self.first.size)
        for k, g in enumerate(groups):
            quadrant[g] = p[k] / g.size
        pmf = np.empty(self.points.size)
        for turn in range(4):  # the quadrant's points and their rotations
            at = np.argmin(np.abs(self.points[None] - (self.points[self.first] * 1j ** turn)[:, None]), 1)
            pmf[at] = quadrant / 4
        return bits, pmf, drive, gap

    @staticmethod
    def _grouped(law, turned, groups, tolerance):
        """Inputs of one group are used alike: the mean of their densities counts."""
        mean_turned = np.stack([turned[g].mean(0) for g in groups])
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(law > 0, law * np.log(law), 0).sum(1)
        own = np.array([own[g].mean() for g in groups])
        mean_law = np.stack([law[g].mean(0) for g in groups])
        return blahut_arimoto(mean_law, output_law=mean_turned, own=own, tolerance=tolerance,
                              multiplicity=[g.size for g in groups])
