# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual radios in processes of their own: clients nobody here wrote, and processes that are killed."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from soapy_c import RX, TX, Radio  # noqa: E402

HERE = Path(__file__).parent
MEDIA = Path("/dev/shm")


def segment(medium):
    return MEDIA / f"gr-diffusion-{os.getuid()}-{medium}"


@pytest.fixture
def medium(request):
    name = f"test-{os.getpid()}-p{abs(hash(request.node.name)) % 10 ** 8}"
    yield name
    assert not segment(name).exists(), "shared memory was left behind"


def spawn(code, *args):
    """A Python process that runs code with soapy_c at hand; prints to a pipe."""
    text = f"import sys; sys.path.insert(0, {str(HERE)!r})\nfrom soapy_c import *\nimport numpy as np\n{code}"
    return subprocess.Popen([sys.executable, "-u", "-c", text, *map(str, args)], stdout=subprocess.PIPE,
                            text=True)


SENDER = """
with Radio(medium=sys.argv[1]).tune(TX, rate=1e6).open(TX) as tx:
    tx.start(TX)
    x = np.full(4096, 0.5 + 0.25j, np.complex64)
    while True:
        if tx.write_all(x) > 0: print("sent")
"""
LISTENER = """
with Radio(medium=sys.argv[1], noise_dbm=-250, **({"pacing": sys.argv[2]} if len(sys.argv) > 2 else {})) as rx:
    rx.tune(RX, rate=1e6).open(RX).start(RX)
    while True:
        if rx.read(4096)[1] > 0: print("heard")
"""


def level(radio, seconds=0.3):
    """Largest amplitude received in a while."""
    largest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        rails, code, _, _ = radio.read(4096)
        if code > 0:
            largest = max(largest, float(np.abs(rails).max()))
    return largest


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
    return False


def test_a_killed_transmitter_leaves_the_receiver_and_its_ring_free(medium):
    with Radio(medium=medium, noise_dbm=-250).tune(RX, rate=1e6).open(RX) as rx:
        rx.start(RX)
        for _ in range(9):  # more often than there are rings
            sender = spawn(SENDER, medium)
            assert sender.stdout.readline() == "sent\n"
            assert wait_for(lambda: level(rx, 0.05) > 0.4), "nothing heard"
            assert rx.sensor("transmitters") == "1"
            sender.send_signal(signal.SIGKILL)
            sender.wait()
            assert wait_for(lambda: level(rx, 0.05) < 1e-3), "the dead is still heard"
            assert rx.sensor("transmitters") == "0"


@pytest.mark.parametrize("pacing", ["realtime", "fast"])
def test_a_killed_receiver_leaves_the_transmitter_alive(medium, pacing):
    with Radio(medium=medium).tune(TX, rate=1e6).open(TX) as tx:
        x = np.full(4096, 0.5, np.complex64)
        for _ in range(3):
            listener = spawn(LISTENER, medium, pacing)
            assert listener.stdout.readline() == "heard\n"
            tx.start(TX)
            for _ in range(100):
                assert tx.write_all(x) == 4096
            listener.send_signal(signal.SIGKILL)
            listener.wait()
            time.sleep(0.05)
            for _ in range(40 if pacing == "realtime" else 3):
                code = tx.write_all(x, timeout_us=100000)
                assert code == 4096 or (pacing == "fast" and code == -1)  # fast waits for the next listener
            tx.stop(TX)


def test_both_killed_leave_what_the_next_one_cleans(medium):
    sender, listener = spawn(SENDER, medium), spawn(LISTENER, medium)
    assert sender.stdout.readline() == "sent\n" and listener.stdout.readline() == "heard\n"
    for process in (sender, listener):
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert segment(medium).exists()
    with Radio(medium=medium, noise_dbm=-250).tune(RX, rate=1e6).open(RX) as rx:
        rx.start(RX)
        assert level(rx, 0.1) < 1e-3  # started anew: nothing of the dead in it
    assert not segment(medium).exists()


@pytest.mark.parametrize("how", ["raise SystemExit", "import os; os.kill(os.getpid(), 9)"])
def test_a_program_that_ends_without_closing_leaves_nothing(medium, how):
    """Two devices that nobody closes: at the program's end the segment goes; killed, the next program takes
    it away."""
    code = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from soapy_c import RX, TX, Radio
radios = [Radio(medium=sys.argv[1], seed=1).open(RX), Radio(medium=sys.argv[1], seed=2).open(TX)]
print("open", flush=True)
{how}
"""
    process = subprocess.run([sys.executable, "-c", code, medium], capture_output=True, text=True, timeout=60)
    assert process.stdout == "open\n", process.stderr
    assert segment(medium).exists() == ("kill" in how)
    with Radio(medium=medium, seed=3).open(TX):
        assert segment(medium).exists()
    assert not segment(medium).exists()


def test_finding_devices_removes_what_killed_processes_left(medium):
    listener = spawn(LISTENER, medium)
    assert listener.stdout.readline() == "heard\n"
    subprocess.run(["SoapySDRUtil", "--find=driver=loopback"], capture_output=True, check=True, timeout=60)
    assert segment(medium).exists(), "a medium in use was removed"
    listener.send_signal(signal.SIGKILL)
    listener.wait()
    done = subprocess.run(["SoapySDRUtil", "--find=driver=loopback"], capture_output=True, text=True,
                          timeout=60)
    assert "driver = loopback" in done.stdout and not segment(medium).exists()


def test_foreign_or_broken_segments_are_replaced_or_refused(medium):
    segment(medium).write_bytes(b"rubbish" * 100)
    with Radio(medium=medium).open(RX) as rx:  # nobody holds it: it starts anew
        assert rx.start(RX) == 0
    assert not segment(medium).exists()


def test_soapysdrutil_probes(medium):
    done = subprocess.run(["SoapySDRUtil", f"--probe=driver=loopback,medium={medium}"], capture_output=True,
                          text=True,
                          timeout=60)
    assert done.returncode == 0 and "Timestamps: YES" in done.stdout and "key=adc_bits" in done.stdout
    assert re.search(r"Channels: 1 Rx, 1 Tx", done.stdout)
    # every question has an answer, for both directions
    rx, tx = (done.stdout.split(f"-- {way} Channel 0")[1].split("----\n", 1)[1] for way in ("RX", "TX"))
    both = ("Full-duplex: YES", "Stream formats: CF32, CS16, CS8, CU8", "Native format: CF32 [full-scale=1]",
            "Full freq range: [1, 6000] MHz", "RF freq range: [1, 6000] MHz", "Sample rates: ",
            "Filter bandwidths: ")
    for words in (*both, "Antennas: RX", "Supports AGC: YES", "Full gain range: [0, 80] dB",
                  "LNA gain range: [0, 30] dB",
                  "VGA gain range: [0, 50] dB", "Corrections: DC removal"):
        assert words in rx, words
    for words in (*both, "Antennas: TX", "Full gain range: [0, 60] dB", "PAD gain range: [0, 60] dB"):
        assert words in tx, words
    for sensor in ("lo_locked", "rssi_dbm", "transmitters", "overflows", "underflows", "adc_clipped",
                   "dac_clipped",
                   "tx_first", "tx_next"):
        assert re.search(rf"\* {sensor} \({sensor}\): (true|-?\d+)", done.stdout), sensor
    keys = set(re.findall(r"\[key=(\w+)", done.stdout))
    assert keys >= {"path_loss_db", "noise_dbm", "taps", "profile", "doppler_hz", "delay_ns", "clock_ppm",
                    "tx_cfo_hz",
                    "dac_bits", "adc_bits", "pacing", "fading", "tx_pa", "tx_backoff_db", "tx_iq_gain_db",
                    "tx_phase_noise_deg", "rx_dc", "tx_taps", "tx_profile", "rx_iq_phase_deg"}


def test_soapysdrutil_measures_the_rate(medium):
    processes = [subprocess.Popen(["SoapySDRUtil", f"--args=driver=loopback,medium={medium}", "--rate=1e6",
                                   f"--direction={direction}", "--channels=0"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True) for direction in ("RX", "TX")]
    time.sleep(6)
    for process in processes:
        process.send_signal(signal.SIGINT)
        out = process.communicate(timeout=30)[0]
        rates = [float(r) for r in re.findall(r"([\d.]+) Msps", out.split("loop", 1)[1])]
        # never faster than its rate; a busy machine may lose samples, and says so
        assert rates and 0.1 < rates[-1] < 1.1, out
    if segment(medium).exists():  # SIGINT may end it before it closes the device
        subprocess.run(["SoapySDRUtil", "--find=driver=loopback"], capture_output=True, timeout=60)


FLOWGRAPH = """
from gnuradio import blocks, gr, soapy
tb = gr.top_block()
source = blocks.vector_source_c((0.5 * np.exp(0.5j * np.pi * (np.random.default_rng(1).integers(0, 4, 200000) + 0.5)))
                                .astype(np.complex64).tolist(), False)
head = blocks.null_source(8)
sink = soapy.sink("driver=loopback,medium=" + sys.argv[1], "fc32", 1, "", "", [""], [""])
sink.set_sample_rate(0, 1e6); sink.set_frequency(0, 2.4e9); sink.set_gain(0, 30)
tb.connect(source, sink)
tb.run()
print("done")
"""


def test_gr_soapy_sink_and_source_in_two_processes(medium):
    from gnuradio import blocks, gr, soapy
    tb = gr.top_block()
    source = soapy.source(f"driver=loopback,medium={medium},pacing=fast,noise_dbm=-100", "fc32", 1, "", "",
                          [""], [""])
    source.set_sample_rate(0, 1e6)
    source.set_frequency(0, 2.4e9)
    source.set_gain(0, 50)
    sink = blocks.vector_sink_c()
    tb.connect(source, sink)
    tb.start()
    sender = spawn(FLOWGRAPH, medium)
    assert sender.stdout.readline() == "done\n"
    sender.wait()
    end = time.monotonic() + 10
    x = (0.5 * np.exp(0.5j * np.pi * (np.random.default_rng(1).integers(0, 4, 200000) +
                                      0.5))).astype(np.complex64)
    ok = False
    while time.monotonic() < end and not ok:
        time.sleep(0.2)
        y = np.array(sink.data(), np.complex64)
        ok = np.count_nonzero(np.abs(y) > 0.3) >= len(x)
    tb.stop()
    tb.wait()
    start = int(np.flatnonzero(np.abs(y) > 0.3)[0])
    error = y[start:start + len(x)] - x
    # noise -100 dBm + 50 dB = -50 dBFS, and two 12-bit converters
    assert 10 * np.log10(np.mean(np.abs(error) ** 2)) == pytest.approx(-50, abs=1)
    del source, tb
    import gc
    gc.collect()
