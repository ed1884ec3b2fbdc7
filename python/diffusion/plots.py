# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots for reports: matplotlib's Agg, so that no display is needed."""
import numpy as np

# Okabe and Ito's palette: told apart with any colour vision.
COLOURS = {"stock": "#D55E00", "classical": "#0072B2", "diffusion": "#009E73", "truth": "#444444"}
MARKERS = {"stock": "s", "classical": "o", "diffusion": "D"}


def _axes(width=6.4, height=4.4, columns=1, **kwargs):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, columns, figsize=(width, height), constrained_layout=True, **kwargs)
    return figure, axes


def _save(figure, path):
    from matplotlib import pyplot
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    return path


def constellations(path, received, points, title=""):
    """received: {name: complex array}; points: the ideal constellation."""
    figure, axes = _axes(4.2 * len(received), 4.4, len(received), squeeze=False)
    limit = np.abs(np.concatenate([points.real, points.imag])).max() + 1.0
    for ax, (name, y) in zip(axes[0], received.items()):
        ax.plot(y.real, y.imag, ".", ms=2.5, alpha=0.35, color=COLOURS.get(name, "#0072B2"), rasterized=True)
        ax.plot(points.real, points.imag, "k+", ms=9, mew=1.6)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="I",
               title=f"{name}: equalised symbols")
        ax.grid(alpha=0.25)
    axes[0][0].set_ylabel("Q")
    figure.suptitle(title, fontsize=10)
    return _save(figure, path)


def channel(path, carriers, truth, estimates, title=""):
    """One frame's channel: magnitude and error. estimates: {name: complex array over carriers}."""
    figure, (top, bottom) = _axes(9.2, 4.2, 2)
    db = lambda h: 20 * np.log10(np.maximum(np.abs(h), 1e-6))
    # DC is no carrier: a gap instead of a line across it.
    gap = int(np.searchsorted(carriers, 0))
    cut = lambda v: np.insert(np.asarray(v, float), gap, np.nan)
    top.plot(cut(carriers), cut(db(truth)), "-", color=COLOURS["truth"], lw=2.5, label="truth")
    for name, h in estimates.items():
        colour, marker = COLOURS.get(name), MARKERS.get(name)
        top.plot(cut(carriers), cut(db(h)), "--", color=colour, lw=1.4, label=name)
        bottom.plot(cut(carriers), cut(db(h - truth)), "-", marker=marker, ms=3, color=colour, lw=1,
                    label=name)
    top.set(xlabel="carrier", ylabel="|H|, dB", title="channel of one frame")
    bottom.set(xlabel="carrier", ylabel="|H estimate - H|, dB", title="error of the estimate")
    for ax in (top, bottom):
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    return _save(figure, path)


def error_rates(path, curves, title=""):
    """curves: {name: [(snr_db, per, (lo, hi), ber or None), ...]}: PER with intervals, BER before
    decoding."""
    figure, (left, right) = _axes(9.2, 4.2, 2)
    for name, points in curves.items():
        points = sorted(points)
        snr, per = [p[0] for p in points], np.array([p[1] for p in points])
        low, high = np.array([p[2] for p in points]).T
        left.errorbar(snr, per, [np.maximum(per - low, 0), np.maximum(high - per, 0)],
                      color=COLOURS.get(name),
                      marker=MARKERS.get(name), ms=5, lw=1.4, capsize=3, label=name)
        known = [(p[0], p[3]) for p in points if p[3]]
        if known:
            right.semilogy(*zip(*known), color=COLOURS.get(name), marker=MARKERS.get(name), ms=5, lw=1.4,
                           label=name)
    left.set(xlabel="SNR, dB", ylabel="packet error rate", ylim=(-0.03, 1.03), title="PER, 95% intervals")
    right.set(xlabel="SNR, dB", ylabel="bit error rate", title="BER before decoding, detected frames")
    for ax in (left, right):
        ax.grid(alpha=0.25, which="both")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    return _save(figure, path)
