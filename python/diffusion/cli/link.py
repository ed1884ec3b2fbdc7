# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a file through an impaired, quantized link and receive it in three ways.

The file is cut into frames, which a process of its own transmits over the virtual radio: the transmitter's
impairments (amplifier, IQ imbalance, phase noise), multipath that changes with every frame, noise, and an ADC
of few bits. This process receives it. Three receivers get the samples:
the stock GNU Radio OFDM receiver (on a stock-waveform transmission of the same packets through the same
medium), the best classical chain of ours, and the diffusion chain; the last two on the same IQ. The file
goes round until enough frames are sent; it has arrived intact if every chunk got through once and its
checksum fits. Exit status 0: the file arrived with the diffusion chain.

example:
    gr-diffusion link --snr 10 --adc-bits 4 --constellation qam16 --json results.json
    gr-diffusion link --device driver=lime --rx-gain 40 --tx-gain 30
"""
import sys
import time
from pathlib import Path

from .common import JobError, UsageError, common_options, write_json

COLUMNS = (("frames", "frames_sent", "{:.0f}"), ("arrived", "frames_ok", "{:.0f}"), ("PER", "per", "{:.3f}"),
           ("BER", "ber", "{:.2e}"), ("EVM dB", "evm_db", "{:.1f}"), ("GMI bit", "gmi", "{:.3f}"),
           ("NMSE dB", "nmse_db", "{:.1f}"), ("bit/sym", "net_rate", "{:.3f}"), ("CPU s", "cpu_s", "{:.2f}"))
# shown when frames with fewer pilots are beside full ones
THROUGHPUT = ("bit/sample", "throughput", "{:.4f}")
FIGURES = ("frames_sent", "frames_ok", "per", "ber", "evm_db", "gmi", "nmse_db", "cpu_s")
SWEEP = (-6.0, -3.0, 3.0, 6.0)  # dB around --snr


def add_arguments(parser):
    parser.add_argument("--file", type=Path, help="what to send (examples/letter.txt)")
    parser.add_argument("--snr", type=float, metavar="DB",
                        help="mean received power over noise power in the full bandwidth (%(default)s)")
    parser.add_argument("--adc-bits", type=int, metavar="N", help="bits per rail, 0 for none (%(default)s)")
    parser.add_argument("--preset", help="transmitter's impairments: off, mild, reference-s1, reference-s2, "
                                         "harsh (%(default)s)")
    parser.add_argument("--constellation", metavar="NAME", help="bpsk, qpsk, qam16, qam64, qam256 "
                                                                "(%(default)s)")
    parser.add_argument("--fec", help="none, cc-1/2, cc-2/3, cc-3/4, ldpc-1/2 (%(default)s)")
    parser.add_argument("--shaping", action="store_true",
                        help="amplitude-shaped payloads in the native frames, for this SNR less 5 dB "
                             "(fading), one code word a frame; code and composition go in each header. 16-, "
                             "64-, 256-QAM (QPSK becomes 64-QAM); try --snr 22 --adc-bits 6")
    parser.add_argument("--pilots", metavar="N", choices=("full", "half", "quarter"),
                        help="of the native frames' payload: full, half, quarter; with fewer, the classical "
                             "chain also gets frames with all pilots, and the table shows the throughput of "
                             "both (%(default)s)")
    parser.add_argument("--payload", type=int, metavar="BYTES", help="bytes a frame (%(default)s)")
    parser.add_argument("--frames", type=int, metavar="N", help="frames to send, at least (%(default)s)")
    parser.add_argument("--device", metavar="ARGS",
                        help="loopback: the virtual radio, set by --snr, --adc-bits and --preset; else "
                             "SoapySDR arguments of a radio that sends and receives, such as "
                             "driver=loopback,adc_bits=3 (then these are the radio's business) (%(default)s)")
    parser.add_argument("--in-process", action="store_true",
                        help="transmitter and the same medium within this process: no radio, no shared "
                             "memory")
    parser.add_argument("--rate", type=float, metavar="HZ", help="sample rate of the device (%(default)s)")
    parser.add_argument("--freq", type=float, metavar="HZ", help="carrier frequency of the device "
                                                                 "(%(default)s)")
    parser.add_argument("--tx-gain", type=float, metavar="DB", help="of the device (its own choice)")
    parser.add_argument("--rx-gain", type=float, metavar="DB", help="of the device (its own choice)")
    parser.add_argument("--report", type=Path, metavar="DIR", help="folder of the report (reports/link-TIME)")
    parser.add_argument("--quick", action="store_true", help="no sweep over the SNR")
    common_options(parser)
    from gnuradio.diffusion.link import Settings
    d = Settings()
    parser.set_defaults(snr=d.snr_db, adc_bits=d.adc_bits, preset=d.preset, constellation=d.modulation,
                        fec=d.fec,
                        pilots=d.pilots, payload=d.payload, frames=d.frames, device="loopback", rate=d.rate,
                        freq=d.frequency)


def example_file():
    """The shipped letter: in the source tree, or beside the installed data."""
    folders = [Path.cwd()] + [p / "share/gr-diffusion" for p in Path(__file__).resolve().parents]
    for folder in folders:
        if (folder / "examples/letter.txt").is_file():
            return folder / "examples/letter.txt"
    raise JobError("the example letter.txt is not found; name a file with --file")


def table(receivers, width=11):
    """The figures as text; width of the first column."""
    columns = COLUMNS
    if "classical, all pilots" in receivers:
        columns, width = COLUMNS[:-1] + (THROUGHPUT,) + COLUMNS[-1:], max(width, 23)
    if "uniform, diffusion" in receivers:
        width = max(width, 20)
    lines = [f"{'receiver':<{width}}" + "".join(f"{head:>11}" for head, _, _ in columns)]
    for name, figure in receivers.items():
        cells = [fmt.format(figure[key]) if figure.get(key) is not None else "-" for _, key, fmt in columns]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>11}" for cell in cells))
    return "\n".join(lines)


def run(args):
    from gnuradio import gr
    from gnuradio.diffusion import link
    from gnuradio.diffusion.radio import RadioError

    # The stock receiver reports every header it cannot read; the table says how many that were.
    gr.logging().set_default_level(gr.log_levels.warn)
    settings = link.Settings(
        file=args.file or example_file(), snr_db=args.snr, adc_bits=args.adc_bits, preset=args.preset,
        modulation="qam64" if args.shaping and args.constellation == "qpsk" else args.constellation,
        fec=args.fec,
        shaping=args.shaping, pilots=args.pilots, payload=args.payload, frames=args.frames,
        device="memory" if args.in_process else args.device,
        rate=args.rate, frequency=args.freq, tx_gain=args.tx_gain, rx_gain=args.rx_gain, seed=args.seed)
    show = (lambda text: print(f"\r\033[K{text} ...", end="", file=sys.stderr, flush=True)) \
        if sys.stderr.isatty() else (lambda text: None)
    start = time.monotonic()
    if args.in_process and args.device != "loopback":
        raise UsageError("--in-process and --device exclude each other: leave one away")
    try:
        settings.check()
    except ValueError as e:
        raise UsageError(str(e)) from e
    try:
        results = link.run(settings, () if args.quick else SWEEP, show)
    except (ValueError, RadioError) as e:
        raise JobError(str(e)) from e
    show("report")
    report = args.report or Path("reports") / time.strftime("link-%Y%m%d-%H%M%S")
    write_report(report, settings, results)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)

    print(f"{settings.file}: {len(results['data'])} bytes; {title_of(settings)}")
    print(table(results["receivers"]))
    gain = throughput_gain(results["receivers"])
    if gain is not None:
        print(f"throughput of diffusion with {settings.pilots} pilots over the classical chain with all: "
              f"{gain:+.1f}%")
    if settings.shaping and "uniform, diffusion" in results["receivers"]:
        print(shaping_gain(settings, results["receivers"]))
    for name, arrived in results["arrived"].items():
        print(f"{name:<11} the file {'arrived intact' if arrived else 'did not arrive'}")
    for name, detail in results["details"].items():
        for note in detail["notes"]:
            print(f"{name:<11} {note}")
    print(f"report: {report}  ({time.monotonic() - start:.0f} s)")
    write_json(args.json, machine_results(settings, results, report))
    return 0 if results["arrived"]["diffusion"] else 1


def throughput_gain(receivers):
    """Per cent, of the diffusion chain on frames with fewer pilots over the classical one on full ones; or
    None."""
    full = receivers.get("classical, all pilots")
    if full is None or not full["throughput"] or receivers["diffusion"]["throughput"] is None:
        return None
    return 100 * (receivers["diffusion"]["throughput"] / full["throughput"] - 1)


def shaping_gain(settings, receivers):
    """Sentences: what the uniform row is, and what shaping brings at the same rate."""
    uniform, (_, _, rate) = settings.shaped().uniform(), settings.mode()
    shaped, plain = (receivers[n] for n in ("diffusion", "uniform, diffusion"))
    part = lambda f: f"{f['frames_sent'] - f['frames_ok']} of {f['frames_sent']}"
    return (f"uniform: the same packets on equally likely points, same mean power, amplifier and symbols a "
            f"frame, so the same {rate:.3f} bit/symbol, with code {uniform.fec.removeprefix('dvbs2-')} of "
            f"the same family; same channel, no shaping\nlost at that rate: {part(shaped)} frames shaped, "
            f"{part(plain)} uniform; net {shaped['net_rate']:.3f} and {plain['net_rate']:.3f} bit/symbol")


def title_of(settings):
    """What the file went through, in one line."""
    through = f"device {settings.device}" if not settings.ours else (
        f"SNR {settings.snr_db:g} dB, {f'{settings.adc_bits}-bit' if settings.adc_bits else 'no'} ADC, "
        f"impairments '{settings.preset}', {settings.taps}-tap Rayleigh, "
        + ("virtual radio between two processes" if settings.device == "loopback" else "in one process"))
    if settings.shaping:
        fec, index, rate = settings.mode()
        return f"{settings.modulation} shaped (composition {index}, {fec}, {rate:.3f} bit/symbol), {through}"
    pilots = "" if settings.pilots == "full" else f"{settings.pilots} pilots, "
    return f"{settings.modulation}, {settings.fec}, {pilots}{through}"


def machine_results(settings, results, report):
    ours = settings.ours  # a device has a medium of its own
    return {"file_intact": results["arrived"]["diffusion"],
            "settings": {"file": str(settings.file), "snr_db": settings.snr_db if ours else None,
                         "adc_bits": settings.adc_bits if ours else None,
                         "preset": settings.preset if ours else None, "constellation": settings.modulation,
                         "fec": settings.fec,
                         "payload": settings.payload, "frames": settings.frames, "taps": settings.taps,
                         "device": settings.device, "seed": settings.seed, "pilots": settings.pilots},
            "receivers": {name: {key: figure[key] for key in FIGURES + (("net_rate",
                                                                        ) if settings.shaping else ())
                                 + (("throughput",) if settings.pilots != "full" else ())}
                          for name, figure in results["receivers"].items()},
            "report": str(report)}


def write_report(folder, settings, results):
    """Plots, the received files and a page of text."""
    import numpy as np
    from gnuradio.diffusion import link, plots, qam

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise JobError(f"the report's folder {folder} cannot be made: {e.strerror}") from e
    title = title_of(settings)
    details = {n: d for n, d in results["details"].items() if d["symbols"]}
    channels = {n: d["channel"] for n, d in details.items() if d["channel"] is not None}
    if details:
        plots.constellations(folder / "constellation.png",
                             {n: np.concatenate(d["symbols"]) for n, d in details.items()},
                             np.asarray(qam(link.MODULATIONS[settings.modulation]).points), title)
    if channels:
        carriers, truth, _ = next(iter(channels.values()))
        plots.channel(folder / "channel.png", carriers, truth,
                      {n: mine * np.vdot(own, truth) / np.vdot(own, own)
                       for n, (_, own, mine) in channels.items()},
                      title)
    if settings.ours:
        curve = results["curve"] + [(settings.snr_db, results["receivers"])]
        plots.error_rates(folder / "error_rates.png",
                          {name: [(snr, f[name]["per"], f[name]["per_interval"], f[name]["ber"])
                                  for snr, f in curve]
                           for name in results["receivers"]}, title)
    for name, packets in results["packets_of"].items():
        data = link.join(packets)
        if data is not None:
            (folder / f"received-{name}{Path(settings.file).suffix}").write_bytes(data)
    (folder / "report.md").write_text(f"""# Link report

{title}; file `{settings.file}`, {len(results['data'])} bytes; payload {settings.payload} bytes a frame; seed {settings.seed}.

```
{table(results["receivers"])}
```

{chr(10).join(f"- {n}: the file {'arrived intact' if a else 'did not arrive'}" for n, a in results["arrived"].items())}

PER: frames that did not arrive with a good CRC. BER: hard decisions on the coded bits, frames whose header
was read. EVM: error of the equalised symbols weighted by their reliability. GMI: bits per symbol. NMSE: of the
channel estimate, up to a complex gain. CPU: process time of the receiver's flowgraph. The stock receiver works
on its own waveform (uncoded QPSK, CRC-32) through the same medium and shows none of its inner figures.

{chr(10).join(f"![{p.stem}]({p.name})" for p in sorted(folder.glob("*.png")))}
""")
