# SPDX-License-Identifier: GPL-3.0-or-later
"""ofdm_tx and ofdm_rx: the whole burst link as two blocks."""
from gnuradio import gr

from . import diffusion_python as compiled

WAVEFORMS = ("native", "stock")


class ofdm_tx(gr.hier_block2):
    """Packets to bursts of the native OFDM waveform.

    packets: "pdu", they come on message port "pdus"; or "stream", a tagged byte stream on the input.
    modulation: bpsk, qpsk, qam16, qam64, qam256. fec: none, cc-1/2, cc-2/3, cc-3/4, ldpc-1/2.
    transmission: "burst" (length tags, tx_sob, tx_eob) or "continuous" (zeros between frames).
    amplitude: RMS of the samples of a frame; their peak is about four times that, so a radio whose
    converter ends at 1.0 wants 0.25. guard: zeros behind each frame, samples (-1: two OFDM symbols).
    shaping_snr_db: None, or the SNR that shaped payloads are for (16-, 64-, 256-QAM): code and composition
    are the best that a link 2 dB worse bears, and travel in the header.
    pilots: of the payload's symbols, "full" (fft_len / 16 a symbol), "half" or "quarter"; what they leave
    carries data. The receiver learns it from each header.
    Message port "cmd": a dictionary with any of modulation, fec, amplitude, pilots, shaping_snr_db; so what a
    receiver reports as snr_db, fed back, keeps the shaping right.
    """

    def __init__(self, packets="pdu", modulation="qpsk", fec="cc-1/2", transmission="burst", amplitude=1.0,
                 guard=-1, fft_len=64, cp_len=16, max_payload=4096, length_tag_key="packet_len",
                 shaping_snr_db=None, pilots="full"):
        if packets not in ("pdu", "stream"):
            raise ValueError(f"ofdm_tx: packets is '{packets}', use pdu or stream")
        inputs = gr.io_signature(1, 1, gr.sizeof_char) if packets == "stream" else gr.io_signature(0, 0, 0)
        gr.hier_block2.__init__(self, "ofdm_tx", inputs, gr.io_signature(1, 1, gr.sizeof_gr_complex))
        self.core = compiled.native_ofdm_tx(modulation, fec, transmission, amplitude, guard, fft_len, cp_len,
                                            max_payload, length_tag_key)
        self.core.set_pilots(pilots)
        if shaping_snr_db is not None:
            self.core.set_shaping_snr_db(shaping_snr_db)
        for port in ("pdus", "cmd"):
            self.message_port_register_hier_in(port)
            self.msg_connect(self, port, self.core, port)
        if packets == "stream":
            self.connect(self, self.core)
        self.connect(self.core, self)

    def set_modulation(self, modulation):
        """Of the next frames: bpsk, qpsk, qam16, qam64, qam256."""
        self.core.set_modulation(modulation)

    def set_fec(self, fec):
        """Of the next frames, one of fec_names()."""
        self.core.set_fec(fec)

    def set_shaping_snr_db(self, snr_db):
        """None: plain payloads."""
        self.core.set_shaping_snr_db(float("nan") if snr_db is None else snr_db)

    def set_pilots(self, pilots):
        """Of the next frames: full, half, quarter."""
        self.core.set_pilots(pilots)

    def pilots(self):
        return self.core.pilots()

    def shaping(self):
        """Composition index of the next frame, or -1."""
        return self.core.shaping()

    def set_amplitude(self, amplitude):
        """RMS of a frame's samples."""
        self.core.set_amplitude(amplitude)

    def modulation(self):
        return self.core.modulation()

    def fec(self):
        return self.core.fec()

    def amplitude(self):
        return self.core.amplitude()

    def sent(self):
        """Frames sent."""
        return self.core.sent()

    def dropped(self):
        """Packets that could not be sent."""
        return self.core.dropped()


class ofdm_rx(gr.hier_block2):
    """The receiver of a burst OFDM link, with exchangeable stages.

    Output 0: payload bytes of frames whose CRC fits, as tagged packets (tags: length, frame, snr_db,
    evm_db, cfo). Output 1, with symbols=True: equalised payload symbols for a display.
    Message ports: "pdus" payloads; "metrics" a dictionary a frame; "frames" the same with the vectors of
    every stage; "cmd" (in) a dictionary with any of model (the diffusion demapper with a file that
    `fit receiver` wrote), estimator, demapper, estimator_model, demapper_model, compute_budget,
    data_aided_rounds, time_tracking.

    waveform: "native" (what ofdm_tx sends) or "stock" (what digital.ofdm_tx sends; ports and tags as those
    of digital.ofdm_rx: packet_length, packet_num, ofdm_sync_carr_offset). For "stock" the arguments of
    digital.ofdm_rx may follow by name: packet_length_tag_key, packet_num_tag_key, occupied_carriers,
    pilot_carriers, pilot_symbols, bps_header, bps_payload (1, 2, or 0: found out from each packet),
    sync_word1, sync_word2, scramble_bits.
    estimator: ls, lmmse, nomp, sbl, diffusion. demapper: min-distance, map, diffusion. The models of the
    diffusion stages are shipped names or files; "" is the shipped one that fits.
    max_cfo: largest carrier offset searched, in subcarrier spacings.
    compute_budget: while the receiver is behind, the diffusion estimator takes fewer of its steps (never
    below 1); budget() counts, and so do the metrics (budget_steps, budget_reduced, ...). For live streams,
    not files. data_aided_rounds (native): 0 to 3 rounds for frames whose CRC fails, in which what the decoder
    believes of each symbol is a further pilot (None: 1). Costs nothing while frames arrive.
    time_tracking (native): channels that move within a frame are followed, by a Wiener filter over delay and
    time.
    """

    def __init__(self, waveform="native", estimator="lmmse", demapper="map", estimator_model="",
                 demapper_model="", fft_len=64, cp_len=16, max_payload=4096, max_cfo=2.0, symbols=False,
                 length_tag_key=None, compute_budget=False, data_aided_rounds=None, time_tracking=True,
                 **stock):
        if waveform not in WAVEFORMS:
            raise ValueError(f"ofdm_rx: waveform is '{waveform}', use native or stock")
        outputs = [gr.sizeof_char, gr.sizeof_gr_complex] if symbols else [gr.sizeof_char]
        gr.hier_block2.__init__(self, "ofdm_rx", gr.io_signature(1, 1, gr.sizeof_gr_complex),
                                gr.io_signature.makev(len(outputs), len(outputs), outputs))
        if waveform == "native":
            if stock:
                raise TypeError(f"ofdm_rx: {', '.join(stock)} belong to waveform 'stock', not 'native'")
            self.core = compiled.native_ofdm_rx(estimator, demapper, estimator_model, demapper_model, fft_len,
                                                cp_len, max_payload, max_cfo, length_tag_key or "packet_len")
        else:
            self.core = _stock_core((estimator, demapper, estimator_model, demapper_model, max_cfo), fft_len,
                                    cp_len, length_tag_key, **stock)
        self.core.set_compute_budget(bool(compute_budget))
        if waveform == "native":
            self.core.set_data_aided_rounds(1 if data_aided_rounds is None else data_aided_rounds)
            self.core.set_time_tracking(bool(time_tracking))
        elif data_aided_rounds is not None:
            raise TypeError("ofdm_rx: data_aided_rounds belongs to waveform 'native', not 'stock'")
        for port in ("pdus", "metrics", "frames"):
            self.message_port_register_hier_out(port)
            self.msg_connect(self.core, port, self, port)
        self.message_port_register_hier_in("cmd")
        self.msg_connect(self, "cmd", self.core, "cmd")
        self.connect(self, self.core, self)
        if symbols:
            self.connect((self.core, 1), (self, 1))

    def set_estimator(self, estimator):
        """ls, lmmse, nomp, sbl or diffusion; from the next frame on."""
        self.core.set_estimator(estimator)

    def set_demapper(self, demapper):
        """min-distance, map or diffusion; from the next frame on."""
        self.core.set_demapper(demapper)

    def set_estimator_model(self, model):
        """Name or file of an OFDM estimator; "": the shipped one for this number of carriers."""
        self.core.set_estimator_model(model)

    def set_demapper_model(self, model):
        """Name or file of a receiver; "": the shipped one of each frame's constellation."""
        self.core.set_demapper_model(model)

    def set_compute_budget(self, on):
        """Fewer estimator steps while the receiver is behind."""
        self.core.set_compute_budget(bool(on))

    def set_data_aided_rounds(self, rounds):
        """Native waveform; the stock one has none."""
        if hasattr(self.core, "set_data_aided_rounds"):
            self.core.set_data_aided_rounds(rounds)

    def set_time_tracking(self, on):
        """Native waveform; the stock one does not."""
        if hasattr(self.core, "set_time_tracking"):
            self.core.set_time_tracking(bool(on))

    def budget(self):
        """steps of the estimator in use, steps_wanted, lowered (times), reduced (frames that had fewer)."""
        return dict(self.core.budget())

    def estimator(self):
        return self.core.estimator()

    def demapper(self):
        return self.core.demapper()

    def counters(self):
        """detected, ok, header_failed, payload_failed, missed, truncated, since the start."""
        return dict(self.core.counters())


def _stock_core(stages, fft_len, cp_len, length_tag_key, packet_length_tag_key="packet_length",
                packet_num_tag_key="packet_num", frame_length_tag_key=None, debug_log=False, **waveform):
    """frame_length_tag_key and debug_log are accepted as digital.ofdm_rx has them, and mean nothing here."""
    w = compiled.stock_ofdm_waveform()
    w.fft_len, w.cp_len = fft_len, cp_len
    for name, value in waveform.items():
        if not hasattr(w, name):
            raise TypeError(f"ofdm_rx: '{name}' is no argument of the stock waveform")
        if value is not None:
            setattr(w, name, value)
    if fft_len != 64 or w.occupied_carriers or w.pilot_carriers:
        _default_sync_words(w)
    return compiled.stock_ofdm_rx(*stages, length_tag_key or packet_length_tag_key, packet_num_tag_key, w)


def _default_sync_words(w):
    """gr-digital's sync words for these carriers, where none are given; it draws them from numpy's
    generator."""
    import numpy as np
    from gnuradio.digital import ofdm_txrx
    carriers = (w.fft_len, w.occupied_carriers or ofdm_txrx._def_occupied_carriers,
                w.pilot_carriers or ofdm_txrx._def_pilot_carriers)
    state = np.random.get_state()
    try:
        if not w.sync_word1:
            w.sync_word1 = list(ofdm_txrx._make_sync_word1(*carriers))
        if not w.sync_word2:
            w.sync_word2 = list(ofdm_txrx._make_sync_word2(*carriers))
    finally:
        np.random.set_state(state)
