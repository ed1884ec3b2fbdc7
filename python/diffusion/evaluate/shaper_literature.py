# SPDX-License-Identifier: GPL-3.0-or-later
"""The literature's shaper beside the baselines (Letafati, Ali and Latva-aho 2023).

Algorithm: put Gaussian noise of the link's SNR on uniform QAM symbols, run the reverse process of a DDPM of
that constellation, take the histogram of the nearest points as the pmf. Here with (a) the exact denoiser of
the unshaped constellation and (b) a trained epsilon network; both ancestral, from the step that matches the
SNR. With the exact reverse process the symbols return to the law they came from, the uniform one: what
(a) and (b) shape, they shape by the error of finitely many steps and of the network. And (c) the papers'
benchmark: a trainable constellation (points and pmf) with a neural demapper, for the noise at hand
(shaper_autoencoder.py).
"""
import numpy as np

STEPS = 100
SNRS = range(-20, 21, 5)


def trained_network(points, seed, steps=2500):
    """f(x_t, t) -> predicted noise; an MLP of the size the literature uses, trained here in seconds."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    abar = torch.tensor(_schedule(), dtype=torch.float32)
    grid = torch.view_as_real(torch.tensor(points.astype(np.complex64)))
    net = nn.Sequential(nn.Linear(4, 128), nn.Softplus(), nn.Linear(128, 128), nn.Softplus(),
                        nn.Linear(128, 128), nn.Softplus(), nn.Linear(128, 2))
    level = torch.log(abar / (1 - abar))
    features = lambda x, t: torch.cat([x, level[t][:, None] / 5, (t[:, None] / STEPS)], 1)
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        x = grid[torch.randint(len(grid), (1024,))]
        t = torch.randint(STEPS, (1024,))
        e = torch.randn(1024, 2) * 0.5 ** 0.5
        a = abar[t][:, None]
        loss = ((net(features(a.sqrt() * x + (1 - a).sqrt() * e, t)) - e) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()

    def epsilon(x, t):
        with torch.no_grad():
            pair = torch.tensor(np.stack([x.real, x.imag], 1), dtype=torch.float32)
            out = net(features(pair, torch.full((len(x),), t))).numpy()
        return out[:, 0] + 1j * out[:, 1]

    return epsilon


def exact_network(points):
    """The epsilon that a perfectly trained network would predict."""
    abar = _schedule()

    def epsilon(x, t):
        y, noise_var = x / np.sqrt(abar[t]), (1 - abar[t]) / abar[t]
        logits = (2 * np.outer(y, points.conj()).real - np.abs(points) ** 2) / noise_var
        p = np.exp(logits - logits.max(1, keepdims=True))
        x0 = p @ points / p.sum(1)
        return (x - np.sqrt(abar[t]) * x0) / np.sqrt(1 - abar[t])

    return epsilon


def _schedule():
    return np.cumprod(1 - np.linspace(1e-4, 0.2, STEPS))


def histogram(epsilon, points, snr_db, n, seed):
    """The pmf (M,) of the literature's algorithm."""
    rng = np.random.default_rng(seed)
    normal = lambda: (rng.standard_normal(n) + 1j * rng.standard_normal(n)) / np.sqrt(2)
    abar = _schedule()
    start = int(np.argmin(np.abs(np.log((1 - abar) / abar) + snr_db * np.log(10) / 10)))
    x = np.sqrt(abar[start]) * points[rng.integers(0, points.size, n)] + np.sqrt(1 - abar[start]) * normal()
    for t in range(start, -1, -1):
        before = abar[t - 1] if t else 1.0
        alpha = abar[t] / before
        x = (x - (1 - alpha) / np.sqrt(1 - abar[t]) * epsilon(x, t)) / np.sqrt(alpha)
        if t:
            x = x + np.sqrt((1 - before) / (1 - abar[t]) * (1 - alpha)) * normal()
    nearest = np.argmax(2 * np.outer(x, points.conj()).real - np.abs(points) ** 2, 1)
    return np.bincount(nearest, minlength=points.size) / n


def dnn_rows(name, bits, seed, steps=2500, snrs=SNRS):
    """The papers' DNN benchmark, trained for the noise it meets: its demapper's rate, and its constellation
    with MAP."""
    from ..baselines import shaper as baseline
    from ..cli.common import progress
    from ..square_grid import rail_levels
    from .shaper import row
    from .shaper_autoencoder import Autoencoder, information

    rows, levels = [], rail_levels(1 << bits // 2)
    for noise in ("AWGN", "Laplacian"):
        net = Autoencoder(1 << bits, noise, "joint", seed, steps)
        for snr in progress(snrs, desc=f"DNN {name} {noise}"):
            best = baseline.blahut_arimoto_awgn(levels, snr)[0] if noise == "AWGN" else None
            points, pmf = net.constellation(snr)
            mi = information(points, pmf, snr) if best else mi_laplace(points, pmf, snr, seed=seed)
            rows.append(row("literature", f"{name} {noise}", snr, "DNN, its demapper", mi - net.loss(snr),
                            best))
            rows.append(row("literature", f"{name} {noise}", snr, "DNN, MAP", mi, best))
    return rows


def mi_laplace(points, pmf, snr_db, n=100000, seed=1):
    """I(X;Y), bits, with Laplacian noise per rail of the same variance, by Monte Carlo through the true
    law."""
    from ..metrics import mutual_information_samples

    rng = np.random.default_rng(seed)
    points = points / np.sqrt(pmf @ np.abs(points) ** 2)
    index = rng.choice(points.size, n, p=pmf)
    b = np.sqrt(0.25 * 10 ** (-snr_db / 10))  # variance 2 b^2 = half the noise
    y = points[index] + rng.laplace(0, b, n) + 1j * rng.laplace(0, b, n)
    law = -(np.abs(y.real[:, None] - points.real) + np.abs(y.imag[:, None] - points.imag)) / b
    return float(mutual_information_samples(law, index, pmf).mean())


def literature(seed, n=20000, snrs=SNRS, steps=2500):
    from .. import Shaper
    from ..baselines import shaper as baseline
    from ..cli.common import progress
    from ..square_grid import rail_levels, square_qam
    from .shaper import row

    rows = []
    for name, bits in (("qam16", 4), ("qam64", 6)):
        points, levels, model = square_qam(bits), rail_levels(1 << bits // 2), Shaper(f"ps-{name}")
        networks = {"literature, exact denoiser": exact_network(points),
                    "literature, trained DDPM": trained_network(points, seed, steps)}
        for snr in progress(snrs, desc=f"literature {name}"):
            rail, best = (baseline.blahut_arimoto_awgn(levels, snr)[i] for i in (1, 0))
            mb = baseline.maxwell_boltzmann(levels, snr)[1]
            pmfs = {"uniform": np.full(points.size, 1 / points.size),
                    "maxwell-boltzmann": np.outer(mb, mb).ravel(),
                    "blahut-arimoto": np.outer(rail, rail).ravel(),
                    "diffusion": model.pmf(snr)}
            pmfs.update({k: histogram(f, points, snr, n, seed) for k, f in networks.items()})
            for scheme, pmf in pmfs.items():
                mi = baseline.mi_awgn_square(levels, pmf.reshape(levels.size, -1), snr)
                rows.append(row("literature", f"{name} AWGN", snr, scheme, mi, best))
            # pmfs made for AWGN, used as they are: no optimum to compare with
            for scheme, pmf in pmfs.items():
                mi = mi_laplace(points, pmf, snr, seed=seed)
                rows.append(row("literature", f"{name} Laplacian", snr, scheme, mi, None))
            rows.append(row("literature", f"{name} AWGN", snr, "capacity", baseline.capacity(snr), best))
        rows += dnn_rows(name, bits, seed, steps, snrs)
    return rows
