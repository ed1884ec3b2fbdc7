# SPDX-License-Identifier: GPL-3.0-or-later
"""Diffusion models in GNU Radio: denoising receiver, constellation shaper, channel estimator.

Blocks (C++) and the numpy interface to the same engine. Nothing here needs torch; training does
(``gnuradio.diffusion.nn`` and ``gnuradio.diffusion.train`` import it when they are imported).
"""
import numpy as _np

if int(_np.__version__.split(".")[0]) >= 2:
    raise ImportError(
        f"gnuradio.diffusion: NumPy {_np.__version__} is on the path, but this GNU Radio was built "
        "for NumPy 1: pip install 'numpy<2' in this environment")

from gnuradio import gr as _gr  # base classes of the blocks must be known first

try:
    from .diffusion_python import *
except ImportError as _e:
    raise ImportError(
        f"gnuradio.diffusion: the compiled part cannot be loaded ({_e}); "
        "run './run doctor' or 'gr-diffusion doctor' for the fix") from _e

from .estimator import Estimator
from .interference import InterferenceLaw, InterferenceReceiver
from .interference_block import interference_receiver
from .link_metrics import LinkMetrics, link_metrics
from .noise import NoiseLaw
from .ofdm import ofdm_rx, ofdm_tx
from .sequence import SequenceReceiver
from .sequence_block import sequence_receiver
from .shaped_words import shaped_decoder, shaped_parity, shaped_payload_bits
from .shaper import Shaper, ShapingState
from .receiver import Receiver
from .waveforms import OfdmWaveform, PulseWaveform

__version__ = version()


def __getattr__(name):
    # ZMQ and gr-soapy are loaded by those who use them.
    if name == "FittedShaper":
        from .blackbox import FittedShaper
        return FittedShaper
    if name == "remote_denoiser":
        from .remote_block import remote_denoiser
        return remote_denoiser
    if name in ("radio_source", "radio_sink", "carousel_source", "carousel_sink"):
        from . import radio_blocks
        return getattr(radio_blocks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
