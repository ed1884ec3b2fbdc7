# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of a link: what a receiver made of a transmission, beside what was sent."""
import numpy as np

from . import diffusion_python as compiled
from . import metrics
from .link_settings import ALL_PILOTS, MODULATIONS


def true_channel(taps, fft_len=64, early=4):
    """The channel of taps at all carriers (DC in the middle), seen by a DFT that starts early samples
    early."""
    k = np.arange(-fft_len // 2, fft_len // 2)
    return np.exp(-2j * np.pi * np.outer(k, np.arange(len(taps)) + early) / fft_len) @ taps


def figures(reception, transmission, settings):
    """frames_sent, frames_ok, per, ber, evm_db, gmi, nmse_db, cpu_s, and what the plots need."""
    sent = transmission.packets
    good = set(reception.packets) & set(sent)
    result = {"frames_sent": len(sent), "frames_ok": len(good), "per": 1 - len(good) / len(sent), "ber": None,
              "evm_db": None, "gmi": None, "nmse_db": None, "net_rate": None, "throughput": None,
              "cpu_s": reception.cpu_s}
    result["net_rate"] = net_rate(reception, good)
    if transmission.waveform != "stock" and not settings.shaping:
        result["throughput"] = throughput(good, transmission, settings)
    result["per_interval"] = metrics.wilson(len(sent) - len(good), len(sent))
    detail = {"symbols": [], "channel": None,
              "notes": sorted({f["note"] for f in reception.frames if "note" in f})}
    if not reception.frames:
        return result, detail
    modem = compiled.native_modulator()
    bits, llrs, errors, signals, channel_error, channel_power = [], [], 0.0, 0.0, 0.0, 0.0
    m = MODULATIONS[settings.modulation]
    used = np.array(modem.used_carriers) + 32
    for f in reception.frames:
        n = f.get("frame", -1)  # the transmitter counts from 0
        if not f["header_ok"] or not 0 <= n < len(sent) or f["length"] != len(sent[n]) or len(f["symbols"]) == 0:
            continue
        index = f.get("shaping", -1)
        header = compiled.native_header(len(sent[n]), m, f["fec"] if index >= 0 else settings.fec, index,
                                        f.get("pilots", "full"))
        true_bits = modem.payload_bits(header, sent[n])
        llr = np.asarray(f["llr"], np.float32)
        if true_bits.size != llr.size:
            continue
        x = header.constellation.points[np.packbits(true_bits.reshape(-1, m), axis=1).ravel() >> (8 - m)]
        y = np.asarray(f["symbols"], np.complex64)
        weight = 1 / np.asarray(f["symbol_noise"], np.float64)  # a faded carrier weighs what it is worth
        errors += np.sum(weight * np.abs(y - x) ** 2)
        signals += np.sum(weight * np.abs(x) ** 2)
        bits.append(true_bits)
        llrs.append(llr)
        if len(transmission.taps_of) == len(sent):
            # The medium's taps fix the channel up to the transmitter's gain and the receiver's timing.
            start, taps = transmission.taps_of[n]
            late = int(f["offset"]) - int(start)
            h = true_channel(taps, early=4 - late)[used]
            mine = np.asarray(f["channel"], np.complex64)[used]
            gain = np.vdot(h, mine) / np.vdot(h, h)
            channel_error += np.sum(np.abs(mine - gain * h) ** 2)
            channel_power += np.sum(np.abs(gain * h) ** 2)
            if detail["channel"] is None:
                detail["channel"] = (np.array(modem.used_carriers), gain * h, mine)
        if len(detail["symbols"]) < 12:
            detail["symbols"].append(y)
    if bits:
        bits, llrs = np.concatenate(bits), np.concatenate(llrs)
        result["ber"] = float(np.mean((llrs > 0) != bits))
        result["evm_db"] = float(10 * np.log10(errors / signals))
        # LLRs know the prior: entropy less what stays uncertain (Boecherer 2014), no scaling
        if settings.shaping:
            unsure = np.logaddexp(0, np.where(bits, -llrs, llrs).astype(float)).sum() / np.log(2)
            result["gmi"] = float(max(header.constellation.entropy - unsure * m / bits.size, 0))
        else:
            result["gmi"] = metrics.gmi(bits.reshape(-1, m), llrs.reshape(-1, m))
        if channel_power:
            result["nmse_db"] = float(10 * np.log10(channel_error / channel_power))
    return result, detail


def net_rate(reception, good):
    """Payload bits that arrived intact per payload symbol received; None where the receiver shows no
    symbols."""
    symbols = sum(len(f["symbols"]) for f in reception.frames if f["header_ok"])
    return 8 * sum(len(p) for p in good) / symbols if symbols else None


def throughput(good, transmission, settings):
    """Payload bits that arrived intact per sample of the frames sent (native, plain): pilots and losses
    together."""
    modem = compiled.native_modulator()
    pilots = "full" if transmission.waveform == ALL_PILOTS else settings.pilots
    samples = sum(modem.frame_len(compiled.native_header(len(p), MODULATIONS[settings.modulation],
                                                         settings.fec, -1,
                                                         pilots)) for p in transmission.packets)
    return 8 * sum(len(p) for p in good) / samples
