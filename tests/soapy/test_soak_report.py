# SPDX-License-Identifier: GPL-3.0-or-later
"""The soak's accounting: a loss without a reason must be found. And a few seconds of the soak itself."""
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from soak_report import STEP, account, growth, read  # noqa: E402
from test_soak import Station, medium  # noqa: E402, F401


def log_of(path, numbers, shift=lambda n: 0.0, extra=()):
    lines = [f"F 7 {n} {10 + n * STEP + shift(n):.7f}" for n in numbers]
    path.write_text("\n".join([*lines, *extra]) + "\n")
    return read(path)


def test_losses_are_told_apart(tmp_path):
    path = tmp_path / "rx.log"
    everything = range(100, 200)
    a = account(log_of(path, everything), 7)
    assert (a.heard, a.expected, a.unexplained, a.wrong, a.shifts) == (100, 100, 0, 0, 0)
    assert account(read(path), 8).expected == 0
    without = [n for n in everything if n not in (150, 151, 170)]
    a = account(log_of(path, without), 7)
    assert (a.heard, a.unexplained, a.by_overflow) == (97, 3, 0)
    at = 10 + 150.5 * STEP
    a = account(log_of(path, without, extra=[f"G {at:.7f} {at + STEP / 2:.7f}"]), 7)
    assert (a.unexplained, a.by_overflow) == (1, 2)  # frame 170 is nowhere near the gap
    a = account(log_of(path, without, shift=lambda n: 0.012 if n > 170 else 0), 7)
    assert (a.unexplained, a.by_underflow, a.shifts) == (2, 1, 1)
    a = account(log_of(path, [n for n in everything if not 110 < n < 180], lambda n: 0.01 if n > 150 else 0),
                7)
    assert a.by_underflow == 2 and a.unexplained == 67  # one interruption cannot take 69 frames
    a = account(log_of(path, [100, 101, 101, 102]), 7)
    assert (a.heard, a.wrong) == (3, 1)


def test_a_line_cut_off_by_a_kill_is_no_frame(tmp_path):
    path = tmp_path / "rx.log"
    path.write_text("F 7 1 10.004\nS 1 2 3 4 5\nF 7 2 10.0")
    assert read(path).good == [(7, 1, 10.004)]


def test_memory_that_grows_is_seen(tmp_path):
    path = tmp_path / "rx.log"
    path.write_text("".join(f"S {t} 0 {50000 + t} 0 0\n" for t in range(100)))
    before, after, slope = growth(read(path), 20)
    assert (before, after) == (50020, 50099) and abs(slope - 3600) < 1


def test_a_few_seconds_of_it(medium, tmp_path):  # noqa: F811
    rx = Station("rx", medium, tmp_path, 1)
    tx = Station("tx", medium, tmp_path, 2)
    time.sleep(4)
    tx.end()
    time.sleep(0.5)
    rx.end()
    a = account(rx.log(), 2)
    assert a.heard > 50 and a.unexplained == 0 and a.wrong == 0
    assert a.last < tx.log().status[-1][3] + 100
