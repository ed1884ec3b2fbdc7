# SPDX-License-Identifier: GPL-3.0-or-later
"""Classical MIMO channel estimators: ``estimator(y, p, noise_var) -> h``, y (frames, Nr, Np), p (Nt, Np), h
(frames, Nr, Nt), y = h p + n."""

import numpy as np

from ..train.mimo_channels import steering


def ls(y, p, noise_var):
    """Least squares; with fewer pilots than transmit antennas the solution of least norm."""
    return y @ np.linalg.pinv(p)


class Lmmse:
    """LMMSE from training channels (n, Nr, Nt). The covariance is the Kronecker product of those of the two
    ends (Nr Nt x Nr Nt would need far more channels than there are), each shrunk by Ledoit and Wolf (2004),
    whose weight comes from treating rows, or columns, as the samples."""

    def __init__(self, h):
        nr, nt = h.shape[1:]
        self.tx = self._shrunk(h.reshape(-1, nt))  # E h_r h_r^H over transmit antennas
        self.rx = self._shrunk(h.transpose(0, 2, 1).reshape(-1, nr))
        self.rx *= nr / np.trace(self.rx).real

    @staticmethod
    def _shrunk(x):
        n, size = x.shape
        s = x.T @ x.conj() / n
        level = np.trace(s).real / size
        distance = np.sum(np.abs(s - level * np.eye(size)) ** 2)
        spread = (np.sum(np.sum(np.abs(x) ** 2, 1) ** 2) / n - np.sum(np.abs(s) ** 2)) / n
        weight = min(1.0, max(0.0, spread / distance))
        return (1 - weight) * s + weight * level * np.eye(size)

    def __call__(self, y, p, noise_var):
        value, vector = np.linalg.eigh(self.rx)
        rows = vector.conj().T @ y  # in the eigenvectors of the receiver the rows are independent
        out = np.empty((len(y), y.shape[1], p.shape[0]), complex)
        c = self.tx @ p.conj()  # E g y^H for a row of unit receive power
        for r, power in enumerate(value):
            inner = power * (p.T @ c) + noise_var * np.eye(p.shape[1])
            out[:, r] = rows[:, r] @ (power * c @ np.linalg.inv(inner)).T
        return vector @ out


class Genie:
    """LMMSE that knows each channel's own covariance c (frames, Nr Nt, Nr Nt): an unreachable bound."""

    def __init__(self, c):
        self.c = c

    def __call__(self, y, p, noise_var):
        nr = y.shape[1]
        a = np.kron(np.eye(nr), p.T)
        cross = self.c @ a.conj().T
        inner = a @ cross + noise_var * np.eye(len(a))
        h = cross @ np.linalg.solve(inner, y.reshape(len(y), -1, 1))
        return h.reshape(len(y), nr, -1)


class Gmm:
    """Mixture of zero-mean Gaussians whose covariances are diagonal over the beams of both arrays (circulant:
    Fesl et al., "Channel estimation based on Gaussian mixture models with structured covariances", 2022),
    fitted by EM to training channels until the likelihood stands still; then the exact posterior mean."""

    def __init__(self, h, rx, tx, components=64, iterations=200, seed=1, tolerance=1e-4):
        def fourier(shape):
            one = [np.fft.fft(np.eye(n)) / np.sqrt(n) for n in shape]
            return np.kron(*one)

        rng = np.random.default_rng(seed)
        self.f_rx, self.f_tx = fourier(rx), fourier(tx)
        g = np.abs(self.f_rx @ h @ self.f_tx) ** 2  # H = F_r^H G conj(F_t), F symmetric
        g = g.reshape(len(h), -1).astype(np.float32)
        share = rng.dirichlet(np.full(components, 0.1), len(h)).astype(np.float32)
        before, self.likelihoods = -np.inf, []
        for _ in range(iterations):
            mass = share.sum(0) + 1e-6
            var = (share.T @ g) / mass[:, None] + 1e-5
            log = np.log(mass / mass.sum()) - g @ (1 / var).T - np.log(var).sum(1)
            top = log.max(1, keepdims=True)
            total = np.exp(log - top).sum(1, keepdims=True)
            share = np.exp(log - top) / total
            now = float(np.mean(top + np.log(total)))
            self.likelihoods.append(now)
            if now - before < tolerance * g.shape[1]:
                break
            before = now
        self.weight, self.var = mass / mass.sum(), var.reshape(components, h.shape[1], h.shape[2])

    def __call__(self, y, p, noise_var):
        phi = (self.f_tx.conj() @ p).T  # (Np, Nt): receive beams are problems of their own
        seen = self.f_rx @ y
        frames, nr, _ = seen.shape
        log = np.tile(np.log(self.weight), (frames, 1))
        mean = np.empty((len(self.weight), frames, nr, p.shape[0]), np.complex64)
        for k, var in enumerate(self.var):
            inner = (phi * var[:, None, :]) @ phi.conj().T + noise_var * np.eye(len(phi))
            solved = np.linalg.solve(inner, seen.transpose(1, 2, 0))  # (Nr, Np, frames)
            distance = np.sum(seen.transpose(1, 2, 0).conj() * solved, axis=(0, 1)).real
            log[:, k] -= np.linalg.slogdet(inner)[1].sum() + distance
            mean[k] = (var[:, :, None] * (phi.conj().T @ solved)).transpose(2, 0, 1)
        share = np.exp(log - log.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        return self.f_rx.conj().T @ np.einsum("nk,knrt->nrt", share, mean) @ self.f_tx.conj()


class Omp:
    """Orthogonal matching pursuit over products of beams of the two arrays. ``oversampling`` 1: the DFT grid;
    2: half steps along each of the four axes. Stops at the noise level or at ``most`` beams."""

    def __init__(self, rx, tx, oversampling=2, most=40):
        def grid(shape):
            u, v = (np.arange(n * oversampling) / (n * oversampling) for n in shape)
            return steering(np.repeat(u, len(v)), np.tile(v, len(u)), shape) / np.sqrt(shape[0] * shape[1])

        self.a, self.b, self.most = grid(rx), grid(tx), most

    def __call__(self, y, p, noise_var):
        seen = self.b @ p
        norm = np.linalg.norm(seen, axis=1)
        out = np.empty((len(y), self.a.shape[1], self.b.shape[1]), complex)
        for i, observed in enumerate(y):
            residual, pairs = observed.ravel(), []
            basis = np.zeros((0, observed.size), complex)  # orthonormal, and how the atoms are made of it
            mix = np.zeros((self.most, self.most), complex)
            for k in range(min(self.most, observed.size // 2)):
                if np.vdot(residual, residual).real <= noise_var * observed.size:
                    break
                score = np.abs(self.a.conj() @ residual.reshape(observed.shape) @ seen.conj().T) / norm
                r, t = np.unravel_index(np.argmax(score), score.shape)
                if (r, t) in pairs:
                    break
                atom = np.outer(self.a[r], seen[t]).ravel()
                mix[:k, k] = basis.conj() @ atom
                atom = atom - mix[:k, k] @ basis
                mix[k, k] = np.linalg.norm(atom)
                if mix[k, k].real < 1e-6:
                    break
                pairs.append((r, t))
                basis = np.concatenate([basis, atom[None] / mix[k, k]])
                residual = residual - np.vdot(basis[k], residual) * basis[k]
            k = len(pairs)
            gain = np.linalg.solve(mix[:k, :k], basis.conj() @ observed.ravel())
            out[i] = sum((g * np.outer(self.a[r], self.b[t]) for g, (r, t) in zip(gain, pairs)), 0)
        return out
