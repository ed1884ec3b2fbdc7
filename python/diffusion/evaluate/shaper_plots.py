# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots of the shaper's study: pmfs over the grid, rates over SNR, the impaired link."""
import numpy as np

COLOURS = {"uniform": "0.5", "maxwell-boltzmann": "tab:orange", "blahut-arimoto": "black",
           "diffusion": "tab:blue", "capacity": "tab:green", "literature, exact denoiser": "tab:purple",
           "literature, trained DDPM": "tab:red"}


def plots(rows, folder):
    """Writes the plots that the rows allow; returns their paths."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    done = []

    def save(figure, name):
        figure.tight_layout()
        figure.savefig(folder / f"{name}.png", dpi=110)
        plt.close(figure)
        done.append(folder / f"{name}.png")

    def curve(study, setting, scheme, value="mi_bits"):
        at = sorted((r["snr_db"], r[value]) for r in rows
                    if (r["study"], r["setting"], r["scheme"]) == (study, setting, scheme))
        return np.array(at).T if at else np.zeros((2, 0))

    if any(r["study"] == "awgn" for r in rows):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
        for name, colour in (("qam16", "tab:orange"), ("qam64", "tab:blue"), ("qam256", "tab:green")):
            uniform, best = curve("awgn", name, "uniform"), curve("awgn", name, "blahut-arimoto")
            mine, net = curve("awgn", name, "diffusion"), curve("awgn", name, "diffusion", "net_rate")
            cap = curve("awgn", name, "capacity")
            axes[0].plot(uniform[0], cap[1] - uniform[1], ":", color=colour)
            axes[0].plot(best[0], cap[1] - best[1], "-", color=colour, lw=3, alpha=0.35)
            axes[0].plot(mine[0], cap[1] - mine[1], "-", color=colour, label=name)
            axes[1].plot(best[0], best[1] - uniform[1], color=colour, lw=3, alpha=0.35)
            axes[1].plot(mine[0], mine[1] - uniform[1], color=colour, label=name)
            axes[1].plot(net[0], net[1] - uniform[1], "--", color=colour)
        axes[0].set(ylabel="bits below log2(1 + SNR)", ylim=(0, 0.8), xlabel="SNR, dB")
        axes[1].set(ylabel="bits above uniform", xlabel="SNR, dB", ylim=(-0.1, 0.38))
        axes[0].set_title("Gap to capacity: dotted uniform, thick optimum, thin model", fontsize=9)
        axes[1].set_title("Gain: thick optimum, thin model, dashed less the matcher's loss", fontsize=9)
        for a in axes:
            a.grid(alpha=0.3)
            a.legend()
        save(figure, "shaper-awgn")

    from .. import Shaper
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.6))
    model = Shaper("ps-qam64")
    views = [("AWGN 5 dB", 5, None), ("AWGN 12 dB", 12, None), ("AWGN 18 dB", 18, None),
             ("PA, 3 deg, 4-bit ADC, 15 dB", 15, {"phase_noise_deg": 3, "adc_bits": 4})]
    for a, (title, snr, hardware) in zip(axes, views):
        c, p = model.points(snr, hardware), model.pmf(snr, hardware)
        a.scatter(c.real, c.imag, s=4000 * p, color="tab:blue", alpha=0.8, linewidths=0)
        a.set(title=title, aspect="equal")
        reach = np.abs(c.real).max() * 1.15
        a.set(xlim=(-reach, reach), ylim=(-reach, reach))
        a.grid(alpha=0.3)
    save(figure, "shaper-pmf")

    settings = [f"qam64 phase {p} deg, ADC {b} bits" for p in (0, 3, 6) for b in (3, 4, 6)]
    if any(r["study"] == "impaired" for r in rows):
        figure, axes = plt.subplots(3, 3, figsize=(11, 8), sharex=True)
        for a, setting in zip(axes.ravel(), settings):
            base = curve("impaired", setting, "uniform")
            for scheme in ("maxwell-boltzmann", "blahut-arimoto", "diffusion", "diffusion, hardware unknown"):
                x = curve("impaired", setting, scheme)
                a.plot(x[0], 100 * (x[1] / base[1] - 1), label=scheme, color=COLOURS.get(scheme, "tab:red"),
                       lw=4 if scheme == "blahut-arimoto" else 1.6,
                       alpha=0.3 if scheme == "blahut-arimoto" else 1)
            a.set_title(setting[6:], fontsize=9)
            a.grid(alpha=0.3)
        for a in axes[-1]:
            a.set_xlabel("SNR (saturation power), dB")
        for a in axes[:, 0]:
            a.set_ylabel("% over uniform")
        axes[0, 0].legend(fontsize=7)
        save(figure, "shaper-impaired")

    if any(r["study"] == "literature" for r in rows):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4.2))
        for a, name in zip(axes, ("qam16", "qam64")):
            base = curve("literature", f"{name} AWGN", "uniform")
            for scheme, colour in COLOURS.items():
                x = curve("literature", f"{name} AWGN", scheme)
                if scheme != "capacity":
                    a.plot(x[0], x[1] - base[1], "o-", ms=3, color=colour, label=scheme)
            a.set(title=f"{name}, AWGN", xlabel="SNR, dB", ylabel="bits above uniform")
            a.grid(alpha=0.3)
            a.legend(fontsize=8)
        save(figure, "shaper-literature")
    return done
