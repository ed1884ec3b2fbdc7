# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job: files into frames and back, the medium, and ./run link as a user starts it."""
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gnuradio import blocks, gr
from gnuradio.diffusion import link, medium
from gnuradio.diffusion.radio import RadioError

FIGURES = {"frames_sent", "frames_ok", "per", "ber", "evm_db", "gmi", "nmse_db", "cpu_s"}


def launch(*arguments, before=()):
    command = [sys.executable, "-c", "import sys; from gnuradio.diffusion.cli import main; sys.exit(main())",
               "link"]
    return subprocess.Popen([*before, *command, *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE,
                            text=True)


def start(*arguments):
    process = launch(*arguments)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_file_survives_loss_of_what_was_sent_twice():
    data = bytes(range(256)) * 8
    packets = link.split(data, 112, 60)
    assert len(packets) == 60 and link.join(packets[:19]) == data
    assert link.join(packets[5:]) == data and link.join(packets[::-1]) == data
    assert link.join(packets[:18]) is None and link.join([]) is None
    damaged = [p[:20] + b"?" + p[21:] for p in packets]
    assert link.join(damaged) is None


def test_medium_has_the_snr_it_says():
    """Noise and channel power of the medium, without impairments and ADC."""
    n, snr_db = 200000, 7.0
    rng = np.random.default_rng(2)
    x = ((rng.standard_normal(n) + 1j * rng.standard_normal(n)) / np.sqrt(2)).astype(np.complex64)
    tags = [gr.tag_utils.python_to_tag((i, link.pmt.intern("packet_len"), link.pmt.from_long(100)))
            for i in range(0, n, 200)]
    tb = gr.top_block()
    source, sink = blocks.vector_source_c(x.tolist(), False, 1, tags), blocks.vector_sink_c()
    m = medium.medium(snr_db, 0, "off", medium.power_profile(6), True, 3)
    tb.connect(source, m, sink)
    tb.run()
    y = np.array(sink.data())
    assert len(m.fading.taps_of) == 1000
    clean = np.zeros(n, complex)
    for at, taps in m.fading.taps_of:
        for k, h in enumerate(taps):
            lo = max(at, k)
            clean[lo:at + 200] += h * x[lo - k:at + 200 - k]
    noise = y - clean
    assert 10 * np.log10(1 / np.mean(np.abs(noise) ** 2)) == pytest.approx(snr_db, abs=0.05)
    # 1000 draws of a channel of mean power 1; its variance is sum p_k^2.
    assert np.mean(np.abs(clean) ** 2) == pytest.approx(1, abs=4 * np.sqrt(0.25 / 1000))


def test_figures_of_a_clean_link_are_clean(tmp_path):
    """Nothing in the way: every frame arrives, the truth-based figures say so."""
    file = tmp_path / "data.bin"
    file.write_bytes(np.random.default_rng(4).bytes(1500))
    s = link.Settings(file=file, snr_db=50, adc_bits=0, preset="off", taps=1, frames=16, modulation="qam16",
                      fec="cc-1/2")
    s.check()
    packets = link.split(file.read_bytes(), s.payload, s.frames)
    sent = link.Transmission(s, "native", packets, 1)
    got = link.receive(sent.iq, "lmmse", "map")
    figure, _ = link.figures(got, sent, s)
    assert figure["frames_ok"] == figure["frames_sent"] == 16 and figure["per"] == 0 and figure["ber"] == 0
    assert figure["gmi"] > 3.999 and figure["nmse_db"] < -40 and figure["evm_db"] < -35
    stock = link.Transmission(s, "stock", packets, 1)
    figure, _ = link.figures(link.receive_stock(stock.iq), stock, s)
    assert figure["frames_ok"] >= 14 and figure["ber"] is None


def test_diffusion_estimator_leads_on_channels_it_never_saw():
    """Same IQ for each; margins are a fifth of what was measured here (9 and 2.6 dB), far outside the noise
    of 60 independent channels of 52 carriers."""
    s = link.Settings(file=Path(__file__), frames=60, seed=11)
    sent = link.Transmission(s, "native", link.split(bytes(1000), s.payload, s.frames), s.seed)
    nmse = {}
    for estimator in ("ls", "lmmse", "diffusion"):
        figure, _ = link.figures(link.receive(sent.iq, estimator, "map"), sent, s)
        assert figure["frames_ok"] >= 50
        nmse[estimator] = figure["nmse_db"]
    assert nmse["diffusion"] < nmse["lmmse"] - 0.5 and nmse["diffusion"] < nmse["ls"] - 2


@pytest.mark.parametrize("modulation, snr_db", [("qpsk", 8.0), ("qam16", 14.0)])
def test_diffusion_demapper_is_as_good_as_map(modulation, snr_db):
    """Behind an OFDM receiver the noise is Gaussian, so MAP cannot be beaten; a learned demapper that loses
    more than 0.01 bit of GMI is broken, and so is one that was silently replaced."""
    s = link.Settings(file=Path(__file__), frames=40, seed=12, modulation=modulation, snr_db=snr_db)
    sent = link.Transmission(s, "native", link.split(bytes(1000), s.payload, s.frames), s.seed)
    gmi = {}
    for demapper in ("map", "diffusion"):
        figure, detail = link.figures(link.receive(sent.iq, "lmmse", demapper), sent, s)
        assert not detail["notes"]
        gmi[demapper] = figure["gmi"]
    assert gmi["diffusion"] > gmi["map"] - 0.01


def test_command_delivers_the_file_and_the_report(tmp_path, root):
    out = tmp_path / "results.json"
    done = start("--json", out, "--report", tmp_path / "report", "--quick", "--file",
                 root / "examples/letter.txt")
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert set(results) == {"file_intact", "settings", "receivers", "report"}
    assert results["file_intact"] is True
    assert set(results["receivers"]) == {"stock", "classical", "diffusion"}
    for name, figure in results["receivers"].items():
        assert set(figure) == FIGURES
        assert figure["frames_sent"] >= 100 and 0 <= figure["frames_ok"] <= figure["frames_sent"]
        assert figure["per"] == pytest.approx(1 - figure["frames_ok"] / figure["frames_sent"])
        assert all(figure[k] is not None for k in FIGURES) or name == "stock"
    assert results["receivers"]["diffusion"]["per"] <= results["receivers"]["classical"]["per"]
    report = Path(results["report"])
    for file in ("report.md", "constellation.png", "channel.png", "error_rates.png"):
        assert (report / file).stat().st_size > 500
    assert (report / "received-diffusion.txt").read_bytes() == (root / "examples/letter.txt").read_bytes()
    assert "arrived intact" in done.stdout and str(report) in done.stdout


def test_half_the_pilots_carry_more(tmp_path, root):
    """--pilots: the classical chain also gets frames with all pilots; what half of them leave is
    throughput."""
    out = tmp_path / "results.json"
    done = start("--pilots", "half", "--in-process", "--frames", 40, "--snr", 14, "--json", out, "--quick",
                 "--report", tmp_path / "r", "--file", root / "examples/letter.txt")
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())["receivers"]
    assert set(found) == {"stock", "classical, all pilots", "classical", "diffusion"}
    # 27 symbols a frame with all pilots, 26 with half; a lost frame more or less is 2.5%.
    gain = found["diffusion"]["throughput"] / found["classical, all pilots"]["throughput"]
    assert gain == pytest.approx(27 / 26, abs=0.055)
    assert found["diffusion"]["nmse_db"] < found["classical, all pilots"]["nmse_db"]
    assert "throughput of diffusion with half pilots" in done.stdout


def test_over_a_virtual_radio_of_the_users_own(tmp_path):
    """The same job with device arguments: a path and a 3-bit ADC of its own, in real time."""
    medium_name = f"link-{os.getpid()}"
    file = tmp_path / "a.txt"
    file.write_text("over the virtual air, " * 40)
    out = tmp_path / "results.json"
    # -14 dBFS + 30 - 30 - 50 + 84 = 20 dB; 9 dB more gain than 0 dB in all fill the ADC's eight levels.
    done = start("--device",
                 f"driver=loopback,medium={medium_name},noise_dbm=-84,adc_bits=3,taps=1;0.4+0.3j,tx_preset=mild",
                 "--rx-gain", 59, "--frames", 20, "--file", file, "--report", tmp_path / "r", "--json", out)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(out.read_text())
    assert results["settings"]["snr_db"] is None
    assert results["receivers"]["diffusion"]["frames_ok"] >= 18
    assert results["receivers"]["diffusion"]["nmse_db"] is None


def test_two_processes_and_one_agree_on_the_channel(tmp_path):
    """Radio and in-memory medium are the same channel: SNR, taps and amplifier; only the random draws
    differ."""
    s = link.Settings(file=Path(__file__), frames=60, seed=5, snr_db=8.0)
    packets = link.split(bytes(1000), s.payload, s.frames)
    with link.VirtualLink() as radio:
        assert radio._transmitter.pid != os.getpid()
        over = {w: link.Transmission(dataclasses.replace(s, device="loopback"), w, packets, s.seed, radio)
                for w in ("native", "stock")}
        again = link.Transmission(dataclasses.replace(s, device="loopback"), "native", packets, s.seed, radio)
    memory = link.Transmission(s, "native", packets, s.seed)
    np.testing.assert_array_equal(over["native"].iq, again.iq)  # to the bit, whenever the processes ran
    assert len(np.unique(np.round(over["native"].iq.real, 4))) == 8  # the ADC has its three bits
    assert [at for at, _ in over["native"].taps_of][1] - over["native"].taps_of[0][0] == 2320
    (a, detail), (b, _) = (link.figures(link.receive(t.iq, "diffusion", "map"), t, s)
                           for t in (over["native"], memory))
    assert not detail["notes"]
    # 60 Rayleigh channels each: GMI and EVM of a draw scatter by 0.15 bit and 1 dB (seeds 1 to 8)
    assert a["nmse_db"] == pytest.approx(b["nmse_db"], abs=1.5) and a["nmse_db"] < -22
    assert a["gmi"] == pytest.approx(b["gmi"], abs=0.3)


def test_runs_side_by_side_and_after_a_killed_one(tmp_path):
    """Two at once do not hear each other, the dead leave nothing that disturbs, and a seed is a seed."""
    file = tmp_path / "a.txt"
    file.write_text("side by side, " * 20)
    shared = {p.name for p in Path("/dev/shm").glob("gr-diffusion-*-link-*")}
    arguments = ["--quick", "--frames", "12", "--file", file, "--seed", "4", "--snr", "14"]
    victim = launch(*arguments, "--frames", "3000", "--report", tmp_path / "v")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not ({p.name
                                                for p in Path("/dev/shm").glob("gr-diffusion-*-link-*")} -
                                               shared):
        time.sleep(0.05)
    victim.kill()
    victim.communicate()
    pair = [launch(*arguments, "--json", tmp_path / f"{i}.json", "--report", tmp_path / f"r{i}")
            for i in range(2)]
    for process in pair:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    first, second = (json.loads((tmp_path / f"{i}.json").read_text())["receivers"] for i in range(2))
    for name, figure in first.items():
        assert {k: v for k, v in figure.items() if k != "cpu_s"} == \
            {k: v for k, v in second[name].items() if k != "cpu_s"}
    # and whoever looked for devices since then has removed what the killed one left
    assert not [p for p in Path("/dev/shm").glob("gr-diffusion-*-link-*") if p.name not in shared]


def test_a_transmitter_that_dies_is_an_error_and_never_outlives_its_receiver():
    s = link.Settings(file=Path(__file__), frames=20, device="loopback")
    packets = link.split(bytes(100), s.payload, s.frames)
    with link.VirtualLink() as radio:
        radio._transmitter._process.kill()
        with pytest.raises(RadioError, match="transmitter's process ended with status -9"):
            link.Transmission(s, "native", packets, 1, radio)
    radio = link.VirtualLink()  # waits for a receiver that never comes
    process = radio._transmitter._process
    radio._transmitter.begin(s.plain(), "native", packets,
                             f"driver=loopback,medium=nobody-{os.getpid()},pacing=lockstep",
                             30, 0.2)
    time.sleep(2)
    assert process.poll() is None
    process.stdin.close()  # as when its receiver is killed
    assert process.wait(10) == 0
    subprocess.run(["SoapySDRUtil", "--find=driver=loopback"], capture_output=True, timeout=60)  # cleans up


def test_small_shared_memory(tmp_path):
    """A container with 4 MB of /dev/shm: the media go to /tmp. Needs a mount of its own."""
    mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=4M tmpfs /dev/shm && exec "$@"', "sh"]
    if subprocess.run([*mount, "true"], capture_output=True).returncode != 0:
        pytest.skip("this user may not mount")
    file = tmp_path / "a.txt"
    file.write_text("little room, " * 20)
    done = launch("--quick", "--frames", 8, "--file", file, "--snr", 14, "--report", tmp_path / "r",
                  before=mount)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, out + err


def test_in_one_process(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("all by itself, " * 20)
    done = start("--in-process", "--quick", "--frames", 8, "--file", file, "--snr", 14, "--report",
                 tmp_path / "r",
                 "--json", tmp_path / "j.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "j.json").read_text())["settings"]["device"] == "memory"


def test_a_hopeless_link_says_so(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("nobody will read this" * 20)
    done = start("--snr", "-18", "--frames", "8", "--quick", "--file", file, "--report", tmp_path / "r")
    assert done.returncode == 1
    assert "did not arrive" in done.stdout


@pytest.mark.parametrize("arguments, words, status", [
    (["--constellation", "qam32"], "qam32", 2),
    (["--adc-bits", "40"], "adc_bits is 40", 2),
    (["--file", "/nonexistent/file"], "/nonexistent/file", 1),
    (["--preset", "awful"], "awful", 2),
    (["--device", "driver=none"], "cannot be opened", 1),
    (["--device", "driver=none", "--in-process"], "exclude each other", 2),
    (["--rate", "1e9"], "it takes 1000 to 6.144e+07", 1),
    (["--snr", "loud"], "--snr", 2),
])
def test_wrong_use_is_one_clear_sentence(arguments, words, status, tmp_path):
    done = start(*arguments, "--report", tmp_path / "r", "--quick")
    assert done.returncode == status
    assert words in done.stderr and "Traceback" not in done.stderr
