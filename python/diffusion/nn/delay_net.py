# SPDX-License-Identifier: GPL-3.0-or-later
"""Network kind "delay_unrolled": channel estimation for OFDM by few guided steps in the delay domain.

The channel is h = F g with F the (carriers x taps) Fourier matrix, taps = 2 carriers. One step holds
a Gaussian belief g ~ CN(mu, diag(gamma)) - what a denoiser gives: its estimate and its Tweedie
variance - and conditions it exactly on the pilots y = F_p g + n:

    S = F_p diag(gamma) F_p^H + sigma^2 I,  z = F_p^H S^-1 (y - F_p mu),  m = mu + gamma z

This is the guidance with its full covariance: a diagonal approximation of S is wrong as soon as the
pilots are fewer or less regular than the taps. Then a small convolutional network makes the next
belief. It sees only what a common phase of y leaves alone (magnitudes, posterior variance, the
significance |z|^2 / q of a tap, the phase between neighbours), the absolute delay, the noise level and
the number of pilots; it returns log gamma and complex gates on m and its neighbours, so
h(e^{ja} y) = e^{ja} h(y) exactly. One belief costs one S of pilots x pilots (Toeplitz in the pilot
positions), so the pattern is an input like any other.

With mu = 0 and gamma = |m|^2 + v this is the EM of sparse Bayesian learning (Tipping 2001); the
network starts there (zero output layer) and learns what scenes look like.

A frame's own sparse structure is one prior; a mean delay profile of a scene is another, and for dense
channels it is the law itself. So a model may have a bank of learned profiles (``bank`` > 0) beside the
steps: profile_bank.py.
"""

import math

import torch
from torch import nn

from .profile_bank import ProfileBank

LOG_MIN, LOG_MAX = -16.0, 4.0


class Step(nn.Module):
    """Features (B, C, taps) -> next log gamma and gates. Circular in the delay."""

    def __init__(self, taps, features, width, kernel, embedding, gates):
        super().__init__()
        self.embedding = nn.Parameter(0.5 * torch.randn(embedding, taps))
        self.conv1 = nn.Conv1d(features + embedding, width, kernel, padding="same", padding_mode="circular")
        self.film = nn.Linear(width + 2, 2 * width)
        self.conv2 = nn.Conv1d(width, width, kernel, padding="same", padding_mode="circular")
        self.out = nn.Linear(width, 2 + 2 * gates)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x, condition):
        e = self.embedding.expand(x.shape[0], -1, -1)
        a = nn.functional.silu(self.conv1(torch.cat([x, e], 1)))
        pooled = a.mean(2)
        s, t = self.film(torch.cat([pooled, condition], 1)).chunk(2, 1)
        a = a * (1 + s[:, :, None]) + t[:, :, None]
        return self.out(nn.functional.silu(self.conv2(a)).transpose(1, 2)), pooled


class DelayUnrolled(nn.Module):
    """y (B, P) complex64 = received / known pilot, pilots (B, P) int64, noise_var (B,) ->
    h (B, carriers), err_var (B, carriers); with ``every`` all steps' h, first to last."""

    FEATURES = 6

    def __init__(self, carriers=64, taps=None, steps=4, width=32, kernel=5, embedding=6, gates=5, bank=0):
        super().__init__()
        taps = taps or 2 * carriers
        self.config = dict(
            carriers=carriers,
            taps=taps,
            steps=steps,
            width=width,
            kernel=kernel,
            embedding=embedding,
            gates=gates,
            **({"bank": bank} if bank else {}),
        )
        self.prior = nn.Parameter(torch.linspace(-2.0, -7.0, taps))
        self.steps = nn.ModuleList(
            Step(taps, self.FEATURES, width, kernel, embedding, gates) for _ in range(steps)
        )
        self.spread = nn.Linear(4, 1)
        nn.init.zeros_(self.spread.weight)
        nn.init.zeros_(self.spread.bias)
        self.bank = ProfileBank(carriers, taps, bank, width) if bank else None
        k = torch.arange(carriers, dtype=torch.float64) - carriers // 2
        self.wide = carriers > 128  # transforms by FFT: the matrices would rule time and memory
        if self.wide:
            self.register_buffer("bins", torch.remainder(k, taps).long(), persistent=False)
            d = torch.arange(-(carriers - 1), carriers)
            self.register_buffer("lag_bins", torch.remainder(d, taps), persistent=False)
            return
        l = torch.arange(taps, dtype=torch.float64)
        phase = -2 * math.pi / taps * torch.remainder(k[:, None] * l, taps)
        self.register_buffer("fourier", torch.polar(torch.ones_like(phase), phase), persistent=False)
        d = torch.arange(-(carriers - 1), carriers, dtype=torch.float64)
        phase = -2 * math.pi / taps * torch.remainder(d[:, None] * l, taps)
        self.register_buffer("lags", torch.polar(torch.ones_like(phase), phase), persistent=False)

    def forward(self, y, pilots, noise_var, every=False):
        carriers = self.config["carriers"]
        count = y.shape[1]
        scale = (y.abs() ** 2).mean(1, keepdim=True).clamp_min(1e-30).sqrt()
        noise = (noise_var[:, None] / scale**2).clamp(1e-5, 4.0)
        y = (y / scale).to(torch.complex128)
        lag = pilots[:, :, None] - pilots[:, None, :] + carriers - 1
        eye = torch.eye(count, dtype=torch.complex128)
        condition = torch.cat([noise.log() * 0.3 + 1, torch.full_like(noise, math.log(count) - 2.5)], 1)
        log_gamma = self.prior.expand(y.shape[0], -1)
        mu = None
        outputs = []
        for step in [*self.steps, None]:
            gamma = log_gamma.exp()
            m, z, q, solve = self._guide(y, pilots, lag, eye, gamma, mu, noise)
            if every or step is None:
                outputs.append(self._response(m) * scale)
            if step is None:
                break
            v = (gamma - gamma**2 * q).clamp_min(0) + 1e-9
            power = m.real**2 + m.imag**2 + 1e-9
            z2 = (z.real**2 + z.imag**2).clamp_min(1e-9) / q.clamp_min(1e-9)
            pair = m * m.roll(1, 1).conj()
            pair = pair / (pair.real**2 + pair.imag**2 + 1e-12).sqrt()
            x = torch.stack(
                [
                    log_gamma * 0.3 + 1,
                    v.log() * 0.3 + 1,
                    power.log() * 0.3 + 1,
                    (z2 + 1e-4).log() * 0.5,
                    pair.real,
                    pair.imag,
                ],
                1,
            )
            out, pooled = step(x, condition)
            log_gamma = (
                (power + v).log() + out[..., 0] + (power.log() - v.log()).clamp(-8, 8) * out[..., 1]
            ).clamp(LOG_MIN, LOG_MAX)
            n = (out.shape[2] - 2) // 2
            gate = torch.complex(out[..., 2 : 2 + n], out[..., 2 + n :])
            mu = sum(gate[..., j] * m.roll(n // 2 - j, 1) for j in range(n))
        # posterior variance of each carrier, in units of the noise, corrected by a learned factor
        c = self._cross(gamma, pilots)
        explained = (c.conj() * torch.einsum("bpq,bkq->bkp", solve, c)).real.sum(2)
        base = gamma.double().sum(1, keepdim=True) - explained
        base = base.float().clamp_min(1e-9)
        if self.bank is not None and count <= self.bank.PILOTS:
            h = outputs[-1] / scale
            mixed, base = self.bank(self, y, pilots, lag, noise, condition, pooled, h, base)
            outputs.append(mixed * scale)
        fit = torch.stack(
            [
                base.mean(1).log(),
                base.log().mean(1),
                noise[:, 0].log(),
                torch.full_like(noise[:, 0], math.log(count)),
            ],
            1,
        )
        err = base.detach() * torch.exp(self.spread(fit.detach() * 0.3)) * scale**2
        return (outputs if every else outputs[-1]), err

    def _response(self, g):
        """F g, (B, carriers)."""
        if self.wide:
            return torch.fft.fft(g, dim=1)[:, self.bins]
        return g @ self.fourier.to(g.dtype).T

    def _delays_of(self, spectrum):
        """F^H of (B, carriers)."""
        if self.wide:
            full = spectrum.new_zeros(spectrum.shape[0], self.config["taps"])
            return torch.fft.ifft(full.index_copy(1, self.bins, spectrum), dim=1, norm="forward")
        return spectrum @ self.fourier.conj()

    def _lags_of(self, gamma):
        """sum_l gamma_l exp(-2 pi j d l / taps) for the lags d = 1 - carriers ... carriers - 1."""
        gamma = gamma.double().to(torch.complex128)
        return torch.fft.fft(gamma, dim=1)[:, self.lag_bins] if self.wide else gamma @ self.lags.T

    def _quality(self, sums):
        if self.wide:
            full = sums.new_zeros(sums.shape[0], self.config["taps"])
            full = full.index_add(1, self.lag_bins, sums)
            return torch.fft.ifft(full, dim=1, norm="forward").real.float()
        return (sums @ self.lags.conj()).real.float()

    def _guide(self, y, pilots, lag, eye, gamma, mu, noise):
        """Posterior of the belief: mean m, adjoint residual z, its scale q = diag(F_p^H S^-1 F_p), S^-1.
        In double precision: at 35 dB S is too ill-conditioned for two float programs to agree."""
        r = self._lags_of(gamma)  # (B, 2 carriers - 1)
        s = r.gather(1, lag.flatten(1)).view(lag.shape) + noise.double()[:, :, None] * eye
        a = torch.linalg.inv(s)
        residual = y if mu is None else y - self._response(mu.to(torch.complex128)).gather(1, pilots)
        alpha = (a @ residual[:, :, None])[:, :, 0]
        spectrum = torch.zeros(y.shape[0], self.config["carriers"], dtype=torch.complex128).scatter(
            1, pilots, alpha
        )
        z = self._delays_of(spectrum).to(torch.complex64)
        sums = torch.zeros_like(r).scatter_add(1, lag.flatten(1), a.flatten(1))
        q = self._quality(sums)
        m = gamma * z if mu is None else mu + gamma * z
        return m, z, q, a

    def _cross(self, gamma, pilots):
        """F_p diag(gamma) f_k^H for every carrier k: (B, carriers, P)."""
        carriers = self.config["carriers"]
        r = self._lags_of(gamma)
        lag = pilots[:, None, :] - torch.arange(carriers)[None, :, None] + carriers - 1
        return r.gather(1, lag.flatten(1)).view(lag.shape)
