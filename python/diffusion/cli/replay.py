# SPDX-License-Identifier: GPL-3.0-or-later
"""run a SigMF recording through receivers and print the link's table

Reads NAME.sigmf-meta and NAME.sigmf-data and receives the same samples with every --chain. If the recording
holds what was sent (`record --send` or `--sent`), PER, BER, EVM and GMI are against that; else frames count
as sent from the first frame number seen to the last, and the EVM is against the nearest constellation points.
A recording that is cut off or damaged is used as far as it goes, and the table says what is wrong with it.
Exit status 0: the last chain got at least one packet.

examples:
    gr-diffusion replay capture
    gr-diffusion replay capture --chain ls,min-distance --chain sbl,map --json figures.json
"""
import time
from pathlib import Path

from .common import JobError, UsageError, common_options, write_json

CHAINS = ("lmmse,map", "diffusion,diffusion")


def add_arguments(parser):
    parser.add_argument("name", type=Path, help="of the recording, with or without ending")
    parser.add_argument("--waveform", choices=("native", "stock"), help="what to receive (what was sent, "
                                                                        "else native)")
    parser.add_argument("--chain", action="append", metavar="ESTIMATOR,DEMAPPER",
                        help="of ofdm_rx: ls, lmmse, nomp, sbl, diffusion; min-distance, map, diffusion; "
                             f"several are compared ({' and '.join(CHAINS)})")
    parser.add_argument("--estimator-model", default="", metavar="NAME", help="of diffusion chains (the "
                                                                              "shipped one)")
    parser.add_argument("--demapper-model", default="", metavar="NAME", help="of diffusion chains (the "
                                                                             "shipped one)")
    parser.add_argument("--max-cfo", type=float, default=2.0, metavar="SPACINGS",
                        help="largest carrier offset searched, subcarrier spacings (%(default)s)")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the file that arrived with the last "
                                                                  "chain")
    parser.add_argument("--type", choices=("cf32_le", "ci16_le", "ci8", "cu8"),
                        help="read the samples as this, without metadata")
    parser.add_argument("--rate", type=float, metavar="HZ", help="sample rate, with --type")
    parser.add_argument("--no-check", action="store_true", help="do not compare the checksum (long "
                                                                "recordings)")
    common_options(parser, seed=False)


def chains_of(args):
    out = []
    for text in args.chain or CHAINS:
        estimator, _, demapper = text.partition(",")
        if estimator not in ("ls", "lmmse", "nomp", "sbl", "diffusion") or \
                demapper not in ("min-distance", "map", "diffusion"):
            raise UsageError(f"--chain is '{text}', use ESTIMATOR,DEMAPPER such as lmmse,map")
        out.append((estimator, demapper))
    return out


def sent_packets(recording):
    """(packets, whole transmission, their data) if the recording tells, else (None, False, None)."""
    from gnuradio.diffusion import link
    sent, data = recording.detail("sent"), recording.sent_data()
    if data is None:
        return None, False, None
    try:
        packets = link.split(data, int(sent["payload"]), int(sent["packets"]))
    except (KeyError, TypeError, ValueError) as e:
        recording.problems.append(f"what was sent cannot be made again ({e}): no BER")
        return None, False, None
    return packets, bool(sent.get("transmitted")), data


def run(args):
    from gnuradio import gr
    from gnuradio.diffusion import link, playback
    from gnuradio.diffusion.recording import RecordingError, open_recording
    from .link import FIGURES, table

    chains = chains_of(args)
    gr.logging().set_default_level(gr.log_levels.warn)
    start = time.monotonic()
    try:
        recording = open_recording(args.name, args.type, args.rate, not args.no_check)
        packets, whole, data = sent_packets(recording)
        sent = recording.detail("sent")
        waveform = args.waveform or (sent.get("waveform") if isinstance(sent, dict) else None) or "native"
        rows, arrived, notes = {}, {}, []
        if waveform == "stock":
            rows["stock"], got = playback.play_stock(recording, packets, whole)
            arrived["stock"] = link.join(got)
        for estimator, demapper in chains:
            name = f"{estimator},{demapper}"
            rows[name], tally = playback.play(recording, waveform, estimator, demapper, packets, whole,
                                              max_cfo=args.max_cfo, estimator_model=args.estimator_model,
                                              demapper_model=args.demapper_model)
            arrived[name] = link.join(tally.payloads)
            notes += [f"{name}: {note}" for note in sorted(tally.notes)]
    except (RecordingError, RuntimeError, ValueError) as e:
        raise JobError(str(e)) from e
    if recording.bad_samples:
        recording.problems.append(f"samples that are no numbers were taken as 0 ({recording.bad_samples} "
                                  "reads)")
    print(f"{recording.path}: {len(recording)} samples, {len(recording) / recording.rate:.2f} s at "
          f"{recording.rate / 1e6:g} Msample/s, {recording.frequency / 1e6:g} MHz; {waveform} waveform, "
          f"{'what was sent is known' if packets else 'what was sent is unknown'}")
    for problem in recording.problems:
        print(f"note: {problem}")
    for note in dict.fromkeys(notes):
        print(f"note: {note}")
    print(table(rows, 22))
    for name, got in arrived.items():
        if data is None and got is None:
            continue  # other packets than ours need not be parts of a file
        intact = got is not None and (data is None or got == data)
        print(f"{name:<22}the file {'arrived intact' if intact else 'did not arrive'}")
    if args.save:
        if got is None:
            raise JobError(f"--save: no whole file arrived with {name}")
        args.save.write_bytes(got)
    print(f"({time.monotonic() - start:.0f} s)")
    write_json(args.json, {"recording": str(recording.path), "samples": len(recording), "waveform": waveform,
                           "problems": recording.problems,
                           "receivers": {n: {key: f[key] for key in FIGURES} for n, f in rows.items()},
                           "file_intact": {n: got is not None and (data is None or got == data)
                                           for n, got in arrived.items()}})
    return 0 if rows[name]["frames_ok"] else 1
