# SPDX-License-Identifier: GPL-3.0-or-later
"""Fit a model to a measurement of hardware.

example:
    gr-diffusion fit pa amplifier.npz -o pa-lab.json
    gr-diffusion fit noise quiet.sigmf-meta -o noise-lab.json
"""
from . import _tasks


def add_arguments(parser):
    _tasks.add_arguments(parser, "fit")


def run(args):
    return _tasks.run(args, "fit")
