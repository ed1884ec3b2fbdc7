# SPDX-License-Identifier: GPL-3.0-or-later
"""Flame graph of a receiver chain: perf's call stacks of the receiver's own thread, as boxes whose width is
the share of samples (B. Gregg, The flame graph, 2016)."""
import re

LEAST = 0.004  # share below which a box is left out
KINDS = (("engine: networks, posteriors", r"engine::", "#e4783c"), ("receiver, dsp", r"dsp::", "#e9c46a"),
         ("decoder, FFT, VOLK", r"fec|fft|volk|viterbi", "#8ab17d"),
         ("GNU Radio, pmt", r"^gr::|pmt::", "#7ba7c7"),
         ("other", r"", "#c9c9c9"))


class Frame:
    """A function as called from those below it; samples in it and in what it calls."""

    def __init__(self):
        self.samples, self.called = 0, {}

    def add(self, stack):
        self.samples += 1
        if stack:
            self.called.setdefault(stack[0], Frame()).add(stack[1:])


def stacks(script, thread="ofdm_rx"):
    """perf script's text (comm, ip, sym) -> call stacks of the threads whose name holds ``thread``, outermost
    first, from the block on."""
    for sample in script.split("\n\n"):
        lines = sample.strip("\n").splitlines()
        if not lines or thread not in lines[0]:
            continue
        names = [short(line.split(None, 1)[1]) for line in lines[1:] if len(line.split(None, 1)) == 2][::-1]
        first = next((i for i, n in enumerate(names) if "_impl::" in n), None)
        if first is not None:  # else the scheduler's own
            names = names[first:]
            yield [n for i, n in enumerate(names) if n != "[unknown]" and (i == 0 or n != names[i - 1])]


def short(name):
    """Without namespaces that say nothing, template arguments and parameters."""
    name = re.sub(r"\(anonymous namespace\)::|gr::diffusion::|N_\w+::|\[clone "
                  r"[^]]*\]|\+0x[0-9a-f]+|@@?GLIBC\S*", "", name)
    return re.sub(r"<[^<>]*>|\((?!\)::).*$", "", name).strip()


def draw(script, path, title):
    """Writes the picture (.png, .svg, .pdf). Raises ValueError if there is no sample of the thread."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import patches, pyplot as plt
    root = Frame()
    for stack in stacks(script):
        root.add(stack)
    if not root.samples:
        raise ValueError("no sample of the receiver's thread")
    boxes = list(boxes_of(root, root.samples))
    depth = 1 + max(level for *_, level in boxes)
    fig, ax = plt.subplots(figsize=(13, 0.9 + 0.26 * depth))
    used = set()
    for name, start, width, level in boxes:
        kind, _, color = next(k for k in KINDS if re.search(k[1], name))
        used.add(kind)
        ax.add_patch(patches.Rectangle((start, level), width, 0.94, facecolor=color, edgecolor="white",
                                       lw=0.4))
        room = int(width * 230)
        if room > 4:
            label = name.replace("engine::", "").replace("dsp::", "")
            label = label if width < 0.2 else f"{label}  {100 * width:.0f}%"
            ax.text(start + 0.002, level + 0.42, label[:room], fontsize=7, va="center", clip_on=True)
    ax.legend(handles=[patches.Patch(color=c, label=k) for k, _, c in KINDS if k in used], ncol=len(KINDS),
              fontsize=8,
              loc="upper center", bbox_to_anchor=(0.5, 0), frameon=False)
    ax.set(xlim=(0, 1), ylim=(0, depth), title=f"{title} ({root.samples} samples of the receiver's thread)")
    ax.axis("off")
    fig.tight_layout()
    fig.savefig(path, dpi=100)
    plt.close(fig)


def boxes_of(frame, total, start=0.0, level=0):
    """(name, start, width, level) of what the frame calls, the largest first."""
    for name, called in sorted(frame.called.items(), key=lambda i: -i[1].samples):
        width = called.samples / total
        if width >= LEAST:
            yield name, start, width, level
            yield from boxes_of(called, total, start, level + 1)
        start += width
