# SPDX-License-Identifier: GPL-3.0-or-later
"""Network kind "angular_unrolled": MIMO channel estimation by few guided steps in the beam domain.

y = H P + n with H (Nr, Nt) and pilots P (Nt, Np). With unitary Fourier matrices of the two arrays
(planar: one along the columns, one along the rows), H = F_r^H G conj(F_t). After F_r the rows of the
observation are independent problems, one for each receive beam r:

    (F_r y)_r = Phi g_r + n,   Phi = (conj(F_t) P)^T   (Np, Nt)

One step holds the belief g ~ CN(mu, diag(gamma)) and conditions it exactly on the pilots,

    S = Phi diag(gamma_r) Phi^H + sigma^2 I,  z = Phi^H S^-1 (y_r - Phi mu_r),  m = mu + gamma z

(the guidance of delay_net with its full covariance, beam by beam; with orthogonal pilots it falls
apart into scalars). A small convolutional network over the beams of both ends makes the next belief from
what a common phase leaves alone. Untrained it is sparse Bayesian learning (Tipping 2001) by EM.

The beams of two ends are as many as the antennas, so a wave between two beams leaks into many. With
``views`` > 1 the network estimates on several sets of beams, set i with i/views of a beam's width beside the
Fourier matrices along every axis (H, y and P with a phase slope over the arrays), and the answer is the mean.
Its error is exactly the mean error of the views less their spread around it (Krogh and Vedelsby, 1995).

Antenna index = column * rows + row. The scale of y and of P is free: both are normalised first.
"""

import math

import torch
from torch import nn

LOG_MIN, LOG_MAX = -16.0, 6.0
FEATURES = 12
GATES = 9  # the beam itself and its two neighbours along each of four axes


def fourier(shape, turn=0.0):
    """Unitary Fourier matrix of a planar array [columns, rows], beams x antennas, complex128; its beams
    ``turn`` of their width further along both axes."""

    def one(n):
        k = torch.arange(n, dtype=torch.float64)
        phase = -2 * math.pi / n * (torch.remainder(k[:, None] * k, n) - turn * k)
        return torch.polar(torch.full_like(phase, n**-0.5), phase)

    return torch.kron(one(shape[0]), one(shape[1]))


class Step(nn.Module):
    """Features (B, C, rx columns, rx rows, tx columns, tx rows) -> (B, Nr, Nt, outputs). Circular."""

    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv3d(FEATURES, width, (1, 3, 3))
        self.film = nn.Linear(width + 2, 2 * width)
        self.conv2 = nn.Conv3d(width, width, (3, 3, 1))
        self.conv3 = nn.Conv3d(width, width, (1, 3, 3))
        self.out = nn.Linear(width, 2 + 2 * GATES)
        for layer in (self.film, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x, condition):
        b, c, r0, r1, t0, t1 = x.shape

        def transmit(conv, a):
            a = nn.functional.pad(a.reshape(b, -1, r0 * r1, t0, t1), (1, 1, 1, 1, 0, 0), mode="circular")
            return nn.functional.silu(conv(a))

        a = transmit(self.conv1, x)
        s, t = self.film(torch.cat([a.mean((2, 3, 4)), condition], 1)).chunk(2, 1)
        a = a * (1 + s[:, :, None, None, None]) + t[:, :, None, None, None]
        a = nn.functional.pad(a.reshape(b, -1, r0, r1, t0 * t1), (0, 0, 1, 1, 1, 1), mode="circular")
        a = transmit(self.conv3, nn.functional.silu(self.conv2(a)))
        return self.out(a.flatten(2).transpose(1, 2)).view(b, r0 * r1, t0 * t1, -1)


class AngularUnrolled(nn.Module):
    """y (B, Nr, Np) complex, pilots (Nt, Np) complex, noise_var (B,) -> h (B, Nr, Nt), err_var (B,);
    with ``every`` all steps' h, first to last. precision: that of the conditioning; the engine's is
    double, training may use complex64."""

    def __init__(self, rx=(4, 4), tx=(8, 8), steps=3, width=16, views=1):
        super().__init__()
        self.config = dict(rx=list(rx), tx=list(tx), steps=steps, width=width,
                           **({"views": views} if views > 1 else {}))
        self.views = views
        self.shape = (*rx, *tx)
        self.precision = torch.complex128
        turns = [i / views for i in range(views)]
        self.register_buffer("f_rx", torch.stack([fourier(rx, t) for t in turns]), persistent=False)
        self.register_buffer("f_tx", torch.stack([fourier(tx, t) for t in turns]), persistent=False)
        self.prior = nn.Parameter(torch.zeros(rx[0] * rx[1], tx[0] * tx[1]))
        self.steps = nn.ModuleList(Step(width) for _ in range(steps))
        self.spread = nn.Linear(3, 1)
        nn.init.zeros_(self.spread.weight)
        nn.init.zeros_(self.spread.bias)

    def forward(self, y, pilots, noise_var, every=False):
        seen = [self._look(f_rx, f_tx, y, pilots, noise_var) for f_rx, f_tx in zip(self.f_rx, self.f_tx)]
        outputs = [torch.stack(same).mean(0) for same in zip(*(outputs for outputs, _ in seen))]
        err = torch.stack([e for _, e in seen]).mean(0)
        if self.views > 1:
            last = torch.stack([outputs[-1] for outputs, _ in seen]).detach()
            spread = ((last - last.mean(0)).abs() ** 2).mean((0, 2, 3))
            err = torch.maximum(err - spread, err / self.views)
        return (outputs if every else outputs[-1]), err

    def _look(self, f_rx, f_tx, y, pilots, noise_var):
        """One view: all steps' h, first to last, and the last one's err_var."""
        batch, (nt, count) = y.shape[0], pilots.shape
        pilots = pilots.to(torch.complex128)
        level = ((pilots.abs() ** 2).sum() / count).clamp_min(1e-30).sqrt()
        scale = (y.abs().double() ** 2).mean((1, 2)).clamp_min(1e-30).sqrt()
        noise = (noise_var.double() / scale**2).clamp(1e-5, 4.0)
        rotated = f_rx @ (y.to(torch.complex128) / scale[:, None, None])
        phi = (f_tx.conj() @ pilots / level).T
        solve = self._solver(rotated.to(self.precision), phi.to(self.precision), noise)
        scale = (scale / level).float()[:, None, None]
        condition = torch.stack([noise.log() * 0.3 + 1, torch.full_like(noise, math.log(count / nt))],
                                1).float()
        log_gamma = self.prior.expand(batch, -1, -1)
        mu, outputs = None, []
        for step in [*self.steps, None]:
            gamma = log_gamma.exp()
            m, z, q, v = solve(gamma, mu)
            back = f_rx.mH.to(torch.complex64) @ m @ f_tx.conj().to(torch.complex64)
            outputs.append(back * scale)
            v = v.clamp_min(0) + 1e-9
            if step is None:
                break
            power = m.real**2 + m.imag**2 + 1e-9
            z2 = (z.real**2 + z.imag**2).clamp_min(1e-9) / q.clamp_min(1e-9)
            grid = m.view(batch, *self.shape)
            x = [
                (log_gamma * 0.3 + 1),
                v.log() * 0.3 + 1,
                power.log() * 0.3 + 1,
                (z2 + 1e-4).log() * 0.5,
            ]
            x = [f.view(grid.shape) for f in x]
            for axis in (1, 2, 3, 4):
                pair = grid * grid.roll(1, axis).conj()
                pair = pair / (pair.real**2 + pair.imag**2 + 1e-12).sqrt()
                x += [pair.real, pair.imag]
            out = step(torch.stack(x, 1), condition)
            log_gamma = (
                (power + v).log() + out[..., 0] + (power.log() - v.log()).clamp(-8, 8) * out[..., 1]
            ).clamp(LOG_MIN, LOG_MAX)
            gate = torch.complex(out[..., 2 : 2 + GATES], out[..., 2 + GATES :])
            near = [grid] + [grid.roll(d, axis) for axis in (1, 2, 3, 4) for d in (1, -1)]
            mu = sum(gate[..., j] * n.reshape(m.shape) for j, n in enumerate(near))
        base = v.mean((1, 2)).detach()
        fit = torch.stack([base.log(), noise.log().float(), torch.full_like(base, math.log(count / nt))], 1)
        err = base * torch.exp(self.spread(0.3 * fit))[:, 0] * scale[:, 0, 0] ** 2
        return outputs, err

    def _solver(self, y, phi, noise):
        """(gamma, mu) -> posterior mean m, adjoint residual z, its scale q = diag(Phi^H S^-1 Phi), posterior
        variance v = gamma - gamma^2 q (from doubles: the difference cancels)."""
        count, nt = phi.shape
        gram = phi.mH @ phi
        power = gram.diagonal().real.mean()
        if (gram - power * torch.eye(nt)).abs().max() <= 1e-5 * power:
            seen = y @ phi.conj() / power
            left = (noise / power)[:, None, None]

            def orthogonal(gamma, mu):
                q = 1 / (gamma.double() + left)
                z = ((seen if mu is None else seen - mu) * q).to(torch.complex64)
                v = (gamma * left * q).float()
                return (gamma * z if mu is None else mu + gamma * z), z, q.float(), v

            return orthogonal
        eye = torch.eye(count, dtype=self.precision) * noise[:, None, None, None].to(self.precision)

        def general(gamma, mu):
            s = (phi * gamma[:, :, None, :].to(phi.dtype)) @ phi.mH + eye
            low = torch.linalg.cholesky(s)
            residual = y if mu is None else y - mu.to(phi.dtype) @ phi.T
            right = torch.cat([phi.expand(*s.shape[:2], -1, -1), residual[..., None]], 3)
            w = torch.linalg.solve_triangular(low, right, upper=False)
            a, b = w[..., :nt], w[..., nt:]
            z = (a.mH @ b)[..., 0].to(torch.complex64)
            q = (a.real**2 + a.imag**2).sum(2).double()
            v = (gamma.double() - gamma.double() ** 2 * q).float()
            return (gamma * z if mu is None else mu + gamma * z), z, q.float(), v

        return general
