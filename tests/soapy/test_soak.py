# SPDX-License-Identifier: GPL-3.0-or-later
"""Long runs of the virtual radio: ./run test --soak.

Two processes at 2 Msample/s, 250 numbered OFDM frames a second from ofdm_tx to ofdm_rx; every frame is
accounted for. SOAK_SECONDS (1800): of the first run. SOAK_KILLS (50): of the second. SOAK_REPORT: a file for
the figures.
"""
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from soak_report import Account, account, growth, read  # noqa: E402

HERE = Path(__file__).parent
SECONDS = float(os.environ.get("SOAK_SECONDS", 1800))
KILLS = int(os.environ.get("SOAK_KILLS", 50))


class Station:
    """A process of soak_station.py."""

    def __init__(self, role, medium, folder, session):
        self.path = folder / f"{role}-{session}.log"
        self.role, self.session = role, session
        self.process = subprocess.Popen([sys.executable, str(HERE / "soak_station.py"), role, medium,
                                         str(self.path),
                                         str(session)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        assert self.process.stdout.readline() == "started\n", f"{role} did not start"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(60) == 0, f"{self.role} ended with {self.process.returncode}"

    def log(self):
        return read(self.path)


@pytest.fixture
def medium():
    name = f"soak-{os.getpid()}-{random.randrange(10 ** 6)}"
    yield name
    assert not list(Path("/dev/shm").glob(f"gr-diffusion-*-{name}")), "shared memory was left behind"


def write_report(name, figures):
    print(json.dumps(figures, indent=2))
    if path := os.environ.get("SOAK_REPORT"):
        known = json.loads(Path(path).read_text()) if Path(path).exists() else {}
        Path(path).write_text(json.dumps({**known, name: figures}, indent=2) + "\n")


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
def test_two_processes_in_real_time(medium, tmp_path):
    """No memory grows, every loss is told by an overflow or an underflow, the counters agree."""
    rx = Station("rx", medium, tmp_path, 1)
    tx = Station("tx", medium, tmp_path, 2)
    started = time.monotonic()
    while time.monotonic() - started < SECONDS:
        time.sleep(1)
        assert tx.process.poll() is None and rx.process.poll() is None, "a process died"
    tx.end()
    time.sleep(1)
    rx.end()
    sent, got = tx.log(), rx.log()
    a = account(got, 2)
    underflows, overflows = int(sent.status[-1][4]), int(got.status[-1][4])
    skip = min(300, SECONDS / 3)
    memory = {s.role: dict(zip(("kb_before", "kb_after", "kb_an_hour"), growth(s.log(), skip)))
              for s in (tx, rx)}
    figures = {"seconds": SECONDS, "sample_rate": 2e6, "frames_sent": int(sent.status[-1][3]),
               "first": a.first,
               "last": a.last, "heard": a.heard, "damaged": len(got.bad), "wrong": a.wrong,
               "lost_by_overflow": a.by_overflow, "lost_by_underflow": a.by_underflow,
               "unexplained": a.unexplained,
               "overflows": overflows, "gaps": len(got.gaps), "underflows": underflows, "shifts": a.shifts,
               "memory": memory, "cpu_s": {"tx": sent.status[-1][1], "rx": got.status[-1][1]}}
    write_report("steady", figures)
    assert a.unexplained == 0 and a.wrong == 0
    assert a.heard + a.by_overflow + a.by_underflow == a.expected
    assert a.expected > 0.9 * 250 * SECONDS - 2000, "most of the time nothing was sent or heard"
    assert a.last < sent.status[-1][3] + 100 and got.status[-1][3] == a.heard
    assert len(got.gaps) <= overflows, "samples went missing without an overflow"
    assert a.shifts <= underflows, "the stream was interrupted without an underflow"
    for role, m in memory.items():
        assert m["kb_after"] - m["kb_before"] < 2048, f"{role}: memory grows"


@pytest.mark.soak
@pytest.mark.timeout(KILLS * 60 + 300)
def test_killed_and_restarted(medium, tmp_path):
    """In turn the transmitter and the receiver are killed at a random moment and started anew; the other one
    lives on, and between two kills every frame is accounted for as above."""
    random.seed(1)
    sessions = {"rx": 1000, "tx": 1}
    stations = {role: Station(role, medium, tmp_path, sessions[role]) for role in ("rx", "tx")}
    all_of = {role: [station] for role, station in stations.items()}
    for k in range(KILLS):
        time.sleep(random.uniform(1.5, 4))
        role, other = ("tx", "rx") if k % 2 == 0 else ("rx", "tx")
        stations[role].kill()
        time.sleep(random.uniform(0, 0.3))
        assert stations[other].process.poll() is None, f"{other} died with the {role}"
        sessions[role] += 1
        stations[role] = Station(role, medium, tmp_path, sessions[role])
        all_of[role].append(stations[role])
    time.sleep(3)
    stations["tx"].end()
    time.sleep(1)
    stations["rx"].end()
    total, pairs, expected = Account(), 0, 0
    sent = {s.session: s.log() for s in all_of["tx"]}
    for station in all_of["rx"]:
        log = station.log()
        # a gap may come between two status lines
        assert not log.status or len(log.gaps) <= log.status[-1][4] + 1
        for session in sent:
            a = account(log, session)
            if a.heard:
                pairs += 1
                expected += a.expected
                total.add(a)
    strangers = {who for s in all_of["rx"] for who, _, _ in s.log().good} - set(sent)
    figures = {"kills": KILLS, "transmitters": len(sent), "receivers": len(all_of["rx"]), "pairs": pairs,
               "frames_expected": expected, "heard": total.heard, "wrong": total.wrong,
               "lost_by_overflow": total.by_overflow, "lost_by_underflow": total.by_underflow,
               "unexplained": total.unexplained,
               "overflows": int(sum(s.log().status[-1][4] for s in all_of["rx"] if s.log().status)),
               "underflows": int(sum(log.status[-1][4] for log in sent.values() if log.status))}
    write_report("kills", figures)
    assert not strangers and total.wrong == 0 and total.unexplained == 0
    assert total.heard + total.by_overflow + total.by_underflow == expected
    # each kill makes a new pair of a transmitter and a receiver that hear each other
    assert pairs >= KILLS, "some that were started anew were never heard"
    assert total.heard > 0
