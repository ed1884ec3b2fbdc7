# SPDX-License-Identifier: GPL-3.0-or-later
"""Frequency responses to train and test channel estimators on: synthetic laws and ray-traced files.

Every generator takes ``(rng, n, carriers)`` and returns complex64 ``(n, carriers)``, each row scaled
to unit mean power. Delays are in samples of the carriers' whole bandwidth (1 / (carriers x spacing)),
and the laws are the same in samples for any number of carriers: the bandwidth stays, the spacing shrinks.
carrier k sees exp(-2 pi j (k - carriers/2) delay / carriers). Delays beyond ``carriers`` samples
alias, as they do on the air.
"""

from pathlib import Path

import numpy as np


def response(delay, gain, carriers):
    """Paths to responses. delay, gain (..., paths), gain complex -> (..., carriers)."""
    k = np.arange(carriers) - carriers // 2
    if carriers <= 128:
        phase = np.exp((-2j * np.pi / carriers) * delay[..., None, :] * k[:, None])
        return np.einsum("...kp,...p->...k", phase.astype(np.complex64), gain.astype(np.complex64))
    # two levels, k = 32 a + b: a hundredth of the exponentials, and one matrix product
    k = k[0] + 32 * np.arange((carriers + 31) // 32)
    turn = -2j * np.pi / carriers * delay[..., None]
    coarse = np.moveaxis(gain[..., None] * np.exp(turn * k), -1, -2).astype(np.complex64)
    fine = np.exp(turn * np.arange(32)).astype(np.complex64)
    return (coarse @ fine).reshape(*delay.shape[:-1], -1)[..., :carriers]


def unit_power(h):
    return (h / np.sqrt(np.mean(np.abs(h) ** 2, -1, keepdims=True))).astype(np.complex64)


def rayleigh(rng, shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)


def phasor(rng, shape):
    return np.exp(2j * np.pi * rng.random(shape))


def exponential(rng, n, carriers, decay=None):
    """Rayleigh taps on the sample grid, power exp(-tap / decay); decay log-uniform or given (n,)."""
    if decay is None:
        decay = np.exp(rng.uniform(np.log(0.3), np.log(12), n))
    taps = np.arange(max(16, carriers // 4))
    power = np.exp(-taps / np.asarray(decay)[:, None])
    gain = rayleigh(rng, power.shape) * np.sqrt(power)
    return unit_power(response(np.broadcast_to(taps * 1.0, power.shape), gain, carriers))


# The decay constants, in samples, of the three scenes of the mixture that the evaluation uses.
MIXTURE_DECAYS = (1.0, 3.0, 8.0)


def mixture(rng, n, carriers):
    """Three scenes of exponential profiles in equal shares (MIXTURE_DECAYS)."""
    return exponential(rng, n, carriers, np.asarray(MIXTURE_DECAYS)[rng.integers(3, size=n)])


def sparse(rng, n, carriers, clusters=7, rays=4):
    """City-like: a few clusters of specular rays, exponential decay with log-normal shadowing."""
    reach = np.exp(rng.uniform(np.log(2), np.log(40), (n, 1, 1)))  # samples
    count = rng.integers(1, clusters + 1, (n, 1, 1))
    start = rng.exponential(1, (n, clusters, 1)) * reach
    start[:, 0] = 0
    inside = np.exp(rng.uniform(np.log(0.05), np.log(2), (n, clusters, 1)))
    offset = rng.exponential(1, (n, clusters, rays)) * inside
    offset[..., 0] = 0
    used = (np.arange(clusters)[:, None] < count) & (
        np.arange(rays) < rng.integers(1, rays + 1, (n, clusters, 1))
    )
    slope = np.exp(rng.uniform(np.log(0.3), np.log(3), (n, 1, 1)))
    shadow = rng.normal(0, rng.uniform(1, 8, (n, 1, 1)), (n, clusters, 1)) + rng.normal(0, 3, offset.shape)
    power = used * np.exp(-slope * start / reach - offset / inside) * 10 ** (shadow / 10)
    power[:, 0, 0] *= np.where(rng.random(n) < 0.4, 10 ** rng.uniform(0, 1.5, n), 1)  # line of sight
    gain = np.sqrt(power) * phasor(rng, power.shape)
    return unit_power(response((start + offset).reshape(n, -1), gain.reshape(n, -1), carriers))


def tdl(rng, n, carriers, taps=20):
    """Tapped delay lines drawn as TR 38.901 draws cluster delays and powers (its equations 7.5-1 to
    7.5-6), each tap Rayleigh: a new profile for every row."""
    spread = np.exp(rng.uniform(np.log(0.2), np.log(8), (n, 1)))
    ratio = rng.uniform(1.7, 3.8, (n, 1))
    delay = -ratio * spread * np.log(rng.uniform(1e-9, 1, (n, taps)))
    delay = np.sort(delay - delay.min(1, keepdims=True), 1)
    power = np.exp(-delay * (ratio - 1) / (ratio * spread)) * 10 ** (-rng.normal(0, 3, (n, taps)) / 10)
    power *= np.arange(taps) < rng.integers(4, taps + 1, (n, 1))
    return unit_power(response(delay, rayleigh(rng, power.shape) * np.sqrt(power), carriers))


def unseen_city(rng, n, carriers):
    """Test only. Another law than sparse(): Poisson arrivals of single rays over up to the whole
    unambiguous delay, power-law decay, heavy-tailed (Student t) shadowing, no clusters."""
    most = 24
    mean_gap = rng.uniform(1, 8, (n, 1))
    delay = np.cumsum(rng.exponential(1, (n, most)) * mean_gap, 1)
    delay -= delay[:, :1]
    power = (1 + delay / 2) ** -rng.uniform(1, 2.5, (n, 1)) * 10 ** (
        0.4 * np.clip(rng.standard_t(3, delay.shape), -6, 6)
    )
    power *= delay < carriers
    return unit_power(response(delay, np.sqrt(power) * phasor(rng, delay.shape), carriers))


def shifted(rng, h):
    """Applies the timing offset that a good synchroniser leaves: none, or -1 to 3 samples, later positive."""
    n, carriers = h.shape
    u = rng.random(n)
    offset = np.where(u < 0.6, 0, rng.uniform(-1, 3, n))
    k = np.arange(carriers) - carriers // 2
    return (h * np.exp(-2j * np.pi * offset[:, None] * k / carriers)).astype(np.complex64)


class RayTraced:
    """Channels of siso_ofdm_SCENE.npz (keys h, tx_id) and paths_SCENE.npz (link, offset, delay_s,
    power). ``held_out`` masts are left out of draw() and given by test()."""

    def __init__(self, folder, scenes=("etoile", "munich"), held_out=(4,), rate_hz=20e6, jitter_db=0.0):
        folder, self.jitter_db = Path(folder), jitter_db
        self.paths, self.train, self.test, self.test_paths = [], {}, {}, {}
        for scene in scenes:
            file = folder / f"siso_ofdm_{scene}.npz"
            if not file.exists():
                raise FileNotFoundError(
                    f"{file} does not exist: give the folder of the ray-traced files with --data"
                )
            with np.load(file) as f:
                h, mast = unit_power(f["h"]), f["tx_id"]
            out = np.isin(mast, held_out)
            self.train[scene], self.test[scene] = h[~out], h[out]
            self.test_paths[scene] = []
            with np.load(folder / f"paths_{scene}.npz") as f:
                for i, link in enumerate(f["link"]):
                    part = slice(f["offset"][i], f["offset"][i + 1])
                    delay, power = f["delay_s"][part], f["power"][part]
                    order = np.argsort(power)[::-1][:32]  # what lies below is a millionth of the power
                    path = (delay[order] * rate_hz, power[order] / power[order].sum())
                    (self.test_paths[scene] if mast[link] in held_out else self.paths).append(path)
        self._all = np.concatenate(list(self.train.values()))

    def draw(self, rng, n, carriers):
        """Half as traced, half with the paths' phases drawn anew, their delays stretched and, with jitter_db,
        each path's power changed at random."""
        m = n // 2 if carriers == self._all.shape[1] else 0
        pick = rng.integers(len(self._all), size=m)
        h = self._all[pick] * phasor(rng, (m, 1)) if m else np.zeros((0, carriers), np.complex64)
        delay, gain = padded([self.paths[j] for j in rng.integers(len(self.paths), size=n - m)])
        delay *= np.exp(rng.uniform(np.log(0.6), np.log(1.4), (n - m, 1)))
        if self.jitter_db:
            gain *= 10 ** (self.jitter_db * rng.standard_normal(gain.shape) / 20)
        fresh = response(delay, gain * phasor(rng, gain.shape), carriers)
        return unit_power(np.concatenate([h, fresh]))

    def unseen(self, rng, carriers):
        """{scene: channels of the held-out masts}: as traced at the files' number of carriers; at any
        other from the traced delays and powers, each link once, its paths' phases drawn."""
        if carriers == self._all.shape[1]:
            return self.test
        out = {}
        for scene, paths in self.test_paths.items():
            delay, gain = padded(paths)
            out[scene] = unit_power(response(delay, gain * phasor(rng, gain.shape), carriers))
        return out


def padded(paths, most=32):
    """(delay, power) of each link to arrays (links, most) of delays and amplitudes."""
    delay, gain = np.zeros((len(paths), most)), np.zeros((len(paths), most))
    for i, (d, p) in enumerate(paths):
        delay[i, : len(d)], gain[i, : len(p)] = d, np.sqrt(p)
    return delay, gain


def pilot_pattern(rng, n, carriers, count):
    """n patterns of ``count`` carriers: irregular, comb (any start), block, comb with jitter.
    int64 (n, count), ascending, and the kinds (n,), 0 to 3 in this order."""
    kind = rng.choice(4, size=n, p=(0.5, 0.3, 0.08, 0.12))
    out = np.empty((n, count), np.int64)
    spacing = carriers // count
    for i in range(n):
        if kind[i] == 1:
            gap = spacing if rng.random() < 0.8 else rng.integers(1, spacing + 1)
            out[i] = rng.integers(carriers - gap * (count - 1)) + gap * np.arange(count)
        elif kind[i] == 2:
            out[i] = rng.integers(carriers - count + 1) + np.arange(count)
        elif kind[i] == 3 and spacing > 1:
            out[i] = spacing * np.arange(count) + rng.integers(spacing, size=count)
        else:
            out[i] = np.sort(rng.permutation(carriers)[:count])
    return out, kind
