# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure models beside their baselines and bounds, with intervals.

example:
    gr-diffusion evaluate receiver --json results.json
"""
from . import _tasks


def add_arguments(parser):
    _tasks.add_arguments(parser, "evaluate")


def run(args):
    return _tasks.run(args, "evaluate")
