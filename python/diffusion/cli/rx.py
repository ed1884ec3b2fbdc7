# SPDX-License-Identifier: GPL-3.0-or-later
"""receive the file that `tx` is sending over a radio

Receives OFDM frames with any SoapySDR device, the virtual radio by default, until the file is complete and
its checksum fits; modulation and code are found out from the frames. Start it before or after the
transmitter, with the same rate and frequency. Over the air only the device string changes. Exit status 0: the
file arrived intact; 1: it did not, or the device cannot be used; 2: wrong options.

example, in two terminals:
    gr-diffusion rx --device driver=loopback --out letter.txt
    gr-diffusion tx --device driver=loopback examples/letter.txt
"""
from pathlib import Path

from .common import JobError, UsageError, common_options, write_json
from .tx import progress_line, radio_of, radio_options, stop_at_signals


def add_arguments(parser):
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the file goes")
    radio_options(parser, "receive")
    parser.add_argument("--estimator", default="diffusion",
                        choices=("ls", "lmmse", "nomp", "sbl", "diffusion"),
                        help="channel estimator (%(default)s)")
    parser.add_argument("--demapper", default="diffusion", choices=("min-distance", "map", "diffusion"),
                        help="(%(default)s)")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S",
                        help="give up when no frame came for so long (%(default)g)")
    parser.add_argument("--max-cfo", type=float, default=2.0, metavar="SPACINGS",
                        help="largest carrier offset searched, subcarrier spacings (%(default)g)")
    common_options(parser, seed=False)


def run(args):
    from gnuradio import gr
    from gnuradio.diffusion import on_air
    from gnuradio.diffusion.radio import RadioError

    gr.logging().set_default_level(gr.log_levels.warn)
    if not args.timeout > 0:
        raise UsageError(f"--timeout is {args.timeout:g}, use a positive number of seconds")
    if not args.out.resolve().parent.is_dir() or args.out.is_dir():
        raise UsageError(f"--out {args.out} is no file that can be written; name one in a folder that exists")
    show = progress_line()
    try:
        radio = radio_of(args)
        stop = stop_at_signals()
        data, result = on_air.receive(radio, args.estimator, args.demapper, args.timeout, args.max_cfo, stop,
                                      show)
    except ValueError as e:
        raise UsageError(str(e)) from e
    except RadioError as e:
        raise JobError(str(e)) from e
    show("")
    frames = result["frames"]
    print(f"{frames['detected']} frames found, {frames['ok']} with a good CRC, {frames['header_failed']} "
          f"headers and {frames['payload_failed']} payloads damaged"
          + (f", {result['overflows']} overflows" if result["overflows"] else ""))
    if result["evm_db"] is not None:
        print(f"median of the frames: SNR {result['snr_db']:.1f} dB, EVM {result['evm_db']:.1f} dB, "
              f"CFO {result['cfo_hz']:.0f} Hz")
    if data is not None:
        try:
            args.out.write_bytes(data)
        except OSError as e:
            raise JobError(f"--out {args.out} cannot be written: {e.strerror}") from e
        print(f"{args.out}: {len(data)} bytes arrived intact in {result['seconds']:.1f} s")
    write_json(args.json, result)
    if data is None:
        if frames["detected"] == 0:
            raise JobError(f"{result['why']}: no frame was found at all; is `tx` running with the same "
                           "medium or frequency, and the same --rate?")
        raise JobError(f"{result['why']}: {result['parts']} of {result['parts_needed'] or '?'} parts of the "
                       "file arrived; more transmit gain, or a longer `tx --seconds`")
    return 0
