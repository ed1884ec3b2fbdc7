# SPDX-License-Identifier: GPL-3.0-or-later
"""send a file over a radio, round and round; `rx` receives it

Transmits the file in OFDM frames with any SoapySDR device, the virtual radio by default. It goes round for
--seconds, three times at least, so a receiver may start before or after. Over the air only the device string
changes. Ctrl-C ends it. Exit status 0: sent; 1: the device cannot be used; 2: wrong options.

example, in two terminals:
    gr-diffusion tx --device driver=loopback examples/letter.txt
    gr-diffusion rx --device driver=loopback --out letter.txt
"""
import threading
from pathlib import Path

from .common import JobError, UsageError, common_options, write_json


def radio_options(parser, direction):
    """--device and how it is set, for tx and rx."""
    parser.add_argument("--device", default="driver=loopback", metavar="ARGS",
                        help="SoapySDR arguments, such as driver=lime or driver=loopback,medium=a "
                             "(%(default)s)")
    parser.add_argument("--rate", type=float, default=1e6, metavar="HZ", help="sample rate (%(default)g)")
    parser.add_argument("--freq", type=float, default=2.45e9, metavar="HZ",
                        help="carrier frequency (%(default)g)")
    parser.add_argument("--gain", type=float, metavar="DB", help=f"{direction} gain (the device's own "
                                                                 "choice)")
    parser.add_argument("--antenna", metavar="NAME", help="SoapySDRUtil --probe lists them (the device's own "
                                                          "choice)")
    parser.add_argument("--bandwidth", type=float, metavar="HZ", help="of the analogue filter (the device's "
                                                                      "own choice)")
    parser.add_argument("--lo-offset", type=float, metavar="HZ", help="tune the LO so far beside the signal; "
                                                                      "the driver brings it back, if it can "
                                                                      "(docs/hardware.md)")


def radio_of(args):
    from gnuradio.diffusion.on_air import Radio
    if not args.rate > 0:
        raise UsageError(f"--rate is {args.rate:g}, use a positive number of samples/s")
    return Radio(args.device, args.rate, args.freq, args.gain, args.antenna, args.bandwidth, args.lo_offset)


def stop_at_signals():
    """An event that Ctrl-C and SIGTERM set."""
    import signal
    stop = threading.Event()
    for which in (signal.SIGTERM, signal.SIGINT):
        signal.signal(which, lambda *_: stop.set())
    return stop


def progress_line():
    """Shows a line that is overwritten, on a terminal only."""
    import sys
    if not sys.stderr.isatty():
        return lambda text: None
    return lambda text: print(f"\r\033[K{text} ", end="", file=sys.stderr, flush=True)


def add_arguments(parser):
    parser.add_argument("file", type=Path, metavar="FILE", help="what to send")
    radio_options(parser, "transmit")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S",
                        help="of signal, at least (%(default)g); the last round is sent whole")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of the file, at least "
                                                                           "(%(default)s)")
    parser.add_argument("--forever", action="store_true", help="until Ctrl-C")
    parser.add_argument("--constellation", default="qpsk", metavar="NAME",
                        help="bpsk, qpsk, qam16, qam64, qam256 (%(default)s); the receiver finds out")
    parser.add_argument("--fec", default="ldpc-1/2", help="none, cc-1/2, cc-2/3, cc-3/4, ldpc-1/2 "
                                                          "(%(default)s); the receiver finds out")
    parser.add_argument("--payload", type=int, default=112, metavar="BYTES", help="of a frame (%(default)s)")
    parser.add_argument("--gap", type=float, default=4.0, metavar="MS", help="silence between frames "
                                                                             "(%(default)g)")
    parser.add_argument("--amplitude", type=float, default=0.2, metavar="A",
                        help="RMS of a frame, full scale 1; peaks are four times that (%(default)g)")
    common_options(parser, seed=False)


def run(args):
    from gnuradio import gr
    from gnuradio.diffusion import on_air
    from gnuradio.diffusion.radio import RadioError

    # a sink that waits for its receiver says so ten times a second
    gr.logging().set_default_level(gr.log_levels.err)
    if not args.seconds >= 0 or args.rounds < 1:
        raise UsageError(f"--seconds is {args.seconds:g}, --rounds {args.rounds}: use 0 or more, and 1 or "
                         "more")
    show = progress_line()
    try:
        radio = radio_of(args)
        settings = on_air.settings_of(args.file, args.constellation, args.fec, args.payload, radio)
        stop = stop_at_signals()
        result = on_air.send(radio, settings, None if args.forever else args.seconds, args.rounds,
                             args.gap / 1000,
                             args.amplitude, stop, show)
    except ValueError as e:
        raise UsageError(str(e)) from e
    except RadioError as e:
        raise JobError(str(e)) from e
    show("")
    print(f"{result['file']}: {result['bytes']} bytes in {result['frames_a_round']} frames, sent "
          f"{result['rounds']:.1f} times over {result['device']} in {result['seconds']:.1f} s"
          + (f", {result['underflows']} underflows" if result["underflows"] else ""))
    write_json(args.json, result)
    return 0
