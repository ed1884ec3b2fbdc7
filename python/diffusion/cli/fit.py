# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit a model to a measurement of hardware.

examples:
    gr-diffusion fit receiver capture -o mine.safetensors
    gr-diffusion fit pa amplifier.npz -o pa-lab.json
"""
from . import _tasks


def add_arguments(parser):
    _tasks.add_arguments(parser, "fit")


def run(args):
    return _tasks.run(args, "fit")
