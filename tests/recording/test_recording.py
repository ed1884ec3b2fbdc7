# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings: written from the virtual radio, replayed by our receivers, damaged in every way."""
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sigmf = pytest.importorskip("sigmf")

from gnuradio import blocks, gr  # noqa: E402
from gnuradio.diffusion import link, playback, recorder, recording  # noqa: E402
from gnuradio.diffusion.cli import main  # noqa: E402

LETTER = Path(__file__).resolve().parents[2] / "examples/letter.txt"


def device(name):
    """A medium of its own, without losses however busy the machine is; 26 dB of SNR."""
    return f"driver=loopback,medium=rec-{os.getpid()}-{name},pacing=fast,noise_dbm=-90,adc_bits=8"


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    """A recorded transmission of the letter, by the command."""
    name = tmp_path_factory.mktemp("recordings") / "my.capture"
    report = name.parent / "record.json"
    assert main(["record", str(name), "--send", str(LETTER), "--device", device("send"), "--json",
                 str(report)]) == 0
    return name, json.loads(report.read_text())


def damaged(capture, tmp_path, cut=None, meta=None):
    """A copy, with the data cut to so many bytes and the metadata's text changed."""
    name = tmp_path / "copy"
    data = recording._file(capture[0], recording.DATA).read_bytes()
    text = recording._file(capture[0], recording.META).read_text()
    recording._file(name, recording.DATA).write_bytes(data[:cut])
    recording._file(name, recording.META).write_text(meta(text) if meta else text)
    return name


def test_record_describes_what_was_recorded(capture):
    name, report = capture
    r = recording.open_recording(name)
    assert r.problems == [] and len(r) == report["samples"] and r.rate == 1e6 and r.frequency == 2.45e9
    packets = link.split(LETTER.read_bytes(), 112, 1)
    assert report["frames"] == report["frames_ok"] == len(packets) == len(r.annotations)
    assert r.detail("radio")["device"] == device("send") and "overflows" in r.detail("radio")["sensors"]
    assert r.sent_data() == LETTER.read_bytes() and r.detail("sent")["transmitted"]
    # the frames lie where the power is
    x = r.read(0, len(r))
    inside = np.zeros(len(x), bool)
    for a in r.annotations:
        assert a["core:comment"].endswith("CRC ok")
        inside[a["core:sample_start"]:a["core:sample_start"] + a["core:sample_count"]] = True
    power = np.abs(x) ** 2
    # RMS 0.2 within frames; between them noise of -40 dBFS (and the 8-bit ADC's)
    assert power[inside].mean() == pytest.approx(0.04, rel=0.1)
    assert power[~inside].mean() < 0.04 / 20


def test_others_can_read_it(capture):
    """sigmf itself: schema, checksum and samples."""
    name, _ = capture
    other = sigmf.sigmffile.fromfile(str(recording._file(name, recording.META)))
    other.validate()
    assert other.sample_count == len(recording.open_recording(name))
    np.testing.assert_array_equal(other.read_samples(1000, 64), recording.open_recording(name).read(1000, 64))


def test_replay_prints_the_table_of_every_chain(capture, tmp_path, capsys):
    report = tmp_path / "replay.json"
    saved = tmp_path / "letter"
    assert main(["replay", str(capture[0]) + ".sigmf-meta", "--chain", "ls,min-distance", "--chain",
                 "lmmse,map",
                 "--save", str(saved), "--json", str(report)]) == 0
    out = capsys.readouterr().out
    assert "GMI bit" in out and "the file arrived intact" in out
    assert saved.read_bytes() == LETTER.read_bytes()
    rows = json.loads(report.read_text())["receivers"]
    for row in rows.values():
        assert row["frames_sent"] == row["frames_ok"] == len(link.split(LETTER.read_bytes(), 112, 1))
        assert row["per"] == row["ber"] == 0 and row["gmi"] > 1.95
    assert rows["lmmse,map"]["evm_db"] < -18  # 26 dB of SNR less the estimation's loss


def test_replay_equals_the_link_on_the_same_samples(capture):
    """The streaming figures are those of gnuradio.diffusion.link."""
    r = recording.open_recording(capture[0])
    packets = link.split(r.sent_data(), 112, 1)
    mine, _ = playback.play(r, packets=packets, complete=True)
    settings = link.Settings(file=LETTER)
    sent = type("Sent", (), {"packets": packets, "taps_of": [], "waveform": "native"})
    iq = np.concatenate([r.read(0, len(r)), np.zeros(4000, np.complex64)])
    theirs, _ = link.figures(link.receive(iq, "lmmse", "map"), sent, settings)
    for key in ("frames_sent", "frames_ok", "per", "ber"):
        assert mine[key] == theirs[key]
    assert mine["evm_db"] == pytest.approx(theirs["evm_db"], abs=1e-3)
    assert mine["gmi"] == pytest.approx(theirs["gmi"], abs=1e-3)


def test_stock_waveform(tmp_path):
    name = tmp_path / "stock"
    assert main(["record", str(name), "--send", str(LETTER), "--waveform", "stock", "--device",
                 device("stock")]) == 0
    report = tmp_path / "replay.json"
    assert main(["replay", str(name), "--chain", "lmmse,map", "--json", str(report)]) == 0
    result = json.loads(report.read_text())
    assert result["waveform"] == "stock" and set(result["receivers"]) == {"stock", "lmmse,map"}
    assert result["receivers"]["lmmse,map"]["per"] == 0 and result["file_intact"]["lmmse,map"]


def test_unknown_transmission(capture, tmp_path):
    """Without what was sent: packets are counted by their numbers, EVM by the nearest points, no BER."""
    def forget(text):
        m = json.loads(text)
        del m["global"]["gr_diffusion:sent"]
        return json.dumps(m)
    r = recording.open_recording(damaged(capture, tmp_path, meta=forget))
    row, tally = playback.play(r)
    assert row["frames_sent"] == row["frames_ok"] == tally.detected and row["ber"] is None
    assert row["evm_db"] < -18
    assert link.join(tally.payloads) == LETTER.read_bytes()


# ---- damage ----------------------------------------------------------------------------------------

def test_truncated_data_is_used_as_far_as_it_goes(capture, tmp_path, capsys):
    r = recording.open_recording(capture[0])
    last = r.annotations[9]  # ten frames stay
    cut = 8 * (last["core:sample_start"] + last["core:sample_count"] + 40) + 3
    name = damaged(capture, tmp_path, cut)
    short = recording.open_recording(name)
    assert len(short) == cut // 8 and len(short.annotations) == 10
    assert any("truncated" in p and str(len(r)) in p for p in short.problems)
    report = tmp_path / "replay.json"
    assert main(["replay", str(name), "--chain", "lmmse,map", "--json", str(report)]) == 0
    assert json.loads(report.read_text())["receivers"]["lmmse,map"]["frames_ok"] == 10
    assert "truncated" in capsys.readouterr().out


def test_corrupted_samples_are_said_and_the_rest_is_received(capture, tmp_path):
    name = damaged(capture, tmp_path)
    r = recording.open_recording(capture[0])
    at = r.annotations[3]["core:sample_start"] + 200
    data = np.memmap(recording._file(name, recording.DATA), np.float32, "r+")
    data[2 * at:2 * at + 800] = np.nan
    data.flush()
    broken = recording.open_recording(name)
    assert any("checksum" in p for p in broken.problems)
    row, _ = playback.play(broken, packets=link.split(LETTER.read_bytes(), 112, 1), complete=True)
    assert row["frames_ok"] == row["frames_sent"] - 1 and broken.bad_samples == 400
    assert recording.open_recording(name, check=False).problems == []


@pytest.mark.parametrize("change, says", [
    (lambda t: t[:len(t) // 2], "truncated or corrupted"),
    (lambda t: "", "truncated or corrupted"),
    (lambda t: "[1, 2]", "no valid SigMF"),
    (lambda t: json.dumps({"global": {}}), "no valid SigMF"),
    (lambda t: t.replace('"core:sample_rate": 1000000.0', '"core:sample_rate": "fast"'), "no valid SigMF"),
    (lambda t: t.replace("cf32_le", "rf64_be"), "rf64_be"),
    (lambda t: t.replace('"core:num_channels": 1', '"core:num_channels": 2'), "2 channels"),
], ids=["half", "empty", "list", "nothing", "text", "type", "channels"])
def test_corrupted_metadata_is_a_clear_error(capture, tmp_path, capsys, change, says):
    name = damaged(capture, tmp_path, meta=change)
    assert main(["replay", str(name)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and says in error and error.count("\n") == 1
    # the samples alone are still good
    assert main(["replay", str(name), "--type", "cf32_le", "--rate", "1e6", "--chain", "lmmse,map"]) == 0


def test_missing_and_empty_files(capture, tmp_path, capsys):
    assert main(["replay", str(tmp_path / "nothing")]) == 1
    assert "nothing.sigmf-data is missing" in capsys.readouterr().err
    assert main(["replay", str(damaged(capture, tmp_path, 5))]) == 1
    assert "holds no sample" in capsys.readouterr().err


def test_recording_over_a_recording_is_refused(capture, capsys):
    assert main(["record", str(capture[0]), "--seconds", "0.01", "--device", device("again")]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_device_that_is_not_there(tmp_path, capsys):
    assert main(["record", str(tmp_path / "x"), "--device", "driver=no-such-radio"]) == 1
    assert "SoapySDRUtil --find" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("datatype, bits", [("ci16_le", 16), ("ci8", 8), ("cu8", 8)])
def test_integer_recordings(capture, tmp_path, datatype, bits):
    """Recordings of others: same samples, rounded to the type."""
    r = recording.open_recording(capture[0])
    x = r.read(0, len(r))[: r.annotations[4]["core:sample_start"]]
    component, offset, scale = recording.TYPES[datatype]
    rails = x.view(np.float32).astype(np.float64) * scale + offset
    limits = np.iinfo(np.dtype(component))
    name = tmp_path / "int"
    np.clip(np.round(rails), limits.min,
            limits.max).astype(component).tofile(recording._file(name, recording.DATA))
    recording.write_metadata(name, {"global": {"core:datatype": datatype, "core:version": "1.0.0",
                                               "core:sample_rate": 1e6}, "captures": [], "annotations": []})
    got = recording.open_recording(name)
    assert np.max(np.abs(got.read(0, len(got)) - x)) < 2 ** (1.5 - bits)  # half a step on each rail
    assert playback.play(got)[0]["frames_ok"] == 4


# ---- long recordings -------------------------------------------------------------------------------

def test_recordings_stream_from_the_disk(tmp_path):
    """A recording of 1 GB (sparse) is read with little memory."""
    name = tmp_path / "long"
    with open(recording._file(name, recording.DATA), "wb") as f:
        f.truncate(1 << 30)
    code = f"""
import resource
from gnuradio import blocks, gr
from gnuradio.diffusion import recording
r = recording.open_recording({str(name)!r}, "cf32_le", 1e6)
resource.setrlimit(resource.RLIMIT_DATA, (1 << 29, 1 << 29))  # what is allocated; a file's map is not
tb = gr.top_block()
source, sink = recording.recording_source(r), blocks.null_sink(8)
tb.connect(source, blocks.head(8, 20_000_000), sink)
tb.run()
print(len(r), len(r.read(len(r) - 10, 100)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == [str(1 << 27), "10"], done.stderr[-2000:]


def test_recordings_stream_to_the_disk(tmp_path):
    """240 MB are written with the memory that 8 MB took."""
    code = f"""
import resource
from gnuradio import blocks, gr
from gnuradio.diffusion import recording
def record(name, count):
    tb = gr.top_block()
    source, sink = blocks.null_source(8), recording.recording_sink({str(tmp_path)!r} + name, 1e6, 1e9, count)
    tb.connect(source, sink)
    tb.run()
    sink.close()
    return sink.count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(*record("/short", 1_000_000), *record("/long", 30_000_000))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    short, before, long, after = map(int, done.stdout.split())
    assert (short, long) == (1_000_000, 30_000_000) and after - before < 20_000  # kB
    assert recording._file(tmp_path / "long", recording.DATA).stat().st_size == 8 * long


def test_what_is_sent_streams_from_the_disk(tmp_path):
    """samples_to_send: silence, the frames at their level, silence; what the flowgraph gives in memory."""
    settings = link.Settings(rate=1e6)
    packets = link.split(LETTER.read_bytes(), 112, 30)
    count = recorder.samples_to_send(settings, "native", packets, tmp_path / "sent")
    x = np.fromfile(tmp_path / "sent", np.complex64)
    tb = gr.top_block()
    source, sink = link.packet_source(packets), blocks.vector_sink_c()
    tb.connect(source, *link.transmitter(settings, "native"), sink)
    tb.run()
    y, lead = np.array(sink.data(), np.complex64), int(0.2e6)
    assert len(x) == count == len(y) + 2 * lead and not x[:lead].any() and not x[-lead:].any()
    np.testing.assert_allclose(x[lead:-lead], 0.2 * y, atol=1e-6)


def test_a_killed_recorder_leaves_a_usable_recording(tmp_path):
    x = (np.random.default_rng(1).standard_normal((2000, 2)) *
         0.1).astype(np.float32).view(np.complex64)[:, 0]
    sink = recording.recording_sink(tmp_path / "killed", 1e6, 1e9, 10 ** 9)
    sink._out.write(x.data)  # as work() does
    sink._out.flush()
    r = recording.open_recording(tmp_path / "killed")  # close() was never called
    assert len(r) == 2000 and r.problems == [] and r.frequency == 1e9
    np.testing.assert_array_equal(r.read(0, 5000), x)


def test_lost_samples_begin_a_new_capture(tmp_path):
    import pmt
    tags = [gr.tag_utils.python_to_tag((at, pmt.intern("rx_time"), pmt.PMT_T)) for at in (0, 700)]
    tb = gr.top_block()
    source = blocks.vector_source_c([0.5] * 2000, False, 1, tags)
    sink = recording.recording_sink(tmp_path / "gaps", 1e6, 1e9, 1500)
    tb.connect(source, sink)
    tb.run()
    sink.close()
    r = recording.open_recording(tmp_path / "gaps")
    assert [c["core:sample_start"] for c in r.metadata["captures"]] == [0, 700] and len(r) == 1500
    data = recording._file(tmp_path / "gaps", recording.DATA).read_bytes()
    assert r.metadata["global"]["core:sha512"] == hashlib.sha512(data).hexdigest()


def test_an_overflow_is_said(tmp_path, monkeypatch):
    """A reader that is slower than the radio: gaps are new captures, and counted."""
    work = recording.recording_sink.work

    def slow(self, input_items, output_items):
        time.sleep(0.03)
        return work(self, [input_items[0][:4000]], output_items)
    monkeypatch.setattr(recording.recording_sink, "work", slow)
    settings = link.Settings(rate=2e6, device=f"driver=loopback,medium=rec-{os.getpid()}-slow,rx_buffer_ms=5")
    result = recorder.record(tmp_path / "slow", settings, seconds=0.05, annotate=False)
    captures = recording.open_recording(tmp_path / "slow").metadata["captures"]
    assert len(captures) > 1 and any(f"{len(captures) - 1} overflows" in p for p in result["problems"])


# ---- two processes ---------------------------------------------------------------------------------

SENDER = """
import sys
from gnuradio import gr, soapy
from gnuradio.diffusion import link, ofdm_tx
packets = link.split(open(sys.argv[2], "rb").read(), 112, 1)
tb = gr.top_block()
source = link.packet_source(packets * 200)
tx = ofdm_tx("stream", "qpsk", "ldpc-1/2", "continuous", 0.2)
sink = soapy.sink(sys.argv[1], "fc32", 1, "", "", [""], [""])
sink.set_sample_rate(0, 1e6)
sink.set_frequency(0, 2.45e9)
tb.connect(source, tx, sink)
tb.start()
print("sending", flush=True)
sys.stdin.read()
"""


def test_recording_what_another_process_sends(tmp_path):
    sender = subprocess.Popen([sys.executable, "-c", SENDER, device("two") + ",seed=2", str(LETTER)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert sender.stdout.readline() == "sending\n"
        name, report = tmp_path / "two", tmp_path / "replay.json"
        assert main(["record", str(name), "--sent", str(LETTER), "--seconds", "0.3", "--device",
                     device("two")]) == 0
        assert main(["replay", str(name), "--chain", "lmmse,map", "--json", str(report)]) == 0
    finally:
        sender.kill()
        sender.wait()
        sender.stdin.close()
        sender.stdout.close()
        # cleans up
        subprocess.run(["SoapySDRUtil", "--find=driver=loopback"], capture_output=True, timeout=60)
    row = json.loads(report.read_text())["receivers"]["lmmse,map"]
    assert row["frames_sent"] == row["frames_ok"] > 50 and row["ber"] == 0 and row["gmi"] > 1.95
