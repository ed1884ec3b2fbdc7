# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots of the receiver's studies: the literature's receiver, the distance to MAP."""
import numpy as np

STYLE = {"map": ("black", "-", 3), "linear": ("0.55", "--", 1.5), "class-gaussian": ("tab:green", "-", 1.2),
         "post-distorter": ("tab:brown", ":", 1.5), "dnn": ("tab:purple", "-", 1.2),
         "fit": ("tab:blue", "-", 1.5),
         "ddpm-T": ("tab:red", "-", 1.5), "ddpm-matched": ("tab:orange", "-", 1.5),
         "ddim-matched": ("gold", "-", 1.5), "fit-alone": ("tab:cyan", "-", 1.2),
         "law": ("tab:pink", "--", 1.2)}


def _figure(columns, height=4.2):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    return plt, *plt.subplots(1, columns, figsize=(5.2 * columns, height), squeeze=False)


def _save(plt, figure, folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(folder / f"{name}.png", dpi=110)
    plt.close(figure)
    return folder / f"{name}.png"


def papers(rows, folder):
    """BER over SNR of every receiver of the papers' study; returns the files written."""
    from .receiver_papers import TITLES
    plt, figure, axes = _figure(3)
    for axis, (study, noise) in zip(axes[0], (("S1", "AWGN"), ("S2", "AWGN"), ("S1", "Laplacian"))):
        some = [r for r in rows if r["study"] == f"papers {study}" and noise in r["setting"]]
        for name in TITLES:
            if name not in STYLE:
                continue
            at = sorted((r["snr_db"], max(r["ber"], 1e-5)) for r in some if r["receiver"] == name)
            colour, line, width = STYLE[name]
            axis.semilogy(*np.array(at).T, line, color=colour, lw=width, alpha=0.4 if name == "map" else 1,
                          label=TITLES[name])
        axis.set(title=f"16-QAM, {study}, {noise}", xlabel="SNR, dB", ylabel="BER", ylim=(3e-4, 0.6))
        axis.grid(alpha=0.3, which="both")
    axes[0][0].legend(fontsize=7)
    return [_save(plt, figure, folder, "receiver-papers")]


def examination(rows, folder):
    """GMI below MAP over SNR by known symbols, S2 with 3 and 5 bits; returns the files written."""
    from .receiver import TITLES
    settings = [(m, s) for m in ("rx-qam16", "rx-qam256") for s in ("S2-3bit", "S2")
                if any(r["model"] == m and r["study"] == s for r in rows)]
    plt, figure, axes = _figure(max(1, len(settings)))
    for axis, (model, study) in zip(axes[0], settings):
        some = [r for r in rows if r["model"] == model and r["study"] == study]
        bound = {(r["snr_db"], r["setting"].split()[0]): r["gmi"] for r in some if r["receiver"] == "map"}
        for name in ("linear", "class-gaussian", "law", "fit-alone", "fit"):
            for known, line in (("50", "-"), ("2000", ":")):
                at = sorted((r["snr_db"], max(bound[r["snr_db"], known] - r["gmi"], 1e-4)) for r in some
                            if r["receiver"] == name and r["setting"].split()[0] == known)
                if at:
                    axis.semilogy(*np.array(at).T, line, color=STYLE[name][0], lw=1.5,
                                  label=TITLES[name] if known == "50" else None)
        axis.axhline(0.01, color="0.8", lw=4, zorder=0)
        axis.set(title=f"{model}, {study}: 50 known (line), 2000 (dots)", xlabel="SNR, dB",
                 ylabel="GMI below MAP, bit", ylim=(1e-4, 80))
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=6.5, loc="upper left")
    return [_save(plt, figure, folder, "receiver-map-gap")]


def calibration(rows, folder):
    """Measured log odds over claimed LLR, one panel a constellation, S2-3bit; returns the files written."""
    from .receiver import TITLES
    order = ["rx-bpsk", "rx-qpsk", "rx-qam16", "rx-qam64", "rx-qam256"]
    names = sorted(dict.fromkeys(r["model"] for r in rows), key=lambda n: order.index(n) if n in order
                   else len(order))
    known = rows[0]["setting"].split()[0]
    some = [r for r in rows if r["study"] == "calibration S2-3bit" and r["setting"].split()[0] == known]
    plt, figure, axes = _figure(len(names), 4.4)
    odds = lambda p: np.log(p / (1 - p))
    for axis, model in zip(axes[0], names):
        axis.plot([0, 9], [0, 9], color="0.8", lw=4, zorder=0)
        for shift, name in ((-0.06, "map"), (0, "fit"), (0.06, "class-gaussian"), (0.12, "linear")):
            for r in (r for r in some if r["model"] == model and r["receiver"] == name):
                bins = np.array(r["reliability"])
                bins = bins[(bins[:, 0] > 50) & (bins[:, 2] < 1) & (bins[:, 2] > 0) &
                            (bins[:, 1] < 1 - 1e-12)]
                x, y = odds(bins[:, 1]), odds(bins[:, 2])
                low, high = odds(np.clip(bins[:, 3], 1e-9,
                                         1 - 1e-9)), odds(np.clip(bins[:, 4], 1e-9, 1 - 1e-9))
                axis.errorbar(x + shift, y, [y - low, high - y], fmt="o-", ms=3, lw=1, color=STYLE[name][0],
                              label=TITLES[name])
        axis.set(title=f"{model}, S2 with 3 bits, {known} known", xlabel="claimed LLR",
                 ylabel="measured log odds",
                 xlim=(0, 9), ylim=(-0.5, 9))
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=7)
    return [_save(plt, figure, folder, "receiver-calibration")]
