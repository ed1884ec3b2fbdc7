# SPDX-License-Identifier: GPL-3.0-or-later
"""Points and pmf together on the impaired link: what lies beyond the square grid.

64 points anywhere in the plane (four-fold symmetry as the link has it, so 16 are free) and their pmf climb
I(X;Y) together, quasi-Newton from the Blahut-Arimoto optimum of the square grid at its best drive. The
gradient of the pmf is the information density, that of a point the density's change with its law: dI = p_i
sum dlaw_i log(law_i / output).
"""
import numpy as np
from scipy.optimize import minimize

from ..baselines.shaper_impaired import PHASE_WEIGHTS, ImpairedLink, amplify


def _log2(q):
    return np.log2(np.maximum(q, 1e-300))


class FreeLink(ImpairedLink):
    """The link with points of its own choice; vectors are (real parts, imaginary parts, logits) of one
    quadrant's."""

    def law_of(self, points):
        """p(cell | point), (k, cells, cells)."""
        mean = amplify(points)[:, None] * np.exp(1j * self.phase)
        return np.einsum("qnx,qny,n->qxy", self._rail(mean.real), self._rail(mean.imag), PHASE_WEIGHTS)

    def split(self, vector):
        """(points into the amplifier, pmf) of one quadrant."""
        x, y, logits = np.split(vector, 3)
        p = np.exp(logits - logits.max())
        return x + 1j * y, p / p.sum()

    def loss(self, vector):
        """(-I(X;Y) in bits, its gradient)."""
        points, p = self.split(vector)
        law = self.law_of(points)
        output = np.tensordot(p, sum(np.rot90(law, k, (1, 2)) for k in range(4)) / 4, 1)
        gain = _log2(law) - _log2(output)
        density = np.sum(law * gain, (1, 2))
        slope, h = [], 1e-4
        for step in (h, 1j * h):
            change = (self.law_of(points + step) - self.law_of(points - step)) / (2 * h)
            slope.append(p * np.sum(change * gain, (1, 2)))
        rate = float(p @ density)
        return -rate, -np.concatenate([*slope, p * (density - rate)])

    def best_points(self, pmf, drive, rounds=250):
        """(bits, points of one quadrant as sent into the amplifier, pmf of them), from a pmf of the square
        grid."""
        start = drive * self.points[self.first]
        logits = np.log(np.maximum(self._quadrant(pmf), 1e-6))
        found = minimize(self.loss, np.concatenate([start.real, start.imag, logits]), jac=True,
                         method="L-BFGS-B",
                         options={"maxiter": rounds})
        return (-float(found.fun), *self.split(found.x))


def free_points(snrs=(15, 17, 20), phases=(0, 3, 6), bits=(3, 4, 5, 6), rounds=250):
    """Rows: Maxwell-Boltzmann, Blahut-Arimoto on the square grid, and points and pmf together."""
    from ..cli.common import progress
    from .shaper import row

    rows = []
    for snr, phase, adc in progress([(s, p, b) for p in phases for b in bits for s in snrs], desc="points"):
        link = FreeLink(snr, phase, adc)
        best, pmf, drive, gap = link.best()
        boltzmann = link.maxwell_boltzmann()[0]
        both, points, p = link.best_points(pmf, drive, rounds)
        for scheme, mi, more in (("maxwell-boltzmann", boltzmann, {}),
                                 ("blahut-arimoto", best, {"gap_bits": gap}),
                                 ("points and pmf together", both,
                                  {"quadrant": [[z.real, z.imag, q] for z, q in zip(points, p)]})):
            rows.append(row("points", f"qam64 phase {phase} deg, ADC {adc} bits", snr, scheme, mi, best,
                            percent_over_mb=100 * (mi / boltzmann - 1), **more))
    return rows
