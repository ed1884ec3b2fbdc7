# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of every frame of a soak run, from the logs of soak_station.py."""
import math
from dataclasses import dataclass, field

from soak_station import FRAME, PERIOD, RATE

STEP = PERIOD / RATE        # seconds from one frame to the next
LENGTH = FRAME / RATE
TOLERANCE = 20 / RATE       # of a frame's time: the synchroniser's
MARGIN = 2 * STEP           # around missing samples: the synchroniser starts anew there
LEAD = 0.01                 # silence that an interrupted transmitter sends at least


@dataclass
class Log:
    """One process's lines; a line cut off by a kill is left out."""
    status: list = field(default_factory=list)  # (wall, cpu, rss, frames, counter)
    good: list = field(default_factory=list)    # (session, number, time)
    bad: list = field(default_factory=list)     # times
    gaps: list = field(default_factory=list)    # (from, to)


def read(path):
    log = Log()
    text = path.read_text() if path.exists() else ""
    for line in text[:text.rfind("\n") + 1].splitlines():
        kind, *words = line.split()
        if kind == "S":
            log.status.append(tuple(map(float, words)))
        elif kind == "F":
            log.good.append((int(words[0]), int(words[1]), float(words[2])))
        elif kind == "B":
            log.bad.append(float(words[0]))
        elif kind == "G":
            log.gaps.append((float(words[0]), float(words[1])))
    return log


@dataclass
class Account:
    """Frames between the first and the last that one receiver heard of one transmitter."""
    heard: int = 0        # good, in order
    wrong: int = 0        # good CRC, but not what was sent; twice; out of order
    by_overflow: int = 0  # lost where the receiver's samples are missing, and it said so
    by_underflow: int = 0  # lost where the transmitter's stream was interrupted, and it said so
    unexplained: int = 0
    shifts: int = 0       # interruptions of the transmitter's stream, seen by the times of its frames
    first: int = -1
    last: int = -1

    @property
    def expected(self):
        return self.last - self.first + 1 if self.first >= 0 else 0

    def add(self, other):
        for name in ("heard", "wrong", "by_overflow", "by_underflow", "unexplained", "shifts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def account(log, session):
    """Every number from the first to the last good frame is heard, or its loss has a reason."""
    a, before = Account(), None
    for who, number, time in log.good:
        if who != session:
            continue
        if before is None:
            a.first = a.last = number
            a.heard = 1
        elif number <= before[0]:
            a.wrong += 1
            continue
        else:
            a.heard += 1
            a.last = number
            lost = number - before[0] - 1
            shift = time - before[1] - (lost + 1) * STEP
            shifted = abs(shift) > TOLERANCE
            a.shifts += shifted
            if lost:
                # Where a lost frame lay: exactly known, unless the stream was interrupted somewhere in
                # between.
                slack = MARGIN + max(0.0, shift if shifted else 0.0)
                gone = [any(g[0] < before[1] + k * STEP + LENGTH + slack and g[1] > before[1] + k * STEP -
                            slack
                            for g in log.gaps) for k in range(1, lost + 1)]
                a.by_overflow += sum(gone)
                rest = lost - sum(gone)
                # An interruption breaks the frame on the air, and at most the one that follows.
                broken = min(rest, 2 * math.ceil(shift / LEAD - 0.01)) if shifted and shift > 0 else 0
                a.by_underflow += broken
                a.unexplained += rest - broken
        before = (number, time)
    return a


def growth(log, skip):
    """(resident kB after the first `skip` seconds, at the end, slope in kB an hour) of a process."""
    rows = [(s[0] - log.status[0][0], s[2]) for s in log.status]
    rows = [r for r in rows if r[0] >= skip]
    if len(rows) < 3:
        return 0.0, 0.0, 0.0
    mean_t, mean_m = (sum(r[i] for r in rows) / len(rows) for i in (0, 1))
    slope = sum((t - mean_t) * (m - mean_m) for t, m in rows) / max(1e-9,
                                                                    sum((t - mean_t) ** 2 for t, _ in rows))
    return rows[0][1], rows[-1][1], 3600 * slope
