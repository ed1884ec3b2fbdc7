# SPDX-License-Identifier: GPL-3.0-or-later
"""record from a radio into a SigMF recording, with frames, hardware and settings

Streams the samples of any SoapySDR device to NAME.sigmf-data; NAME.sigmf-meta says what the radio was, how it
was set, and where the frames of the native waveform lie. With --send this device transmits a file meanwhile,
as `link --device` does; with --sent another transmitter is sending that file. Either way the recording then
holds the file too, so that `replay` can tell bit errors. Ctrl-C ends a recording early and leaves it whole.

examples:
    gr-diffusion record capture --seconds 2 --device driver=rtlsdr --freq 433.9e6 --gain 30
    gr-diffusion record capture --send examples/letter.txt --device "driver=loopback,adc_bits=4"
"""
import time
from pathlib import Path

from .common import JobError, UsageError, common_options, write_json


def add_arguments(parser):
    parser.add_argument("name", type=Path, help="of the recording, without ending")
    parser.add_argument("--device", default="driver=loopback", metavar="ARGS",
                        help="SoapySDR arguments (%(default)s)")
    parser.add_argument("--seconds", type=float, metavar="S", help="length (1; with --send as long as it "
                                                                   "takes)")
    parser.add_argument("--rate", type=float, default=1e6, metavar="HZ", help="sample rate (%(default)g)")
    parser.add_argument("--freq", type=float, default=2.45e9, metavar="HZ",
                        help="carrier frequency (%(default)g)")
    parser.add_argument("--gain", type=float, metavar="DB", help="of the receiver (the device's own choice)")
    parser.add_argument("--antenna", metavar="NAME", help="of the receiver (the device's own choice)")
    parser.add_argument("--lo-offset", type=float, metavar="HZ", help="tune the LO so far beside the signal; "
                                                                      "the driver brings it back, if it can "
                                                                      "(docs/hardware.md)")
    parser.add_argument("--tx-gain", type=float, metavar="DB", help="of the transmitter, with --send")
    parser.add_argument("--send", type=Path, metavar="FILE", help="transmit this file with the same device")
    parser.add_argument("--sent", type=Path, metavar="FILE",
                        help="what another transmitter is sending, over and over")
    parser.add_argument("--waveform", choices=("native", "stock"), default="native",
                        help="of what is sent (%(default)s)")
    parser.add_argument("--constellation", metavar="NAME", default="qpsk",
                        help="of what is sent (%(default)s)")
    parser.add_argument("--fec", default="ldpc-1/2", help="of what is sent (%(default)s)")
    parser.add_argument("--payload", type=int, default=112, metavar="BYTES", help="of a frame (%(default)s)")
    parser.add_argument("--frames", type=int, default=1, metavar="N", help="to send, at least (the file "
                                                                           "once)")
    parser.add_argument("--description", default="", metavar="TEXT", help="for the metadata")
    parser.add_argument("--no-annotations", action="store_true", help="do not look for frames")
    parser.add_argument("--overwrite", action="store_true", help="an existing recording of that name")
    common_options(parser, seed=False)


def run(args):
    from gnuradio.diffusion import link, recorder
    from gnuradio.diffusion.radio import RadioError
    from gnuradio.diffusion.recording import RecordingError

    if args.send and args.sent:
        raise UsageError("--send and --sent exclude each other: either this device transmits or another one")
    settings = link.Settings(file=args.send or args.sent, modulation=args.constellation, fec=args.fec,
                             payload=args.payload, frames=args.frames, device=args.device, rate=args.rate,
                             frequency=args.freq, tx_gain=args.tx_gain, rx_gain=args.gain)
    start = time.monotonic()
    try:
        settings.check()
        result = recorder.record(args.name, settings, args.waveform, args.seconds, transmit=bool(args.send),
                                 antenna=args.antenna, lo_offset=args.lo_offset, description=args.description,
                                 annotate=not args.no_annotations, overwrite=args.overwrite)
    except (RadioError, RecordingError) as e:
        raise JobError(str(e)) from e
    except ValueError as e:  # an option's value cannot be
        raise UsageError(str(e)) from e
    print(f"{result['name']}: {result['samples']} samples, {result['samples'] / result['rate']:.2f} s at "
          f"{result['rate'] / 1e6:g} Msample/s, {result['frequency'] / 1e6:g} MHz, {result['hardware']}")
    print(f"level: RMS {result['rms_dbfs']:.1f} dBFS, peak {result['peak_dbfs']:.1f} dBFS")
    if result["frames"] is not None:
        print(f"frames: {result['frames']} found, {result['frames_ok']} with a good CRC")
    for problem in result["problems"]:
        print(f"note: {problem}")
    print(f"({time.monotonic() - start:.0f} s; replay it with: gr-diffusion replay {result['name']})")
    write_json(args.json, result)
    return 0
