# SPDX-License-Identifier: GPL-3.0-or-later
"""Study "csi": channels measured by a Wi-Fi card (csi_intel5300.npz, 30 carriers of a 20 MHz channel).

There is no truth. What stands for it is the average of a packet's neighbours in time, each turned to the
packet in common phase, timing and level, the packet itself left out. It holds the card's own distortion, what
moved meanwhile and a little noise, so no estimator can reach -infinity here, and figures are comparable with
each other only.

Noise is added to the packet until the SNR is the one named (over the packet as it is, whose own noise is
measured on its neighbours and told to the estimators with the added one); every second measured carrier, or
all, are pilots; the error counts on all 30. "lmmse" learned from the channels that the networks were trained
on, "lmmse-place" from the first half of this very trace: one place, three seconds. Tests are packets of the
second half, 10 ms apart.
"""

import time
from pathlib import Path

import numpy as np

from ..baselines import estimator as baselines
from ..train import channels

NEIGHBOURS = 8  # on either side
SPACING = 10  # packets between tests


def load(folder):
    """(packets, carriers) of the strongest antenna, each of unit mean power, and the carriers' places in
    64."""
    path = Path(folder or ".") / "csi_intel5300.npz"
    if not path.exists():
        raise SystemExit(f"error: {path} does not exist: give the folder of the measured CSI with --data")
    with np.load(path) as f:
        csi, carrier = f["csi"][:, :, :, 0], f["subcarrier"].astype(int)
    strongest = np.argmax(np.mean(np.abs(csi) ** 2, (0, 1)))
    h = csi[:, :, strongest]
    return channels.unit_power(h[np.mean(np.abs(h) ** 2, 1) > 0]), carrier + 32


def turned(h, target, carriers):
    """h (n, carriers) in the common phase, timing (a grid of 1/64 sample within +-4) and level of target
    (carriers,)."""
    offset = np.arange(-256, 257) / 64
    slope = np.exp(-2j * np.pi / 64 * np.outer(offset, carriers - 32))
    match = (h.conj() * target) @ slope.conj().T  # (n, offsets)
    best = np.argmax(np.abs(match), 1)
    gain = match[np.arange(len(h)), best] / np.sum(np.abs(h) ** 2, 1)
    return gain[:, None] * slope[best] * h


def pseudo_truth(h, at, carriers):
    """The average of the packet's neighbours (carriers,), and the packet's own noise variance against it."""
    near = [j for j in range(at - NEIGHBOURS, at + NEIGHBOURS + 1) if j != at and 0 <= j < len(h)]
    same = turned(h[near], h[at], carriers)
    truth = same.mean(0)
    spread = np.sum(np.abs(same - truth) ** 2) / (len(near) - 1) / len(carriers)
    return truth, float(spread)


def rows(args, made, interval):
    """made: {name: estimator(y, pilots, noise_var) -> (frames, 64)}."""
    h, carriers = load(args.data)
    half = len(h) // 2
    tests = np.arange(half + NEIGHBOURS, len(h) - NEIGHBOURS, SPACING)[: args.frames]
    truth, own = zip(*[pseudo_truth(h, at, carriers) for at in tests])
    truth, own = np.array(truth), float(np.median(own))
    made = {**made, "lmmse-place": place(h[:half], carriers)}
    power = np.sum(np.abs(truth) ** 2, 1)
    out = []
    for name, pilots in (("all-30", np.arange(len(carriers))),
                         ("every-second-15", np.arange(0, len(carriers), 2))):
        for snr_db in [None, *args.snr]:
            rng = np.random.default_rng([args.seed, len(pilots),
                                         1000 if snr_db is None else int(10 * snr_db) + 2000])
            added = 0.0 if snr_db is None else 10 ** (-snr_db / 10)
            noise = np.sqrt(added) * channels.rayleigh(rng, (len(tests), len(pilots)))
            y = (h[tests][:, pilots] + noise).astype(np.complex64)
            for estimator, run in made.items():
                start = time.perf_counter()
                found = run(y, carriers[pilots], own + added)[:, carriers]
                spent = time.perf_counter() - start
                pairs = np.stack([np.sum(np.abs(found - truth) ** 2, 1), power], 1)
                value, low, high = interval(pairs)
                out.append(
                    {
                        "study": "csi",
                        "scene": "intel5300",
                        "pilots": name,
                        "bits": None,
                        "snr_db": snr_db,
                        "estimator": estimator,
                        "nmse_db": value,
                        "nmse_db_low": low,
                        "nmse_db_high": high,
                        "us_per_estimate": 1e6 * spent / len(tests),
                        "frames": len(tests),
                        "packet_noise_db": 10 * np.log10(own),
                    }
                )
    return out


def place(h, carriers):
    """LMMSE from this trace's own covariance on the measured carriers."""
    c = baselines.covariance(h)

    def estimate(y, pilots, noise_var):
        out = np.zeros((len(y), 64), complex)
        out[:, carriers] = baselines.linear(c, y, np.searchsorted(carriers, pilots), noise_var)
        return out

    return estimate
