# SPDX-License-Identifier: GPL-3.0-or-later
"""The headless flowgraphs file_transmitter and file_receiver: two programs that GRC made, a file between
them, and nothing but a device string between the virtual radio and hardware."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gnuradio import blocks, diffusion, gr
from gnuradio.diffusion import carousel, radio
from gnuradio.diffusion.link import packet_source, packets_in

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LETTER = EXAMPLES / "letter.txt"


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    out = tmp_path_factory.mktemp("programs")
    done = subprocess.run([sys.executable, "/usr/bin/grcc", "-o", str(out),
                           str(EXAMPLES / "file_transmitter.grc"),
                           str(EXAMPLES / "file_receiver.grc")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_file_intact_from_one_program_to_the_other(programs, tmp_path):
    """Real time, random hardware at both ends; both programs end by themselves."""
    medium = f"driver=loopback,medium=pair-{os.getpid()}"
    received = tmp_path / "received.txt"

    def start(name, *arguments):
        return subprocess.Popen([sys.executable, str(programs / f"{name}.py"), *map(str, arguments)],
                                text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                cwd=tmp_path)
    rx = start("file_receiver", "-d", f"{medium},adc_bits=8,seed=1", "-o", received)
    tx = start("file_transmitter", "-d", f"{medium},dac_bits=10,tx_preset=mild,seed=2", "-i", LETTER, "-r",
               150)
    try:
        said = [p.communicate(timeout=100)[0] for p in (rx, tx)]
    finally:
        for p in (rx, tx):
            p.kill()
            p.wait()
        # cleans up
        subprocess.run(["SoapySDRUtil", "--find=driver=loopback"], capture_output=True, timeout=60)
    assert rx.returncode == tx.returncode == 0, said
    assert received.read_bytes() == LETTER.read_bytes()


def test_a_device_that_is_not_there_is_named(programs, tmp_path):
    done = subprocess.run([sys.executable, str(programs / "file_receiver.py"), "-d", "driver=nothing"],
                          text=True,
                          capture_output=True, timeout=60, cwd=tmp_path)
    assert done.returncode != 0 and "device 'driver=nothing' cannot be opened for reception" in done.stderr


def packets_of(source):
    tb, sink = gr.top_block(), blocks.vector_sink_b()
    tb.connect(source, sink)
    tb.run()
    return packets_in(sink)


def test_rounds_of_a_file(tmp_path):
    packets = packets_of(diffusion.carousel_source(str(LETTER), 60, 3))
    assert len(packets) % 3 == 0 and packets[:len(packets) // 3] * 3 == packets
    assert carousel.join(packets[7:7 + len(packets) // 3]) == LETTER.read_bytes()


@pytest.mark.parametrize("piece", [1, 37, 1000])
def test_a_file_from_packets_in_pieces_with_losses(tmp_path, piece):
    """However the stream is cut, the flowgraph ends with the file; packets without a tag, or too short, do no
    harm."""
    data = np.random.default_rng(5).bytes(2000)
    packets = carousel.split(data, 60, 1)
    lossy = [b"junk"] + [p for i, p in enumerate(packets * 4) if i % 7] + packets
    tb = gr.top_block()
    source, sink = packet_source(lossy * 50), diffusion.carousel_sink(str(tmp_path / "out"))
    copy = blocks.copy(gr.sizeof_char)
    copy.set_max_noutput_items(piece)
    tb.connect(source, copy, sink)
    tb.run()
    assert (tmp_path / "out").read_bytes() == data and sink.complete()
    assert sink.progress()[0] == len(packets)
    assert copy.nitems_written(0) < 50 * sum(map(len, lossy)), "the flowgraph went on"


def test_wrong_use_is_named(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    for make, words in ((lambda: diffusion.carousel_source(str(tmp_path / "empty")), "is empty"),
                        (lambda: diffusion.carousel_source(str(LETTER), 7), "payload is 7"),
                        (lambda: diffusion.carousel_source(str(LETTER), 60, -1), "rounds is -1"),
                        (lambda: diffusion.carousel_sink(str(tmp_path)), "no file that can be written"),
                        (lambda: diffusion.carousel_sink("/nonexistent/file"),
                         "no file that can be written")):
        with pytest.raises(ValueError, match=words):
            make()


def test_a_radio_is_told_only_what_is_given(tmp_path):
    medium = f"driver=loopback,medium=told-{os.getpid()}"
    source, sink = diffusion.radio_source(medium, 5e5,
                                          1e9), diffusion.radio_sink(medium + ",seed=1", 5e5, 1e9, 20, "TX")
    assert (source.core.get_gain(0), sink.core.get_gain(0)) == (50, 20)
    source.set_gain(None), source.set_antenna(""), source.set_bandwidth(0)
    source.set_frequency(2e9), source.set_sample_rate(1e6)
    assert (source.core.get_frequency(0), source.core.get_sample_rate(0),
            source.core.get_gain(0)) == (2e9, 1e6, 50)
    assert source.read_sensor("lo_locked") is True


def test_the_lo_offset_reaches_the_driver():
    medium = f"driver=loopback,medium=told-{os.getpid()}"
    source = diffusion.radio_source(medium, 1e6, 2e9, lo_offset=750e3)
    assert source.core.get_frequency(0) == 2e9
    with pytest.raises(radio.RadioError, match="OFFSET is '1000000000', use"):
        diffusion.radio_source(medium, 1e6, 2e9, lo_offset=1e9)
