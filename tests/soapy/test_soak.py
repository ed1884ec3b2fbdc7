# SPDX-License-Identifier: GPL-3.0-or-later
"""Long runs of the virtual radio: ./run test --soak (SOAK_SECONDS, default 1800)."""
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from soapy_c import OVERFLOW, RX, TIMEOUT, Radio  # noqa: E402
from test_processes import segment, spawn  # noqa: E402

SECONDS = float(os.environ.get("SOAK_SECONDS", 1800))
RATE = 2e6
COUNTER = """
import time
with Radio(medium=sys.argv[1], dac_bits=0).tune(TX, rate=2e6).open(TX) as tx:
    tx.start(TX)
    print("started")
    k, end = 0, time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        n = np.arange(k, k + 4096)
        if tx.write_all(((n % 1024) / 1024 + 0.25 + 1j * ((n // 1024 % 1024) / 1024)).astype(np.complex64)) == 4096:
            k += 4096
    print(tx.sensor("underflows"), k)
"""


def resident_kb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])


def counted(rails):
    """Sample numbers modulo 2^20 that the rails carry; -1 where there was silence."""
    n = np.round((rails[:, 0] - 0.25) * 1024) + 1024 * np.round(rails[:, 1] * 1024)
    return np.where(rails[:, 0] < 0.2, -1, n).astype(int)


def listen(rx, seconds):
    """Samples heard, gaps in the count, overflows told."""
    heard = gaps = overflows = 0
    last, end = -1, time.monotonic() + seconds
    while time.monotonic() < end:
        rails, code, _, _ = rx.read(8192)
        if code > 0:
            numbers = counted(rails)
            numbers = np.concatenate([[last], numbers[numbers >= 0]]) if last >= 0 else numbers[numbers >= 0]
            if numbers.size:
                gaps += int(np.count_nonzero(np.diff(numbers) % 2 ** 20 != 1))
                heard += numbers.size
                last = int(numbers[-1])
        elif code == OVERFLOW:
            overflows += 1
        else:
            assert code == TIMEOUT
    return heard, gaps, overflows


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
def test_two_processes_in_real_time():
    medium = f"soak-{os.getpid()}"
    with Radio(medium=medium, noise_dbm=-250, adc_bits=0).tune(RX, rate=RATE).open(RX) as rx:
        rx.start(RX)
        sender = spawn(COUNTER, medium, SECONDS)
        assert sender.stdout.readline() == "started\n"
        _, _, early = listen(rx, min(10, SECONDS / 4))  # while the sender starts
        before = resident_kb()
        heard, gaps, overflows = listen(rx, SECONDS * 0.7)
        assert resident_kb() - before < 2000, "memory grows"
        assert early + overflows == int(rx.sensor("overflows"))
        rx.stop(RX)
        underflows = int(sender.stdout.readline().split()[0])
        sender.wait()
        # every gap is an overflow here or an underflow there, and both were told
        assert gaps <= overflows, (gaps, overflows, underflows)
        assert heard > 0.9 * RATE * SECONDS * 0.7
    assert not segment(medium).exists()


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_fifty_transmitters_killed_and_restarted():
    medium = f"soak-{os.getpid()}"
    with Radio(medium=medium, noise_dbm=-250, adc_bits=0).tune(RX, rate=RATE).open(RX) as rx:
        rx.start(RX)
        for _ in range(50):
            sender = spawn(COUNTER, medium, 1000)
            assert sender.stdout.readline() == "started\n"
            heard, _, _ = listen(rx, 0.5)
            assert heard > 0
            sender.kill()
            sender.wait()
    assert not segment(medium).exists()
