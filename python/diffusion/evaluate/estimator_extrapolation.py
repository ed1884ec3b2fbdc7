# SPDX-License-Identifier: GPL-3.0-or-later
"""Study "extrapolation": all carriers of the lower part of the band are pilots, the error counts on the
others only.

The networks are those of the other studies, trained for any pattern of pilots: no part of the band is special
to them and nothing is trained for this study. LMMSE and GMM learn from the scene's class of channels, full
band.
"""

import time

import numpy as np

from ..train import channels

PARTS = {"lower-half": 1 / 2, "lower-three-quarters": 3 / 4, "lower-seven-eighths": 7 / 8}


def rows(scene, made, snr_db, seed, interval):
    """Rows of one scene and SNR for every part of the band; paired: every estimator sees the same y."""
    n, carriers = scene.h.shape
    out = []
    for part, share in PARTS.items():
        pilots = np.arange(round(share * carriers))
        rng = np.random.default_rng([seed, len(pilots), int(10 * snr_db) + 1000, n])
        noise_var = 10 ** (-snr_db / 10)
        noise = np.sqrt(noise_var) * channels.rayleigh(rng, (n, len(pilots)))
        y = (scene.h[:, pilots] + noise).astype(np.complex64)
        rest = slice(len(pilots), None)
        near = slice(len(pilots), len(pilots) + 4)
        power = np.sum(np.abs(scene.h[:, rest]) ** 2, 1)
        for name, estimate in made.items():
            start = time.perf_counter()
            found = estimate(y, pilots, noise_var)
            spent = time.perf_counter() - start
            error = np.abs(found - scene.h) ** 2
            pairs = np.stack([error[:, rest].sum(1), power], 1)
            value, low, high = interval(pairs)
            out.append(
                {
                    "study": "extrapolation",
                    "scene": scene.name,
                    "pilots": part,
                    "bits": None,
                    "snr_db": snr_db,
                    "estimator": name,
                    "nmse_db": value,
                    "nmse_db_low": low,
                    "nmse_db_high": high,
                    "nmse_first_4_db": float(
                        10 * np.log10(error[:, near].sum() / np.sum(np.abs(scene.h[:, near]) ** 2))
                    ),
                    "us_per_estimate": 1e6 * spent / n,
                    "frames": n,
                }
            )
    return out
